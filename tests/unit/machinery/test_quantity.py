"""Quantities: spelled as upstream spells them, exact in every sum."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kybern.machinery import quantity

SPELLINGS = [
    ("0", "0"), ("1", "1"), ("1000m", "1"), ("1500m", "1500m"), ("1.5", "1500m"), ("0.5", "500m"), ("1000k", "1M"),
    ("100000Ki", "100000Ki"), ("1024Mi", "1Gi"), ("1.5Gi", "1536Mi"), ("0.1Gi", "107374182400m"), ("12e6", "12e6"),
    ("1E3", "1E3"), ("1e-1", "100e-3"), ("5E", "5E"), ("+5", "+5"), ("-1.5", "-1500m"), ("0Mi", "0"), ("1n", "1n"),
    ("0.1n", "1n"), (".5", "500m"), ("1.", "1."), ("8Mi", "8Mi"), ("100", "100"), ("1000", "1k"),
    ("10000000000000000000Ei", "9223372036854775807"),
    ("1000Ki", "1000Ki"), ("500Ki", "500Ki"), ("1Ki", "1Ki"), ("0.5Ki", "512"), ("-1Ki", "-1Ki"), ("1500", "1500"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "shown"), SPELLINGS)
def test_a_quantity_is_spelled_as_upstream_spells_it(text: str, shown: str) -> None:
    assert quantity.canonical(text) == shown


@pytest.mark.parametrize("text", ["", "x", "1.2.3", "1 Gi", "5mm5x", "1Gi ", "1" * 5000])
def test_text_that_is_no_quantity_is_refused_by_the_format(text: str) -> None:
    with pytest.raises(quantity.QuantityError, match="must match the regular expression"):
        quantity.parse(text)


@pytest.mark.parametrize("text", ["1Kx5", "1ki", "1mm", "5e", "1GiB"])
def test_an_unknown_suffix_is_refused(text: str) -> None:
    with pytest.raises(quantity.QuantityError):
        quantity.parse(text)


def test_amounts_round_away_from_zero() -> None:
    found = quantity.parse("1.5")
    assert (found.value(), found.milli(), (-found).value()) == (2, 1500, -2)
    assert quantity.parse("1n").milli() == 1


numbers = st.integers(min_value=-(10**15), max_value=10**15)
suffixes = st.sampled_from([*quantity.DECIMAL, *quantity.BINARY, "e3", "E2", "e-4"])


@given(numbers, suffixes)
def test_the_canonical_form_means_the_same_and_is_stable(number: int, suffix: str) -> None:
    found = quantity.parse(f"{number}{suffix}")
    again = quantity.parse(str(found))
    assert again == found
    assert str(quantity.Quantity(found.nano, found.format)) == str(
        quantity.Quantity(again.nano, again.format)
    )


@given(numbers, numbers, suffixes)
def test_sums_and_orders_are_those_of_the_amounts(left: int, right: int, suffix: str) -> None:
    one, two = quantity.parse(f"{left}{suffix}"), quantity.parse(f"{right}m")
    assert (one + two) - two == one
    assert (one < two) == (one.nano < two.nano)
