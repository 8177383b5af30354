"""The order of a merged list: the patch's order for what it names, the server's for the rest, interleaved.

Both relative orders are kept. Where they leave freedom, an element of the server comes before the first element of the
patch that stood behind it in the server's list.
"""

from collections.abc import Callable
from typing import Any


def ordered(merged: list[Any], wanted: list[Any], before: list[Any], merge_key: str) -> list[Any]:
    """``merged`` sorted by ``wanted`` (the patch's elements) and ``before`` (the server's list)."""

    def identity(value: Any) -> Any:
        return value.get(merge_key) if merge_key and isinstance(value, dict) else value

    asked = _places(wanted, identity)
    stood = _places(before, identity)
    named = [each for each in merged if _frozen(identity(each)) in asked]
    own = [each for each in merged if _frozen(identity(each)) not in asked]
    named.sort(key=lambda each: asked[_frozen(identity(each))])
    own.sort(key=lambda each: stood.get(_frozen(identity(each)), len(stood)))
    return _interleaved(own, named, lambda each: stood.get(_frozen(identity(each)), -1))


def _places(values: list[Any], identity: Callable[[Any], Any]) -> dict[Any, int]:
    found: dict[Any, int] = {}
    for at, value in enumerate(values):
        found.setdefault(_frozen(identity(value)), at)
    return found


def _frozen(value: Any) -> Any:
    return value if isinstance(value, str | int | float | None) else repr(value)


def _interleaved(own: list[Any], named: list[Any], place: Callable[[Any], int]) -> list[Any]:
    found: list[Any] = []
    left = right = 0
    while left < len(own) and right < len(named):
        if 0 <= place(own[left]) < place(named[right]):
            found.append(own[left])
            left += 1
        else:
            found.append(named[right])
            right += 1
    return found + own[left:] + named[right:]
