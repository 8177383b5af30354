"""Finds the type of everything in an expression, or says what does not fit, in cel-go's words.

The tree stays as it is; what is found out about a node is kept beside it. Where something is wrong the type is ERROR, which
fits everything: one mistake gives one message.
"""

from collections.abc import Callable
from typing import Any

from kybern.machinery.cel.check.found import Checked, Chosen
from kybern.machinery.cel.check.scope import Declarations, Named, Scope
from kybern.machinery.cel.check.shown import ERROR, shown, signature
from kybern.machinery.cel.check.unify import Unifier, loose, most_general
from kybern.machinery.cel.functions import Function, Overload
from kybern.machinery.cel.source import Source
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
from kybern.machinery.cel.types import (
    BOOL,
    BYTES,
    DOUBLE,
    DYN,
    INT,
    NULL,
    STRING,
    UINT,
    Type,
    list_of,
    map_of,
    optional_of,
)  # fmt: skip
from kybern.machinery.cel.values import Uint

_LITERALS: dict[type, Type] = {
    bool: BOOL, int: INT, Uint: UINT, float: DOUBLE, str: STRING, bytes: BYTES, type(None): NULL,
}  # fmt: skip
_LOGICAL = frozenset({"_&&_", "_||_"})


def check(root: Node, declarations: Declarations, source: Source) -> Checked:
    """The typed tree; the source has the issues."""
    checker = _Checker(root, source)
    checker.visit(root, Scope(declarations))
    found = checker.found
    for node, each in found.types.items():
        found.types[node] = checker.unifier.substitute(each, final=True)
    return found


