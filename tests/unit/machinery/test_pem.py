"""Blocks of PEM, found in whatever stands around them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kybern.machinery.pem import Block, decode, encode

ONE = "-----BEGIN A-----\nb25l\n-----END A-----\n"
TWO = "-----BEGIN B-----\ndHdv\n-----END B-----\n"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", []),
        ("text\n", []),
        (ONE + TWO, [Block("A", b"one"), Block("B", b"two")]),
        (f"before\n{ONE}between\n{TWO}after", [Block("A", b"one"), Block("B", b"two")]),
        (ONE.removesuffix("\n"), [Block("A", b"one")]),
        (ONE.replace("\n", " \t\r\n"), [Block("A", b"one")]),
        (ONE.replace("b25l", "b2\n 5l"), [Block("A", b"one")]),
        ("-----BEGIN A-----\n-----END A-----\n", [Block("A", b"")]),
        (ONE.replace("b25l", "Proc-Type: 4\n\nb25l"), [Block("A", b"one", headers=True)]),
        ("-----BEGIN X-----\n" + ONE, [Block("A", b"one")]),
        (ONE.replace("END A", "END B"), []),
        (ONE.replace("END A", "END B") + TWO, [Block("B", b"two")]),
        (ONE.replace("b25l", "b25"), []),
        (ONE.replace("b25l", "b2!l"), []),
        (ONE.replace("BEGIN A-----", "BEGIN A"), []),
        ("x" + ONE, []),
        ("-----END A-----\n" + ONE, [Block("A", b"one")]),
    ],
)
def test_blocks_are_found_among_other_text(text: str, found: list[Block]) -> None:
    assert list(decode(text)) == found


@given(st.lists(st.binary(max_size=200)))
def test_what_is_written_is_read_again(parts: list[bytes]) -> None:
    blocks = [Block("CERTIFICATE", part) for part in parts]
    text = "".join(map(encode, blocks))

    assert list(decode(text)) == blocks
    assert all(len(line) <= 64 for line in text.splitlines())
