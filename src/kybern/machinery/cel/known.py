"""What an estimate knows of the values that it meets: where they come from, how large they are, and their items."""

from collections.abc import Callable
from dataclasses import dataclass

from kybern.machinery.cel import measures
from kybern.machinery.cel.check.found import Checked
from kybern.machinery.cel.functions import Range
from kybern.machinery.cel.measures import ONE, UNBOUNDED
from kybern.machinery.cel.syntax.tree import Call, Ident, ListLiteral, Literal, MapLiteral, Node
from kybern.machinery.cel.types import Type

type Path = tuple[str, ...]
type Sizes = Callable[[Path], Range | None]
_SCALAR = frozenset(
    {"bool", "double", "int", "uint", "google.protobuf.Duration", "google.protobuf.Timestamp"}
)


@dataclass(frozen=True, slots=True)
class Items:
    """How large the keys and values of a list or map are. A list's keys are its places."""

    kind: str
    key: Range
    value: Range


@dataclass(frozen=True, slots=True)
class Local:
    """A name that a comprehension declares."""

    path: Path = ()
    size: Range | None = None
    items: Items | None = None


class Known:
    """``paths``, ``sizes`` and ``items`` by node, and the names that comprehensions have declared so far."""

    def __init__(self, checked: Checked, declared: Sizes | None) -> None:
        self._checked = checked
        self._declared = declared
        self.paths: dict[Node, Path] = {}
        self.sizes: dict[Node, Range] = {}
        self.items: dict[Node, Items] = {}
        self.local: dict[str, list[Local]] = {}

    def found(self, name: str) -> Local | None:
        stack = self.local.get(name)
        return stack[-1] if stack else None

    def name(self, node: Node, name: str) -> Range:
        local = self.found(name)
        self.paths[node] = (name,) if local is None else local.path
        return ONE

    def path(self, node: Node) -> Path:
        local = self.found(node.name) if isinstance(node, Ident) else None
        return self.paths.get(node, ()) if local is None else local.path

    def push(self, name: str, local: Local) -> None:
        self.local.setdefault(name, []).append(local)

    def size(self, node: Node) -> Range | None:
        """How large a value is, as far as that is known."""
        if node in self.sizes:
            return self.sizes[node]
        literal = written(node)
        if literal is not None:
            return literal
        declared = self.declared(self.path(node))
        if declared is not None:
            self.sizes[node] = declared
            return declared
        if scalar(self._checked.types[node]):
            return ONE
        local = self.found(node.name) if isinstance(node, Ident) else None
        return local.size if local is not None else None

    def declared(self, path: Path) -> Range | None:
        return self._declared(path) if self._declared is not None and path else None

    def sure(self, node: Node) -> Range:
        return self.size(node) or UNBOUNDED

    def entry(self, node: Node) -> Items | None:
        if node in self.items:
            return self.items[node]
        local = self.found(node.name) if isinstance(node, Ident) else None
        return local.items if local is not None else None

    def copy(self, into: Node, node: Node) -> None:
        size, items = self.size(node), self.entry(node)
        if size is not None:
            self.sizes[into] = size
        if items is not None:
            self.items[into] = items

    def place(self, node: Call, step: str) -> Range | None:
        items = self.entry(node.arguments[0])
        self.paths[node] = (*self.path(node.arguments[0]), step)
        return items.value if items is not None else None


def scalar(found: Type) -> bool:
    return found.name in _SCALAR or (found.kind == "optional" and scalar(found.parameters[0]))


def written(node: Node) -> Range | None:
    size: int | None = None
    if isinstance(node, Literal):
        size = len(node.value) if isinstance(node.value, str | bytes) else 1
    elif isinstance(node, ListLiteral):
        size = len(node.items)
    elif isinstance(node, MapLiteral):
        size = len(node.entries)
    return None if size is None else Range(size, size)


def both(one: Items, other: Items) -> Items:
    return Items(one.kind, measures.union(one.key, other.key), measures.union(one.value, other.value))
