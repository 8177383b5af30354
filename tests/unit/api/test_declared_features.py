"""What kubelets declare, and which changes of pods need it."""

from typing import Any

import pytest

from kybern.api.declared_features import (
    RESIZE_GUARANTEED_CPU,
    RESIZE_INIT,
    RESIZE_POD,
    RESTART_ALL,
    WEB_SOCKETS,
    for_update,
    of_kubelet,
)
from kybern.api.rules.nodes import validate


def pod(*cpus: str, qos: str = "Guaranteed", **spec: Any) -> dict[str, Any]:
    containers = [{"name": f"c{i}", "resources": {"requests": {"cpu": cpu}}} for i, cpu in enumerate(cpus)]
    return {"spec": {"containers": containers, **spec}, "status": {"qosClass": qos}}


def whole(cpu: str) -> dict[str, Any]:
    return {"resources": {"limits": {"cpu": cpu}}}


def first(cpu: str, policy: str = "") -> dict[str, Any]:
    return {
        "initContainers": [{"name": "i", "resources": {"requests": {"cpu": cpu}}, "restartPolicy": policy}]
    }


@pytest.mark.parametrize(
    ("old", "new", "needs"),
    [
        (pod("1"), pod("2"), [RESIZE_GUARANTEED_CPU]),
        (pod("1", "1"), pod("1", "500m"), [RESIZE_GUARANTEED_CPU]),
        (pod("1"), pod("1000m"), []),
        (pod("1", qos="Burstable"), pod("2", qos="Burstable"), []),
        (pod("1", **whole("1")), pod("1", **whole("2")), [RESIZE_POD]),
        (pod("1"), pod("2", **whole("2")), [RESIZE_GUARANTEED_CPU, RESIZE_POD]),
        (pod("1", **whole("1")), pod("1", **whole("1000m")), []),
        (pod("1", **first("1")), pod("1", **first("2")), [RESIZE_INIT]),
        (pod("1", **first("1", "Always")), pod("1", **first("2", "Always")), []),
        (pod("1"), pod("1", tolerations=[{"operator": "Exists"}]), []),
    ],
)
def test_a_change_of_resources_needs_a_kubelet_that_can(old: Any, new: Any, needs: list[str]) -> None:
    assert list(for_update(old, new)) == needs


def test_cpus_of_their_own_are_not_resized() -> None:
    assert of_kubelet("none") == (WEB_SOCKETS, RESIZE_GUARANTEED_CPU, RESIZE_POD, RESIZE_INIT, RESTART_ALL)
    assert of_kubelet("static") == (WEB_SOCKETS, RESIZE_POD, RESIZE_INIT, RESTART_ALL)


@pytest.mark.parametrize(
    ("declared", "complaints"),
    [
        (["A", "B/c", "Bee/deeF"], []),
        (["b"], [("status.declaredFeatures[0]", "FieldValueInvalid")]),
        (["A b"], [("status.declaredFeatures[0]", "FieldValueInvalid")]),
        (["A" * 254], [("status.declaredFeatures[0]", "FieldValueInvalid")]),
        (["B", "A"], [("status.declaredFeatures[1]", "FieldValueInvalid")]),
        (["A", "A"], [("status.declaredFeatures[1]", "FieldValueDuplicate")]),
    ],
)
def test_declared_features_are_names_in_order(declared: list[str], complaints: list[tuple[str, str]]) -> None:
    node = {"metadata": {"name": "n"}, "status": {"declaredFeatures": declared}}

    assert [(one.field, one.reason) for one in validate(node, None)] == complaints
    assert [(one.field, one.reason) for one in validate(node, node)] == complaints
