"""Query parameters as upstream's conversions read them."""

import pytest
from multidict import MultiDict

from kybern.apiserver.options import WriteOptions, flag, number, patch_causes, write_options
from kybern.machinery.errors import BadRequest, Invalid


@pytest.mark.parametrize(
    ("said", "means"), [("", True), ("1", True), ("no", True), ("False", False), ("0", False), ("00", True)]
)
def test_what_is_there_and_does_not_say_no_means_yes(said: str, means: bool) -> None:
    assert flag({"watch": said}, "watch") is means
    assert not flag({}, "watch")


@pytest.mark.parametrize(("said", "means"), [("7", 7), ("+7", 7), ("-0", 0), (str(2**63 - 1), 2**63 - 1)])
def test_numbers_are_go_s(said: str, means: int) -> None:
    assert number({"limit": said}, "limit") == means
    assert number({}, "limit") is None


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("", "invalid syntax"),
        ("1_000", "invalid syntax"),
        (" 7", "invalid syntax"),
        ("٣", "invalid syntax"),
        (str(2**63), "value out of range"),
    ],
)
def test_other_numbers_are_refused_in_go_s_words(said: str, why: str) -> None:
    with pytest.raises(BadRequest) as refused:
        number({"limit": said}, "limit")

    assert str(refused.value) == f'strconv.ParseInt: parsing "{said}": {why}'


@pytest.mark.parametrize(
    ("query", "applying", "causes"),
    [
        (
            [("dryRun", "All"), ("dryRun", "x")],
            False,
            ['dryRun: Unsupported value: ["All","x"]: supported values: "All"'],
        ),
        ([("fieldManager", "ä" * 65)], False, ["fieldManager: Too long: may not be more than 128 bytes"]),
        (
            [("fieldManager", "ä\a")],
            False,
            [r'fieldManager: Invalid value: "ä\a": invalid character U+0007 (at position 2)'],
        ),
        (
            [("force", ""), ("fieldValidation", "no")],
            False,
            [
                "force: Forbidden: may not be specified for non-apply patch",
                'fieldValidation: Unsupported value: "no": supported values: "Ignore", "Strict", "Warn"',
            ],
        ),
        ([], True, ["fieldManager: Required value: is required for apply patch"]),
    ],
)
def test_all_that_is_wrong_with_the_options_of_a_write_is_told(
    query: list[tuple[str, str]], applying: bool, causes: list[str]
) -> None:
    asked = MultiDict(query)
    with pytest.raises(Invalid) as refused:
        write_options(asked, "PatchOptions", patch_causes(asked, applying=applying))

    assert refused.value.details is not None
    assert [f"{cause.field}: {cause.message}" for cause in refused.value.details.causes] == causes


def test_a_manager_may_have_128_bytes() -> None:
    asked = MultiDict([("dryRun", "All"), ("dryRun", "All"), ("fieldManager", "x" * 128)])

    assert write_options(asked, "CreateOptions") == WriteOptions(dry_run=True, manager="x" * 128)
