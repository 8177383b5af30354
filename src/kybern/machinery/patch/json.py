"""RFC 6902: a list of operations, all or nothing.

Upstream tells a malformed patch (400, with what is wrong) from one that does not apply (422, without a word about why).
Negative indices count from the end, as in the library that upstream uses.
"""

from collections.abc import Callable
from typing import Any

from kybern.machinery.errors import BadRequest, Details, Invalid, RequestEntityTooLarge
from kybern.machinery.kind import Raw
from kybern.machinery.patch.values import fresh
from kybern.machinery.walk import described

LIMIT = 10_000


class NotApplicable(Exception):
    """An operation that does not fit the document."""


class _Unequal(NotApplicable):
    """A test operation that found something else."""


class TestFailed(Invalid):
    """A test operation did not hold."""

    __test__ = False  # no test of ours


def json_patch(doc: Raw, operations: Any) -> Any:
    """The document after all operations; raises BadRequest, Invalid or RequestEntityTooLarge."""
    checked = _operations(operations)
    found: Any = fresh(doc)
    try:
        for operation in checked:
            found = _apply(found, operation)
    except NotApplicable as error:
        kind = TestFailed if isinstance(error, _Unequal) else Invalid
        raise kind("the server rejected our request due to an error in our request", Details()) from error
    return found


def _operations(given: Any) -> list[dict[str, Any]]:
    if given is None:
        return []
    if not isinstance(given, list):
        raise _undecodable(f"json: cannot unmarshal {described(given)} into Go value of type jsonpatch.Patch")
    for one in given:
        if not isinstance(one, dict):
            raise _undecodable(
                f"json: cannot unmarshal {described(one)} into Go value of type jsonpatch.Operation"
            )
    if len(given) > LIMIT:
        raise RequestEntityTooLarge(
            f"The allowed maximum operations in a JSON patch is {LIMIT}, got {len(given)}"
        )
    return given


def _undecodable(says: str) -> BadRequest:
    return BadRequest(f"error decoding patch: {says}")


def _apply(doc: Any, operation: dict[str, Any]) -> Any:
    act = _ACTS.get(operation.get("op", ""))
    path = operation.get("path")
    if act is None or not isinstance(path, str):
        raise NotApplicable("no such operation")
    return act(doc, path, operation)


def _pointer(path: str) -> list[str]:
    if path and not path.startswith("/"):
        raise NotApplicable("a path starts with a slash")
    return [part.replace("~1", "/").replace("~0", "~") for part in path.split("/")[1:]]


def _index(part: str, size: int) -> int:
    digits = part.removeprefix("-")
    if not digits.isdecimal() or len(digits) > 9 or (len(digits) > 1 and digits[0] == "0"):
        raise NotApplicable("not an index")
    number = int(part)
    if not -size <= number < size:
        raise NotApplicable("no such index")
    return number + size if number < 0 else number


def _step(value: Any, part: str) -> Any:
    if isinstance(value, dict):
        if part not in value:
            raise NotApplicable("no such member")
        return value[part]
    if isinstance(value, list):
        return value[_index(part, len(value))]
    raise NotApplicable("no container")


def _get(doc: Any, path: str) -> Any:
    found = doc
    for part in _pointer(path):
        found = _step(found, part)
    return found


def _parent(doc: Any, path: str) -> tuple[Any, str]:
    parts = _pointer(path)
    found = doc
    for part in parts[:-1]:
        found = _step(found, part)
    return found, parts[-1]


def _put(doc: Any, path: str, value: Any) -> Any:
    if not path:
        return value
    parent, last = _parent(doc, path)
    if isinstance(parent, dict):
        parent[last] = value
    elif isinstance(parent, list):
        parent.insert(len(parent) if last == "-" else _index(last, len(parent) + 1), value)
    else:
        raise NotApplicable("no container")
    return doc


def _drop(doc: Any, path: str) -> Any:
    if not path:
        raise NotApplicable("the whole document")
    parent, last = _parent(doc, path)
    _step(parent, last)
    del parent[last if isinstance(parent, dict) else _index(last, len(parent))]
    return doc


def _value(operation: dict[str, Any]) -> Any:
    """Upstream's library takes an operation without one for an operation with null."""
    return fresh(operation.get("value"))


def _add(doc: Any, path: str, operation: dict[str, Any]) -> Any:
    return _put(doc, path, _value(operation))


def _remove(doc: Any, path: str, _operation: dict[str, Any]) -> Any:
    return _drop(doc, path)


def _replace(doc: Any, path: str, operation: dict[str, Any]) -> Any:
    if not path:
        return _value(operation)
    parent, last = _parent(doc, path)
    if isinstance(parent, dict):
        # Upstream's library replaces what is not there, too, when it is a field.
        parent[last] = _value(operation)
    else:
        _step(parent, last)
        parent[_index(last, len(parent))] = _value(operation)
    return doc


def _from(operation: dict[str, Any]) -> str:
    source = operation.get("from")
    if not isinstance(source, str):
        raise NotApplicable("no source")
    return source


def _move(doc: Any, path: str, operation: dict[str, Any]) -> Any:
    source = _from(operation)
    value = _get(doc, source)
    return _put(_drop(doc, source), path, value)


def _copy(doc: Any, path: str, operation: dict[str, Any]) -> Any:
    return _put(doc, path, fresh(_get(doc, _from(operation))))


def _test(doc: Any, path: str, operation: dict[str, Any]) -> Any:
    wanted = operation.get("value")
    try:
        found = _get(doc, path)
    except NotApplicable:
        # The library takes what is absent for null.
        if wanted is None:
            return doc
        raise
    if not _same(found, wanted):
        raise _Unequal("another value")
    return doc


def _same(left: Any, right: Any) -> bool:
    """Equality of JSON, where true is not 1."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(_same(left[key], right[key]) for key in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(_same, left, right))
    return bool(left == right)


_ACTS: dict[Any, Callable[[Any, str, dict[str, Any]], Any]] = {
    "add": _add,
    "remove": _remove,
    "replace": _replace,
    "move": _move,
    "copy": _copy,
    "test": _test,
}
