"""Whether a revision holds a template: the same fields, or the same once today's defaults are filled in."""

import json
from typing import Any

import pytest

from kybern.api.apps_v1 import ControllerRevision
from kybern.api.core_v1 import PodTemplateSpec
from kybern.api.meta_v1 import ObjectMeta
from kybern.api.rules.podspec import default_template
from kybern.loop.revisions import history, holds
from kybern.machinery.struct import decoder

BARE = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}


def with_defaults(raw: dict[str, Any]) -> dict[str, Any]:
    holder: dict[str, Any] = json.loads(json.dumps({"template": raw}))
    default_template(holder)
    found: dict[str, Any] = holder["template"]
    return found


def typed(raw: dict[str, Any]) -> PodTemplateSpec:
    return decoder(PodTemplateSpec).decode(json.dumps(raw).encode())


def revision(raw: Any, number: int = 1) -> ControllerRevision:
    return ControllerRevision(
        metadata=ObjectMeta(name=f"r{number}"),
        data={"spec": {"template": raw}} if raw is not None else None,
        revision=number,
    )


WHOLE = with_defaults(BARE)
NULLED = {**WHOLE, "metadata": {"creationTimestamp": None, "labels": {"app": "web"}}, "$patch": "replace"}
OLDER = {**WHOLE, "spec": {key: value for key, value in WHOLE["spec"].items() if key != "dnsPolicy"}}
OTHER = with_defaults({**BARE, "spec": {"containers": [{"name": "c", "image": "j"}]}})
CHOSEN = {**WHOLE, "spec": {**WHOLE["spec"], "dnsPolicy": "Default"}}


@pytest.mark.parametrize(
    ("held", "same"),
    [
        (WHOLE, True),
        (NULLED, True),
        (OLDER, True),
        (BARE, True),
        (OTHER, False),
        (CHOSEN, False),
        (None, False),
    ],
    ids=["whole", "as upstream writes it", "before a default", "bare", "another", "a choice", "nothing"],
)
def test_a_default_that_is_missing_makes_no_other_template(held: Any, *, same: bool) -> None:
    assert holds(revision(held), typed(WHOLE)) is same


def test_what_somebody_chose_is_not_taken_for_a_default() -> None:
    assert not holds(revision(OLDER), typed(CHOSEN))


def test_the_revision_of_before_is_the_current_one() -> None:
    found = history([revision(OTHER, 1), revision(OLDER, 2)], typed(WHOLE))

    assert found.current is not None
    assert found.current.metadata.name == "r2"
    assert [one.metadata.name for one in found.old] == ["r1"]
