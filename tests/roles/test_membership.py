"""Machines that become members of etcd, and ones that leave: what is decided, and what is told when it may not be."""

import json
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest

from kybern.machines.topology import Cluster, Machine
from roles import etcd as role
from roles.members import Member, cannot_join, healthy, initial, listed, may_leave, of_name
from tests.roles.conftest import master
from tests.roles.harness import FakeMachine, Run, apply

NEW = Machine("m4", IPv4Address("10.1.0.14"), frozenset({"etcd", "control-plane"}))
LIST = "member list"
HEALTH = "endpoint health"


def member(number: int, *, started: bool = True, learner: bool = False) -> dict[str, Any]:
    """As etcdctl 3.5 writes one."""
    address = f"10.1.0.1{number}"
    found: dict[str, Any] = {"ID": number, "peerURLs": [f"https://{address}:2380"]}
    if started:
        found |= {"name": f"m{number}", "clientURLs": [f"https://{address}:2379"]}
    if learner:
        found["isLearner"] = True
    return found


def members(*found: dict[str, Any]) -> str:
    return json.dumps({"header": {"cluster_id": 17}, "members": found})


def health(*well: int, ill: tuple[int, ...] = ()) -> str:
    ends = [{"endpoint": f"https://10.1.0.1{each}:2379", "health": True, "took": "2ms"} for each in well]
    return json.dumps(
        ends
        + [{"endpoint": f"https://10.1.0.1{each}:2379", "health": False, "error": "deadline"} for each in ill]
    )


THREE = members(member(1), member(2), member(3))


@pytest.fixture
def grown(cluster: Cluster, state: Path) -> Cluster:
    """The cluster with m3 replaced by m4, which etcd has not seen."""
    (state / "test/etcd-bootstrapped").write_text("m1\nm2\n")
    return replace(cluster, machines=(*cluster.machines[:2], NEW, cluster.machines[3]))


def joining(answer: str, *, data: bool = False) -> FakeMachine:
    fake = FakeMachine("m4", answers={LIST: answer} if answer else {})
    if data:
        fake.true.add("test -d /var/lib/etcd/member")
    return fake


def refused(role_: Any, cluster: Cluster, machine: Machine, fake: FakeMachine) -> str:
    run = Run([fake])
    run.prepare(role_, cluster, [machine])
    with pytest.raises(Exception, match="No hosts remaining"):
        run.execute()
    return fake.commands[-1]


def test_ids_are_read_as_etcdctl_takes_them() -> None:
    text = json.dumps(
        {"members": [{"ID": 17935123456789012345, "name": "m1", "peerURLs": ["a"], "clientURLs": ["b"]}]}
    )

    assert listed(text) == (Member("f8e65bc274af5f79", "m1", ("a",), ("b",)),)


def test_a_machine_that_is_not_remembered_joins_as_a_learner(grown: Cluster) -> None:
    fake = joining(members(member(1), member(2)))

    apply(role.etcd, grown, NEW, fake)

    (script,) = [command for command in fake.commands if "member add" in command]
    assert "member add m4 --learner --peer-urls=https://10.1.0.14:2380" in script
    assert (
        "ETCD_INITIAL_CLUSTER=m1=https://10.1.0.11:2380,m2=https://10.1.0.12:2380,m4=https://10.1.0.14:2380"
        in script
    )
    assert "--endpoints=https://10.1.0.11:2379,https://10.1.0.12:2379 " in script


def test_its_first_start_is_the_join_s_and_nothing_of_a_new_cluster_is_shipped(grown: Cluster) -> None:
    fake = joining(members(member(1), member(2)))

    apply(role.etcd, grown, NEW, fake)

    join = next(index for index, command in enumerate(fake.commands) if "member add" in command)
    assert not [
        command for command in fake.commands[:join] if "etcd.service" in command and "systemctl" in command
    ]
    assert fake.contents["/etc/kybern/etcd.env"] == b"ETCD_INITIAL_CLUSTER_STATE=existing\n"


@pytest.mark.parametrize("data", [False, True])
def test_one_that_was_killed_while_joining_goes_on(grown: Cluster, data: bool) -> None:
    fake = joining(members(member(1), member(2), member(4, started=data, learner=True)), data=data)

    apply(role.etcd, grown, NEW, fake)

    (script,) = [command for command in fake.commands if "member promote" in command]
    assert "member add" not in script
    # With data it has begun: what it was told of the others is not asked again.
    assert ("ETCD_INITIAL_CLUSTER=" in script) is not data


