"""Types of expressions, and what is said where they do not fit."""

import pytest

from kybern.machinery.cel.check.shown import shown
from kybern.machinery.cel.types import (
    BOOL,
    BYTES,
    DURATION,
    DYN,
    INT,
    STRING,
    TIMESTAMP,
    Type,
    list_of,
    map_of,
    object_of,
    optional_of,
)
from tests.unit.machinery.cel.expressions import environment, messages, wrong

SCALE = object_of(
    "Scale", {"replicas": INT, "name": STRING, "tags": list_of(STRING), "labels": map_of(STRING, STRING)}
)
TYPES: dict[str, Type] = {
    "self": SCALE,
    "x": INT,
    "s": STRING,
    "d": DYN,
    "l": list_of(INT),
    "m": map_of(STRING, INT),
    "o": optional_of(INT),
    "old": optional_of(SCALE),
    "t": TIMESTAMP,
    "span": DURATION,
    "b": BYTES,
    "a.b": BOOL,
    "ll": list_of(list_of(INT)),
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1 + 1", "int"),
        ("1.0 + 1.0", "double"),
        ("1u", "uint"),
        ("'a' + 'b'", "string"),
        ("null", "null"),
        ("[1] + [2]", "list(int)"),
        ("[]", "list(dyn)"),
        ("{}", "map(dyn, dyn)"),
        ("{'a': 1}", "map(string, int)"),
        ("self.replicas", "int"),
        ("self.tags", "list(string)"),
        ("self.labels.a", "string"),
        ("self.?name", "optional_type(string)"),
        ("old.name", "optional_type(string)"),
        ("old.tags[0]", "optional_type(string)"),
        ("old.?name", "optional_type(string)"),
        ("has(self.name)", "bool"),
        ("l[?0]", "optional_type(int)"),
        ("l[0]", "int"),
        ("m['a']", "int"),
        ("m.a", "int"),
        ("d", "dyn"),
        ("d.a.b", "dyn"),
        ("d + 1", "int"),
        ("d == 1", "bool"),
        ("d[0]", "dyn"),
        ("l.map(i, string(i))", "list(string)"),
        ("l.filter(i, i > 1)", "list(int)"),
        ("l.all(i, i > 1)", "bool"),
        ("l.exists_one(i, i > 1)", "bool"),
        ("m.map(k, k)", "list(string)"),
        ("m.transformMap(k, v, string(v))", "map(string, string)"),
        ("l.transformMap(i, v, v)", "map(int, int)"),
        ("m.transformMapEntry(k, v, {v: k})", "map(int, string)"),
        ("o.optMap(v, string(v))", "optional_type(string)"),
        ("o.optFlatMap(v, l[?v])", "optional_type(int)"),
        ("o.orValue(1)", "int"),
        ("o.or(l[?1]).value()", "int"),
        ("true ? 1 : 2", "int"),
        ("type(1)", "type(int)"),
        ("int", "type(int)"),
        ("timestamp('2024-01-01T00:00:00Z') - t", "duration"),
        ("t + span", "timestamp"),
        ("string(b)", "string"),
        ("dyn(1)", "dyn"),
        ("optional.none()", "optional_type(dyn)"),
        ("[optional.of(1)]", "list(optional_type(int))"),
        ("[?o, 1]", "list(int)"),
        ("{?'a': o}", "map(string, int)"),
        ("a.b", "bool"),
        ("ll.map(i, i.map(j, j * 2))", "list(list(int))"),
        ("[[], [1]]", "list(list(int))"),
        ("x == 1 ? null : t", "null"),
        ("l.sortBy(i, -i)", "list(int)"),
        ("self.tags.exists(t, t == 'a') && x > 0", "bool"),
        ("size(l) + l.size()", "int"),
        (".x", "int"),
        ("[1, 2].map(x, x).map(x, [x])", "list(list(int))"),
        ("[dyn(1), dyn('a')]", "list(dyn)"),
    ],
)
def test_expressions_have_types(text: str, expected: str) -> None:
    assert shown(environment(TYPES).compile(text).result) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("foo", "undeclared reference to 'foo' (in container '')"),
        ("foo.bar.baz", "undeclared reference to 'foo' (in container '')"),
        ("foo(1)", "undeclared reference to 'foo' (in container '')"),
        ("x.foo()", "undeclared reference to 'foo' (in container '')"),
        ("Foo{a: 1}", "undeclared reference to 'Foo' (in container '')"),
        ("self.missing", "undefined field 'missing'"),
        ("has(self.missing)", "undefined field 'missing'"),
        ("self.?missing", "undefined field 'missing'"),
        ("old.missing", "undefined field 'missing'"),
        ("x.y", "type 'int' does not support field selection"),
        ("s.y", "type 'string' does not support field selection"),
        ("t.y", "type 'timestamp' does not support field selection"),
        ("l.y", "type 'list(int)' does not support field selection"),
        ("1 == 'a'", "found no matching overload for '_==_' applied to '(int, string)'"),
        ("1 + 'a'", "found no matching overload for '_+_' applied to '(int, string)'"),
        ("1 + 1u", "found no matching overload for '_+_' applied to '(int, uint)'"),
        ("size(1)", "found no matching overload for 'size' applied to '(int)'"),
        ("x.size()", "found no matching overload for 'size' applied to 'int.()'"),
        ("s.startsWith(1)", "found no matching overload for 'startsWith' applied to 'string.(int)'"),
        ("startsWith(s, s)", "found no matching overload for 'startsWith' applied to '(string, string)'"),
        ("true ? 1 : 'a'", "found no matching overload for '_?_:_' applied to '(bool, int, string)'"),
        ("1 ? 1 : 2", "found no matching overload for '_?_:_' applied to '(int, int, int)'"),
        ("!x", "found no matching overload for '!_' applied to '(int)'"),
        ("-s", "found no matching overload for '-_' applied to '(string)'"),
        ("l['a']", "found no matching overload for '_[_]' applied to '(list(int), string)'"),
        ("m[1]", "found no matching overload for '_[_]' applied to '(map(string, int), int)'"),
        ("'a' in l", "found no matching overload for '@in' applied to '(string, list(int))'"),
        ("null == x", "found no matching overload for '_==_' applied to '(null, int)'"),
        ("x && true", "expected type 'bool' but found 'int'"),
        ("true || s", "expected type 'bool' but found 'string'"),
        ("l.all(i, i)", "expected type 'bool' but found 'int'"),
        ("l.exists(i, 'a')", "expected type 'bool' but found 'string'"),
        ("l.filter(i, i)", "found no matching overload for '_?_:_' applied to '(int, list(int), list(int))'"),
        ("l.exists_one(i, i)", "found no matching overload for '_?_:_' applied to '(int, int, int)'"),
        (
            "x.all(i, true)",
            "expression of type 'int' cannot be range of a comprehension (must be list, map, or dynamic)",
        ),
        (
            "s.map(i, i)",
            "expression of type 'string' cannot be range of a comprehension (must be list, map, or dynamic)",
        ),
        ("[1, 'a']", "expected type 'int' but found 'string'"),
        ("[1, 2.0]", "expected type 'int' but found 'double'"),
        ("{'a': 1, 'b': 'c'}", "expected type 'int' but found 'string'"),
        ("{'a': 1, 2: 2}", "expected type 'string' but found 'int'"),
        ("[?x]", "expected type 'optional_type(int)' but found 'int'"),
        ("int{}", "'int' is not a message type"),
        ("duration('x')", "invalid duration argument"),
        ("timestamp('2024')", "invalid timestamp argument"),
        ("s.matches('(')", "invalid matches argument"),
        ("t < span", "found no matching overload for '_<_' applied to '(timestamp, duration)'"),
        ("l.all(i, j, i > k)", "undeclared reference to 'k' (in container '')"),
        ("o + 1", "found no matching overload for '_+_' applied to '(optional_type(int), int)'"),
        (
            "optional.of(1).orValue('a')",
            "found no matching overload for 'orValue' applied to 'optional_type(int).(string)'",
        ),
    ],
)
def test_what_does_not_fit_is_told_in_upstreams_words(text: str, expected: str) -> None:
    assert messages(text, TYPES) == [expected]


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("x + s", "1:3"),
        ("size(x)", "1:5"),
        ("x.size()", "1:7"),
        ("self.missing", "1:5"),
        ("l['a']", "1:2"),
        ("!x", "1:1"),
        ("true ? x : s", "1:6"),
        ("x && true", "1:1"),
        ("true && x", "1:9"),
        ("l.filter(i, i)", "1:9"),
        ("[1, 'a']", "1:5"),
    ],
)
def test_errors_point_at_operators_braces_and_dots(text: str, place: str) -> None:
    assert wrong(text, TYPES).startswith(f"ERROR: <input>:{place}: ")


