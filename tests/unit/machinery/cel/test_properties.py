"""What holds for all expressions of a kind."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from kybern.machinery.cel import CompileError, EvaluationError
from kybern.machinery.cel.functions import Range
from kybern.machinery.cel.types import DYN, INT, list_of
from tests.unit.machinery.cel.expressions import PLAIN, environment, value

INTS = st.integers(-(2**63), 2**63 - 1)
TREES = st.recursive(
    st.integers(0, 1000).map(lambda n: (str(n), n)),
    lambda inner: st.tuples(inner, st.sampled_from("+-*"), inner).map(
        lambda three: (
            f"({three[0][0]} {three[1]} {three[2][0]})",
            _compute(three[0][1], three[1], three[2][1]),
        )
    ),
    max_leaves=12,
)

_WORST = (-(2**63), -1)


def _outcome(text: str, variables: dict[str, int]) -> Any:
    try:
        return environment(dict.fromkeys(variables, INT)).compile(text).evaluate(variables)[0]
    except EvaluationError as problem:
        return str(problem)


def _compute(one: int, sign: str, other: int) -> int:
    return {"+": one + other, "-": one - other, "*": one * other}[sign]


@given(TREES)
def test_sums_and_products_are_those_of_whole_numbers(tree: tuple[str, int]) -> None:
    text, expected = tree

    assert _outcome(text, {}) in (expected, "integer overflow")


@given(INTS, INTS)
def test_quotient_and_remainder_make_up_the_number(one: int, other: int) -> None:
    found = _outcome("(a / b) * b + a % b == a", {"a": one, "b": other})

    assert found == (
        "division by zero" if other == 0 else "integer overflow" if (one, other) == _WORST else True
    )


@given(st.text(alphabet=st.characters(codec="utf-8")))
def test_strings_in_quotes_are_themselves(text: str) -> None:
    escaped = "".join(f"\\U{ord(sign):08x}" for sign in text)

    assert value(f"'{escaped}'") == text
    assert value(f"size('{escaped}')") == len(text)


@given(st.lists(st.integers(-50, 50)), st.integers(-50, 50))
def test_loops_do_what_python_does(items: list[int], limit: int) -> None:
    def found(text: str) -> Any:
        return environment({"l": list_of(INT), "n": INT}).compile(text).evaluate({"l": items, "n": limit})[0]

    assert found("l.all(x, x < n)") is all(x < limit for x in items)
    assert found("l.exists(x, x == n)") is (limit in items)
    assert found("n in l") is (limit in items)
    assert found("l.filter(x, x > n)") == [x for x in items if x > limit]
    assert found("l.map(x, x * 2)") == [x * 2 for x in items]
    assert found("l.exists_one(x, x == n)") is (items.count(limit) == 1)


@given(st.text(alphabet="ab1.+-*/()[]{}'\"!?:&|<>= \n,x`$rb\\u0", max_size=40))
def test_whatever_is_written_gives_a_program_or_an_explanation(text: str) -> None:
    try:
        program = PLAIN.extend({"a": DYN, "b": DYN}).compile(text)
    except CompileError as problem:
        explained = str(problem).startswith(("ERROR: <input>:", "program instantiation failed: "))
        assert explained, problem  # noqa: PT017  what is expected depends on the text
        return
    try:
        _, cost = program.evaluate({"a": 1, "b": {"a": [1]}})
    except EvaluationError as problem:
        cost = problem.cost
    assert cost >= 0
    assert program.estimate().least >= 0


@given(st.lists(st.integers(0, 5), max_size=8), st.integers(0, 40))
def test_costs_lie_within_their_estimate(items: list[int], budget: int) -> None:
    program = environment({"l": list_of(INT)}).compile("l.all(x, x > 1) || l.map(x, x + 1).exists(y, y == 3)")
    _, cost = program.evaluate({"l": items})

    assert cost <= program.estimate(lambda path: None if path != ("l",) else Range(0, 8)).most
    try:
        assert program.evaluate({"l": items}, budget)[1] == cost
        assert cost <= budget
    except EvaluationError:
        assert cost > budget