def test_one_that_votes_already_is_left_alone(grown: Cluster) -> None:
    fake = joining(members(member(1), member(2), member(4)), data=True)

    apply(role.etcd, grown, NEW, fake)

    assert not [command for command in fake.commands if "member" in command and "etcdctl" in command]


def test_members_that_are_remembered_ask_nobody(cluster: Cluster, state: Path) -> None:
    (state / "test/etcd-bootstrapped").write_text("m1\nm2\nm3\n")
    fake = FakeMachine("m1")

    assert "etcd | Joined" not in apply(role.etcd, cluster, master(1), fake)


@pytest.mark.parametrize(
    ("answer", "data", "says"),
    [
        ("", False, "no member of etcd answers; start m1 or m2"),
        (members(member(1), member(2), member(4)), False, "its data are gone; run: kybern remove test m4"),
        (members(member(1), member(2)), True, "take them off with: kybern remove test m4"),
        (
            members(member(1), member(2), member(5, started=False, learner=True)),
            False,
            "https://10.1.0.15:2380 was added",
        ),
    ],
)
def test_who_may_not_join_is_told_why_and_what_to_do(
    grown: Cluster, answer: str, data: bool, says: str
) -> None:
    told = refused(role.etcd, grown, NEW, joining(answer, data=data))

    assert "cannot let m4 join" in told
    assert says in told


def forget(cluster: Cluster, _machine: Machine) -> None:
    role.forgotten(cluster=cluster, leaving="m3")


def test_a_member_is_forgotten_by_its_id_when_the_others_have_a_quorum(cluster: Cluster) -> None:
    fake = FakeMachine("m1", answers={LIST: THREE, HEALTH: health(1, 2, ill=(3,))})

    apply(forget, cluster, master(1), fake)

    assert fake.commands[-1].endswith("member remove 3")


def test_who_is_not_a_member_is_forgotten_already(cluster: Cluster) -> None:
    fake = FakeMachine("m1", answers={LIST: members(member(1), member(2))})

    assert apply(forget, cluster, master(1), fake) == []


def test_a_member_whose_loss_would_cost_the_quorum_stays(cluster: Cluster) -> None:
    fake = FakeMachine("m1", answers={LIST: THREE, HEALTH: health(1, 3, ill=(2,))})

    assert "would have no quorum" in refused(forget, cluster, master(1), fake)


@pytest.mark.parametrize(
    ("voters", "well", "leaving", "allowed"),
    [
        (1, {1}, 1, False),
        (2, {1, 2}, 2, True),
        (2, {2}, 2, False),
        (2, {1}, 2, True),
        (3, {1, 2, 3}, 3, True),
        (3, {1, 2}, 3, True),
        (3, {1, 3}, 3, False),
        (3, {1}, 3, False),
        (5, {1, 2, 3}, 5, True),
        (5, {1, 2, 5}, 5, False),
        (4, {1, 2}, 4, True),
        (4, {1}, 4, False),
    ],
)
def test_who_may_leave(voters: int, well: set[int], leaving: int, allowed: bool) -> None:
    found = listed(members(*(member(number) for number in range(1, voters + 1))))
    own = of_name(found, f"m{leaving}", "")
    assert own is not None

    assert may_leave(found, healthy(health(*sorted(well))), own) is allowed


def test_a_learner_s_health_is_no_vote() -> None:
    found = listed(members(member(1), member(2), member(3, learner=True)))
    own = of_name(found, "m2", "")
    assert own is not None

    assert not may_leave(found, healthy(health(2, 3)), own)
    assert may_leave(found, healthy(health(1, 3)), own)


def test_one_that_has_not_started_is_known_by_its_address() -> None:
    found = listed(members(member(1), member(4, started=False, learner=True)))

    assert of_name(found, "m4", "https://10.1.0.14:2380") == found[1]
    assert of_name(found, "m5", "https://10.1.0.15:2380") is None
    assert (
        initial(found, "m4", "https://10.1.0.14:2380")
        == "m1=https://10.1.0.11:2380,m4=https://10.1.0.14:2380"
    )
    assert cannot_join(found, found[1], "test", "m4", has_data=False) == ""
