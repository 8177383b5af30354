"""Strategic merge: a merge patch that knows which lists are sets of things, from the schema.

A list with a merge key is merged element by element; a list of scalars with strategy merge is a set; every other list
is replaced. Directives in the patch say more:

- ``$patch: replace|delete`` in an object: take it instead, or empty it; in a list's element: replace the list, or
  delete the element with that key.
- ``$retainKeys``: of the old object only these fields stay.
- ``$deleteFromPrimitiveList/FIELD``: remove these scalars.
- ``$setElementOrder/FIELD``: the order of the elements that the patch knows; the server's own elements keep theirs.

Working on fresh copies, the functions below change what they are given.
"""

from typing import Any

from kybern.machinery.errors import ApiError, BadRequest, Details, Invalid
from kybern.machinery.kind import Raw
from kybern.machinery.patch.order import ordered
from kybern.machinery.patch.values import fresh, not_an_object, printed
from kybern.machinery.schema import Node

DIRECTIVE = "$patch"
RETAIN = "$retainKeys"
DELETE_LIST = "$deleteFromPrimitiveList"
ORDER = "$setElementOrder"


class PatchError(ApiError):
    """A patch that cannot be merged; upstream answers these without a reason."""

    code, reason = 500, ""


def merge(doc: Raw, patch: Any, node: Node | None) -> Raw:
    """The document with the patch merged in. ``node`` is the definition of the document."""
    if not isinstance(patch, dict):
        if patch is None:
            return doc
        raise BadRequest(not_an_object(patch))
    return _map(fresh(doc), fresh(patch), node)


def no_merge_key(value: Any, key: str) -> PatchError:
    return PatchError(f"map: {printed(value)} does not contain declared merge key: {key}")


def _map(original: Raw, patch: Raw, node: Node | None) -> Raw:
    if DIRECTIVE in patch:
        return _directed(patch)
    _retain(original, patch)
    _set_orders(original, patch, node)
    for key, value in patch.items():
        if key.startswith(DELETE_LIST):
            _delete_scalars(original, _after_prefix(key), value)
        elif value is None:
            original.pop(key, None)
        else:
            _field(original, key, value, node)
    return original


def _directed(patch: Raw) -> Raw:
    directive = patch[DIRECTIVE]
    if directive == "replace":
        return {key: value for key, value in patch.items() if key != DIRECTIVE}
    if directive == "delete":
        return {}
    raise PatchError(f"unknown patch type: {printed(directive)} in map: {printed(patch)}")


def _field(original: Raw, key: str, value: Any, node: Node | None) -> None:
    old = original.get(key)
    below = node.child(key) if node is not None else None
    strategy, merge_key = _strategy(node, key)
    if isinstance(old, dict) and isinstance(value, dict):
        original[key] = value if strategy == "replace" else _map(old, value, below)
    elif isinstance(old, list) and isinstance(value, list):
        original[key] = _list(old, value, merge_key, below) if strategy == "merge" else value
    else:
        _take(original, key, value)


def _take(original: Raw, key: str, value: Any) -> None:
    """What replaces something else, or is new: without nulls and directives."""
    if isinstance(value, dict) and DIRECTIVE in value:
        original.pop(key, None)
    else:
        original[key] = _plain(value)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: _plain(each)
            for key, each in value.items()
            if each is not None and not (isinstance(each, dict) and DIRECTIVE in each)
        }
    if isinstance(value, list):
        return [_plain(each) for each in value if not (isinstance(each, dict) and DIRECTIVE in each)]
    return value


def _strategy(node: Node | None, key: str) -> tuple[str, str]:
    """How a field is merged: (merge, replace or nothing, the merge key)."""
    if node is None:
        return "", ""
    found = node.property(key)
    strategies = str(found.get("x-kubernetes-patch-strategy", "")).split(",")
    strategy = next((one for one in strategies if one in {"merge", "replace"}), "")
    return strategy, str(found.get("x-kubernetes-patch-merge-key", ""))


def _retain(original: Raw, patch: Raw) -> None:
    if RETAIN not in patch:
        return
    keys = patch.pop(RETAIN)
    if not isinstance(keys, list):
        raise BadRequest("invalid patch format of retainKeys")
    for key, value in patch.items():
        if value is not None and not key.startswith((DELETE_LIST, ORDER)) and key not in keys:
            raise BadRequest("invalid patch format of retainKeys")
    for key in [key for key in original if key not in keys]:
        del original[key]


def _after_prefix(key: str) -> str:
    prefix, slash, field = key.partition("/")
    if prefix == DELETE_LIST and slash:
        return field
    raise BadRequest("invalid patch format of primitive list")


