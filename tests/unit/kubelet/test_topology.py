"""Whether what a container gets lies together: hints, policies, and whole pods."""

from itertools import product
from pathlib import Path

import pytest

from kybern.api.core_v1 import Container, ResourceRequirements
from kybern.daemon.run import Fatal
from kybern.kubelet import machine, outset
from kybern.kubelet.cpus.layout import Layout
from kybern.kubelet.cpus.ledger import Hand as CpuHand
from kybern.kubelet.cpus.ledger import Shelf, parse, spelled
from kybern.kubelet.cri import Runtime
from kybern.kubelet.devices.ledger import Hand as DeviceHand
from kybern.kubelet.devices.ledger import Stand
from kybern.kubelet.node_status import Reserved
from kybern.kubelet.settings import Settings
from kybern.kubelet.topology.allot import Unaligned, allot
from kybern.kubelet.topology.hints import Hint, Numa, Stock, hints, together
from kybern.kubelet.topology.merge import Policy, merge
from kybern.kubelet.topology.options import Options, options
from tests.unit.kubelet.making import container, pod

TWO = Numa((0, 1), {0: {0: 10, 1: 20}, 1: {0: 20, 1: 10}}, {cpu: cpu // 4 for cpu in range(8)})
# Node 0 is near to 2, node 1 near to 3.
FOUR = Numa(
    (0, 1, 2, 3),
    {a: {b: 10 if a == b else 12 if (a - b) % 2 == 0 else 30 for b in range(4)} for a in range(4)},
)
PLACES = {cpu: (cpu // 4, cpu) for cpu in range(8)}
NAME = "example.com/knob"


def hint(nodes: str, preferred: bool = True) -> Hint:
    """``any``, or the numbers of nodes."""
    return Hint(None if nodes == "any" else together(map(int, nodes)), preferred)


@pytest.mark.parametrize(
    ("free", "again", "count", "expected"),
    [
        ("0123", "", 2, [hint("0"), hint("01", False)]),
        ("04", "", 2, [hint("01", False)]),
        ("04", "", 1, [hint("0"), hint("1"), hint("01", False)]),
        ("01234567", "", 6, [hint("01")]),
        ("0", "", 2, []),
        ("4567", "0", 2, [hint("01", False)]),
        ("4567", "45", 2, [hint("1"), hint("01", False)]),
    ],
)
def test_hints_are_the_nodes_with_enough_and_the_fewest_are_preferred(
    free: str, again: str, count: int, expected: list[Hint]
) -> None:
    def near(cpus: str) -> tuple[int, ...]:
        return tuple(1 << TWO.of_cpu[int(cpu)] for cpu in cpus)

    assert list(hints(Stock(near("01234567"), near(free), near(again)), count, TWO)) == expected


def test_things_that_are_near_no_node_give_no_hint() -> None:
    assert hints(Stock((1, 0), (0,)), 1, TWO) == ()


@pytest.mark.parametrize(
    ("policy", "asked", "expected", "admitted"),
    [
        ("best-effort", [], hint("01"), True),
        ("restricted", [None], hint("01"), True),
        ("restricted", [(hint("0"), hint("1")), (hint("1"), hint("01", False))], hint("1"), True),
        ("restricted", [(hint("0"),), (hint("1"),)], hint("01", False), False),
        ("best-effort", [(hint("0"),), (hint("1"),)], hint("01", False), True),
        ("restricted", [(hint("01"),), (hint("0"),)], hint("0", False), False),
        ("restricted", [(hint("01"),), None], hint("01"), True),
        ("single-numa-node", [(hint("01"),), None], Hint(None, False), False),
        ("single-numa-node", [(hint("0"), hint("01", False)), (hint("0"),)], hint("0"), True),
        ("single-numa-node", [None, None], Hint(None, True), True),
        ("restricted", [()], hint("01", False), False),
        ("best-effort", [()], hint("01", False), True),
    ],
)
def test_policies(policy: str, asked: list[tuple[Hint, ...] | None], expected: Hint, admitted: bool) -> None:
    assert merge(asked, Policy(policy), TWO) == (expected, admitted)


def test_of_hints_that_are_not_preferred_the_widest_need_counts() -> None:
    asked = [
        (hint("01", False), hint("0123", False)),
        (hint("0", False), hint("01", False), hint("012", False)),
    ]

    assert merge(asked, Policy("best-effort"), FOUR)[0] == hint("01", False)


def test_of_sets_of_one_size_the_closest_wins_when_asked_for() -> None:
    asked = [(hint("01"), hint("02"), hint("13"))]

    assert merge(asked, Policy("restricted"), FOUR)[0] == hint("01")
    assert merge(asked, Policy("restricted", closest=True), FOUR)[0] == hint("02")


def test_combining_step_by_step_is_the_same_as_all_combinations() -> None:
    """Against the plain form: every combination of hints, merged at once."""
    every = [Hint(nodes, preferred) for nodes in (None, 1, 2, 3) for preferred in (True, False)]
    for kinds in product(product(every, repeat=2), repeat=2):
        found, _admitted = merge(kinds, Policy("restricted"), TWO)
        plain = {_plainly(chosen) for chosen in product(*kinds)} - {None}
        assert found in (plain or {hint("01", False)}), kinds
        assert found.preferred == any(one.preferred for one in plain if one is not None), kinds


def _plainly(chosen: tuple[Hint, ...]) -> Hint | None:
    masks = [one.nodes for one in chosen if one.nodes is not None]
    nodes = TWO.all
    for mask in masks:
        nodes &= mask
    preferred = all(one.preferred for one in chosen) and len(set(masks)) < 2
    return Hint(nodes, preferred) if nodes else None


def asking(name: str, cpus: int, knobs: int = 0) -> Container:
    amounts = {"cpu": str(cpus), "memory": "1Gi", **({NAME: str(knobs)} if knobs else {})}
    return container(name, resources=ResourceRequirements(limits=amounts, requests=amounts))


def given(
    policy: Policy, *containers: Container, free: str = "1-7", knobs: dict[str, int] | None = None
) -> str:
    knobs = {"a": 1, "b": 2} if knobs is None else knobs
    of = pod(*containers)
    cpus = CpuHand(of, Shelf(Layout(PLACES, TWO), parse(free)))
    devices = DeviceHand(of, Stand({NAME: knobs}, {NAME: frozenset(knobs)}), TWO)
    allot(of, (devices, cpus), policy, TWO)
    spoken = [f"{one.container}:{spelled(one.cpus)}" for one in cpus.given]
    return " ".join([*spoken, *(f"{one.container}:{'+'.join(one.devices)}" for one in devices.given)])


def test_cpus_and_devices_come_from_the_same_node() -> None:
    single = Policy("single-numa-node")

    assert given(Policy(), asking("x", 4, 1)) == "x:4-7 x:a"
    assert given(single, asking("x", 3, 1)) == "x:1-3 x:a"
    assert given(single, asking("x", 4, 1)) == "x:4-7 x:b"
    assert given(Policy("best-effort"), asking("x", 4, 2)) == "x:4-7 x:a+b"


def test_what_does_not_fit_on_one_node_is_refused_in_upstreams_words() -> None:
    with pytest.raises(Unaligned, match=r"^Resources cannot be allocated with Topology locality$"):
        given(Policy("single-numa-node"), asking("x", 5))
    with pytest.raises(Unaligned):
        given(Policy("restricted"), asking("x", 4, 1), knobs={"a": 1})
    assert given(Policy("restricted"), asking("x", 5)) == "x:1,4-7"


def test_the_scope_is_each_container_or_the_whole_pod() -> None:
    each, whole = Policy("single-numa-node"), Policy("single-numa-node", "pod")

    assert given(each, asking("x", 2), asking("y", 2)) == "x:1-2 y:4-5"
    assert given(whole, asking("x", 2), asking("y", 2)) == "x:4-5 y:6-7"
    with pytest.raises(Unaligned):
        given(whole, asking("x", 3), asking("y", 3))


def test_devices_that_say_nothing_are_taken_from_anywhere() -> None:
    assert given(Policy("single-numa-node"), asking("x", 2, 1), knobs={"a": 0}) == "x:1-2 x:a"


def test_options_are_those_of_upstream() -> None:
    assert options({}) == Options(False, 8)
    assert options({"prefer-closest-numa-nodes": "true", "max-allowable-numa-nodes": "12"}) == Options(
        True, 12
    )
    for bad in (("prefer-closest-numa-nodes", "yes"), ("max-allowable-numa-nodes", "4"), ("other", "1")):
        with pytest.raises(ValueError, match=bad[0]):
            options(dict([bad]))


def test_the_machine_tells_its_nodes(tmp_path: Path) -> None:
    for number, (cpus, far) in enumerate((("0-3", "10 21"), ("4-7", "21 10"))):
        node = tmp_path / f"node{number}"
        node.mkdir()
        (node / "cpulist").write_text(f"{cpus}\n")
        (node / "distance").write_text(f"{far}\n")

    found = machine.numa(tmp_path)

    assert found.nodes == (0, 1)
    assert found.distances == {0: {0: 10, 1: 21}, 1: {0: 21, 1: 10}}
    assert found.of_cpu == TWO.of_cpu
    assert machine.numa(tmp_path / "none") == Numa()


def test_a_machine_with_too_many_nodes_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(machine, "numa", lambda: Numa(tuple(range(9))))
    runtime = Runtime("unix:///nosuch", 1.0)

    with pytest.raises(Fatal, match="more than 8 NUMA Nodes"):
        outset.apportionment(Settings(topology_policy="restricted"), tmp_path, runtime, Reserved())
    more = Settings(topology_policy="restricted", topology_options={"max-allowable-numa-nodes": "9"})
    assert outset.apportionment(more, tmp_path, runtime, Reserved()) is not None
