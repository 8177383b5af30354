"""Plugins for pods, off by default: what they ask of nodes, and how far they keep others away."""

from typing import Any

import pytest

from kybern.admission.plugins import extended_resource_toleration, limit_pod_hard_anti_affinity_topology
from kybern.machinery.errors import Forbidden
from kybern.machinery.kind import Raw
from tests.unit.admission.writes import admitted, named, write

EXTENDED = extended_resource_toleration.PLUGIN
SPREAD = limit_pod_hard_anti_affinity_topology.PLUGIN


def asks(*resources: str) -> Raw:
    return {"name": "c", "resources": {"requests": dict.fromkeys(resources, "1")}}


def tolerates(key: str, **more: Any) -> Raw:
    return {"key": key, "operator": "Exists", "effect": "NoSchedule", **more}


TAINT = {"key": "a.io/device", "operator": "Equal", "value": "v", "effect": "NoExecute"}


@pytest.mark.parametrize(
    ("spec", "left"),
    [
        ({"containers": [asks("cpu")]}, []),
        ({"containers": [asks("cpu", "kubernetes.io/thing")]}, []),
        ({"containers": [asks("requests.a.io/device")]}, []),
        ({"containers": [asks("a.io/device")]}, [tolerates("a.io/device")]),
        (
            {"containers": [asks("b.io/device")], "initContainers": [asks("a.io/device", "b.io/device")]},
            [tolerates("a.io/device"), tolerates("b.io/device")],
        ),
        ({"containers": [asks("cpu")], "ephemeralContainers": [asks("a.io/device")]}, []),
        (
            {"containers": [asks("a.io/device")], "tolerations": [tolerates("a.io/device"), TAINT]},
            [tolerates("a.io/device"), TAINT],
        ),
        (
            {"containers": [asks("a.io/device")], "tolerations": [TAINT]},
            [TAINT, tolerates("a.io/device")],
        ),
    ],
)
@pytest.mark.parametrize("operation", ["CREATE", "UPDATE"])
async def test_who_asks_for_a_device_tolerates_its_nodes(operation: str, spec: Raw, left: list[Raw]) -> None:
    pod = named("p", spec={**spec})

    assert await admitted(EXTENDED, write(operation, "pods", pod, pod)) == ""

    assert pod["spec"].get("tolerations", []) == left


async def test_subresources_get_no_tolerations() -> None:
    pod = named("p", spec={"containers": [asks("a.io/device")]})

    await admitted(EXTENDED, write("UPDATE", "pods/status", pod, pod))

    assert "tolerations" not in pod["spec"]


def keeps_away(*keys: str, sort: str = "podAntiAffinity") -> Raw:
    terms = [{"topologyKey": key} for key in keys]
    return {"affinity": {sort: {"requiredDuringSchedulingIgnoredDuringExecution": terms}}}


REFUSED = (
    'pods "p" is forbidden: affinity.PodAntiAffinity.RequiredDuringScheduling has TopologyKey zone but only key '
    "kubernetes.io/hostname is allowed"
)


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ({}, ""),
        ({"affinity": {}}, ""),
        ({"affinity": {"podAntiAffinity": {}}}, ""),
        (keeps_away("kubernetes.io/hostname"), ""),
        (keeps_away("kubernetes.io/hostname", "zone"), REFUSED),
        (keeps_away("zone", sort="podAffinity"), ""),
        (
            {
                "affinity": {
                    "podAntiAffinity": {
                        "preferredDuringSchedulingIgnoredDuringExecution": [
                            {"podAffinityTerm": {"topologyKey": "zone"}}
                        ]
                    }
                }
            },
            "",
        ),
    ],
)
async def test_no_pod_keeps_others_away_from_more_than_its_node(spec: Raw, says: str) -> None:
    for operation in ("CREATE", "UPDATE"):
        assert await admitted(SPREAD, write(operation, "pods", named("p", spec=spec), named("p"))) == says


async def test_a_pod_without_a_name_is_refused_as_upstream_words_it() -> None:
    pod = {"metadata": {"generateName": "p-"}, "spec": keeps_away("zone")}
    assert SPREAD.validate is not None

    with pytest.raises(Forbidden, match=r"^pods is forbidden: affinity"):
        await SPREAD.validate(write("CREATE", "pods", pod))
