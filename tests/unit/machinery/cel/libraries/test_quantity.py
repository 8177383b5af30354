"""kubernetes.quantity."""

from typing import Any

import pytest

from kybern.machinery.cel.functions import Range
from kybern.machinery.cel.libraries.quantity import LIBRARY, QuantityValue
from tests.unit.machinery.cel.libraries.calls import call, counted, estimated, fails


def read(text: str) -> QuantityValue:
    found = call(LIBRARY, "string_to_quantity", text)
    assert isinstance(found, QuantityValue)
    return found


@pytest.mark.parametrize(
    ("text", "valid"),
    [
        ("1.3G", True),
        ("200K", False),
        ("Three", False),
        ("50Mi", True),
        ("1e3", True),
        ("", False),
    ],
)
def test_what_is_a_quantity(text: str, *, valid: bool) -> None:
    assert call(LIBRARY, "is_quantity_string", text) is valid


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("200K", "unable to parse quantity's suffix"),
        ("x",
         "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"),
    ],
)  # fmt: skip
def test_what_is_none_says_why(text: str, says: str) -> None:
    assert fails(LIBRARY, "string_to_quantity", text) == says


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("0", 0), ("50k", 50_000), ("50000000G", 50_000_000_000_000_000), ("50Mi", 50 * 2**20), ("-3", -3),
        ("1e3", 1000), ("1.5", None), ("1000m", None), ("1.5Ki", None), ("1.0", None),
        ("9999999999999999999999999999999999999G", None), ("10E", None), ("1234567890123456789", None),
    ],
)  # fmt: skip
def test_what_is_whole(text: str, whole: int | None) -> None:
    assert call(LIBRARY, "quantity_is_integer", read(text)) is (whole is not None)
    if whole is None:
        assert fails(LIBRARY, "quantity_get_int", read(text)) == "cannot convert value to integer"
    else:
        assert call(LIBRARY, "quantity_get_int", read(text)) == whole


@pytest.mark.parametrize(
    ("text", "number"),
    [("50k", 50000.0), ("50.703k", 50703.0), ("1.5", 1.5), ("-2m", -0.002), ("1Ki", 1024.0), ("10E", 1e19)],
)
def test_as_approximate_floats(text: str, number: float) -> None:
    assert call(LIBRARY, "quantity_get_float", read(text)) == pytest.approx(number)


@pytest.mark.parametrize(("text", "sign"), [("50k", 1), ("-1", -1), ("0", 0), ("0m", 0)])
def test_signs(text: str, sign: int) -> None:
    assert call(LIBRARY, "quantity_sign", read(text)) == sign


@pytest.mark.parametrize(
    ("one", "other", "order"),
    [("200M", "0.2G", 0), ("50M", "50Mi", -1), ("50Mi", "50M", 1), ("1", "1000m", 0)],
)
def test_orders(one: str, other: str, order: int) -> None:
    pair = read(one), read(other)
    assert call(LIBRARY, "quantity_compare_to", *pair) == order
    assert call(LIBRARY, "quantity_is_less_than", *pair) is (order < 0)
    assert call(LIBRARY, "quantity_is_greater_than", *pair) is (order > 0)
    assert (pair[0] == pair[1]) is (order == 0)


@pytest.mark.parametrize(
    ("one", "operation", "other", "result", "whole"),
    [
        ("50k", "add", "20k", "70k", True),
        ("50k", "sub", "20k", "30k", True),
        ("50k", "add_int", 20, "50020", True),
        ("50k", "sub_int", 20000, "30k", True),
        ("0", "add", "5", "5", True),
        ("0", "sub", "5", "-5", True),
        ("5", "sub", "0", "5", True),
        ("1000m", "add", "1", "2", False),
        ("1", "add", "1.5", "2.5", False),
        ("10E", "add", "1", "10000000000000000001", False),
        ("9E", "add", "9E", "18E", False),
    ],
)
def test_sums(one: str, operation: str, other: Any, result: str, *, whole: bool) -> None:
    second = read(other) if isinstance(other, str) else other
    found = call(LIBRARY, f"quantity_{operation}", read(one), second)
    assert found == read(result)
    assert call(LIBRARY, "quantity_is_integer", found) is whole


def test_costs() -> None:
    assert estimated(LIBRARY, "string_to_quantity", Range(0, 11)) == (0, 2)
    assert counted(LIBRARY, "is_quantity_string", "50Mi") == 1
