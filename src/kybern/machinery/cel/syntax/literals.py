"""What numbers and texts of an expression stand for. What cannot be is a ValueError with cel-go's words."""

from collections.abc import Callable

from kybern.machinery.cel.syntax import strings
from kybern.machinery.cel.values import Uint


def _int(text: str) -> int:
    found = _whole(text)
    if not -(2**63) <= found < 2**63:
        raise ValueError("invalid int literal")
    return found


def _whole(text: str) -> int:
    return int(text, 16) if "x" in text else int(text)


def _uint(text: str) -> Uint:
    found = _whole(text[:-1])
    if found >= 2**64:
        raise ValueError("invalid uint literal")
    return Uint(found)


def _double(text: str) -> float:
    found = float(text)
    if found in (float("inf"), float("-inf")):
        raise ValueError("invalid double literal")
    return found


READERS: dict[str, Callable[[str], object]] = {
    "NUM_INT": _int,
    "NUM_UINT": _uint,
    "NUM_FLOAT": _double,
    "STRING": strings.text,
    "BYTES": lambda text: strings.data(text[1:]),
}
