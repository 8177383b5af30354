"""What expressions may cost at the least and at the most: cel-go's figures, and Kubernetes' for its own functions."""

import pytest

from kybern.machinery.cel.types import (
    BOOL,
    BYTES,
    DOUBLE,
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
)  # fmt: skip
from tests.unit.machinery.cel.expressions import estimated

ALL = object_of("All", {"single_int32": INT})
LISTS: dict[str, Type] = {"list1": list_of(INT), "list2": list_of(INT), "x": INT, "y": INT}
TEXTS: dict[str, Type] = {
    "input": STRING,
    "arg1": STRING,
    "str1": STRING,
    "str2": STRING,
    "strings": list_of(STRING),
}
NESTED: dict[str, Type] = {"input": map_of(STRING, map_of(STRING, ALL))}
VALUES: dict[str, Type] = {
    "self": map_of(STRING, INT),
    "t1": TIMESTAMP,
    "t2": TIMESTAMP,
    "d1": DURATION,
    "d2": DURATION,
}
FLAGS: dict[str, Type] = dict.fromkeys("abcd", BOOL)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('"Hello World!"', (0, 0)),
        ("[1, 2, 3]", (10, 10)),
        ('{"a": 1, "b": 2, "c": 3}', (30, 30)),
        ("[1, 2, 3].all(x, true)", (20, 20)),
        ("'123'.matches('[0-9]')", (2, 2)),
        ("true || false", (0, 0)),
        ("true && false", (0, 0)),
        ("1 < 2", (1, 1)),
        ("1 == 2", (1, 1)),
        ("2 in [1, 2, 3]", (13, 13)),
        ("1 + 1", (1, 1)),
        ("1 % 1", (1, 1)),
        ("true ? 1 : 2", (0, 0)),
        ('size("123")', (1, 1)),
        ('size(b"123")', (1, 1)),
        ("string(1)", (1, 1)),
        ("((5 != 6) == (1 == 2)) == ((3 <= 4) == (9 != 9))", (7, 7)),
        ("[1,2,3,4,5].filter(x, x % 2 == 0)", (41, 101)),
        ("[1,2,3,4,5].map(x, x)", (86, 86)),
        ("[1,2,3,4,5].map(x, x).filter(x, x % 2 == 0)", (117, 177)),
        ("[1,2,3,4,5].map(x, x).exists(x, x == 5) == true", (108, 118)),
        ("[1,2,3,4,5].map(x, x).map(x, x)", (162, 162)),
        ("[1,2,3,4,5].map(x, x)[4]", (87, 87)),
        ("[[1,2],[1,2],[1,2],[1,2],[1,2]][4]", (61, 61)),
        ("{'a': [1,2], 'b': [1,2], 'c': [1,2], 'd': [1,2], 'e': [1,2]}.b", (81, 81)),
        ("[[1, 1], [2, 2], [3, 3], [4, 4], [5, 5]].all(y, y.all(y, y == 1))", (76, 136)),
        ("[1,2,3,4,5].map(x, [x, x]).all(y, y.all(y, y == 1))", (157, 217)),
        (
            '["a", "ab", "abc", "abcd", "abcde"].map(x, [x, x]).all(y, y.all(y, y.startsWith(\'a\')))',
            (157, 217),
        ),
        ("[1,2,3,4,5].map(x, x).map(x, x) + [1]", (173, 173)),
        ("[1,2,3].all(i, i in [1,2,3].map(j, j + j))", (20, 230)),
        ("dyn([1,2,3]).all(i, i in dyn([1,2,3]).map(j, j + j))", (21, 234)),
        ("{'hello': 'hi'}['hello'] != {'hello': 'bye'}['hello']", (63, 63)),
        ("['hello', 'hi'][0] != ['hello', 'bye'][1]", (23, 23)),
        ("type(1)", (1, 1)),
        ("type(1) == int", (3, 1844674407370955266)),
        ("timestamp('2011-08-18T00:00:00.000+01:00') + duration('19h3m37s10ms')", (3, 3)),
    ],
)
def test_of_what_is_written_out(text: str, expected: tuple[int, int]) -> None:
    assert estimated(text, {}, {}) == expected


