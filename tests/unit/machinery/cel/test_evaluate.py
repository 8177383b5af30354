"""What expressions give: what cel-spec's conformance tests ask for, and objects as Kubernetes has them."""

import math
from typing import Any

import pytest

from kybern.machinery.cel import BudgetExceeded, EvaluationError
from kybern.machinery.cel.types import DYN, INT, STRING, Type, list_of, map_of, object_of, optional_of
from kybern.machinery.cel.values import NONE, Duration, ListMap, ListSet, Optional, Timestamp, Uint
from tests.unit.machinery.cel.expressions import environment, error, value


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("7 / 2", 3),
        ("-7 / 2", -3),
        ("7 % -3", 1),
        ("-7 % 3", -1),
        ("2 * -3", -6),
        ("10 - 12", -2),
        ("-(5)", -5),
        ("7u / 2u", Uint(3)),
        ("7u % 4u", Uint(3)),
        ("1.5 + 2.25", 3.75),
        ("1.0 / 4.0", 0.25),
        ("1.0 / 0.0", math.inf),
        ("-1.0 / 0.0", -math.inf),
        ("1.0 / -0.0", -math.inf),
        ("'a' + 'b'", "ab"),
        ("b'a' + b'b'", b"ab"),
        ("[1] + [2, 3]", [1, 2, 3]),
        ("-(1.5)", -1.5),
        ("9223372036854775806 + 1", 2**63 - 1),
        ("-9223372036854775807 - 1", -(2**63)),
        ("18446744073709551614u + 1u", Uint(2**64 - 1)),
        ("duration('1m') + duration('1s')", Duration(61 * 10**9)),
        ("duration('1m') - duration('1s')", Duration(59 * 10**9)),
        ("timestamp('2023-01-10T12:00:00Z') - duration('12h') == timestamp('2023-01-10T00:00:00Z')", True),
        ("timestamp('2023-01-10T12:00:00Z') - timestamp('2023-01-10T00:00:00Z') == duration('12h')", True),
        ("duration('1h') + timestamp('2023-01-01T00:00:00Z') == timestamp('2023-01-01T01:00:00Z')", True),
    ],
)
def test_arithmetic(text: str, expected: object) -> None:
    found = value(text)

    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1 == 1", True),
        ("1 != 2", True),
        ("'a' == 'a'", True),
        ("'a' < 'b'", True),
        ("b'a' < b'b'", True),
        ("false < true", True),
        ("dyn(1) == 1.0", True),
        ("dyn(1) == 1u", True),
        ("dyn(1) == true", False),
        ("dyn(1) == '1'", False),
        ("dyn(null) == null", True),
        ("dyn(1) == null", False),
        ("[1, 2] == [1, 2]", True),
        ("[1, 2] == [2, 1]", False),
        ("[dyn(1), dyn(2.0)] == [1.0, 2.0]", True),
        ("{'a': 1} == {'a': 1}", True),
        ("{'a': 1} == {'b': 1}", False),
        ("{1: 'a'} == {dyn(1u): 'a'}", True),
        ("1 < 1.5", True),
        ("2u > 1", True),
        ("-1 < 0u", True),
        ("1.0 <= 1", True),
        ("double('NaN') == double('NaN')", False),
        ("double('NaN') != double('NaN')", True),
        ("optional.of(1) == optional.of(1)", True),
        ("optional.of(1) == optional.none()", False),
        ("optional.none() == optional.none()", True),
        ("duration('60s') == duration('1m')", True),
        ("type(1) == int", True),
        ("type(1) == type(2)", True),
        ("type(1) == uint", False),
        ("type([]) == list", True),
        ("type({}) == map", True),
        ("type(null) == null_type", True),
        ("type(int) == type", True),
        ("type(type(1)) == type", True),
        ("type(duration('1s')) == google.protobuf.Duration", True),
        ("type(optional.none()) == optional_type", True),
        ("dyn(9223372036854775807) < 9223372036854775808.0", False),
        ("dyn(9223372036854775807) == 9223372036854775808.0", True),
    ],
)
def test_equality_and_order(text: str, expected: object) -> None:
    assert value(text) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("true && true", True),
        ("true && false", False),
        ("false || true", True),
        ("1 / 0 == 1 || true", True),
        ("true || 1 / 0 == 1", True),
        ("1 / 0 == 1 && false", False),
        ("false && 1 / 0 == 1", False),
        ("true ? 1 : 1 / 0", 1),
        ("false ? 1 / 0 : 2", 2),
        ("dyn(1) == 1 || dyn('a') > 1", True),
        ("[1, 0].exists(x, 1 / x == 1)", True),
        ("[0, 1].exists(x, 1 / x == 1)", True),
        ("[0, 1].all(x, 1 / x == 2)", False),
        ("[0, 2].all(x, x / x == 1) || true", True),
    ],
)
def test_logic_takes_what_decides_whatever_fails(text: str, expected: object) -> None:
    assert value(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[1, 2, 3].all(x, x > 0)", True),
        ("[].all(x, x > 0)", True),
        ("[1, 2].exists(x, x == 2)", True),
        ("[].exists(x, x)", False),
        ("[1, 2, 2].exists_one(x, x == 1)", True),
        ("[1, 2, 2].existsOne(x, x == 2)", False),
        ("[1, 2].map(x, x * 2)", [2, 4]),
        ("[1, 2, 3].map(x, x > 1, x * 2)", [4, 6]),
        ("[1, 2, 3].filter(x, x > 1)", [2, 3]),
        ("{'a': 1, 'b': 2}.all(k, k != 'c')", True),
        ("{'a': 1}.map(k, k + '!')", ["a!"]),
        ("{'a': 1}.filter(k, k == 'a')", ["a"]),
        ("[[1, 2], [3]].map(x, x.map(y, y + 1))", [[2, 3], [4]]),
        ("[1, 2].all(i, v, v == i + 1)", True),
        ("{'a': 1}.all(k, v, k == 'a' && v == 1)", True),
        ("[5, 6].exists(i, v, i == 1 && v == 6)", True),
        ("[5, 5].existsOne(i, v, v == 5)", False),
        ("[1, 2, 3].transformList(i, v, (i * v) + v)", [1, 4, 9]),
        ("[1, 2, 3].transformList(i, v, i % 2 == 0, (i * v) + v)", [1, 9]),
        ("{'a': 1}.transformList(k, v, k)", ["a"]),
        ("[1, 2, 3].transformMap(i, v, (i * v) + v)", {0: 1, 1: 4, 2: 9}),
        ("{'a': 1}.transformMap(k, v, v + 1)", {"a": 2}),
        ("[1, 2, 3].transformMap(i, v, i % 2 == 0, v)", {0: 1, 2: 3}),
        ("{'a': 'b'}.transformMapEntry(k, v, {v: k})", {"b": "a"}),
        ("[1, 2].transformMapEntry(i, v, v == 1, {v: i})", {1: 0}),
        ("[3, 1, 2].sortBy(x, x)", [1, 2, 3]),
        ("[3, 1].sortBy(x, -x)", [3, 1]),
        ("[1, 2].exists(x, [3].exists(x, x == 3) && x == 2)", True),
        ("[1, 2].map(x, [x, x])", [[1, 1], [2, 2]]),
        ("[1, 2].map(x, x).map(x, x).size()", 2),
        ("[[1], [2]].all(x, x.all(x, x < 3))", True),
        ("[1].map(x, [2].map(y, x + y))", [[3]]),
    ],
)
def test_comprehensions(text: str, expected: object) -> None:
    assert value(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("size('abc')", 3),
        ("'😁😁'.size()", 2),
        ("size(b'abc')", 3),
        ("[1, 2].size()", 2),
        ("size({'a': 1})", 1),
        ("'hello'.contains('ell')", True),
        ("'hello'.startsWith('he')", True),
        ("'hello'.endsWith('lo')", True),
        ("'hello'.matches('^h.*o$')", True),
        ("matches('hello', 'ell')", True),
        ("'a' in ['a', 'b']", True),
        ("'c' in ['a', 'b']", False),
        ("dyn(1) in [1.0, 2.0]", True),
        ("dyn(true) in [1]", False),
        ("'a' in {'a': 1}", True),
        ("1 in []", False),
        ("{'a': 1}['a']", 1),
        ("{'a': 1}.a", 1),
        ("[1, 2][1]", 2),
        ("[1, 2][dyn(1.0)]", 2),
        ("{1: 'a'}[dyn(1u)]", "a"),
        ("has({'a': 1}.a)", True),
        ("has({'a': 1}.b)", False),
        ("{'a': {'b': 2}}.a.b", 2),
        ("true in {true: 1}", True),
        ("dyn(true) in {1: 'a'}", False),
        ("dyn(1) in {true: 'a'}", False),
        ("1 in {1: 'a'}", True),
        ("{1: 'a'}[?dyn(true)].hasValue()", False),
        ("{true: 'a'}[?dyn(1)].hasValue()", False),
        ("{true: 'a'}[true]", "a"),
        ("{1: 'a'}[1]", "a"),
    ],
)
def test_sizes_parts_and_places(text: str, expected: object) -> None:
    assert value(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("int('12')", 12),
        ("int('-12')", -12),
        ("int(3.9)", 3),
        ("int(-3.9)", -3),
        ("int(5u)", 5),
        ("int(duration('1s'))", 10**9),
        ("int(timestamp('1970-01-01T00:00:01Z'))", 1),
        ("uint(3)", Uint(3)),
        ("uint(3.9)", Uint(3)),
        ("uint('7')", Uint(7)),
        ("double(3)", 3.0),
        ("double('1.5')", 1.5),
        ("double('-Infinity')", -math.inf),
        ("double('1e3')", 1000.0),
        ("string(1)", "1"),
        ("string(1u)", "1"),
        ("string(1.5)", "1.5"),
        ("string(-1.23e4)", "-12300"),
        ("string(1e20)", "1e+20"),
        ("string(true)", "true"),
        ("string(b'abc')", "abc"),
        ("string(duration('1h30m'))", "5400s"),
        ("string(duration('0.5s'))", "0.5s"),
        ("string(timestamp('2024-05-01T10:20:30.5Z'))", "2024-05-01T10:20:30.5Z"),
        ("string(timestamp('2024-05-01T10:20:30+02:00'))", "2024-05-01T08:20:30Z"),
        ("bytes('é')", "é".encode()),
        ("bool('true')", True),
        ("bool('F')", False),
        ("timestamp(0) == timestamp('1970-01-01T00:00:00Z')", True),
        ("duration('1.5h')", Duration(5400 * 10**9)),
        ("timestamp('2024-01-01T00:00:00.123456789Z')", Timestamp(1704067200123456789)),
        ("type(dyn(1))", Type("int")),
    ],
)
def test_conversions(text: str, expected: object) -> None:
    found = value(text)

    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("getFullYear()", 2023),
        ("getMonth()", 6),
        ("getDayOfYear()", 194),
        ("getDayOfMonth()", 13),
        ("getDate()", 14),
        ("getDayOfWeek()", 5),
        ("getHours()", 10),
        ("getMinutes()", 30),
        ("getSeconds()", 45),
        ("getMilliseconds()", 123),
        ("getHours('America/Los_Angeles')", 3),
        ("getHours('-08:00')", 2),
        ("getHours('+05:30')", 16),
        ("getMinutes('+05:30')", 0),
        ("getDayOfWeek('+14:00')", 6),
        ("getHours('UTC')", 10),
        ("getFullYear('')", 2023),
        ("getHours('02:00')", 12),
        ("getSeconds('Europe/Vienna')", 45),
        ("getMilliseconds('+01:00')", 123),
    ],
)
def test_parts_of_times(text: str, expected: int) -> None:
    assert value(f"timestamp('2023-07-14T10:30:45.123Z').{text}") == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("getHours()", 1), ("getMinutes()", 62), ("getSeconds()", 3723), ("getMilliseconds()", 3723456)],
)
def test_spans_in_units(text: str, expected: int) -> None:
    assert value(f"duration('3723.456s').{text}") == expected
    assert value(f"duration('-3723.456s').{text}") == -expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{'a': 1}.?a", Optional(True, 1)),
        ("{'a': 1}.?b", NONE),
        ("{'a': 1}[?'a'].orValue(2)", 1),
        ("{'a': 1}[?'b'].orValue(2)", 2),
        ("[1][?0]", Optional(True, 1)),
        ("[1][?1]", NONE),
        ("{'a': {'b': 1}}.?a.b", Optional(True, 1)),
        ("{'a': {'b': 1}}.?c.b", NONE),
        ("{'a': {'b': 1}}.?a.c", NONE),
        ("optional.of(1).hasValue()", True),
        ("optional.none().hasValue()", False),
        ("optional.of(1).value()", 1),
        ("optional.ofNonZeroValue(0)", NONE),
        ("optional.ofNonZeroValue('')", NONE),
        ("optional.ofNonZeroValue([])", NONE),
        ("optional.ofNonZeroValue(5)", Optional(True, 5)),
        ("optional.none().or(optional.of(2)).value()", 2),
        ("optional.of(1).or(optional.of(1 / 0)).value()", 1),
        ("optional.of(1).orValue(1 / 0)", 1),
        ("optional.of(2).optMap(x, x * 2)", Optional(True, 4)),
        ("optional.none().optMap(x, x)", NONE),
        ("optional.of([1]).optFlatMap(x, x[?0])", Optional(True, 1)),
        ("optional.of([1]).optFlatMap(x, x[?1])", NONE),
        ("[?optional.of(1), 2]", [1, 2]),
        ("[?optional.none(), 2]", [2]),
        ("{?'a': optional.of(1)}", {"a": 1}),
        ("{?'a': optional.none()}", {}),
        ("[1, 2].first()", Optional(True, 1)),
        ("[1, 2].last().value()", 2),
        ("[].first()", NONE),
        ("optional.unwrap([optional.of(1), optional.none()])", [1]),
        ("[optional.of(1), optional.none()].unwrapOpt()", [1]),
        ("has({'a': {'b': 1}}.?a.b)", True),
        ("has({'a': {'b': 1}}.?c.b)", False),
        ("optional.of({'a': 1}).a", Optional(True, 1)),
        ("optional.of([1])[0]", Optional(True, 1)),
        ("dyn(optional.of({'a': 1})).a", Optional(True, 1)),
    ],
)
def test_optional_values(text: str, expected: object) -> None:
    assert value(text) == expected


