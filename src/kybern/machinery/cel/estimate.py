"""What an expression may cost, known before it is evaluated: cel-go's estimate, node by node.

Costs grow with sizes. Those of what is written out are known; those of variables and what is read from them are asked for by
their path; what comes of calls has them from the arguments. A loop costs as often as its range is long.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from kybern.machinery.cel import measures
from kybern.machinery.cel.check.checker import Checked, Chosen
from kybern.machinery.cel.functions import Overload, Range
from kybern.machinery.cel.measures import MOST, ONE, UNBOUNDED
from kybern.machinery.cel.syntax.tree import (
    Call,
    Comprehension,
    Ident,
    ListLiteral,
    Literal,
    MapLiteral,
    Message,
    Node,
    Select,
)  # fmt: skip
from kybern.machinery.cel.types import Type

type Path = tuple[str, ...]
type Sizes = Callable[[Path], Range | None]
_FREE = Range(0, 0)
_SCALAR = frozenset(
    {"bool", "double", "int", "uint", "google.protobuf.Duration", "google.protobuf.Timestamp"}
)
_READABLE = frozenset({"map", "object", "parameter"})
_LONGEST_FORMAT = 64
_URL, _FORMAT = "kubernetes.URL", "kubernetes.NamedFormat"


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


def estimate(checked: Checked, sizes: Sizes | None) -> Range:
    return _Estimator(checked, sizes).cost(checked.root)


class _Estimator:
    def __init__(self, checked: Checked, sizes: Sizes | None) -> None:
        self._checked = checked
        self._declared = sizes
        self._paths: dict[Node, Path] = {}
        self._sizes: dict[Node, Range] = {}
        self._items: dict[Node, Items] = {}
        self._local: dict[str, list[Local]] = {}
        self._visits: dict[type[Node], Callable[[Any], Range]] = {
            Literal: lambda _: _FREE, Ident: lambda node: self._name(node, node.name), Select: self._select,
            Call: self._call, ListLiteral: self._list, MapLiteral: self._map, Message: self._message,
            Comprehension: lambda node: self._bind(node) if node.binds else self._loop(node),
        }  # fmt: skip
        self._special: dict[str, Callable[[Call, list[Range]], tuple[Range, Range | None]]] = {
            "logical_and": self._logical,
            "logical_or": self._logical,
            "conditional": self._choice,
        }

    def cost(self, node: Node) -> Range:
        return self._visits[type(node)](node)

    def _message(self, node: Message) -> Range:
        inner = (self.cost(each.value) for each in node.fields)
        return measures.sum_of(*inner, Range(measures.STRUCT, measures.STRUCT))

    # Names and fields

    def _found(self, name: str) -> Local | None:
        stack = self._local.get(name)
        return stack[-1] if stack else None

    def _name(self, node: Node, name: str) -> Range:
        local = self._found(name)
        self._paths[node] = (name,) if local is None else local.path
        return ONE

    def _path(self, node: Node) -> Path:
        local = self._found(node.name) if isinstance(node, Ident) else None
        return self._paths.get(node, ()) if local is None else local.path

    def _select(self, node: Select) -> Range:
        named = self._checked.names.get(node)
        if named is not None:
            return self._name(node, named.name)
        cost = self.cost(node.operand)
        if node.test:
            return cost
        if self._checked.types[node.operand].kind in _READABLE:
            cost = measures.sum_of(cost, ONE)
        self._paths[node] = (*self._path(node.operand), node.field)
        return cost

    # Sizes

    def _size(self, node: Node) -> Range | None:
        """How large a value is, as far as that is known."""
        if node in self._sizes:
            return self._sizes[node]
        written = _written(node)
        if written is not None:
            return written
        declared = self._declared_size(self._path(node))
        if declared is not None:
            self._sizes[node] = declared
            return declared
        if scalar(self._checked.types[node]):
            return ONE
        local = self._found(node.name) if isinstance(node, Ident) else None
        return local.size if local is not None else None

    def _declared_size(self, path: Path) -> Range | None:
        return self._declared(path) if self._declared is not None and path else None

    def _known(self, node: Node) -> Range:
        return self._size(node) or UNBOUNDED

    def _entry(self, node: Node) -> Items | None:
        if node in self._items:
            return self._items[node]
        local = self._found(node.name) if isinstance(node, Ident) else None
        return local.items if local is not None else None

    def _copy(self, into: Node, node: Node) -> None:
        size, items = self._size(node), self._entry(node)
        if size is not None:
            self._sizes[into] = size
        if items is not None:
            self._items[into] = items

    # Calls

    def _call(self, node: Call) -> Range:
        if node.function == "dyn":
            cost = self.cost(node.arguments[0])
            self._copy(node, node.arguments[0])
            return measures.sum_of(cost, ONE)
        chosen = self._checked.calls.get(node)
        costs = [self.cost(each) for each in node.arguments]
        target = None if chosen is None or chosen.target is None else self.cost(chosen.target)
        if chosen is None:
            return self._optional_field(node, costs)
        cost, size = self._overloads(node, chosen, costs)
        if size is not None:
            self._sizes[node] = size
        return cost if target is None else measures.sum_of(target, cost)

    def _optional_field(self, node: Call, costs: list[Range]) -> Range:
        """``a.?b`` is one call, whatever comes of it."""
        size = self._size(node)
        if size is not None:
            self._sizes[node] = size
        return measures.sum_of(*costs, ONE)

    def _overloads(self, node: Call, chosen: Chosen, costs: list[Range]) -> tuple[Range, Range | None]:
        """The range over everything that the call may be."""
        cost, size = Range(MOST, 0), None
        for overload in chosen.overloads:
            one, result = self._overload(node, chosen, overload, costs)
            cost = measures.union(cost, one)
            if result is not None:
                size = result if size is None else measures.union(size, result)
            if overload.name in _PLACES:
                size = self._place(node, _PLACES[overload.name])
            if size is None:
                size = self._size(node)
        return cost, size

    def _place(self, node: Call, step: str) -> Range | None:
        items = self._entry(node.arguments[0])
        self._paths[node] = (*self._path(node.arguments[0]), step)
        return items.value if items is not None else None

    def _overload(
        self, node: Call, chosen: Chosen, overload: Overload, costs: list[Range]
    ) -> tuple[Range, Range | None]:
        special = self._special.get(overload.name)
        if special is not None:
            return special(node, costs)
        arguments = node.arguments if chosen.target is None else (chosen.target, *node.arguments)
        spent = measures.sum_of(*costs)
        own = self._opaque(node) if overload.name == "equals" else None
        if own is None and overload.estimate is None and overload.size is None:
            return measures.sum_of(ONE, spent), None
        sizes = tuple(self._measured(each) for each in arguments)
        if own is None:
            own = overload.estimate(sizes) if overload.estimate is not None else ONE
        if overload.name in _SUMS:
            self._sum_items(node)
        size = overload.size(sizes) if overload.size is not None else None
        return measures.sum_of(own, spent), size

    def _measured(self, node: Node) -> Range:
        """What a library's estimate is told of an argument."""
        size = self._known(node)
        literal = node.value if isinstance(node, Literal) else None
        kind = self._checked.types[node]
        items = None
        if kind.kind == "list" and kind.parameters[0].name in ("string", "bytes"):
            path = self._path(node)
            items = (self._declared_size((*path, "@items")) if path else None) or UNBOUNDED
        return size if items is None and literal is None else Range(size.least, size.most, items, literal)

    def _opaque(self, node: Call) -> Range | None:
        """Equality of a library's values."""
        one, other = (self._checked.types[each] for each in node.arguments)
        if one.kind != "opaque" or one != other:
            return None
        most = 1
        if one.name == _FORMAT:
            most = _LONGEST_FORMAT
        elif one.name == _URL:
            most = (self._size(node.arguments[1]) or ONE).most
        elif one.name != _FORMAT:
            return ONE
        return measures.by(Range(1, most), measures.TRAVERSAL)

    def _sum_items(self, node: Call) -> None:
        one, other = (self._entry(each) for each in node.arguments)
        if one is not None and other is not None:
            self._items[node] = _both(one, other)

    def _logical(self, _node: Call, costs: list[Range]) -> tuple[Range, Range | None]:
        return Range(costs[0].least, measures.plus(costs[0].most, costs[1].most)), None

    def _choice(self, node: Call, costs: list[Range]) -> tuple[Range, Range | None]:
        _, yes, no = node.arguments
        one, other = self._entry(yes), self._entry(no)
        if one is not None and other is not None:
            self._items[node] = _both(one, other)
        cost = measures.sum_of(costs[0], measures.union(costs[1], costs[2]))
        return cost, measures.union(self._known(yes), self._known(no))

    # Literals

    def _list(self, node: ListLiteral) -> Range:
        cost = Range(measures.LIST, measures.LIST)
        value = Range(MOST if node.items else 0, 0)
        for each in node.items:
            cost = measures.sum_of(cost, self.cost(each))
            value = measures.union(value, self._known(each))
        self._items[node] = Items("list", ONE, value)
        return cost

    def _map(self, node: MapLiteral) -> Range:
        cost = Range(measures.MAP, measures.MAP)
        key = value = Range(MOST if node.entries else 0, 0)
        for each in node.entries:
            cost = measures.sum_of(cost, self.cost(each.key), self.cost(each.value))
            key = measures.union(key, self._known(each.key))
            value = measures.union(value, self._known(each.value))
        self._items[node] = Items("map", key, value)
        return cost

    # Comprehensions

    def _push(self, name: str, local: Local) -> None:
        self._local.setdefault(name, []).append(local)

    def _total(self, node: Comprehension) -> None:
        start = node.start
        self._push(node.total, Local(self._path(start), self._size(start), self._entry(start)))

    def _bind(self, node: Comprehension) -> Range:
        cost = measures.sum_of(self.cost(node.over), self.cost(node.start))
        self._total(node)
        cost = measures.sum_of(cost, self.cost(node.result))
        self._copy(node, node.result)
        self._local[node.total].pop()
        return cost

    def _loop(self, node: Comprehension) -> Range:
        cost = measures.sum_of(self.cost(node.over), self.cost(node.start))
        self._total(node)
        names = self._iterate(node)
        each = measures.sum_of(self.cost(node.condition), self.cost(node.step))
        step_items = self._entry(node.step)
        for name in names:
            self._local[name].pop()
        cost = measures.sum_of(cost, self.cost(node.result))
        self._local[node.total].pop()
        often = self._known(node.over)
        if isinstance(node.start, Literal):
            self._sizes[node] = self._known(node.start)
        elif isinstance(node.start, ListLiteral | MapLiteral):
            self._sizes[node] = often
            if step_items is not None:
                self._items[node] = step_items
        return measures.sum_of(cost, measures.product(often, each))

    def _iterate(self, node: Comprehension) -> tuple[str, ...]:
        items, path = self._entry(node.over), self._path(node.over)
        kind = items.kind if items is not None else self._checked.types[node.over].kind
        listed = kind == "list"
        key = Local((*path, "@indices" if listed else "@keys"), items.key if items else None)
        value = Local((*path, "@items" if listed else "@values"), items.value if items else None)
        if node.second:
            self._push(node.item, key)
            self._push(node.second, value)
            return node.item, node.second
        self._push(node.item, value if listed else key)
        return (node.item,)


def scalar(found: Type) -> bool:
    return found.name in _SCALAR or (found.kind == "optional" and scalar(found.parameters[0]))


def _written(node: Node) -> Range | None:
    size: int | None = None
    if isinstance(node, Literal):
        size = len(node.value) if isinstance(node.value, str | bytes) else 1
    elif isinstance(node, ListLiteral):
        size = len(node.items)
    elif isinstance(node, MapLiteral):
        size = len(node.entries)
    return None if size is None else Range(size, size)


def _both(one: Items, other: Items) -> Items:
    return Items(one.kind, measures.union(one.key, other.key), measures.union(one.value, other.value))


_PLACES = {"index_list": "@items", "index_map": "@values"}
_SUMS = frozenset({"add_string", "add_bytes", "add_list"})
