"""The vectors say what the plain forms say, whatever happened to the table before."""

from kybern.scheduler.facts import PodFacts
from tests.unit.scheduler.making import node, pod, table_of, taint


def test_a_node_that_comes_back_still_has_its_pods() -> None:
    table = table_of(node("w1"))
    table.place("u", "w1", PodFacts.of(pod("p", cpu="1")))

    table.remove_node("w1")
    table.set_node(node("w1"))

    assert table.room.requested[0, table.index["w1"]] == 1000


def test_a_column_is_used_again_without_what_was_there() -> None:
    table = table_of(node("w1", labels={"disk": "ssd"}, taints=[taint("x")], extra={"example.com/gpu": "1"}))
    table.place("u", "w1", PodFacts.of(pod("p", cpu="1", ports=(80,))))

    table.remove_node("w1")
    table.set_node(node("w2"))

    column = table.index["w2"]
    assert not table.labelled("disk")[column]
    assert not table.taints[taint("x")][column]
    assert table.room.allocatable[table.room.row("example.com/gpu"), column] == 0
    assert table.room.requested[0, column] == 0
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

    assert table.room.requested.sum() == 0