POD = object_of(
    "Pod", {"name": STRING, "count": INT, "labels": map_of(STRING, STRING), "ports": list_of(INT)}
)


@pytest.mark.parametrize(
    ("text", "pod", "expected"),
    [
        ("self.name == 'a'", {"name": "a"}, True),
        ("has(self.count)", {}, False),
        ("has(self.count)", {"count": 0}, True),
        ("self.?count.orValue(7)", {}, 7),
        ("self.labels['a']", {"labels": {"a": "b"}}, "b"),
        ("'a' in self.labels", {"labels": {}}, False),
        ("self.ports.all(p, p > 0)", {"ports": [1, 2]}, True),
        ("!has(self.labels) || self.labels.all(k, self.labels[k] != '')", {}, True),
        ("self == self", {"name": "a"}, True),
        ("self.name == null", {"name": None}, None),
    ],
)
def test_objects_are_what_json_gave(text: str, pod: dict[str, Any], expected: object) -> None:
    if expected is None:
        text, expected = "dyn(self.name) == null", True
    assert environment({"self": POD}).compile(text).evaluate({"self": pod})[0] == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("self.count > 1", "no such key: count"),
        ("self.labels.a == 'b'", "no such key: labels"),
        ("self.ports[0] == 1", "no such key: ports"),
        ("has(self.labels.a)", "no such key: labels"),
        ("self.name.startsWith('a')", "no such overload"),
        ("other", "no such attribute(s): other"),
        ("other.a", "no such attribute(s): other"),
    ],
)
def test_fields_that_are_not_there_are_no_keys(text: str, expected: str) -> None:
    assert error(text, {"self": POD, "other": DYN}, self={"name": None}) == expected


