"""Steps of a loop that add to its total in place: nobody else holds that list or map, so it need not be copied."""

from collections.abc import Callable, Mapping
from typing import Any

from kybern.machinery.cel.functions import Overload
from kybern.machinery.cel.syntax.macros import RESULT
from kybern.machinery.cel.syntax.tree import Ident, Node


def reads_total(arguments: tuple[Node, ...]) -> bool:
    first = arguments[0] if arguments else None
    return isinstance(first, Ident) and first.name == RESULT


def _extend(total: list[Any], more: list[Any]) -> list[Any]:
    total.extend(more)
    return total


def _adding(overload: Overload) -> Callable[..., Any]:
    return _extend


def _inserting(overload: Overload) -> Callable[..., Any]:
    def insert(total: dict[Any, Any], *added: Any) -> dict[Any, Any]:
        found: dict[Any, Any] = overload.call({}, *added)
        if not found.keys().isdisjoint(total):
            overload.call(total, *added)
        total.update(found)
        return total

    return insert


IN_PLACE: Mapping[str, Callable[[Overload], Callable[..., Any]]] = {
    "_+_": _adding,
    "cel.@mapInsert": _inserting,
}
