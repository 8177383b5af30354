"""What brings etcd back, by what its machines say: three members, then five. A row is a state and the step that follows."""

import json
import re
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network

import pytest

from kybern.machines import etcd_seen
from kybern.machines.etcd_seen import Known, Seen, question, seen
from kybern.machines.recovering import (
    Forget,
    GoBack,
    GoOn,
    Join,
    Nothing,
    Refused,
    Said,
    Salvage,
    SetAside,
    Start,
    State,
    Step,
    decide,
)
from kybern.machines.topology import Cluster, Machine

THREE = tuple(Known(name) for name in ("m1", "m2", "m3"))
FIVE = (*THREE, Known("m4"), Known("m5"))
VOTES = Seen(answers=True, running=True, data=True, leader=True, revision=100, members=THREE, free=5000)
ALONE = replace(VOTES, leader=False)  # it runs, and finds no leader
STOPPED = Seen(answers=True, data=True, free=5000)
EMPTY = Seen(answers=True, free=5000)
DEAD = Seen()
SAID = Said("lab")


def state(*seen: Seen, said: Said = SAID, tried: tuple[Step, ...] = ()) -> State:
    names = [f"m{number}" for number in range(1, len(seen) + 1)]
    return State(names, dict(zip(names, seen, strict=True)), said, frozenset(tried))


def dead(*names: str) -> Said:
    return replace(SAID, dead=frozenset(names))


def knowing(one: Seen, *members: Known) -> Seen:
    return replace(one, members=members)


@pytest.mark.parametrize(
    ("found", "step"),
    [
        pytest.param(state(VOTES, VOTES, VOTES), Nothing(), id="all are well"),
        pytest.param(
            state(VOTES, VOTES, DEAD), Nothing(("m3",)), id="one is silent, and nobody calls it dead"
        ),
        pytest.param(state(VOTES, VOTES, STOPPED), Start(("m3",)), id="one is stopped"),
        pytest.param(state(STOPPED, STOPPED, STOPPED), Start(("m1", "m2", "m3")), id="all are stopped"),
        pytest.param(state(VOTES, VOTES, DEAD, said=dead("m3")), Forget("m3"), id="one is dead"),
        pytest.param(
            state(*[knowing(VOTES, *THREE[:2])] * 2, DEAD, said=dead("m3")),
            Nothing(),
            id="a dead one is forgotten",
        ),
        pytest.param(state(VOTES, VOTES, EMPTY), SetAside("m3"), id="one has lost its data"),
        pytest.param(
            state(VOTES, VOTES, STOPPED, tried=(Start(("m3",)),)),
            SetAside("m3"),
            id="one does not run with its data",
        ),
        pytest.param(
            state(*[knowing(VOTES, *THREE[:2])] * 2, STOPPED, tried=(Start(("m3",)),)),
            SetAside("m3"),
            id="one has data of when it was a member",
        ),
        pytest.param(
            state(*[knowing(VOTES, *THREE[:2])] * 2, EMPTY), Join("m3"), id="one is no member any more"
        ),
        pytest.param(
            state(*[knowing(VOTES, *THREE[:2], Known("m3", started=False, learner=True))] * 2, EMPTY),
            Join("m3"),
            id="one was added and has not started",
        ),
        pytest.param(
            state(*[knowing(VOTES, *THREE[:2], Known("m3", learner=True))] * 3),
            Join("m3"),
            id="one may not vote yet",
        ),
        pytest.param(
            state(*[knowing(VOTES, *THREE[:2], Known("m3", learner=True))] * 2, EMPTY),
            SetAside("m3"),
            id="one lost its data before it could vote",
        ),
        pytest.param(
            state(
                knowing(replace(ALONE, revision=90), *FIVE), EMPTY, replace(ALONE, revision=101), EMPTY, EMPTY
            ),
            Salvage("m3"),
            id="of two survivors of five the one that is ahead",
        ),
        pytest.param(
            state(
                replace(knowing(VOTES, *THREE[:1]), cluster="new"),
                *[replace(VOTES, cluster="old")] * 2,
                said=replace(SAID, remembered=frozenset({"m1"})),
            ),
            SetAside("m2"),
            id="two that were said to be dead are back, and a quorum of what was before",
        ),
        pytest.param(
            state(
                replace(VOTES, cluster="old"),
                replace(VOTES, cluster="old"),
                replace(knowing(VOTES, *THREE[2:]), cluster="new"),
                said=replace(SAID, remembered=frozenset({"m3"})),
            ),
            SetAside("m1"),
            id="the same, and ours is the last of the topology",
        ),
        pytest.param(
            state(
                knowing(VOTES, *THREE[:1]), STOPPED, STOPPED, said=replace(SAID, remembered=frozenset({"m1"}))
            ),
            SetAside("m2"),
            id="two that were said to be dead are back, and are not started",
        ),
        pytest.param(
            state(
                knowing(VOTES, *THREE[:1]), EMPTY, STOPPED, said=replace(SAID, remembered=frozenset({"m1"}))
            ),
            SetAside("m3"),
            id="nobody joins before all old data are set aside",
        ),
        pytest.param(state(ALONE, EMPTY, EMPTY), Salvage("m1"), id="two of three have lost their data"),
        pytest.param(
            state(ALONE, DEAD, DEAD, said=dead("m2", "m3")),
            Salvage("m1"),
            id="two of three are dead, and it is said",
        ),
        pytest.param(
            state(
                STOPPED, EMPTY, EMPTY, tried=(Start(("m1",)),), said=replace(SAID, lose_writes=True, copy="a")
            ),
            GoBack("a", ""),
            id="what the survivor has does not run",
        ),
        pytest.param(
            state(
                replace(EMPTY, snapshot="20260102T"),
                replace(EMPTY, snapshot="20260103T"),
                EMPTY,
                said=replace(SAID, lose_writes=True, copy="20260101T"),
            ),
            GoBack("20260103T", "m2"),
            id="all data are gone: the newest snapshot of a machine",
        ),
        pytest.param(
            state(
                replace(EMPTY, snapshot="20260102T"),
                EMPTY,
                EMPTY,
                said=replace(SAID, lose_writes=True, copy="20260101T", only_copy=True),
            ),
            GoBack("20260101T", ""),
            id="all data are gone: the snapshot that was asked for",
        ),
        pytest.param(
            state(replace(STOPPED, restored="X"), EMPTY, EMPTY, said=replace(SAID, pending="X")),
            GoOn(),
            id="a recovery was killed when one machine had its data",
        ),
        pytest.param(
            state(*[replace(VOTES, restored="X")] * 3, said=replace(SAID, pending="X")),
            GoOn(),
            id="a recovery was killed before its deploy came to an end",
        ),
        pytest.param(
            state(*[replace(VOTES, restored="W")] * 3, said=replace(SAID, pending="X")),
            Nothing(),
            id="a recovery was killed before it changed anything, and the members came back",
        ),
        pytest.param(
            state(ALONE, EMPTY, EMPTY, said=replace(SAID, pending="X")),
            Salvage("m1"),
            id="a recovery was killed before it changed anything",
        ),
    ],
)
def test_the_next_step(found: State, step: Step) -> None:
    assert decide(found) == step


