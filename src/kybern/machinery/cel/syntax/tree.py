"""An expression as a tree. Macros are expanded: a comprehension is what is left of them.

Nodes are told apart by identity: what the checker finds out about a node is kept beside the tree. ``at`` is the offset that
messages about the node name.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    at: int


@dataclass(frozen=True, slots=True, eq=False)
class Literal(Node):
    value: Any


@dataclass(frozen=True, slots=True, eq=False)
class Ident(Node):
    name: str


@dataclass(frozen=True, slots=True, eq=False)
class Select(Node):
    """``operand.field``; with ``test`` whether the field is there: ``has(operand.field)``."""

    operand: Node
    field: str
    test: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Call(Node):
    """``function(arguments)`` or ``target.function(arguments)``. Operators are calls, under cel-go's names."""

    function: str
    arguments: tuple[Node, ...]
    target: Node | None = None


@dataclass(frozen=True, slots=True, eq=False)
class ListLiteral(Node):
    """``optional`` has the places of the items that are marked with a question mark."""

    items: tuple[Node, ...]
    optional: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True, eq=False)
class Entry(Node):
    key: Node
    value: Node
    optional: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class MapLiteral(Node):
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Field(Node):
    name: str
    value: Node
    optional: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Message(Node):
    """``name{field: value}``: an object of a type that has a name."""

    name: str
    fields: tuple[Field, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Comprehension(Node):
    """For each item of ``over`` while ``condition``: ``total`` becomes ``step``. It stands for ``result``.

    Items are named ``item``, with ``second`` there are two names: the index or key, and the value.
    """

    over: Node
    item: str
    second: str
    total: str
    start: Node
    condition: Node
    step: Node
    result: Node

    @property
    def binds(self) -> bool:
        """Whether it only names a value: nothing is gone over."""
        over, condition = self.over, self.condition
        return (
            isinstance(over, ListLiteral)
            and not over.items
            and isinstance(condition, Literal)
            and condition.value is False
        )


def _parts(node: Node) -> Iterator[Node]:
    """The nodes right below one."""
    for each in fields(node):
        found = getattr(node, each.name)
        if isinstance(found, Node):
            yield found
        elif isinstance(found, tuple):
            yield from (part for part in found if isinstance(part, Node))


def selects(root: Node, variable: str, field: str) -> bool:
    """Whether ``variable.field``, or that with a question mark, is somewhere in a tree."""
    waiting = [root]
    while waiting:
        node = waiting.pop()
        if isinstance(node, Select) and node.field == field:
            operand: Node | None = node.operand
        elif isinstance(node, Call) and node.function == "_?._" and _names(node.arguments[1], field):
            operand = node.arguments[0]
        else:
            operand = None
        if isinstance(operand, Ident) and operand.name == variable:
            return True
        waiting.extend(_parts(node))
    return False


def _names(node: Node, field: str) -> bool:
    return isinstance(node, Literal) and bool(node.value == field)
