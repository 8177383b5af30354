"""The vectors say what the plain forms say, whatever happened to the table before."""

from hypothesis import given, settings
from hypothesis import strategies as st

from kybern.api.core_v1 import (
    Affinity,
    Node,
    NodeAffinity,
    NodeSelector,
    NodeSelectorRequirement,
    NodeSelectorTerm,
    Pod,
)
from kybern.scheduler.facts import PodFacts
from kybern.scheduler.framework import NodeInfo
from kybern.scheduler.plugins import PLUGINS
from kybern.scheduler.table import Table
from tests.unit.scheduler.making import bears, node, pod, table_of, taint

KEYS = st.sampled_from(["zone", "disk", "cores"])
VALUES = st.sampled_from(["a", "b", "3", "12"])
EFFECTS = st.sampled_from(["NoSchedule", "NoExecute", "PreferNoSchedule"])
NODES = st.builds(
    node,
    st.sampled_from([f"w{number}" for number in range(6)]),
    cpu=st.sampled_from(["1", "2", "500m"]),
    pods=st.sampled_from(["0", "2", "110"]),
    labels=st.dictionaries(KEYS, VALUES, max_size=3),
    taints=st.lists(st.builds(taint, KEYS, EFFECTS, VALUES), max_size=2),
    cordoned=st.booleans(),
)
REQUIREMENTS = st.builds(
    lambda key, operator, values: NodeSelectorRequirement(
        key=key, operator=operator, values=tuple(values) if "In" in operator else tuple(values[:1])
    ),
    KEYS,
    st.sampled_from(["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"]),
    st.lists(VALUES, min_size=1, max_size=2),
)


def affinity_of(terms: list[list[NodeSelectorRequirement]]) -> Affinity | None:
    if not terms:
        return None
    selector = NodeSelector(
        node_selector_terms=tuple(NodeSelectorTerm(match_expressions=tuple(one)) for one in terms)
    )
    return Affinity(node_affinity=NodeAffinity(required_during_scheduling_ignored_during_execution=selector))


PODS = st.builds(
    lambda number, cpu, ports, selector, tolerations, affinity: pod(
        f"p{number}",
        cpu=cpu,
        ports=tuple(ports),
        node_selector=selector,
        tolerations=tuple(tolerations),
        affinity=affinity,
    ),
    st.integers(0, 20),
    st.sampled_from(["", "100m", "700m", "2"]),
    st.lists(st.sampled_from([80, 443]), max_size=2, unique=True),
    st.dictionaries(KEYS, VALUES, max_size=1),
    st.lists(st.builds(bears, KEYS, st.sampled_from(["Exists", "Equal"]), VALUES, EFFECTS), max_size=2),
    st.lists(st.lists(REQUIREMENTS, max_size=2), max_size=2).map(affinity_of),
)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(NODES, min_size=1, max_size=8), st.lists(st.tuples(PODS, st.integers(0, 5)), max_size=8), PODS
)
def test_every_filter_refuses_what_its_plain_form_refuses(
    nodes: list[Node], placed: list[tuple[Pod, int]], wanted: Pod
) -> None:
    table = Table(columns=2)
    there = {}
    for one in nodes:
        table.set_node(one)
        there[one.metadata.name] = one
    on: dict[str, tuple[Pod, str]] = {}
    for guest, number in placed:
        table.place(guest.metadata.uid, f"w{number}", PodFacts.of(guest))
        on[guest.metadata.uid] = (guest, f"w{number}")

    for plugin in PLUGINS:
        if plugin.filter is None:
            continue
        assert plugin.refuse is not None, "a filter needs its plain form"
        refusals = list(plugin.filter(PodFacts.of(wanted), table))
        for name, one in there.items():
            pods = tuple(other for other, where in on.values() if where == name)
            column = table.index[name]
            vector = sorted(refusal.reason for refusal in refusals if refusal.nodes[column])
            assert vector == sorted(plugin.refuse(wanted, NodeInfo(one, pods))), plugin.name


def test_a_node_that_comes_back_still_has_its_pods() -> None:
    table = table_of(node("w1"))
    table.place("u", "w1", PodFacts.of(pod("p", cpu="1")))

    table.remove_node("w1")
    table.set_node(node("w1"))

    assert table.requested[0, table.index["w1"]] == 1000


def test_a_column_is_used_again_without_what_was_there() -> None:
    table = table_of(node("w1", labels={"disk": "ssd"}, taints=[taint("x")], extra={"example.com/gpu": "1"}))
    table.place("u", "w1", PodFacts.of(pod("p", cpu="1", ports=(80,))))

    table.remove_node("w1")
    table.set_node(node("w2"))

    column = table.index["w2"]
    assert not table.labelled("disk")[column]
    assert not table.taints[taint("x")][column]
    assert table.allocatable[table.row("example.com/gpu"), column] == 0
    assert table.requested[0, column] == 0
    assert column not in table.ports["TCP", 80]


def test_a_table_grows_beyond_its_first_columns() -> None:
    table = table_of(*(node(f"w{number}", labels={"n": str(number)}) for number in range(9)))

    assert len(table) == 9
    assert [table.names[column] for column in table.having("n", ("7",)).nonzero()[0]] == ["w7"]


def test_placing_twice_counts_once() -> None:
    table = table_of(node("w1"), node("w2"))
    facts = PodFacts.of(pod("p", cpu="1"))

    table.place("u", "w1", facts)
    table.place("u", "w2", facts)
    table.unplace("u")
    table.unplace("u")

    assert table.requested.sum() == 0
