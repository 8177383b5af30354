"""How a call of gRPC fails, and what the last headers of an answer say of that."""

from collections.abc import Mapping
from urllib.parse import unquote

CANCELLED, UNKNOWN, DEADLINE_EXCEEDED, OUT_OF_RANGE, INTERNAL, UNAVAILABLE = 1, 2, 4, 11, 13, 14


class Failed(Exception):
    """A call did not end well. ``untouched``: the server has certainly not acted on it."""

    def __init__(self, status: int, text: str, *, untouched: bool = False) -> None:
        super().__init__(text)
        self.status = status
        self.text = text
        self.untouched = untouched


def problem(fields: Mapping[str, str]) -> Failed | None:
    status = fields.get("grpc-status", "")
    if status == "0":
        return None
    if status.isdecimal():
        return Failed(int(status), unquote(fields.get("grpc-message", "")))
    return Failed(UNKNOWN, f"the answer has HTTP status {fields.get(':status', '')} and none of gRPC")
