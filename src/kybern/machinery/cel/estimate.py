"""What an expression may cost, known before it is evaluated: cel-go's estimate, node by node.

Costs grow with sizes. Those of what is written out are known; those of variables and what is read from them are asked for by
their path; what comes of calls has them from the arguments. A loop costs as often as its range is long.
"""

from collections.abc import Callable
from typing import Any

from kybern.machinery.cel import measures
from kybern.machinery.cel.check.found import Checked, Chosen
from kybern.machinery.cel.functions import Overload, Range
from kybern.machinery.cel.known import Items, Known, Local, Sizes, both
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

_FREE = Range(0, 0)
_READABLE = frozenset({"map", "object", "parameter"})
_LONGEST_FORMAT = 64
_URL, _FORMAT = "kubernetes.URL", "kubernetes.NamedFormat"


def estimate(checked: Checked, sizes: Sizes | None) -> Range:
    return _Estimator(checked, sizes).cost(checked.root)


class _Estimator:
    def __init__(self, checked: Checked, sizes: Sizes | None) -> None:
        self._checked = checked
        self._known = Known(checked, sizes)
        self._visits: dict[type[Node], Callable[[Any], Range]] = {
            Literal: lambda _: _FREE, Ident: lambda node: self._known.name(node, node.name), Select: self._select,
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

    def _select(self, node: Select) -> Range:
        named = self._checked.names.get(node)
        if named is not None:
            return self._known.name(node, named.name)
        cost = self.cost(node.operand)
        if node.test:
            return cost
        if self._checked.types[node.operand].kind in _READABLE:
            cost = measures.sum_of(cost, ONE)
        self._known.paths[node] = (*self._known.path(node.operand), node.field)
        return cost

    # Calls

    def _call(self, node: Call) -> Range:
        if node.function == "dyn":
            cost = self.cost(node.arguments[0])
            self._known.copy(node, node.arguments[0])
            return measures.sum_of(cost, ONE)
        chosen = self._checked.calls.get(node)
        costs = [self.cost(each) for each in node.arguments]
        target = None if chosen is None or chosen.target is None else self.cost(chosen.target)
        if chosen is None:
            return self._optional_field(node, costs)
        cost, size = self._overloads(node, chosen, costs)
        if size is not None:
            self._known.sizes[node] = size
        return cost if target is None else measures.sum_of(target, cost)

    def _optional_field(self, node: Call, costs: list[Range]) -> Range:
        """``a.?b`` is one call, whatever comes of it."""
        size = self._known.size(node)
        if size is not None:
            self._known.sizes[node] = size
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
                size = self._known.place(node, _PLACES[overload.name])
            if size is None:
                size = self._known.size(node)
        return cost, size

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
        size = self._known.sure(node)
        literal = node.value if isinstance(node, Literal) else None
        kind = self._checked.types[node]
        items = None
        if kind.kind == "list" and kind.parameters[0].name in ("string", "bytes"):
            path = self._known.path(node)
            items = (self._known.declared((*path, "@items")) if path else None) or UNBOUNDED
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
            most = (self._known.size(node.arguments[1]) or ONE).most
        elif one.name != _FORMAT:
            return ONE
        return measures.by(Range(1, most), measures.TRAVERSAL)

    def _sum_items(self, node: Call) -> None:
        one, other = (self._known.entry(each) for each in node.arguments)
        if one is not None and other is not None:
            self._known.items[node] = both(one, other)

    def _logical(self, _node: Call, costs: list[Range]) -> tuple[Range, Range | None]:
        return Range(costs[0].least, measures.plus(costs[0].most, costs[1].most)), None

    def _choice(self, node: Call, costs: list[Range]) -> tuple[Range, Range | None]:
        _, yes, no = node.arguments
        one, other = self._known.entry(yes), self._known.entry(no)
        if one is not None and other is not None:
            self._known.items[node] = both(one, other)
        cost = measures.sum_of(costs[0], measures.union(costs[1], costs[2]))
        return cost, measures.union(self._known.sure(yes), self._known.sure(no))

    # Literals

    def _list(self, node: ListLiteral) -> Range:
        cost = Range(measures.LIST, measures.LIST)
        value = Range(MOST if node.items else 0, 0)
        for each in node.items:
            cost = measures.sum_of(cost, self.cost(each))
            value = measures.union(value, self._known.sure(each))
        self._known.items[node] = Items("list", ONE, value)
        return cost

    def _map(self, node: MapLiteral) -> Range:
        cost = Range(measures.MAP, measures.MAP)
        key = value = Range(MOST if node.entries else 0, 0)
        for each in node.entries:
            cost = measures.sum_of(cost, self.cost(each.key), self.cost(each.value))
            key = measures.union(key, self._known.sure(each.key))
            value = measures.union(value, self._known.sure(each.value))
        self._known.items[node] = Items("map", key, value)
        return cost

    # Comprehensions

    def _total(self, node: Comprehension) -> None:
        start = node.start
        self._known.push(
            node.total, Local(self._known.path(start), self._known.size(start), self._known.entry(start))
        )

    def _bind(self, node: Comprehension) -> Range:
        cost = measures.sum_of(self.cost(node.over), self.cost(node.start))
        self._total(node)
        cost = measures.sum_of(cost, self.cost(node.result))
        self._known.copy(node, node.result)
        self._known.local[node.total].pop()
        return cost

    def _loop(self, node: Comprehension) -> Range:
        cost = measures.sum_of(self.cost(node.over), self.cost(node.start))
        self._total(node)
        names = self._iterate(node)
        each = measures.sum_of(self.cost(node.condition), self.cost(node.step))
        step_items = self._known.entry(node.step)
        for name in names:
            self._known.local[name].pop()
        cost = measures.sum_of(cost, self.cost(node.result))
        self._known.local[node.total].pop()
        often = self._known.sure(node.over)
        if isinstance(node.start, Literal):
            self._known.sizes[node] = self._known.sure(node.start)
        elif isinstance(node.start, ListLiteral | MapLiteral):
            self._known.sizes[node] = often
            if step_items is not None:
                self._known.items[node] = step_items
        return measures.sum_of(cost, measures.product(often, each))

    def _iterate(self, node: Comprehension) -> tuple[str, ...]:
        items, path = self._known.entry(node.over), self._known.path(node.over)
        kind = items.kind if items is not None else self._checked.types[node.over].kind
        listed = kind == "list"
        key = Local((*path, "@indices" if listed else "@keys"), items.key if items else None)
        value = Local((*path, "@items" if listed else "@values"), items.value if items else None)
        if node.second:
            self._known.push(node.item, key)
            self._known.push(node.second, value)
            return node.item, node.second
        self._known.push(node.item, value if listed else key)
        return (node.item,)


_PLACES = {"index_list": "@items", "index_map": "@values"}
_SUMS = frozenset({"add_string", "add_bytes", "add_list"})