def _delete_scalars(original: Raw, key: str, value: Any) -> None:
    if value is None:
        original.pop(key, None)
        return
    old = original.get(key)
    if isinstance(old, list) and isinstance(value, list):
        original[key] = [each for each in old if each not in value]


def _set_orders(original: Raw, patch: Raw, node: Node | None) -> None:
    """Merge the lists whose order the patch states; they are done then, and leave the patch."""
    for directive in [key for key in patch if key.startswith(ORDER)]:
        order = patch.pop(directive)
        prefix, slash, key = directive.partition("/")
        if prefix != ORDER or not slash or not isinstance(order, list):
            raise BadRequest("invalid patch format of setElementOrder list")
        if key not in original and key not in patch:
            continue
        _set_order(original, patch, key, order, node)


def _set_order(original: Raw, patch: Raw, key: str, order: list[Any], node: Node | None) -> None:
    strategy, merge_key = _strategy(node, key)
    old, new = original.get(key), patch.pop(key, None)
    if not isinstance(old, list | None) or not isinstance(new, list | None):
        raise PatchError("expected a []interface {}, but received a string")
    _check_order(new or [], order, merge_key)
    if new is None:
        merged = list(old or [])
    elif old is None:
        merged = _plain(new)
    elif strategy == "merge":
        merged = _list(list(old), new, merge_key, node.child(key) if node is not None else None)
    else:
        merged = new
    for each in [*merged, *order] if merge_key else []:
        _key_of(each, merge_key)
    original[key] = ordered(merged, order, old or [], merge_key)


def _check_order(new: list[Any], order: list[Any], merge_key: str) -> None:
    """The patch's list must have its elements in the order that it states."""
    if not new or not order:
        return
    stated = [_key_of(each, merge_key) if merge_key else each for each in order]
    at = 0
    for each in new:
        if isinstance(each, dict) and DIRECTIVE in each:
            continue
        value = _key_of(each, merge_key) if merge_key else each
        if value not in stated[at:]:
            raise PatchError(
                f"The order in patch list:\n{printed(new)}\n doesn't match {ORDER} list:\n{printed(order)}\n"
            )
        at = stated.index(value, at) + 1


def _key_of(value: Any, merge_key: str) -> Any:
    if not isinstance(value, dict):
        raise PatchError(f"expected a map[string]interface {{}}, but received a {_go_type(value)}")
    if merge_key not in value:
        raise no_merge_key(value, merge_key)
    return value[merge_key]


def _go_type(value: Any) -> str:
    if isinstance(value, list):
        return "[]interface {}"
    names = {str: "string", bool: "bool", int: "int64", float: "float64"}
    return names.get(type(value), "nil")


def _list(old: list[Any], new: list[Any], merge_key: str, node: Node | None) -> list[Any]:
    if not old and not new:
        return old
    every = [*old, *new]
    if any(isinstance(each, list) for each in every):
        raise Invalid("the server rejected our request due to an error in our request", Details())
    if len({isinstance(each, dict) for each in every}) > 1:
        raise PatchError("list element types are not identical")
    if not isinstance(every[0], dict):
        return ordered(list(dict.fromkeys(every)), new, old, "")
    if not merge_key:
        name = node.kind if node is not None else ""
        raise PatchError(f"cannot merge lists without merge key for {name}")
    old, new = _special(old, new, merge_key)
    merged = _elements(list(old), new, merge_key, node)
    for each in merged:
        _key_of(each, merge_key)
    return ordered(merged, new, old, merge_key)


def _special(old: list[Any], new: list[Any], merge_key: str) -> tuple[list[Any], list[Any]]:
    """Carry out the elements that are directives; returns what is left of both lists."""
    plain: list[Any] = []
    replace = False
    for each in new:
        directive = each.get(DIRECTIVE)
        if directive is None:
            plain.append(each)
        elif directive == "delete":
            gone = _key_of(each, merge_key)
            old = [one for one in old if one.get(merge_key) != gone]
        elif directive == "replace":
            replace = True
        elif directive == "merge":
            raise PatchError("merging lists cannot yet be specified in the patch")
        else:
            raise PatchError(f"unknown patch type: {printed(directive)} in map: {printed(each)}")
    return (plain, []) if replace else (old, plain)


def _elements(old: list[Any], new: list[Any], merge_key: str, node: Node | None) -> list[Any]:
    for each in new:
        value = _key_of(each, merge_key)
        at = next((place for place, one in enumerate(old) if one.get(merge_key) == value), None)
        if at is None:
            old.append(_plain(each))
        else:
            old[at] = _map(old[at], each, node)
    return old
