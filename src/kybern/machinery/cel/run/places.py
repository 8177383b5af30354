"""Steps of names, fields and places: what is read from variables, one after the other."""

from collections.abc import Callable

from kybern.machinery.cel.check.found import Checked
from kybern.machinery.cel.run import reach
from kybern.machinery.cel.run.frame import Planned, Step, constant
from kybern.machinery.cel.run.reach import Qualifier, Slot
from kybern.machinery.cel.syntax.tree import Call, Node, Select
from kybern.machinery.cel.types import DYN

INDEX = frozenset({"_[_]", "_[?_]", "_?._"})

# The plan of a node, and whether it is observed: see Planner.plan.
type Plan = Callable[[Node, bool], Planned]


class Places:
    """``variables`` are the slots of those that the expression reads; ``scope`` those of the loops around."""

    def __init__(self, checked: Checked, plan: Plan) -> None:
        self._checked = checked
        self._plan = plan
        self.scope: dict[str, Slot] = {}
        self.variables: dict[str, int] = {}
        self.slots = 0

    def slot(self, name: str) -> Slot:
        found = self.scope.get(name)
        if found is not None:
            return found
        if name not in self.variables:
            self.variables[name] = self.new()
        return Slot(self.variables[name], name)

    def new(self) -> int:
        self.slots += 1
        return self.slots - 1

    def _named(self, node: Node, *, observed: bool) -> Planned | None:
        named = self._checked.names.get(node)
        if named is None:
            return None
        if named.constant:
            return constant(named.value)
        slot = self.slot(named.name) if named.local else self._variable(named.name)
        return Planned(reach.read(slot, int(observed)))

    def _variable(self, name: str) -> Slot:
        if name not in self.variables:
            self.variables[name] = self.new()
        return Slot(self.variables[name], name)

    def attribute(self, node: Node, *, observed: bool) -> Planned:
        named = self._named(node, observed=observed)
        if named is not None:
            return named
        root, qualifiers = self._chain(node)
        if self._optional(root, qualifiers):
            return Planned(self._maybe(root, qualifiers, observed=observed))
        operand, cost = self._root(root, observed=observed, test=qualifiers[-1].test)
        if isinstance(operand, Slot):
            step = self._first(operand, qualifiers[0], cost)
        else:
            step = self._qualified(operand, qualifiers[0], cost)
        for each in qualifiers[1:]:
            step = self._qualified(step, each, 0)
        return Planned(step)

    def _first(self, slot: Slot, qualifier: Qualifier, cost: int) -> Step:
        if qualifier.compute is None and not qualifier.test and isinstance(qualifier.key, str):
            return reach.field_of(slot, qualifier.key, cost)
        return self._qualified(reach.read(slot, cost), qualifier, 0)

    def _qualified(self, operand: Step, qualifier: Qualifier, cost: int) -> Step:
        if qualifier.test:
            return reach.has(operand, qualifier.key)
        if qualifier.compute is None and isinstance(qualifier.key, str):
            return reach.field(operand, qualifier.key, cost)
        return reach.place(operand, qualifier, cost)

    def _chain(self, node: Node) -> tuple[Node, tuple[Qualifier, ...]]:
        """What fields and places are read from, and which, from the root on."""
        found: list[Qualifier] = []
        while node not in self._checked.names:
            if isinstance(node, Select):
                found.append(Qualifier(node.field, test=node.test))
                node = node.operand
            elif isinstance(node, Call) and node.function in INDEX:
                operand, key = node.arguments
                found.append(self._key(key, optional=node.function != "_[_]"))
                node = operand
            else:
                break
        return node, tuple(reversed(found))

    def _key(self, node: Node, *, optional: bool) -> Qualifier:
        planned = self._plan(node, False)
        if planned.constant:
            return Qualifier(planned.value, optional=optional)
        return Qualifier(compute=planned.step, optional=optional)

    def _optional(self, root: Node, qualifiers: tuple[Qualifier, ...]) -> bool:
        kind = self._checked.types[root].kind
        loose = self._checked.types[root] == DYN and root not in self._checked.names
        return kind == "optional" or loose or any(each.optional for each in qualifiers)

    def _root(self, root: Node, *, observed: bool, test: bool) -> tuple[Step | Slot, int]:
        """What the chain begins with, and what that costs beside its fields: tests are not counted as reads."""
        extra = int(observed and not test)
        named = self._checked.names.get(root)
        if named is not None and not named.constant:
            slot = self.slot(named.name) if named.local else self._variable(named.name)
            return (reach.read(slot, extra), 0) if slot.total else (slot, extra)
        if isinstance(root, Call) and root.function == "_?_:_":
            return self._plan(root, True).step, 0
        return self._plan(root, True).step, extra

    def _maybe(self, root: Node, qualifiers: tuple[Qualifier, ...], *, observed: bool) -> Step:
        operand, cost = self._root(root, observed=observed, test=qualifiers[-1].test)
        if isinstance(operand, Slot):
            operand, cost = reach.read(operand, cost), 0
        return reach.maybe(operand, qualifiers, cost)
