"""One walk over a decoded body: the state it carries, and the words for what it meets.

Type errors do not stop a walk, as they do not stop Go's decoder: the first one is kept and raised at the end. Errors of
types that read themselves (quantities, times) stop it at once, and win.
"""

from typing import Any

from kybern.machinery.errors import BadRequest

STRICT_LIMIT = 100


class Undecodable(BadRequest):
    """A body that does not fit its type. ``says`` is the bare complaint, without the sentence around it."""

    def __init__(self, says: str) -> None:
        super().__init__(says)
        self.says = says


class MapKey(str):
    """A key of a map in a path: Go's type errors leave it out, its strict errors name it."""

    __slots__ = ()


class Walk:
    """Where the walk is (``path``), the first type error (``wrong``), and unknown fields (``unknown``)."""

    __slots__ = ("path", "unknown", "wrong")

    def __init__(self) -> None:
        self.path: list[str | int] = []
        self.unknown: list[str] = []
        self.wrong: str | None = None

    def field(self) -> str:
        """The path as type errors show it: struct fields only."""
        return ".".join(part for part in self.path if isinstance(part, str) and not isinstance(part, MapKey))

    def place(self, key: str) -> str:
        """The path of a field as strict errors show it: with indices and map keys."""
        found = ""
        for part in (*self.path, key):
            found += f"[{part}]" if isinstance(part, int) else f".{part}" if found else str(part)
        return found

    def stray(self, key: str) -> None:
        """A field that the type does not have."""
        says = f'unknown field "{self.place(key)}"'
        if len(self.unknown) < STRICT_LIMIT and says not in self.unknown:
            self.unknown.append(says)

    def mismatch(self, value: Any, owner: str, kind: str) -> None:
        """A value of the wrong type."""
        if self.wrong is None:
            self.wrong = self.complaint(value, owner, kind)

    def complaint(self, value: Any, owner: str, kind: str) -> str:
        what = described(value)
        if what == "number" and kind in {"int32", "int64"}:
            what = f"number {number(value)}"
        path = self.field()
        target = f"Go struct field {owner}.{path}" if path else "Go value"
        return f"json: cannot unmarshal {what} into {target} of type {kind}"


def described(value: Any) -> str:
    """What Go calls a JSON value of this kind."""
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, str):
        return "string"
    return "object" if isinstance(value, dict) else "array"


def number(value: float) -> str:
    """A number as it was most likely written."""
    return repr(value)