@pytest.mark.parametrize(
    ("found", "says"),
    [
        (
            state(ALONE, DEAD, DEAD),
            "there is no answer from m2 and m3; .* kybern recover lab --dead m2 --dead m3",
        ),
        (state(ALONE, DEAD, EMPTY), "kybern recover lab --dead m2$"),
        (state(DEAD, EMPTY, EMPTY), "kybern recover lab --dead m1$"),
        (state(ALONE, ALONE, DEAD), "m1 and m2 have data, and are 2 of 3 members, which is a quorum"),
        (state(ALONE, ALONE, DEAD, said=dead("m3")), "which is a quorum"),
        (state(VOTES, VOTES, VOTES, said=dead("m3")), "m3 is said to be dead, and answers by SSH"),
        (
            state(replace(ALONE, reaches=frozenset({"m2"})), DEAD, DEAD, said=dead("m2", "m3")),
            "m2 is said to be dead, and its etcd answers m1",
        ),
        (
            state(VOTES, VOTES, DEAD, said=dead("m4")),
            "lab has no member m4 of etcd that could be dead; it has m1 and m2 and m3",
        ),
        (state(EMPTY, EMPTY, EMPTY), "there is no snapshot, neither on a machine nor here"),
        (
            state(EMPTY, replace(EMPTY, snapshot="S"), EMPTY),
            "the newest snapshot is S of m2, .* --lose-writes",
        ),
        (
            state(STOPPED, EMPTY, EMPTY, tried=(Start(("m1",)),), said=replace(SAID, copy="S")),
            "m1 has data with which etcd does not start .* S of this side, .* --lose-writes",
        ),
        (state(*[knowing(VOTES)] * 2, EMPTY), "m1 and m2 does not tell who its members are"),
        (state(VOTES, VOTES, replace(STOPPED, free=3)), "the disk of etcd is full on m3"),
        (state(*[replace(STOPPED, free=3)] * 3), "the disk of etcd is full on m1 and m2 and m3"),
        (
            state(VOTES, VOTES, EMPTY, tried=(SetAside("m3"),)),
            "the data of m3 were set aside, and it did not help",
        ),
        (
            state(knowing(ALONE, *THREE, Known("old-1"), Known("old-2")), EMPTY, EMPTY),
            "kybern recover lab --dead old-1 --dead old-2$",
        ),
    ],
)
def test_what_nobody_may_do_unasked_is_refused_with_what_to_do(found: State, says: str) -> None:
    step = decide(found)

    assert isinstance(step, Refused)
    assert re.search(says, step.why), step.why


