"""What evaluations cost: cel-go's tracker, with constants folded and tests of presence free, as Kubernetes has them."""

from typing import Any

import pytest

from kybern.machinery.cel import EvaluationError
from kybern.machinery.cel.types import (
    BOOL,
    BYTES,
    DYN,
    INT,
    STRING,
    Type,
    list_of,
    map_of,
    object_of,
    optional_of,
)  # fmt: skip
from kybern.machinery.cel.values import NONE, Optional
from tests.unit.machinery.cel.expressions import cost, environment

ALL = object_of("All", {"n": INT, "s": STRING, "inner": object_of("Inner", {"l": list_of(INT)})})
TYPES: dict[str, Type] = {
    "input": ALL, "m": map_of(STRING, STRING), "l": list_of(STRING), "i": INT, "s": STRING, "t": STRING, "data": BYTES,
    "a": BOOL, "b": BOOL, "c": BOOL, "d": BOOL, "ints": list_of(INT), "none": list_of(INT), "x": DYN, "o": optional_of(ALL),
}  # fmt: skip
VALUES: dict[str, Any] = {
    "input": {"n": 1, "s": "abc", "inner": {"l": [1, 2]}},
    "m": {"key": "v"},
    "l": ["v"],
    "i": 0,
    "s": "x" * 500,
    "t": "y" * 500,
    "data": b"z" * 500,
    **dict.fromkeys("abcd", True),
    "ints": [1, 2, 3],
    "none": [],
    "x": {"y": "abc", "l": [1, 2]},
    "o": Optional(True, {"n": 1}),
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('"Hello World!"', 0),
        ("ints", 1),
        ("m['key']", 2),
        ("l[0]", 2),
        ("l[i]", 2),
        ("ints[ints[0]]", 3),
        ("input.n", 2),
        ("input.inner.l[0]", 4),
        ("m['ke' + 'y']", 3),
        ("l[3-3]", 3),
        ("has(input.n)", 1),
        ("has(input.inner.l)", 2),
        ("[1, 2, 3]", 0),
        ("[i, 2, 3]", 11),
        ('{"a": 1}', 0),
        ('{"a": i}', 31),
        ("none.all(x, true)", 2),
        ("[1, 2, 3].all(x, true)", 10),
        ("s.matches('[0-9]')", 103),
        ("matches(s, '[0-9]')", 2),
        ("'123'.matches('[0-9]')", 2),
        ("false || false", 0),
        ("!a || b || c || d", 3),
        ("a && b && c && d", 4),
        ("1 < 2", 1),
        ("1 == 2", 1),
        ("2 in [1, 2, 3]", 0),
        ("i in [1, 2, 3]", 1),
        ("i in []", 0),
        ("i in ints", 5),
        ("'a' in m", 2),
        ("1 + 1", 1),
        ("true ? 1 : 2", 0),
        ("a ? i : 2", 1),
        ("a ? input.n : 2", 2),
        ("(a ? input : input).n", 2),
        ("(a ? input.inner : input.inner).l", 3),
        ("true ? false : 1 > 3", 0),
        ("false ? false : 1 > 3", 1),
        ('size("123")', 1),
        ("'12345678901234567890' == '123456789012345678901234567890'", 2),
        ("'' == 'a'", 0),
        ("string(data)", 51),
        ("bytes(s)", 51),
        ("string(1)", 0),
        ("string(i)", 2),
        ("s.contains(t)", 2502),
        ("'idc'.startsWith(t)", 2),
        ("s.size()", 2),
        ("(i > 2 ? l : l).all(y, true)", 6),
        ("m.all(k, m[k].size() > 3)", 9),
        ("(none + none).all(x, true)", 4),
        ("\"abcdefg\".contains('val1' + 'val2222222')", 4),
        ("(1 > 2 ? 5 : 3) > 1", 2),
        ("(1 > 2 || 2 > 1) == true", 3),
        ("[1,2,3,4,5].filter(x, x % 2 == 0)", 42),
        ("[1,2,3,4,5].map(x, x)", 66),
        ("[1,2,3,4,5].map(x, 1)", 11),
        ("[1,2,3].exists_one(x, x == 2)", 10),
        ("ints.exists(x, x == 2)", 17),
        ("ints.transformList(i, v, v)", 41),
        ("ints.transformMap(i, v, v)", 14),
        ("{'a': 'b'}.transformMapEntry(k, v, {v: k})", 35),
        ("x.y", 2),
        ("x.y + 'a'", 3),
        ("x.y == 'abc'", 3),
        ("dyn(i)", 2),
        ("{'a': 1}.a", 2),
        ("[input][0].n", 14),
        ("[i].map(x, x)[0]", 27),
        ("input.?n.orValue(5)", 2),
        ("m.?other.orValue('z')", 1),
        ("m[?'other'].hasValue()", 2),
        ("o.n", 2),
        ("o.?n.value()", 3),
        ("has(o.n)", 1),
        ("o.optMap(v, v.n)", 7),
        ("optional.none().optMap(v, 1)", 3),
        ("ints.map(x, x > 1, x * 2)", 36),
    ],
)
def test_evaluations_cost(text: str, expected: int) -> None:
    assert cost(text, TYPES, **VALUES) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("s.lowerAscii()", 51),
        ("s.indexOf('y')", 51),
        ("s.split('y')", 101),
        ("s.replace('x', 'y')", 101),
        ("ints.isSorted()", 4),
        ("ints.sum()", 4),
        ("l.join(',')", 2),
        ("quantity('1Gi') == quantity('1Gi')", 3),
        ("quantity('1Gi').isLessThan(quantity('2Gi'))", 3),
        ("isQuantity(s)", 51),
        ("url('https://example.com:80/').getHost()", 4),
        ("s.find('[0-9]')", 103),
        ("ip('192.168.0.1').family()", 3),
        ("cidr('10.0.0.0/8').containsIP('10.0.0.1')", 3),
    ],
)
def test_what_kubernetes_adds_costs(text: str, expected: int) -> None:
    assert cost(text, TYPES, **VALUES) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1 / 0", 1),
        ("input.n / 0 == 1", 4),
        ("x.z", 2),
        ("x.z.y.x", 2),
        ("x.z == x.y", 5),
        ("x.l[5]", 3),
        ("x.z.startsWith('a')", 3),
        ("[x.z, x.y]", 12),
        ("[0, 1].all(v, 1 / v == 1)", 13),
        ("[0, 1, 2].map(v, 10 / v)", 43),
        ("x.z || x.y == 'd'", 5),
        ("optional.none().value()", 2),
    ],
)
def test_what_fails_has_cost_as_well(text: str, expected: int) -> None:
    program = environment(TYPES).compile(text)

    with pytest.raises(EvaluationError) as found:
        program.evaluate(VALUES)
    assert found.value.cost == expected


def test_a_missing_old_value_costs_less() -> None:
    program = environment(TYPES).compile("o.n.orValue(1)")

    assert program.evaluate({"o": NONE}) == (1, 1)
    assert program.evaluate({"o": Optional(True, {})}) == (1, 1)
    assert program.evaluate({"o": Optional(True, {"n": 2})}) == (2, 2)
