"""The eye of the cluster test that kills daemons: it must see what it is there to see."""

from dataclasses import replace
from typing import Any

import pytest

from tests.cluster.leftovers import Seen, faults

UID, GONE = "11111111-aaaa", "22222222-bbbb"
SANDBOX = {"id": "s", "sandbox": True, "pod": UID, "task": "RUNNING"}
CONTAINER = {"id": "c", "sandbox": False, "pod": UID, "task": "RUNNING"}
CLEAN = Seen(
    directories=[UID],
    logs=[UID],
    mounts=[UID],
    cgroups=[UID],
    namespaces=["cni-1"],
    addresses=["10.244.1.2"],
    containers=[SANDBOX, CONTAINER],
)
POD: dict[str, Any] = {
    "metadata": {"name": "web", "uid": UID},
    "spec": {},
    "status": {
        "phase": "Running",
        "podIP": "10.244.1.2",
        "containerStatuses": [{"name": "c", "containerID": "containerd://c", "state": {"running": {}}}],
    },
}


def test_what_belongs_to_a_pod_is_no_fault() -> None:
    assert faults(CLEAN, [POD]) == []


@pytest.mark.parametrize("what", ["directories", "logs", "mounts", "cgroups"])
def test_each_thing_of_a_pod_that_is_no_more_is_a_fault(what: str) -> None:
    more: dict[str, Any] = {what: [UID, GONE]}
    assert faults(replace(CLEAN, **more), [POD]) == [f"{what} of pod {GONE}, which is no more"]


def test_a_static_pod_is_known_by_the_hash_of_its_file() -> None:
    assert faults(replace(CLEAN, directories=[UID, "0" * 32]), [POD]) == []


@pytest.mark.parametrize(
    ("seen", "told"),
    [
        (replace(CLEAN, namespaces=["cni-1", "cni-2"]), "2 network namespaces for 1 running pods"),
        (replace(CLEAN, addresses=[]), "addresses given and not in use, or the reverse: ['10.244.1.2']"),
        (replace(CLEAN, containers=[SANDBOX]), "container c is said to run, and does not"),
        (replace(CLEAN, containers=[CONTAINER]), "pod web has 0 sandboxes"),
        (
            replace(CLEAN, containers=[SANDBOX, CONTAINER, {**CONTAINER, "id": "d"}]),
            "container d runs, and no pod's status has it",
        ),
        (
            replace(CLEAN, containers=[SANDBOX, CONTAINER, {**SANDBOX, "id": "t", "task": "STOPPED"}]),
            "pod web has 2 sandboxes",
        ),
        (
            replace(CLEAN, containers=[SANDBOX, CONTAINER, {**SANDBOX, "id": "t", "pod": GONE}]),
            f"container t of pod {GONE}, which is no more",
        ),
    ],
)
def test_each_thing_that_is_not_as_the_api_says_is_a_fault(seen: Seen, told: str) -> None:
    assert faults(seen, [POD]) == [told]


def test_one_address_too_many_is_a_fault() -> None:
    found = faults(replace(CLEAN, addresses=["10.244.1.2", "10.244.1.3"]), [POD])

    assert found == ["addresses given and not in use, or the reverse: ['10.244.1.3']"]