@pytest.mark.parametrize(
    ("text", "types", "sizes", "expected"),
    [
        ("input", {"input": list_of(INT)}, {}, (1, 1)),
        ("input['key']", {"input": map_of(STRING, STRING)}, {}, (2, 2)),
        ("input.single_int32", {"input": ALL}, {}, (2, 2)),
        ("has(input.single_int32)", {"input": ALL}, {}, (1, 1)),
        ("has(input.a.b)", NESTED, {}, (2, 2)),
        ("input.all(x, true)", {"input": list_of(ALL)}, {"input": 100}, (2, 302)),
        (
            "input.all(x, x.all(y, true))",
            {"input": list_of(list_of(ALL))},
            {"input": 50, "input.@items": 10},
            (2, 1752),
        ),
        ("input.matches('[0-9]')", TEXTS, {"input": 500}, (3, 103)),
        ("a || b || c || d", FLAGS, {}, (1, 4)),
        ("a && b && c && d", FLAGS, {}, (1, 4)),
        ("string(input)", {"input": BYTES}, {"input": 500}, (1, 51)),
        ("string(input) == string(input)", {"input": BYTES}, {"input": 500}, (3, 152)),
        ("bytes(input)", TEXTS, {"input": 500}, (1, 51)),
        ("bytes(input) == bytes(input)", TEXTS, {"input": 500}, (3, 302)),
        ("input.contains(arg1)", TEXTS, {"input": 500, "arg1": 500}, (2, 2502)),
        (r"input.matches('\\d+a\\d+b')", TEXTS, {"input": 500}, (3, 103)),
        ("input.startsWith(arg1)", TEXTS, {"arg1": 500}, (2, 52)),
        ("input.endsWith(arg1)", TEXTS, {"arg1": 500}, (2, 52)),
        ("input.size()", TEXTS, {}, (2, 2)),
        ("size(input)", TEXTS, {}, (2, 2)),
        (
            "(x > 2 ? input1 : input2).all(y, true)",
            {"x": INT, "input1": list_of(ALL), "input2": list_of(ALL)},
            {"input1": 1, "input2": 1},
            (4, 7),
        ),
        ("input.all(k, input[k].single_int32 > 3)", {"input": map_of(STRING, ALL)}, {"input": 10}, (2, 82)),
        ("input.all(k, input[k].all(x, true))", NESTED, {"input": 5, "input.@values": 10}, (2, 187)),
        ("input.all(k, k.contains(k))", NESTED, {"input": 5, "input.@keys": 10}, (2, 32)),
        (
            "input.all(k, input[k].all(k, true) && k.contains(k))",
            NESTED,
            {"input": 2, "input.@values": 2, "input.@keys": 5},
            (2, 34),
        ),
        ("(list1 + list2).all(x, true)", LISTS, {"list1": 10, "list2": 10}, (4, 64)),
        ('"abcdefg".contains(str1 + str2)', TEXTS, {"str1": 10, "str2": 10}, (2, 6)),
        ("list1.size() == list2.size()", LISTS, {}, (5, 5)),
        ("x > y ? list1.size() : list2.size()", LISTS, {}, (5, 5)),
        ("([x, y] + list1 + list2).size()", LISTS, {"list1": 10, "list2": 20}, (17, 17)),
        (
            "[list1, list2].exists(l, l.exists(v, v.startsWith('hi')))",
            {"list1": list_of(STRING), "list2": list_of(STRING)},
            {"list1": 10, "list1.@items": 64, "list2": 20, "list2.@items": 64},
            (21, 265),
        ),
        (
            'str1.endsWith("abcdefghijklmnopqrstuvwxyz") == str2.endsWith("abcdefghijklmnopqrstuvwxyz")',
            TEXTS,
            {},
            (9, 9),
        ),
        ("string(t1) == string(t2)", VALUES, {}, (5, 1844674407370955268)),
        ("t1 == t2", VALUES, {}, (3, 3)),
        ("d1 != d2", VALUES, {}, (3, 3)),
        (
            "strings.map(x, [x, x]).all(y, y.all(y, y.startsWith('a')))",
            TEXTS,
            {"strings": 5, "strings.@items": 10},
            (13, 208),
        ),
        ("type(self.val1)", VALUES, {}, (3, 3)),
        ("type(self.val1) == int", VALUES, {}, (5, 1844674407370955268)),
        ("self.val1 == 1.0", {"self.val1": DOUBLE}, {}, (2, 2)),
        ("self.val1 == 1.0", {"self": map_of(STRING, DOUBLE)}, {}, (3, 3)),
        ("self.val1 != self.val2", {"self": map_of(STRING, BOOL)}, {}, (5, 5)),
        (
            "self.val1 == timestamp('2011-08-18T00:00:00.000+01:00') + duration('19h3m37s10ms')",
            {"self": map_of(STRING, TIMESTAMP)},
            {},
            (6, 6),
        ),
    ],
)
def test_of_variables_of_some_size(
    text: str, types: dict[str, Type], sizes: dict[str, int], expected: tuple[int, int]
) -> None:
    assert estimated(text, types, sizes) == expected


@pytest.mark.parametrize(
    ("text", "types", "sizes", "expected"),
    [
        ("input.lowerAscii() == 'a'", TEXTS, {"input": 100}, (2, 12)),
        ("input.split(',').size() > 1", TEXTS, {"input": 100}, (3, 23)),
        ("strings.isSorted()", TEXTS, {"strings": 10, "strings.@items": 20}, (1, 31)),
        ("strings.join(',').size()", TEXTS, {"strings": 10, "strings.@items": 20}, (2, 23)),
        ("quantity(input).isGreaterThan(quantity('1Gi'))", TEXTS, {"input": 50}, (3, 8)),
        ("quantity(input) == quantity(input)", TEXTS, {"input": 50}, (3, 13)),
        ("url(input).getHost() == 'a'", TEXTS, {"input": 50}, (3, 8)),
        ("input.find('[a-z]+')", TEXTS, {"input": 99}, (3, 21)),
    ],
)
def test_of_what_kubernetes_adds(
    text: str, types: dict[str, Type], sizes: dict[str, int], expected: tuple[int, int]
) -> None:
    assert estimated(text, types, sizes) == expected


@pytest.mark.parametrize(
    ("text", "types", "expected"),
    [
        ("o.optMap(v, v + 1)", {"o": optional_of(INT)}, (3, 17)),
        ("d.a", {"d": DYN}, (1, 1)),
        ("self.?a.orValue(1)", {"self": map_of(STRING, INT)}, (3, 3)),
    ],
)
def test_of_optional_and_unknown_values(text: str, types: dict[str, Type], expected: tuple[int, int]) -> None:
    assert estimated(text, types, {}) == expected