def test_one_mistake_gives_one_message() -> None:
    assert messages("foo.bar + 1 == s.baz() && x > 1", TYPES) == [
        "undeclared reference to 'foo' (in container '')",
        "undeclared reference to 'baz' (in container '')",
    ]


def test_lists_for_format_may_be_mixed() -> None:
    assert environment({}).compile("'%s %d'.format(['a', 1])").evaluate({})[0] == "a 1"


def test_numbers_of_different_types_can_be_ordered_but_not_equated() -> None:
    assert environment({}).compile("1 < 2.5 && 2u > 1 && 1.5 <= 2u").evaluate({})[0] is True
    assert messages("1 == 1.0") == ["found no matching overload for '_==_' applied to '(int, double)'"]


def test_names_are_found_from_the_container_outwards() -> None:
    from kybern.machinery.cel import Environment

    within = Environment({"a.b.x": INT, "a.y": STRING, "z": BOOL}, container="a.b")

    assert [shown(within.compile(name).result) for name in ("x", "y", "z", ".a.y", "b.x")] == [
        "int",
        "string",
        "bool",
        "string",
        "int",
    ]


def test_objects_are_made_of_declared_types() -> None:
    from kybern.machinery.cel import Environment

    made = Environment(
        {},
        types=(
            object_of("Object", {"spec": object_of("Object.spec", {"replicas": INT})}),
            object_of("Object.spec", {"replicas": INT}),
        ),
    )

    assert made.compile("Object{spec: Object.spec{replicas: 3}}").evaluate({}) == (
        {"spec": {"replicas": 3}},
        80,
    )
    assert made.compile("Object{spec: Object.spec{?replicas: optional.none()}}").evaluate({})[0] == {
        "spec": {}
    }
    with pytest.raises(
        Exception, match="expected type of field 'replicas' is 'int' but provided type is 'string'"
    ):
        made.compile("Object.spec{replicas: 'a'}")
    with pytest.raises(Exception, match="undefined field 'size'"):
        made.compile("Object.spec{size: 1}")
