"""Makes the step of each node. What is constant is computed here, once: it costs nothing when the expression is evaluated.

As in cel-go, constant are literals, lists and maps of constants, and conversions of them; and membership in a constant list
is asked of a set, which costs nothing.
"""

import operator
from collections.abc import Callable, Mapping
from typing import Any

from kybern.machinery import regular
from kybern.machinery.cel import measures
from kybern.machinery.cel.check.found import Checked, Chosen
from kybern.machinery.cel.functions import Count, Overload
from kybern.machinery.cel.run import adding, calls, kinds, literals, loops, reach
from kybern.machinery.cel.run.frame import Frame, Planned, Step, constant
from kybern.machinery.cel.run.places import INDEX, Places
from kybern.machinery.cel.run.reach import Slot
from kybern.machinery.cel.syntax.macros import RESULT
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
from kybern.machinery.cel.types import BOOL, DOUBLE, DURATION, DYN, INT, STRING, TIMESTAMP, UINT, Type
from kybern.machinery.cel.values import EvaluationError

_CONVERSIONS = frozenset(
    {"bool", "bytes", "double", "duration", "dyn", "int", "string", "timestamp", "type", "uint"}
)
_EQUALITY: Mapping[str, Callable[..., Any]] = {"_==_": operator.eq, "_!=_": operator.ne}
_FIXED = (BOOL, INT, UINT, DOUBLE, TIMESTAMP, DURATION)
_PATTERNS = frozenset({"matches", "find", "findAll"})
_DYNAMIC = frozenset({"dyn", "parameter", "error"})


