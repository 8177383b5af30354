"""Memory of NUMA nodes: who gets it from where, what is left, and the file of it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kybern.api.core_v1 import Container, Pod, PodStatus, ResourceRequirements
from kybern.daemon.run import Fatal
from kybern.kubelet import machine, outset
from kybern.kubelet.configz import configz
from kybern.kubelet.cpus.pinning import Pinning, Rules
from kybern.kubelet.cri import Runtime
from kybern.kubelet.devices.allocation import Devices
from kybern.kubelet.memory import checkpoint, reservation
from kybern.kubelet.memory.holding import Memory, Unusable
from kybern.kubelet.memory.ledger import (
    Block,
    Hand,
    Kept,
    State,
    Unavailable,
    agrees,
    returned,
    untouched,
    wishes,
)
from kybern.kubelet.memory.reservation import Reservation
from kybern.kubelet.node_status import Reserved
from kybern.kubelet.settings import Settings
from kybern.kubelet.status import Verdict
from kybern.kubelet.topology import metrics
from kybern.kubelet.topology.alignment import Alignment
from kybern.kubelet.topology.allot import Unaligned, allot
from kybern.kubelet.topology.hints import Numa
from kybern.kubelet.topology.merge import Policy
from kybern.machinery.quantity import parse
from kybern.machinery.struct import replace
from tests.unit.kubelet.making import container, pod

TWO = Numa((0, 1), {}, {})
FOUR = Numa((0, 1, 2, 3), {}, {})
HUGE = "hugepages-2Mi"
# The checksum that upstream's own test of its file has.
UPSTREAMS = """{"policyName":"static","machineState":{"0":{"numberOfAssignments":0,"memoryMap":{"memory":{"total":2048,
"systemReserved":512,"allocatable":1536,"reserved":512,"free":1024}},"cells":[]}},
"entries":{"pod":{"container1":[{"numaAffinity":[0],"type":"memory","size":512}]}},"checksum":%d}"""


def nodes(numa: Numa = TWO, size: int = 100, huge: int = 0) -> State:
    sorts = {"memory": size + 10 + huge, **({HUGE: huge} if huge else {})}
    return untouched(dict.fromkeys(numa.nodes, sorts), {node: {"memory": 10} for node in numa.nodes})


def asking(name: str, size: int, huge: int = 0, **more: Any) -> Container:
    amounts = {"cpu": "1", "memory": str(size), **({HUGE: str(huge)} if huge else {})}
    return container(name, resources=ResourceRequirements(limits=amounts, requests=amounts), **more)


def given(state: State, of: Pod, policy: Policy | None = None, numa: Numa = TWO) -> Hand:
    hand = Hand(of, state, numa)
    allot(of, (hand,), policy or Policy(), numa)
    return hand


def where(hand: Hand) -> dict[str, list[tuple[int, ...]]]:
    return {name: [block.numa_affinity for block in blocks] for name, blocks in hand.given.items()}


def free(state: State, sort: str = "memory") -> list[int]:
    return [state[node].free(sort) for node in sorted(state)]


def test_nodes_have_what_is_not_reserved_and_not_huge_pages() -> None:
    table = nodes(huge=30)[0].memory_map

    assert (table["memory"].total, table["memory"].allocatable, table["memory"].free) == (140, 100, 100)
    assert (table[HUGE].total, table[HUGE].free) == (30, 30)


def test_only_guaranteed_pods_that_do_not_ask_as_a_whole_have_memory_of_their_own() -> None:
    one = asking("c", 50, 4)
    burstable = replace(pod(one), status=PodStatus(qos_class="Burstable"))
    whole = pod(one, resources=ResourceRequirements(limits={"cpu": "1", "memory": "60"}))

    assert wishes(pod(one), one) == {"memory": 50, HUGE: 4}
    assert wishes(burstable, one) == {}
    assert wishes(whole, one) == {}


def test_memory_comes_from_one_node_while_one_has_enough() -> None:
    first = given(nodes(), pod(asking("x", 60), asking("y", 60)))

    assert where(first) == {"x": [(0,)], "y": [(1,)]}
    assert free(first.state) == [40, 40]
    assert where(given(first.state, pod(asking("z", 40)))) == {"z": [(0,)]}
    with pytest.raises(
        Unavailable, match=r"^\[memorymanager\] failed to get the default NUMA affinity, no NUMA"
    ):
        given(first.state, pod(asking("z", 50)))


def test_more_than_a_node_has_comes_from_a_group_that_gives_to_nobody_else() -> None:
    wide = given(nodes(), pod(asking("x", 150)))

    assert where(wide) == {"x": [(0, 1)]}
    assert free(wide.state) == [0, 50]
    assert {cell.cells for cell in wide.state.values()} == {(0, 1)}
    # There are 50 on node 1, but it does not give alone any more; a container of the group has them.
    with pytest.raises(Unaligned):
        given(wide.state, pod(asking("y", 20)), Policy("single-numa-node"))
    assert where(given(wide.state, pod(asking("y", 20)), Policy("best-effort"))) == {"y": [(0, 1)]}


def test_a_node_that_gives_alone_joins_no_group() -> None:
    one = given(nodes(FOUR), pod(asking("x", 10)), numa=FOUR)

    assert where(given(one.state, pod(asking("y", 150)), numa=FOUR)) == {"y": [(1, 2)]}


def test_huge_pages_come_from_the_same_nodes() -> None:
    state = nodes(huge=30)
    both = given(state, pod(asking("x", 20, 20)))

    assert where(both) == {"x": [(0,), (0,)]}
    assert (free(both.state), free(both.state, HUGE)) == ([80, 100], [10, 30])
    assert both.state[0].number_of_assignments == 2
    assert where(given(both.state, pod(asking("y", 20, 20)))) == {"y": [(1,), (1,)]}


def test_the_topology_decides_where_it_is_asked_to() -> None:
    state = given(nodes(), pod(asking("a", 50))).state

    assert where(given(state, pod(asking("x", 60)), Policy("single-numa-node"))) == {"x": [(1,)]}
    with pytest.raises(Unavailable):
        given(state, pod(asking("x", 150)), Policy("restricted"))
    two = pod(asking("x", 30), asking("y", 30))
    assert where(given(state, two, Policy("single-numa-node"))) == {"x": [(0,)], "y": [(1,)]}
    assert where(given(state, two, Policy("single-numa-node", "pod"))) == {"x": [(1,)], "y": [(1,)]}


def test_what_an_init_container_had_goes_on_and_is_counted_once() -> None:
    hand = given(nodes(), pod(asking("c", 80), init_containers=(asking("i", 90),)))

    assert [one.size for one in (*hand.given["i"], *hand.given["c"])] == [10, 80]
    assert free(hand.state) == [10, 100]
    beside = given(nodes(), pod(asking("c", 80), init_containers=(asking("s", 90, restart_policy="Always"),)))
    assert where(beside) == {"s": [(0,)], "c": [(1,)]}


@pytest.mark.parametrize("sizes", [(60, 60), (150,), (100, 100), (10, 20, 30)])
def test_what_is_given_back_leaves_everything_as_it_was(sizes: tuple[int, ...]) -> None:
    fresh = nodes()
    hand = given(fresh, pod(*(asking(f"c{n}", size) for n, size in enumerate(sizes))))

    state = hand.state
    assert agrees(Kept(state, {"u1": hand.given}), fresh) == ""
    for blocks in hand.given.values():
        for block in blocks:
            state = returned(state, block)

    assert state == fresh


def test_what_is_not_true_of_the_machine_is_told() -> None:
    hand = given(nodes(), pod(asking("c", 60)))
    kept = Kept(hand.state, {"u1": hand.given})

    assert agrees(kept, nodes(size=90)).endswith("machine state is different from the real one")
    assert agrees(Kept(hand.state, {}), nodes()).endswith("machine state is different from the real one")
    alien = Kept(hand.state, {"u1": {"c": (Block((7,), "memory", 1),)}})
    assert agrees(alien, nodes()).endswith("uses the NUMA that does not exist")


def test_upstreams_file_is_read_by_its_checksum() -> None:
    policy, kept = checkpoint.decode((UPSTREAMS % 4215593881).encode())

    assert policy == "static"
    assert kept.entries == {"pod": {"container1": (Block((0,), "memory", 512),)}}
    assert kept.state[0].memory_map["memory"].free == 1024
    assert checkpoint.decode((UPSTREAMS % 0).encode())[1] == kept
    assert checkpoint.decode((UPSTREAMS % 2267633148).encode())[1] == kept
    with pytest.raises(checkpoint.Corrupt, match="checkpoint is corrupted"):
        checkpoint.decode((UPSTREAMS % 101010).encode())


def test_what_is_written_has_upstreams_fields() -> None:
    hand = given(nodes(), pod(asking("c", 60)))
    content = checkpoint.encode("Static", Kept(hand.state, {"u1": hand.given}))

    found = msgspec.json.decode(content)
    assert list(found) == ["policyName", "machineState", "entries", "checksum"]
    assert found["entries"] == {"u1": {"c": [{"numaAffinity": [0], "type": "memory", "size": 60}]}}
    assert found["machineState"]["0"] == {
        "numberOfAssignments": 1,
        "memoryMap": {
            "memory": {"total": 110, "systemReserved": 10, "allocatable": 100, "reserved": 60, "free": 40}
        },
        "cells": [0],
    }
    assert checkpoint.decode(content) == ("Static", Kept(hand.state, {"u1": hand.given}))


async def test_what_is_given_is_known_after_a_restart(tmp_path: Path) -> None:
    file, of = tmp_path / checkpoint.FILE, pod(asking("c", 60))
    memory = Memory(file, "Static", nodes(), TWO)
    hand = memory.hand(of)
    assert hand is not None
    allot(of, (hand,), Policy(), TWO)
    memory.take("u1", hand)
    await memory.keep()

    again = Memory(file, "Static", nodes(), TWO)
    assert (again.of("u1", "c"), again.of("u1", "other"), again.hand(of)) == ("0", "", None)
    assert file.stat().st_mode & 0o777 == 0o600
    await again.release("u1")
    assert Memory(file, "Static", nodes(), TWO).holders() == frozenset()
    assert [block.size for block in again.allocatable()] == [100, 100]


def test_a_file_of_another_policy_or_machine_is_refused(tmp_path: Path) -> None:
    file = tmp_path / checkpoint.FILE
    Memory(file, "Static", nodes(), TWO)

    with pytest.raises(
        Unusable, match='configured policy "None" differs from state checkpoint policy "Static"'
    ):
        Memory(file, "None", {}, TWO)
    with pytest.raises(Unusable, match="the expected machine state is different from the real one"):
        Memory(file, "Static", nodes(size=50), TWO)
    file.write_text("{")
    with pytest.raises(Unusable, match="could not restore state from checkpoint"):
        Memory(file, "Static", nodes(), TWO)


def test_reservations_are_read_from_the_flag_and_the_file() -> None:
    expected = (Reservation(0, {"memory": "1Gi", HUGE: "2Mi"}), Reservation(1, {"memory": "2Gi"}))

    assert reservation.from_flag(f"0:memory=1Gi,{HUGE}=2Mi;1:memory=2Gi") == expected
    raw = [
        {"numaNode": 0, "limits": {"memory": "1Gi", HUGE: "2Mi"}},
        {"numaNode": 1, "limits": {"memory": "2Gi"}},
    ]
    assert reservation.from_file(raw) == expected


@pytest.mark.parametrize(
    ("flag", "why"),
    [
        ("0:cpu=1", 'the limit type "cpu" for NUMA node 0 is not supported'),
        ("0:memory=0", "reserved memory may not be zero for NUMA node 0"),
        ("0:memory=1;0:memory=2", "duplicate value for NUMA node 0"),
        ("memory=1", "incorrect format"),
        ("0:memory", "incorrect format"),
    ],
)
def test_reservations_that_make_no_sense_are_refused(flag: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        reservation.from_flag(flag)


@pytest.mark.parametrize(
    ("flag", "held", "why"),
    [
        ("0:memory=10", "11", 'total amount "10" of type "memory" is not equal to the value "11"'),
        ("7:memory=10", "10", "references a NUMA node 7 that does not exist"),
        ("", "0", "you should specify the system reserved memory"),
    ],
)
def test_reservations_are_what_the_node_keeps(flag: str, held: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        reservation.by_node(reservation.from_flag(flag), (0, 1), {"memory": parse(held)})
    same = reservation.by_node(
        reservation.from_flag("0:memory=4;1:memory=6"), (0, 1), {"memory": parse("10")}
    )
    assert same == {0: {"memory": 4}, 1: {"memory": 6}}


def test_the_machine_tells_the_memory_of_its_nodes(tmp_path: Path) -> None:
    for number in (0, 1):
        pages = tmp_path / f"node{number}/hugepages/hugepages-2048kB"
        pages.mkdir(parents=True)
        (pages / "nr_hugepages").write_text(f"{number}\n")
        (tmp_path / f"node{number}/meminfo").write_text(
            f"Node {number} MemTotal:       {1000 + number} kB\nNode {number} MemFree: 1 kB\n"
        )

    found: Mapping[int, Mapping[str, int]] = machine.numa_memory(tmp_path)

    assert found == {0: {"memory": 1024000, HUGE: 0}, 1: {"memory": 1025024, HUGE: 1 << 21}}
    whole = machine.Hardware(1, 5, 6, 0, {HUGE: 2})
    assert machine.numa_memory(tmp_path / "none", whole) == {0: {"memory": 5, HUGE: 2}}


def test_a_kubelet_whose_reservations_do_not_fit_does_not_start(tmp_path: Path) -> None:
    settings = Settings(memory_policy="Static", reserved_memory=(Reservation(0, {"memory": "1Gi"}),))

    with pytest.raises(Fatal, match="cannot give memory of NUMA nodes to pods: the total amount"):
        outset.apportionment(settings, tmp_path, Runtime("unix:///nosuch", 1.0), Reserved())


async def test_a_pod_whose_memory_cannot_be_had_is_refused_in_upstreams_words(tmp_path: Path) -> None:
    cpus = Pinning(tmp_path / "cpus.json", Rules(), Runtime("unix:///nosuch", 1.0))
    memory = Memory(tmp_path / checkpoint.FILE, "Static", nodes(), TWO)
    alignment = Alignment(Devices(tmp_path, TWO), cpus, memory, Policy(), TWO)
    before = metrics.MEMORY._value.get(), metrics.NO_MEMORY._value.get()  # no other way to read it

    verdict = await alignment.admit(pod(asking("x", 60), asking("y", 300)))

    text = "failed to get the default NUMA affinity, no NUMA nodes with enough memory is available"
    assert verdict == Verdict(
        "UnexpectedAdmissionError", f"Allocate failed due to [memorymanager] {text}, which is unexpected"
    )
    assert alignment.holders() == frozenset()
    assert await alignment.admit(pod(asking("x", 60))) is None
    assert alignment.holders() == {"u1"}
    after = metrics.MEMORY._value.get(), metrics.NO_MEMORY._value.get()  # no other way to read it
    assert (after[0] - before[0], after[1] - before[1]) == (2, 1)


def test_reservations_are_shown_as_they_are_written() -> None:
    raw = [{"numaNode": 1, "limits": {"memory": "2Gi"}}]
    shown = configz(Settings(reserved_memory=reservation.from_file(raw)))["kubeletconfig"]

    assert shown["reservedMemory"] == raw
    # As Go writes a part of which nothing is set.
    assert shown["memorySwap"] == {}