class _Checker:
    def __init__(self, root: Node, source: Source) -> None:
        self.found = Checked(root)
        self.unifier = Unifier()
        self._source = source
        self._visits: dict[type[Node], Callable[[Any, Scope], Type]] = {
            Literal: lambda node, _: _LITERALS[type(node.value)], Ident: self._ident, Select: self._select,
            Call: self._call, ListLiteral: self._list, MapLiteral: self._map, Message: self._message,
            Comprehension: self._comprehension,
        }  # fmt: skip

    def visit(self, node: Node, scope: Scope) -> Type:
        found = self._visits[type(node)](node, scope)
        self.found.types[node] = found
        return found

    def _report(self, node: Node, message: str) -> Type:
        self._source.report(node.at, message)
        return ERROR

    def _undeclared(self, node: Node, name: str, scope: Scope) -> Type:
        container = scope.declarations.container
        return self._report(node, f"undeclared reference to '{name}' (in container '{container}')")

    def _mismatch(self, node: Node, wanted: Type, found: Type) -> Type:
        return self._report(node, f"expected type '{shown(wanted)}' but found '{shown(found)}'")

    # Names and fields

    def _ident(self, node: Ident, scope: Scope) -> Type:
        named = scope.ident(node.name)
        if named is None:
            return self._undeclared(node, node.name, scope)
        self.found.names[node] = named
        return named.type

    def _select(self, node: Select, scope: Scope) -> Type:
        name = None if node.test else qualified(node)
        named = scope.ident(name) if name else None
        if named is not None:
            self.found.names[node] = named
            return named.type
        found = self._field(node, node.operand, node.field, scope)
        return BOOL if node.test else self.unifier.substitute(found)

    def _field(self, node: Node, operand: Node, name: str, scope: Scope, *, optional: bool = False) -> Type:
        target = self.unifier.substitute(self.visit(operand, scope))
        if target.kind == "optional":
            target, optional = target.parameters[0], True
        found = self._field_of(node, target, name)
        return optional_of(found) if optional else found

    def _field_of(self, node: Node, target: Type, name: str) -> Type:
        if target.kind == "map":
            return target.parameters[1]
        if target.kind == "object":
            found = target.fields.get(name)
            return self._report(node, f"undefined field '{name}'") if found is None else found
        if target.kind == "parameter":
            self.unifier.fits(DYN, target)
        elif not loose(target):
            self._report(node, f"type '{shown(target)}' does not support field selection")
        return DYN

    # Calls

    def _call(self, node: Call, scope: Scope) -> Type:
        if node.function == "_?._":
            field_name = node.arguments[1]
            assert isinstance(field_name, Literal)
            found = self._field(node, node.arguments[0], field_name.value, scope, optional=True)
            return self.unifier.substitute(found)
        arguments = [self.visit(each, scope) for each in node.arguments]
        if node.target is None:
            return self._resolved(node, scope.function(node.function), None, arguments, scope)
        prefix = qualified(node.target)
        function = scope.function(f"{prefix}.{node.function}") if prefix else None
        if function is not None:
            return self._resolved(node, function, None, arguments, scope)
        arguments.insert(0, self.visit(node.target, scope))
        return self._resolved(node, scope.function(node.function), node.target, arguments, scope)

    def _resolved(
        self, node: Call, function: Function | None, target: Node | None, arguments: list[Type], scope: Scope
    ) -> Type:
        if function is None:
            return self._undeclared(node, node.function, scope)
        if function.name in _LOGICAL:
            return self._logical(node, function, arguments)
        chosen: list[Overload] = []
        result: Type | None = None
        for overload in function.overloads:
            found = self._fitting(overload, arguments) if overload.member == (target is not None) else None
            if found is not None:
                chosen.append(overload)
                result = found if result in (None, found) else DYN
        if result is None:
            final = [self.unifier.substitute(each, final=True) for each in arguments]
            applied = signature(final, member=target is not None)
            return self._report(
                node, f"found no matching overload for '{function.name}' applied to '{applied}'"
            )
        self.found.calls[node] = Chosen(function.name, tuple(chosen), target)
        return result

    def _logical(self, node: Call, function: Function, arguments: list[Type]) -> Type:
        good = True
        for argument, found in zip(node.arguments, arguments, strict=True):
            if not self.unifier.fits(found, BOOL):
                self._mismatch(argument, BOOL, found)
                good = False
        self.found.calls[node] = Chosen(function.name, function.overloads, None)
        return BOOL if good else ERROR

    def _fitting(self, overload: Overload, arguments: list[Type]) -> Type | None:
        """The result of a call, with parameters of its own."""
        fresh: dict[Type, Type] = {}
        wanted = [self._renamed(each, fresh) for each in overload.parameters]
        result = self._renamed(overload.result, fresh)
        return self.unifier.substitute(result) if self.unifier.all_fit(arguments, wanted) else None

    def _renamed(self, found: Type, fresh: dict[Type, Type]) -> Type:
        if found.kind == "parameter":
            if found not in fresh:
                fresh[found] = self.unifier.fresh()
            return fresh[found]
        if not found.parameters:
            return found
        return Type(found.name, found.kind, tuple(self._renamed(each, fresh) for each in found.parameters))

    # Literals

    def _joined(self, before: Type | None, found: Type) -> Type:
        """Items of different types are refused later, where it is known what the list is for."""
        if before is None:
            return found
        return most_general(before, found) if self.unifier.fits(before, found) else DYN

    def _optional(self, node: Node, found: Type) -> Type:
        """What an item marked with a question mark brings in."""
        if found.kind == "optional":
            return found.parameters[0]
        if found != DYN:
            self._mismatch(node, optional_of(found), found)
        return found

    def _list(self, node: ListLiteral, scope: Scope) -> Type:
        items: Type | None = None
        for i, each in enumerate(node.items):
            found = self.visit(each, scope)
            if i in node.optional:
                found = self._optional(each, found)
            items = self._joined(items, found)
        return list_of(self.unifier.fresh() if items is None else items)

    def _map(self, node: MapLiteral, scope: Scope) -> Type:
        keys: Type | None = None
        values: Type | None = None
        for entry in node.entries:
            keys = self._joined(keys, self.visit(entry.key, scope))
            found = self.visit(entry.value, scope)
            if entry.optional:
                found = self._optional(entry.value, found)
            values = self._joined(values, found)
        if keys is None or values is None:
            return map_of(self.unifier.fresh(), self.unifier.fresh())
        return map_of(keys, values)

    def _message(self, node: Message, scope: Scope) -> Type:
        made = scope.type(node.name)
        if made is None:
            return self._undeclared(node, node.name, scope)
        if made.kind != "object":
            return self._report(node, f"'{made.name}' is not a message type")
        for each in node.fields:
            wanted = made.fields.get(each.name)
            found = self.visit(each.value, scope)
            if each.optional:
                found = self._optional(each.value, found)
            if wanted is None:
                self._report(each, f"undefined field '{each.name}'")
            elif not self.unifier.fits(wanted, found):
                expected = f"expected type of field '{each.name}' is '{shown(wanted)}'"
                self._report(each, f"{expected} but provided type is '{shown(found)}'")
        return made

    # Comprehensions

    def _comprehension(self, node: Comprehension, scope: Scope) -> Type:
        over = self.unifier.substitute(self.visit(node.over, scope))
        total = self.visit(node.start, scope)
        outer = scope.inside(Named(node.total, total, local=True))
        item, second = self._items(node, over)
        names = [Named(node.item, item, local=True)]
        if node.second:
            names.append(Named(node.second, second, local=True))
        inner = outer.inside(*names)
        self._wanted(node.condition, BOOL, self.visit(node.condition, inner))
        self._wanted(node.step, total, self.visit(node.step, inner))
        return self.unifier.substitute(self.visit(node.result, outer))

    def _wanted(self, node: Node, wanted: Type, found: Type) -> None:
        if not self.unifier.fits(wanted, found):
            self._mismatch(node, wanted, found)

    def _items(self, node: Comprehension, over: Type) -> tuple[Type, Type]:
        if over.kind == "list":
            return (INT, over.parameters[0]) if node.second else (over.parameters[0], DYN)
        if over.kind == "map":
            return over.parameters[0], over.parameters[1]
        if over.kind == "parameter":
            self.unifier.fits(DYN, over)
        elif not loose(over):
            allowed = "(must be list, map, or dynamic)"
            text = f"expression of type '{shown(over)}' cannot be range of a comprehension {allowed}"
            return self._report(node.over, text), ERROR
        return DYN, DYN


def qualified(node: Node) -> str:
    """A name in parts, or nothing when the node is more than that."""
    if isinstance(node, Ident):
        return node.name
    if isinstance(node, Select) and not node.test:
        prefix = qualified(node.operand)
        return f"{prefix}.{node.field}" if prefix else ""
    return ""
