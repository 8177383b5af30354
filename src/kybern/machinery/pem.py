"""Blocks of PEM in a text, found as Go's encoding/pem finds them (RFC 7468, and RFC 1421 for headers). Pure.

What stands between blocks is skipped, and so is what only looks like one: with another name at its end, or no base64.
"""

import base64
from collections.abc import Iterator
from dataclasses import dataclass

_BEGIN, _END, _DASHES = "-----BEGIN ", "-----END ", "-----"
_WIDTH = 64


@dataclass(frozen=True, slots=True)
class Block:
    """``kind`` is what stands behind BEGIN, ``data`` what the base64 says; ``headers``: there are some before it."""

    kind: str
    data: bytes
    headers: bool = False


def decode(text: str) -> Iterator[Block]:
    """The blocks of a text in their order. Of several lines that begin one, the last before an end counts."""
    kind, inside = "", list[str]()
    begun = False
    for full in text.split("\n"):
        line = full.rstrip(" \t\r")
        if line.startswith(_BEGIN):
            begun, inside = line.endswith(_DASHES), []
            kind = line.removeprefix(_BEGIN).removesuffix(_DASHES)
        elif line.startswith(_END):
            if begun and line == f"{_END}{kind}{_DASHES}" and (block := _block(kind, inside)) is not None:
                yield block
            begun = False
        elif begun:
            inside.append(line)


def _block(kind: str, lines: list[str]) -> Block | None:
    first = next((at for at, line in enumerate(lines) if ":" not in line), len(lines))
    try:
        data = base64.b64decode("".join("".join(lines[first:]).split()), validate=True)
    except ValueError:
        return None
    return Block(kind, data, headers=first > 0)


def encode(block: Block) -> str:
    """One block without headers, in lines of 64 characters, as Go writes it."""
    text = base64.b64encode(block.data).decode()
    lines = "".join(f"{text[at : at + _WIDTH]}\n" for at in range(0, len(text), _WIDTH))
    return f"{_BEGIN}{block.kind}{_DASHES}\n{lines}{_END}{block.kind}{_DASHES}\n"
