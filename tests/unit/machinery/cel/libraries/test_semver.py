"""kubernetes.Semver."""

import pytest

from kybern.machinery.cel.functions import Range
from kybern.machinery.cel.libraries.semver import LIBRARY
from tests.unit.machinery.cel.libraries.calls import call, counted, estimated, fails


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "Version string empty"),
        ("1", "No Major.Minor.Patch elements found"),
        ("1.0", "No Major.Minor.Patch elements found"),
        ("v1.0.0", 'Invalid character(s) found in major number "v1"'),
        ("01.0.0", 'Major number must not contain leading zeroes "01"'),
        ("1.x.0", 'Invalid character(s) found in minor number "x"'),
        ("1.00.0", 'Minor number must not contain leading zeroes "00"'),
        ("1.0.x", 'Invalid character(s) found in patch number "x"'),
        ("1.0.01", 'Patch number must not contain leading zeroes "01"'),
        ("1.0.0-", "Prerelease is empty"),
        ("1.0.0-a..b", "Prerelease is empty"),
        ("1.0.0-01", 'Numeric PreRelease version must not contain leading zeroes "01"'),
        ("1.0.0-a_b", 'Invalid character(s) found in prerelease "a_b"'),
        ("1.0.0+", "Build meta data is empty"),
        ("1.0.0+a_b", 'Invalid character(s) found in build meta data "a_b"'),
        (".0.0", 'strconv.ParseUint: parsing "": invalid syntax'),
        ("99999999999999999999.0.0",
         'strconv.ParseUint: parsing "99999999999999999999": value out of range'),
    ],
)  # fmt: skip
def test_what_is_no_version_says_why(text: str, says: str) -> None:
    assert fails(LIBRARY, "string_to_semver", text) == says
    assert call(LIBRARY, "is_semver_string", text) is False
    assert fails(LIBRARY, "string_bool_to_semver", text, False) == says


@pytest.mark.parametrize(
    "text", ["1.0.0", "0.1.0-alpha.1", "1.2.3+build.01", "1.2.3-rc-1+x.y", "0.0.0", "1.2.3-0"]
)
def test_what_is_a_version(text: str) -> None:
    assert call(LIBRARY, "is_semver_string", text) is True


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("v1.0.0", "1.0.0"), ("1.0", "1.0.0"), ("v1", "1.0.0"), ("01.01.01", "1.1.1"), ("1.2.03-rc", "1.2.3-rc"),
        ("1.00.000", "1.0.0"), ("1.2.3", "1.2.3"), ("1.2.0-a", "1.2.0-a"),
    ],
)  # fmt: skip
def test_versions_are_brought_into_form(text: str, same: str) -> None:
    assert call(LIBRARY, "string_bool_to_semver", text, True) == call(LIBRARY, "string_to_semver", same)
    assert call(LIBRARY, "is_semver_string_bool", text, True) is True


def test_a_short_version_has_nothing_behind_it() -> None:
    says = "short version cannot contain PreRelease/Build meta data"
    assert fails(LIBRARY, "string_bool_to_semver", "1.0-rc", True) == says
    assert call(LIBRARY, "is_semver_string_bool", "1.0-rc", True) is False
    assert call(LIBRARY, "is_semver_string_bool", "v1.0", False) is False


@pytest.mark.parametrize(
    ("less", "more"),
    [
        ("1.2.3", "2.0.0"), ("1.2.3", "1.3.0"), ("1.2.3", "1.2.10"), ("1.0.0-alpha", "1.0.0"),
        ("1.0.0-alpha", "1.0.0-alpha.1"), ("1.0.0-alpha.1", "1.0.0-alpha.beta"), ("1.0.0-2", "1.0.0-11"),
        ("1.0.0-11", "1.0.0-a"), ("1.0.0-a", "1.0.0-b"),
    ],
)  # fmt: skip
def test_orders(less: str, more: str) -> None:
    one, other = call(LIBRARY, "string_to_semver", less), call(LIBRARY, "string_to_semver", more)
    assert call(LIBRARY, "semver_compare_to", one, other) == -1
    assert call(LIBRARY, "semver_compare_to", other, one) == 1
    assert call(LIBRARY, "semver_is_less_than", one, other) is True
    assert call(LIBRARY, "semver_is_greater_than", one, other) is False
    assert one != other


def test_builds_do_not_count() -> None:
    one, other = call(LIBRARY, "string_to_semver", "1.2.3+a"), call(LIBRARY, "string_to_semver", "1.2.3")
    assert one == other
    assert call(LIBRARY, "semver_compare_to", one, other) == 0


@pytest.mark.parametrize(("name", "number"), [("major", 1), ("minor", 2), ("patch", 3)])
def test_numbers(name: str, number: int) -> None:
    assert call(LIBRARY, f"semver_{name}", call(LIBRARY, "string_to_semver", "1.2.3-4")) == number


def test_costs() -> None:
    assert estimated(LIBRARY, "string_bool_to_semver", Range(0, 11), Range(1, 1)) == (0, 2)
    assert counted(LIBRARY, "string_to_semver", "1.2.3-alpha.1") == 2