def test_a_member_that_sees_a_leader_is_proof_of_a_quorum_though_nobody_else_answers() -> None:
    assert decide(state(VOTES, DEAD, DEAD)) == Nothing(("m2", "m3"))
    assert decide(state(VOTES, DEAD, DEAD, said=dead("m2"))) == Forget("m2")


MACHINES = tuple(
    Machine(f"m{number}", IPv4Address(f"10.1.0.1{number}"), frozenset({"etcd", "control-plane"}))
    for number in (1, 2, 3)
)
CLUSTER = Cluster(
    "lab", IPv4Network("10.1.0.0/24"), IPv4Address("10.1.0.1"), IPv4Address("10.1.0.10"), MACHINES
)


MEMBERS = json.dumps(
    [
        {"id": 1, "peerURLs": ["https://10.1.0.11:2380"], "name": "m1", "clientURLs": ["u"]},
        {"id": 2, "peerURLs": ["https://10.1.0.12:2380"], "isLearner": True},
        {"id": 3, "peerURLs": ["https://10.9.0.1:2380"], "name": "old"},
    ]
)
ANSWER = """a banner
KYBERN answers yes
KYBERN running yes
KYBERN data yes
KYBERN free 7000
KYBERN etcd_debugging_mvcc_current_revision 1.000000123e+09
KYBERN etcd_server_has_leader 1
KYBERN members MEMBERS
KYBERN cluster cdf818194e3a8c32
KYBERN reaches m2
KYBERN reaches m3
KYBERN snapshot 20261127T101500Z
KYBERN restored
"""


def test_an_answer_is_read() -> None:
    text = ANSWER.replace("MEMBERS", MEMBERS)

    assert seen(CLUSTER, text) == Seen(
        answers=True,
        running=True,
        data=True,
        leader=True,
        revision=1_000_000_123,
        members=(Known("m1"), Known("m2", started=False, learner=True), Known("old")),
        cluster="cdf818194e3a8c32",
        reaches=frozenset({"m2", "m3"}),
        snapshot="20261127T101500Z",
        free=7000,
    )


def test_a_machine_without_etcd_answers_and_has_nothing() -> None:
    nothing = "KYBERN answers yes\nKYBERN free \nKYBERN members \nKYBERN snapshot \nKYBERN restored \n"

    assert seen(CLUSTER, nothing) == Seen(answers=True)
    assert seen(CLUSTER, "") == DEAD


def test_a_member_is_asked_for_the_others_and_not_for_itself() -> None:
    asked = question(CLUSTER, MACHINES[0])

    assert "reaches m2" in asked
    assert "reaches m1" not in asked
    assert "https://10.1.0.11:2380/members" in asked


def test_little_space_is_no_space_as_etcd_takes_much_at_a_time() -> None:
    assert replace(EMPTY, free=etcd_seen.ENOUGH - 1).is_full
    assert not replace(EMPTY, free=etcd_seen.ENOUGH).is_full
    assert not DEAD.is_full


@pytest.mark.parametrize(
    ("one", "of_late", "idle"),
    [
        (VOTES, False, False),
        (ALONE, False, False),
        (STOPPED, False, True),
        (STOPPED, True, False),
        (EMPTY, True, True),
    ],
)
def test_who_is_waited_for(one: Seen, of_late: bool, idle: bool) -> None:
    assert one.is_idle(of_late=of_late) is idle
