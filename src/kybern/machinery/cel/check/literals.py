"""What is written out must be what it is taken for: times, spans and patterns that are some, lists and maps of one type.

Kubernetes has lists of one type only; what ``format`` is given may be anything.
"""

from collections.abc import Callable, Iterator
from typing import Any

from kybern.machinery import regular
from kybern.machinery.cel import moments
from kybern.machinery.cel.check.found import Checked
from kybern.machinery.cel.check.shown import shown
from kybern.machinery.cel.source import Source
from kybern.machinery.cel.syntax.tree import (
    Call,
    Comprehension,
    ListLiteral,
    Literal,
    MapLiteral,
    Message,
    Node,
    Select,
)  # fmt: skip
from kybern.machinery.cel.types import Type
from kybern.machinery.cel.values import EvaluationError


def _duration(value: object) -> object:
    return moments.span(value) if isinstance(value, str) else moments.span("-")


def _timestamp(value: object) -> object:
    return moments.timestamp(value) if isinstance(value, str) else moments.at(int(str(value)))


def _pattern(value: object) -> object:
    return regular.compiled(value) if isinstance(value, str) else None


_READ: dict[str, Callable[[object], object]] = {
    "duration": _duration,
    "timestamp": _timestamp,
    "matches": _pattern,
}
_MIXED = "format"


def validate(checked: Checked, source: Source) -> None:
    for node, mixed in _nodes(checked.root):
        if isinstance(node, Call):
            _call(node, source)
        elif isinstance(node, ListLiteral) and not mixed:
            _list(node, checked, source)
        elif isinstance(node, MapLiteral) and not mixed:
            _map(node, checked, source)


def _nodes(root: Node) -> Iterator[tuple[Node, bool]]:
    """Every node once, though a macro may use one twice; and whether it is within a call that takes anything."""
    seen: set[Node] = set()
    waiting = [(root, False)]
    while waiting:
        node, mixed = waiting.pop()
        if node not in seen:
            seen.add(node)
            yield node, mixed
            mixed = mixed or (isinstance(node, Call) and node.function == _MIXED)
            waiting += [(each, mixed) for each in _inner(node)]


def _inner(node: Node) -> tuple[Node, ...]:
    read = _INNER.get(type(node))
    return read(node) if read is not None else ()


_INNER: dict[type[Node], Callable[[Any], tuple[Node, ...]]] = {
    Select: lambda node: (node.operand,),
    Call: lambda node: node.arguments if node.target is None else (node.target, *node.arguments),
    ListLiteral: lambda node: node.items,
    MapLiteral: lambda node: tuple(each for entry in node.entries for each in (entry.key, entry.value)),
    Message: lambda node: tuple(each.value for each in node.fields),
    Comprehension: lambda node: (node.over, node.start, node.condition, node.step, node.result),
}


def _call(node: Call, source: Source) -> None:
    read = _READ.get(node.function)
    if read is None or not node.arguments:
        return
    written = node.arguments[0]
    if not isinstance(written, Literal):
        return
    try:
        read(written.value)
    except (ValueError, EvaluationError, regular.PatternError):
        source.report(written.at, f"invalid {node.function} argument")


def _list(node: ListLiteral, checked: Checked, source: Source) -> None:
    first: Type | None = None
    for i, item in enumerate(node.items):
        found = _type(checked, item, optional=i in node.optional)
        first = first or found
        if found != first:
            _mismatch(source, item, first, found)
            return


def _map(node: MapLiteral, checked: Checked, source: Source) -> None:
    keys: Type | None = None
    values: Type | None = None
    for entry in node.entries:
        key = _type(checked, entry.key, optional=False)
        value = _type(checked, entry.value, optional=entry.optional)
        keys, values = keys or key, values or value
        if key != keys:
            _mismatch(source, entry.key, keys, key)
        if value != values:
            _mismatch(source, entry.value, values, value)


def _type(checked: Checked, node: Node, *, optional: bool) -> Type:
    found = checked.types[node]
    return found.parameters[0] if optional and found.parameters else found


def _mismatch(source: Source, node: Node, wanted: Type, found: Type) -> None:
    source.report(node.at, f"expected type '{shown(wanted)}' but found '{shown(found)}'")
