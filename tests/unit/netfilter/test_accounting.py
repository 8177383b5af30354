"""The kernel's answer about a counter of packets."""

import struct

import pytest

from kybern.netfilter.accounting import read

NAME = struct.pack("=HH", 4 + 3, 1) + b"ab\0\0"  # padded to four bytes


def test_packets_are_found_behind_the_name() -> None:
    assert read(NAME + struct.pack("=HH", 12, 2) + struct.pack(">Q", 2**33)) == 2**33


@pytest.mark.parametrize("rest", [b"", NAME, struct.pack("=HH", 0, 7)])
def test_an_answer_without_packets_is_an_error(rest: bytes) -> None:
    with pytest.raises(OSError, match="has none"):
        read(rest)
