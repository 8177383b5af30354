"""Field selectors of a kind that is stored as another one."""

import pytest

from kybern.api.kinds import KINDS
from kybern.apiserver.options import list_options
from kybern.machinery.kind import Conversion, Kind

EVENT = next(kind for kind in KINDS if kind.api_version == "events.k8s.io/v1")
CONVERTED = [(kind, kind.conversion) for kind in KINDS if kind.conversion is not None]


@pytest.mark.parametrize(
    ("asked", "stored"),
    [
        ("reportingController=kubelet", "reportingComponent"),
        ("regarding.name=web", "involvedObject.name"),
        ("type=Normal", "type"),
        ("metadata.name=one", "metadata.name"),
    ],
)
def test_selection_is_by_the_names_that_objects_are_stored_with(asked: str, stored: str) -> None:
    _, _, value = asked.partition("=")

    assert list_options(EVENT, {"fieldSelector": asked}).selection.fields == ((stored, "=", value),)


@pytest.mark.parametrize(
    ("kind", "conversion"), CONVERTED, ids=lambda found: getattr(found, "api_version", "")
)
def test_every_selector_of_a_converted_kind_is_one_of_the_stored_kind(
    kind: Kind, conversion: Conversion
) -> None:
    stored = next(
        found
        for found in KINDS
        if (found.group, found.version, found.kind) == (conversion.group, conversion.version, kind.kind)
    )

    assert {conversion.fields.get(name, name) for name in kind.selectable} <= set(stored.selectable)


def test_an_event_is_selected_alike_in_both_groups() -> None:
    raw = {"reportingController": "kubelet", "regarding": {"name": "web"}, "reason": "Started"}

    assert EVENT.selectable["reportingController"](raw) == "kubelet"
    assert EVENT.selectable["regarding.name"](raw) == "web"
    assert EVENT.selectable["reason"](raw) == "Started"