class Planner:
    """The slots of ``places`` are the variables that the expression reads, then those of its loops."""

    def __init__(self, checked: Checked, standard: frozenset[str]) -> None:
        self._checked = checked
        self._standard = standard
        self.places = Places(checked, lambda node, observed: self.plan(node, observed=observed))
        self._others: dict[type[Node], Callable[[Any], Planned]] = {
            Literal: lambda node: constant(node.value), ListLiteral: self._list, MapLiteral: self._map,
            Message: self._message, Comprehension: lambda node: Planned(self._loop(node)),
        }  # fmt: skip
        self._special: dict[str, Callable[[tuple[Node, ...]], Step]] = {
            "_&&_": self._and, "_||_": self._or, "_?_:_": self._choice, "or": self._either,
            "orValue": self._or_value, "@not_strictly_false": self._not_false,
        }  # fmt: skip

    def step(self) -> Step:
        return self.plan(self._checked.root).step

    def plan(self, node: Node, *, observed: bool = True) -> Planned:
        """``observed``: reading a name or what is read from it costs one more; not so where a choice or a key reads it."""
        if isinstance(node, Ident | Select):
            return self.places.attribute(node, observed=observed)
        if isinstance(node, Call):
            return self._call(node, observed=observed)
        return self._others[type(node)](node)

    # Calls

    def _call(self, node: Call, *, observed: bool) -> Planned:
        if node.function in INDEX:
            return self.places.attribute(node, observed=observed)
        chosen = self._checked.calls[node]
        arguments = node.arguments if chosen.target is None else (chosen.target, *node.arguments)
        special = self._special.get(chosen.function)
        if special is not None:
            return Planned(special(arguments))
        planned = tuple(self.plan(each) for each in arguments)
        special_case = self._member(chosen, planned) or self._pattern(chosen, planned, arguments)
        if special_case is not None:
            return special_case
        call, count = self._calling(chosen, arguments)
        if chosen.function in _CONVERSIONS and len(planned) == 1 and planned[0].constant:
            return constant(call(planned[0].value))
        return Planned(_invoked(tuple(each.step for each in planned), call, count))

    def _pattern(
        self, chosen: Chosen, planned: tuple[Planned, ...], arguments: tuple[Node, ...]
    ) -> Planned | None:
        """A pattern that is written out is read here, and the program fails when it is none.

        Such a call is not like others of two: it is not counted when its text fails.
        """
        if chosen.function not in _PATTERNS or not planned[1].constant:
            return None
        try:
            pattern = regular.compiled(planned[1].value)
        except regular.PatternError as problem:
            raise EvaluationError(str(problem)) from None
        if chosen.overloads[0].name == "matches_string" and self._checked.types[arguments[0]] == STRING:
            cost = measures.scaled(len(planned[1].value), measures.PATTERN)
            return Planned(calls.matches(planned[0].step, pattern.within, cost))
        call, count = self._calling(chosen, arguments)
        return Planned(calls.many(tuple(each.step for each in planned), call, count))

    def _member(self, chosen: Chosen, planned: tuple[Planned, ...]) -> Planned | None:
        """Membership in a constant list."""
        listed = len(chosen.overloads) == 1 and chosen.overloads[0].name == "in_list"
        if not listed or not planned[1].constant:
            return None
        if not planned[1].value:
            return constant(False)
        among = reach.set_of(planned[1].value)
        if among is None:
            return None
        item = planned[0].step
        return Planned(lambda frame: among(item(frame)))

    def _calling(
        self, chosen: Chosen, arguments: tuple[Node, ...]
    ) -> tuple[Callable[..., Any], Count | None]:
        overloads = chosen.overloads
        count = overloads[0].count if self._counts(chosen) else None
        into = self.places.scope.get(RESULT) if adding.reads_total(arguments) else None
        if into is not None and into.mutable and chosen.function in adding.IN_PLACE:
            return adding.IN_PLACE[chosen.function](overloads[0]), count
        types = [self._checked.types[each] for each in arguments]
        plain = _EQUALITY.get(chosen.function)
        if plain is not None and types[0] == types[1] and types[0] in (*_FIXED, STRING):
            return plain, None if types[0] in _FIXED else count
        exact = all(map(self._known, types))
        if len(overloads) == 1 and (exact or _takes_all(overloads[0])):
            return overloads[0].call, count
        return kinds.choose(chosen.function, overloads), count

    def _counts(self, chosen: Chosen) -> bool:
        """What is not decided before evaluation costs one, unless a library says it of all its overloads."""
        return len(chosen.overloads) == 1 or chosen.function not in self._standard

    def _known(self, found: Type) -> bool:
        return found.kind not in _DYNAMIC and found != DYN

    def _and(self, arguments: tuple[Node, ...]) -> Step:
        return calls.both(self.plan(arguments[0]).step, self.plan(arguments[1]).step)

    def _or(self, arguments: tuple[Node, ...]) -> Step:
        return calls.either(self.plan(arguments[0]).step, self.plan(arguments[1]).step)

    def _choice(self, arguments: tuple[Node, ...]) -> Step:
        yes, no = (self.plan(each, observed=False).step for each in arguments[1:])
        return calls.choose(self.plan(arguments[0]).step, yes, no)

    def _either(self, arguments: tuple[Node, ...]) -> Step:
        return calls.or_other(self.plan(arguments[0]).step, self.plan(arguments[1]).step, unwrap=False)

    def _or_value(self, arguments: tuple[Node, ...]) -> Step:
        return calls.or_other(self.plan(arguments[0]).step, self.plan(arguments[1]).step, unwrap=True)

    def _not_false(self, arguments: tuple[Node, ...]) -> Step:
        inner = self.plan(arguments[0]).step
        return calls.not_false(inner)

    # Literals and loops

    def _message(self, node: Message) -> Planned:
        fields = tuple(
            (constant(each.name).step, self.plan(each.value).step, each.optional) for each in node.fields
        )
        return Planned(literals.object_of(self._checked.types[node], fields))

    def _list(self, node: ListLiteral) -> Planned:
        items = tuple(self.plan(each) for each in node.items)
        if all(each.constant for each in items) and not node.optional:
            return constant([each.value for each in items])
        return Planned(literals.list_of(tuple(each.step for each in items), node.optional))

    def _map(self, node: MapLiteral) -> Planned:
        entries = tuple((self.plan(each.key), self.plan(each.value), each.optional) for each in node.entries)
        steps = tuple((key.step, value.step, optional) for key, value, optional in entries)
        if all(key.constant and value.constant and not optional for key, value, optional in entries):
            return constant(literals.entries_of(Frame([], 0), steps))
        return Planned(literals.map_of(steps))

    def _loop(self, node: Comprehension) -> Step:
        over = self.plan(node.over)
        start, mutable = self._start(node.start)
        first = None if start else self.plan(node.start).step
        total = Slot(self.places.new(), node.total, total=True, mutable=mutable, start=first)
        item = self.places.new()
        second = self.places.new() if node.second else None
        loop = loops.Loop(over.step, total, start, item, second)
        outer = self.places.scope
        within = {**outer, node.total: total}
        self.places.scope = {**within, node.item: Slot(item, node.item)}
        if second is not None:
            self.places.scope[node.second] = Slot(second, node.second)
        quantified = self._quantified(node, loop)
        if quantified is None:
            condition = self.plan(node.condition)
            forever = condition.constant and condition.value is True
            advance = self.plan(node.step).step
            self.places.scope = within
            quantified = loops.fold(
                loop, None if forever else condition.step, advance, self.plan(node.result).step
            )
        self.places.scope = outer
        return quantified

    def _start(self, node: Node) -> tuple[Callable[[], Any] | None, bool]:
        """What makes the first total: a new list or map for each evaluation, because steps add to it in place."""
        if isinstance(node, ListLiteral) and not node.items:
            return list, True
        if isinstance(node, MapLiteral) and not node.entries:
            return dict, True
        if isinstance(node, Literal):
            value = node.value
            return lambda: value, False
        return None, False

    def _quantified(self, node: Comprehension, loop: loops.Loop) -> Step | None:
        """``all`` and ``exists`` have a loop of their own, which does the same faster."""
        step, condition = node.step, node.condition
        if not isinstance(step, Call) or not isinstance(condition, Call) or step.function not in _DECIDING:
            return None
        return loops.quantify(loop, self.plan(step.arguments[1]).step, deciding=_DECIDING[step.function])


def _takes_all(overload: Overload) -> bool:
    return all(each.kind == "parameter" or each == DYN for each in overload.parameters)


def _invoked(steps: tuple[Step, ...], call: Callable[..., Any], count: Count | None) -> Step:
    if not steps:
        return calls.none(call)
    if len(steps) == 1:
        return calls.one(steps[0], call, count)
    return calls.two(*steps, call, count) if len(steps) == 2 else calls.many(steps, call, count)


_DECIDING = {"_&&_": False, "_||_": True}
