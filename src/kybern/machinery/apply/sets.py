"""Sets of fields, in the very form in which ``fieldsV1`` has them: nested objects of path elements.

A key is a path element (``f:name``, ``k:{"name":"c"}``, ``v:"a"``, ``i:0``), its value the set below it. An element is
itself a member when nothing is below it, or when ``.`` is; without either it is only on the way to members. No set is
ever changed in place, so sets may share parts, and a set that is unchanged stays the same object.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

type Set = Mapping[str, Any]

LEAF: Set = {}
EMPTY: Set = {}
"""No set at all when it stands at the top; a member when it stands below an element."""

_SELF = "."
_KINDS = ("f", "v", "i", "k")


class Unreadable(ValueError):
    """What a client sent as a set is none."""


def member(below: Set) -> bool:
    return not below or _SELF in below


def union(one: Set, other: Set) -> Set:
    """What is in either. Both are tops, or both are below the same element and not leaves."""
    if not one or one is other:
        return other
    if not other:
        return one
    found = dict(one)
    for key, theirs in other.items():
        ours = found.get(key)
        found[key] = theirs if ours is None else _joined(ours, theirs)
    return found


def _joined(one: Set, other: Set) -> Set:
    if not one or not other:
        more = one or other
        return {_SELF: LEAF, **more} if more else LEAF
    return union(one, other)


def difference(one: Set, other: Set) -> Set:
    """What is only in the first: members of the second go, what is below them stays."""
    if not other:
        return one
    found: dict[str, Any] = {}
    for key, ours in one.items():
        theirs = other.get(key)
        left = ours if theirs is None else _less(ours, theirs)
        if left is not None:
            found[key] = left
    return found


def _less(ours: Set, theirs: Set) -> Set | None:
    """What stays of an element; None when nothing does."""
    itself = member(ours) and not member(theirs)
    below = {key: value for key, value in difference(ours, theirs).items() if key != _SELF}
    if not below:
        return LEAF if itself else None
    return {_SELF: LEAF, **below} if itself else below


def without(one: Set, other: Set) -> Set:
    """What is neither a member of the second nor below one."""
    found: dict[str, Any] = {}
    for key, ours in one.items():
        theirs = other.get(key)
        if theirs is None:
            found[key] = ours
        elif not member(theirs):
            below = without(ours, theirs)
            if below or not ours:
                found[key] = below
    return found


def intersection(one: Set, other: Set) -> Set:
    """What is in both."""
    found: dict[str, Any] = {}
    for key, ours in one.items():
        theirs = other.get(key)
        if key == _SELF or theirs is None:
            continue
        itself = member(ours) and member(theirs)
        below = intersection(ours, theirs)
        if below:
            found[key] = {_SELF: LEAF, **below} if itself else below
        elif itself:
            found[key] = LEAF
    return found


def overlaps(one: Set, other: Set) -> bool:
    """Whether anything is in both."""
    for key, ours in one.items():
        theirs = other.get(key)
        if theirs is None or key == _SELF:
            continue
        if (member(ours) and member(theirs)) or overlaps(ours, theirs):
            return True
    return False


def paths(fields: Set, before: str = "") -> Iterator[str]:
    """The members as messages show them, those nearer to the top first."""
    inner = sorted(key for key in fields if key != _SELF)
    for key in inner:
        if member(fields[key]):
            yield before + shown(key)
    for key in inner:
        yield from paths(fields[key], before + shown(key))


def shown(element: str) -> str:
    """A path element in a message: ``.spec``, ``[name="c"]``, ``[="a"]``, ``[0]``."""
    kind, _, rest = element.partition(":")
    if kind == "f":
        return f".{rest}"
    if kind == "v":
        return f"[={_text(json.loads(rest))}]"
    if kind == "k":
        return "[" + ",".join(f"{key}={_text(value)}" for key, value in json.loads(rest).items()) + "]"
    return f"[{rest}]"


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def key_element(keys: Mapping[str, Any]) -> str:
    """The path element of an item that is known by some of its fields."""
    return "k:" + _go_json({key: keys[key] for key in sorted(keys)})


def value_element(value: Any) -> str:
    """The path element of an item of a set."""
    return "v:" + _go_json(value)


def _go_json(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    if "<" in text or ">" in text or "&" in text:
        return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    return text


def read(sent: Any) -> Set:
    """A set that a client sent, its elements spelled as ours are. Raises Unreadable."""
    if not isinstance(sent, Mapping):
        raise Unreadable("a set of fields is an object")
    found: dict[str, Any] = {}
    for key, below in sent.items():
        element = _SELF if key == _SELF else _element(key)
        if element:
            found[element] = LEAF if element == _SELF else read(below)
    return found


def _element(key: str) -> str:
    """One element in our spelling; empty for a kind that is not known (a later version's)."""
    kind, colon, rest = key.partition(":")
    if len(kind) != 1 or not colon:
        raise Unreadable(f"missing colon: {key}")
    if kind not in _KINDS:
        return ""
    if kind == "f":
        return key
    try:
        value = json.loads(rest)
    except ValueError as error:
        raise Unreadable(key) from error
    if kind == "i":
        return f"i:{value}"
    if kind == "v":
        return value_element(value)
    if not isinstance(value, dict):
        raise Unreadable(key)
    return key_element(value)
