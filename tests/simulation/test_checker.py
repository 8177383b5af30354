"""The checker sees what is wrong: each case breaks one thing in a cluster that is right."""

import asyncio
import random
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest

from tests.simulation.fights import Fights
from tests.simulation.plane.checker import wrong
from tests.simulation.plane.mix import mix
from tests.simulation.plane.plane import running
from tests.simulation.plane.virtual import simulated
from tests.simulation.plane.world import Outside, World

type Objects = dict[str, list[dict[str, Any]]]
type Break = Callable[[Objects], None]


@pytest.fixture(scope="module")
def right() -> tuple[Objects, Outside]:
    async def made() -> tuple[Objects, Outside]:
        dice = random.Random(8)
        wanted = mix(12, 100, dice)
        async with running(wanted, 12, dice, Fights()) as plane:
            plane.weather.over = True
            for path, raw in wanted.objects:
                await plane.send(path, raw)
            await asyncio.sleep(max(0.0, 125 - asyncio.get_running_loop().time()))
            await plane.rest()
            objects = plane.objects()
            objects.pop("Event")
            return objects, Outside(wanted.loads, wanted.due)

    return simulated(made)


def first(objects: Objects, kind: str, **wanted: Any) -> dict[str, Any]:
    return next(
        one for one in objects[kind] if all(one["spec"].get(name) == value for name, value in wanted.items())
    )


def of(kind: str, objects: Objects) -> dict[str, Any]:
    """A running pod of an owner of this kind."""
    return next(
        pod
        for pod in objects["Pod"]
        if pod["metadata"]["ownerReferences"][0]["kind"] == kind and pod["status"]["phase"] == "Running"
    )


def served(objects: Objects) -> dict[str, Any]:
    return next(one for one in objects["EndpointSlice"] if one.get("endpoints"))


def unready(objects: Objects) -> None:
    of("ReplicaSet", objects)["status"]["conditions"] = []


def lost(kind: str) -> Break:
    return lambda objects: objects["Pod"].remove(of(kind, objects))


def says(kind: str, name: str) -> Break:
    def change(objects: Objects) -> None:
        objects[kind][0]["status"][name] = 99

    return change


def crowded(objects: Objects) -> None:
    for pod in objects["Pod"]:
        if pod["status"]["phase"] == "Running":
            pod["spec"]["nodeName"] = "n0"
            pod["spec"]["containers"][0]["resources"]["requests"]["cpu"] = "1"


def homeless(objects: Objects) -> None:
    of("ReplicaSet", objects)["spec"]["nodeName"] = "elsewhere"


def ownerless(objects: Objects) -> None:
    del objects["Deployment"][0]


def stale(objects: Objects) -> None:
    served(objects)["endpoints"][0]["addresses"] = ["192.0.2.1"]


def overcharged(objects: Objects) -> None:
    objects["ResourceQuota"][0]["status"]["used"]["pods"] = "1000"


def tainted(objects: Objects) -> None:
    objects["Node"][0]["spec"]["taints"] = [{"key": "x", "effect": "NoSchedule"}]


def going(objects: Objects) -> None:
    objects["Service"][0]["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"


def unwanted(objects: Objects) -> None:
    del objects["Namespace"][:]


def shared(objects: Objects) -> None:
    objects["Node"][1]["spec"]["podCIDR"] = objects["Node"][0]["spec"]["podCIDR"]


def unfinished(objects: Objects) -> None:
    objects["Job"][0]["status"]["conditions"] = []


def lazy(objects: Objects) -> None:
    name = objects["HorizontalPodAutoscaler"][0]["metadata"]["name"]
    target = next(one for one in objects["Deployment"] if one["metadata"]["name"] == name)
    target["spec"]["replicas"] = 15


BREAKS: dict[str, tuple[Break, str]] = {
    "a pod that is not ready": (unready, "ready"),
    "a replica too few": (lost("ReplicaSet"), "ReplicaSet"),
    "a member too few": (lost("StatefulSet"), "too many or too few"),
    "a node without its daemon": (lost("DaemonSet"), "once on every node"),
    "a status that lies": (says("Deployment", "readyReplicas"), "says readyReplicas 99"),
    "a wish that nobody saw": (says("ReplicaSet", "observedGeneration"), "observedGeneration"),
    "a budget that lies": (says("PodDisruptionBudget", "disruptionsAllowed"), "disruptionsAllowed"),
    "a node that is too full": (crowded, "ask for"),
    "a pod on no node": (homeless, "is on no node"),
    "an orphan": (ownerless, "which is gone"),
    "an endpoint that is no pod": (stale, "slices"),
    "a quota that is too high": (overcharged, "says 1000 of pods"),
    "a node with a taint": (tainted, "taints"),
    "an object on its way out": (going, "still being deleted"),
    "an object of a namespace that is gone": (unwanted, "in a namespace that is gone"),
    "a pod network given twice": (shared, "share pod networks"),
    "a job that is not done": (unfinished, "is not complete"),
    "an autoscaler that does nothing": (lazy, "for a load of"),
}


@pytest.mark.timeout(600)
def test_nothing_is_wrong_with_what_is_right(right: tuple[Objects, Outside]) -> None:
    objects, outside = right

    assert wrong(World(objects), outside) == []
    assert {"HorizontalPodAutoscaler", "CronJob", "DaemonSet", "StatefulSet", "PodDisruptionBudget"} <= set(
        objects
    )


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", BREAKS)
def test_what_is_broken_is_seen(right: tuple[Objects, Outside], name: str) -> None:
    objects, outside = deepcopy(right[0]), right[1]
    broken, words = BREAKS[name]

    broken(objects)

    assert any(words in text for text in wrong(World(objects), outside))
