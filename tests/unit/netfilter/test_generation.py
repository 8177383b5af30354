"""The kernel's answer about its generation of rules, and what is concluded from it."""

import struct
from contextlib import suppress
from dataclasses import dataclass

import pytest

from kybern.netfilter.generation import Seen, read
from kybern.netfilter.programs import CannotApply

HEAD = struct.pack("=IHHIIBBH", 0, 0, 0, 0, 0, 0, 0, 0)
NAME = struct.pack("=HH", 4 + 3, 3) + b"nft\0"  # padded to four bytes


def test_the_number_is_found_behind_other_attributes() -> None:
    assert read(HEAD + NAME + struct.pack("=HH", 8, 1) + struct.pack(">I", 4711)) == 4711


@pytest.mark.parametrize("rest", [b"", NAME, struct.pack("=HH", 0, 7)])
def test_an_answer_without_it_is_an_error(rest: bytes) -> None:
    with pytest.raises(OSError, match="has none"):
        read(HEAD + rest)


@dataclass
class Counting:
    """A kernel that counts transactions."""

    count: int = 7

    def __call__(self) -> int:
        return self.count


@pytest.mark.parametrize(
    ("before", "within", "after", "whole", "known"),
    [
        pytest.param(0, 0, 0, False, True, id="ours alone"),
        pytest.param(1, 0, 0, False, False, id="others before a change"),
        pytest.param(1, 0, 0, True, True, id="others before all is written anew"),
        pytest.param(0, 1, 0, False, False, id="others between the look and the change"),
        pytest.param(0, 1, 0, True, False, id="others between the look and the whole"),
        pytest.param(0, 0, 1, False, False, id="others right after a change"),
        pytest.param(0, 0, 1, True, False, id="others right after the whole"),
    ],
)
@pytest.mark.parametrize("ours", [0, 1, 3])
def test_what_others_write_around_a_write_of_ours_stays_to_be_looked_at(
    before: int, within: int, after: int, ours: int, *, whole: bool, known: bool
) -> None:
    kernel = Counting()
    seen = Seen(kernel, last=kernel.count)

    kernel.count += before
    with seen.writing(whole=whole) as writes:
        kernel.count += within
        kernel.count += ours
        writes.count += ours
        kernel.count += after

    assert (seen.last == kernel.count) is known


def test_nothing_is_known_after_a_write_that_failed() -> None:
    kernel = Counting()
    seen = Seen(kernel)

    with suppress(CannotApply), seen.writing(whole=True):
        raise CannotApply("refused")

    assert seen.last is None