def test_old_values_may_be_missing() -> None:
    program = environment({"self": POD, "oldSelf": optional_of(POD)}).compile(
        "oldSelf.count.orValue(0) <= self.count"
    )

    assert program.evaluate({"self": {"count": 1}, "oldSelf": NONE})[0] is True
    assert program.evaluate({"self": {"count": 1}, "oldSelf": Optional(True, {"count": 2})})[0] is False
    assert program.evaluate({"self": {"count": 1}, "oldSelf": Optional(True, {})})[0] is True


def test_programs_know_what_they_read() -> None:
    program = environment({"self": POD, "oldSelf": POD}).compile("[self].all(oldSelf, oldSelf.count > 0)")

    assert program.uses("self")
    assert not program.uses("oldSelf")


def test_evaluations_do_not_know_each_other() -> None:
    program = environment({"l": list_of(INT)}).compile("l.map(x, x) + [1, 2]")

    first = program.evaluate({"l": [1]})[0]
    first.append(9)
    assert program.evaluate({"l": [1]})[0] == [1, 1, 2]


def test_fields_may_be_computed_when_they_are_asked_for() -> None:
    class Lazy(dict[str, Any]):
        def __missing__(self, key: str) -> Any:
            if key == "bad":
                raise EvaluationError("composited variable failed")
            return f"{key}!"

        def __contains__(self, key: object) -> bool:
            return key != "none"

    assert (
        value("variables.foo == 'foo!' && has(variables.foo) && !has(variables.none)", variables=Lazy())
        is True
    )
    assert error("variables.bad", variables=Lazy()) == "composited variable failed"


