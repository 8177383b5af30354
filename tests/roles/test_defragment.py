"""When etcd's files are written anew, and what is refused."""

import json
from typing import Any

import pytest

from kybern.machines.topology import Cluster, Machine
from roles.defragment import defragment
from roles.fragments import CORRUPT, NOSPACE, Space, alarms, space
from tests.roles.harness import FakeMachine, Run

MIB = 2**20
STATUS, ALARMS = "endpoint status -w json", "alarm list -w json"


def role(_cluster: Cluster, machine: Machine) -> None:
    wanted: Any = defragment
    wanted(machine)


def status(size: int, used: int, *, leader: int = 7, me: int = 7) -> str:
    """As etcdctl 3.5 writes it; zeros are left out."""
    found: dict[str, Any] = {"header": {"member_id": me, "revision": 42}, "leader": leader}
    found |= {"dbSize": size} if size else {}
    found |= {"dbSizeInUse": used} if used else {}
    return json.dumps([{"Endpoint": "https://127.0.0.1:2379", "Status": found}])


def alarmed(*kinds: int) -> str:
    return json.dumps({"header": {}, "alarms": [{"memberID": 7, "alarm": kind} for kind in kinds]})


def changes(cluster: Cluster, answers: dict[str, str], name: str = "m1") -> tuple[list[str], FakeMachine]:
    fake = FakeMachine(name, answers=answers)
    run = Run([fake])
    run.prepare(role, cluster, [next(each for each in cluster.machines if each.name == name)])
    run.execute()
    return fake.commands, fake


def test_a_member_is_read_with_what_etcdctl_leaves_out() -> None:
    assert space(status(100, 40)) == Space(100, 40, 42, leads=True)
    assert space(status(100, 0, leader=8)) == Space(100, 0, 42, leads=False)
    assert space("") is None
    assert alarms(alarmed(NOSPACE, CORRUPT)) == {NOSPACE, CORRUPT}
    assert alarms('{"header":{}}') == alarms("") == frozenset()


@pytest.mark.parametrize(
    ("size", "used", "worth"),
    [
        (100 * MIB, 60 * MIB, True),
        (100 * MIB, 70 * MIB, True),
        (100 * MIB, 71 * MIB, False),
        (20 * MIB, 5 * MIB, False),
        (0, 0, False),
    ],
)
def test_it_is_worth_it_when_much_is_unused_in_bytes_and_in_share(size: int, used: int, worth: bool) -> None:
    assert Space(size, used, 1, leads=False).worth_it is worth


def test_nothing_is_done_where_little_is_unused(cluster: Cluster) -> None:
    commands, _ = changes(cluster, {STATUS: status(50 * MIB, 45 * MIB), ALARMS: alarmed()})

    assert commands == []


def test_unused_space_is_given_back_and_nothing_forgotten(cluster: Cluster) -> None:
    commands, _ = changes(cluster, {STATUS: status(50 * MIB, 5 * MIB), ALARMS: alarmed()})

    assert len(commands) == 1
    assert "defrag" in commands[0]
    assert "compact" not in commands[0]


def test_a_used_up_quota_is_compacted_then_defragmented_then_told_away(cluster: Cluster) -> None:
    commands, _ = changes(cluster, {STATUS: status(50 * MIB, 45 * MIB), ALARMS: alarmed(NOSPACE)})

    assert [
        "compact --physical 42" in commands[0],
        " defrag" in commands[1],
        "alarm disarm" in commands[2],
    ] == [True] * 3


@pytest.mark.parametrize(
    ("answers", "why"),
    [
        ({ALARMS: alarmed()}, "m1: its member of etcd does not answer"),
        ({STATUS: status(50 * MIB, 5 * MIB), ALARMS: alarmed(NOSPACE, CORRUPT)}, "differs from the others"),
    ],
)
def test_a_member_that_is_down_or_corrupt_is_refused(
    cluster: Cluster, answers: dict[str, str], why: str
) -> None:
    fake = FakeMachine("m1", answers=answers)
    run = Run([fake])
    run.prepare(role, cluster, [cluster.machines[0]])
    with pytest.raises(Exception, match="No hosts remaining"):
        run.execute()

    assert why in fake.commands[-1]
    assert not any("defrag >" in command or "disarm" in command for command in fake.commands)
