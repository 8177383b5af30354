"""The kernel's answer about its generation of rules."""

import struct

import pytest

from kybern.netfilter.generation import read

HEAD = struct.pack("=IHHIIBBH", 0, 0, 0, 0, 0, 0, 0, 0)
NAME = struct.pack("=HH", 4 + 3, 3) + b"nft\0"  # padded to four bytes


def test_the_number_is_found_behind_other_attributes() -> None:
    assert read(HEAD + NAME + struct.pack("=HH", 8, 1) + struct.pack(">I", 4711)) == 4711


@pytest.mark.parametrize("rest", [b"", NAME, struct.pack("=HH", 0, 7)])
def test_an_answer_without_it_is_an_error(rest: bytes) -> None:
    with pytest.raises(OSError, match="has none"):
        read(HEAD + rest)