def test_a_budget_that_is_used_up_ends_everything() -> None:
    program = environment({"l": list_of(INT)}).compile("l.all(x, x >= 0) || true")

    assert program.evaluate({"l": [1] * 10}, 52)[1] == 52
    with pytest.raises(BudgetExceeded, match=r"^operation cancelled: actual cost limit exceeded$") as found:
        program.evaluate({"l": [1] * 10}, 51)
    assert found.value.cost == 52


def test_a_loop_ends_soon_after_its_budget() -> None:
    program = environment({"l": list_of(INT)}).compile("l.map(x, l.map(y, l.map(z, x + y + z))).size() > 0")

    with pytest.raises(BudgetExceeded) as found:
        program.evaluate({"l": list(range(100_000))}, 10_000)
    assert found.value.cost < 11_000


def test_errors_know_what_was_spent() -> None:
    program = environment({"d": DYN}).compile("d.a.b + d.c")

    with pytest.raises(EvaluationError, match="no such key: b") as found:
        program.evaluate({"d": {"a": {}, "c": 1}})
    assert found.value.cost == 6


def test_sets_and_maps_of_items_are_joined_as_such() -> None:
    listed = list_of(map_of(STRING, STRING))
    variables = {
        "s": ListSet(["a", "b"]),
        "m": ListMap([{"k": "a", "v": "1"}, {"k": "b", "v": "2"}], ("k",)),
    }

    def found(text: str) -> Any:
        return environment({"s": list_of(STRING), "m": listed}).compile(text).evaluate(variables)[0]

    assert found("s + ['b', 'c']") == ["a", "b", "c"]
    assert found("s == ['b', 'a']") is True
    assert found("['b', 'a'] == s") is False
    assert found("m + [{'k': 'a', 'v': '3'}]") == [{"k": "a", "v": "3"}, {"k": "b", "v": "2"}]
    assert found("s.map(x, x) + ['a']") == ["a", "b", "a"]
