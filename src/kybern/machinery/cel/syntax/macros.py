"""Calls that the parser writes out: ``has``, and those that bind names and go over lists and maps.

A macro is known by its name, by how many arguments it has and by having a target. What it becomes is cel-go's, because costs
are counted on it. A macro may decline by giving None: then it is a call.
"""

from collections.abc import Callable, Mapping

from kybern.machinery.cel.syntax.tree import (
    Call,
    Comprehension,
    Ident,
    ListLiteral,
    Literal,
    MapLiteral,
    Node,
    Select,
)

RESULT = "@result"
_OLD_RESULT = "__result__"
UNUSED = "#unused"
_SORTED = "@__sortBy_input__"


class MacroError(Exception):
    """Arguments that a macro cannot use; ``at`` is where they are."""

    def __init__(self, at: int, message: str) -> None:
        super().__init__(message)
        self.at = at


type Arguments = tuple[Node, ...]
type Expand = Callable[[int, Node | None, Arguments], Node]


def _name(node: Node, message: str) -> str:
    if not isinstance(node, Ident):
        raise MacroError(node.at, message)
    if node.name in (RESULT, _OLD_RESULT):
        raise MacroError(node.at, "iteration variable overwrites accumulator variable")
    return node.name


def _names(arguments: Arguments) -> tuple[str, str]:
    for each in arguments[:2]:
        if not isinstance(each, Ident):
            raise MacroError(each.at, "argument must be a simple name")
    first, second = (each.name for each in arguments[:2] if isinstance(each, Ident))
    if first == second:
        raise MacroError(arguments[1].at, f"duplicate variable name: {first}")
    return _name(arguments[0], ""), _name(arguments[1], "")


def _has(at: int, _target: Node | None, arguments: Arguments) -> Node:
    tested = arguments[0]
    if not isinstance(tested, Select):
        raise MacroError(tested.at, "invalid argument to has() macro")
    return Select(at, tested.operand, tested.field, test=True)


type Loop = tuple[Node, Node, Node, Node]
"""What a comprehension starts with, its condition, its step and its result."""


def _all(at: int, holds: Node) -> Loop:
    condition = Call(at, "@not_strictly_false", (Ident(at, RESULT),))
    return Literal(at, True), condition, Call(at, "_&&_", (Ident(at, RESULT), holds)), Ident(at, RESULT)


def _exists(at: int, holds: Node) -> Loop:
    condition = Call(at, "@not_strictly_false", (Call(at, "!_", (Ident(at, RESULT),)),))
    return Literal(at, False), condition, Call(at, "_||_", (Ident(at, RESULT), holds)), Ident(at, RESULT)


def _exists_one(at: int, holds: Node) -> Loop:
    more = Call(at, "_+_", (Ident(at, RESULT), Literal(at, 1)))
    step = Call(at, "_?_:_", (holds, more, Ident(at, RESULT)))
    return Literal(at, 0), Literal(at, True), step, Call(at, "_==_", (Ident(at, RESULT), Literal(at, 1)))


def _collected(at: int, start: Node, step: Node, only: Node | None) -> Loop:
    if only is not None:
        step = Call(at, "_?_:_", (only, step, Ident(at, RESULT)))
    return start, Literal(at, True), step, Ident(at, RESULT)


def _listed(at: int, item: Node, only: Node | None) -> Loop:
    step = Call(at, "_+_", (Ident(at, RESULT), ListLiteral(at, (item,))))
    return _collected(at, ListLiteral(at, ()), step, only)


def _one(loop: Callable[[int, Node], Loop]) -> Expand:
    def expand(at: int, target: Node | None, arguments: Arguments) -> Node:
        assert target is not None
        name = _name(arguments[0], "argument must be a simple name")
        return Comprehension(at, target, name, "", RESULT, *loop(at, arguments[1]))

    return expand


def _two(loop: Callable[[int, Node], Loop]) -> Expand:
    def expand(at: int, target: Node | None, arguments: Arguments) -> Node:
        assert target is not None
        first, second = _names(arguments)
        return Comprehension(at, target, first, second, RESULT, *loop(at, arguments[2]))

    return expand


def _map(at: int, target: Node | None, arguments: Arguments) -> Node:
    assert target is not None
    name = _name(arguments[0], "argument is not an identifier")
    only = arguments[1] if len(arguments) == 3 else None
    return Comprehension(at, target, name, "", RESULT, *_listed(at, arguments[-1], only))


def _filter(at: int, target: Node | None, arguments: Arguments) -> Node:
    assert target is not None
    name = _name(arguments[0], "argument is not an identifier")
    return Comprehension(at, target, name, "", RESULT, *_listed(at, arguments[0], arguments[1]))


def _transform_list(at: int, target: Node | None, arguments: Arguments) -> Node:
    assert target is not None
    first, second = _names(arguments)
    only = arguments[2] if len(arguments) == 4 else None
    return Comprehension(at, target, first, second, RESULT, *_listed(at, arguments[-1], only))


def _transform_map(at: int, target: Node | None, arguments: Arguments) -> Node:
    assert target is not None
    first, second = _names(arguments)
    only = arguments[2] if len(arguments) == 4 else None
    step = Call(at, "cel.@mapInsert", (Ident(at, RESULT), Ident(at, first), arguments[-1]))
    return Comprehension(at, target, first, second, RESULT, *_collected(at, MapLiteral(at, ()), step, only))


def _transform_entry(at: int, target: Node | None, arguments: Arguments) -> Node:
    assert target is not None
    first, second = _names(arguments)
    only = arguments[2] if len(arguments) == 4 else None
    step = Call(at, "cel.@mapInsert", (Ident(at, RESULT), arguments[-1]))
    return Comprehension(at, target, first, second, RESULT, *_collected(at, MapLiteral(at, ()), step, only))


def _bind(at: int, name: str, value: Node, result: Node) -> Node:
    """``result``, in which ``name`` is ``value``; that is computed when it is first asked for."""
    nothing = ListLiteral(at, ())
    return Comprehension(at, nothing, UNUSED, "", name, value, Literal(at, False), Ident(at, name), result)


def _optional(function: str, *, flat: bool) -> Expand:
    def expand(at: int, target: Node | None, arguments: Arguments) -> Node:
        assert target is not None
        name = arguments[0]
        if not isinstance(name, Ident):
            raise MacroError(name.at, f"{function}() variable name must be a simple identifier")
        found = _bind(at, name.name, Call(at, "value", (), target), arguments[1])
        if not flat:
            found = Call(at, "optional.of", (found,))
        none = Call(at, "optional.none", ())
        return Call(at, "_?_:_", (Call(at, "hasValue", (), target), found, none))

    return expand


def _sort_by(at: int, target: Node | None, arguments: Arguments) -> Node:
    if not isinstance(target, ListLiteral | Select | Ident | Comprehension | Call):
        place = at if target is None else target.at
        raise MacroError(
            place,
            "sortBy can only be applied to a list, identifier, comprehension, call or select expression",
        )
    keys = _map(at, Ident(at, _SORTED), arguments)
    return _bind(at, _SORTED, target, Call(at, "@sortByAssociatedKeys", (keys,), Ident(at, _SORTED)))


def _bound(at: int, target: Node | None, arguments: Arguments) -> Node:
    """cel.bind(name, value, result)."""
    if not isinstance(target, Ident) or target.name != "cel":
        return Call(at, "bind", arguments, target)
    return _bind(
        at, _name(arguments[0], "cel.bind() variable names must be simple identifiers"), *arguments[1:]
    )


type Macros = Mapping[tuple[str, int, bool], Expand]

# cel-go's ext.Bindings, which only some environments of Kubernetes have.
BINDINGS: Macros = {("bind", 3, True): _bound}

MACROS: Macros = {
    ("has", 1, False): _has,
    ("all", 2, True): _one(_all),
    ("exists", 2, True): _one(_exists),
    ("exists_one", 2, True): _one(_exists_one),
    ("existsOne", 2, True): _one(_exists_one),
    ("map", 2, True): _map,
    ("map", 3, True): _map,
    ("filter", 2, True): _filter,
    ("all", 3, True): _two(_all),
    ("exists", 3, True): _two(_exists),
    ("exists_one", 3, True): _two(_exists_one),
    ("existsOne", 3, True): _two(_exists_one),
    ("transformList", 3, True): _transform_list,
    ("transformList", 4, True): _transform_list,
    ("transformMap", 3, True): _transform_map,
    ("transformMap", 4, True): _transform_map,
    ("transformMapEntry", 3, True): _transform_entry,
    ("transformMapEntry", 4, True): _transform_entry,
    ("optMap", 2, True): _optional("optMap", flat=False),
    ("optFlatMap", 2, True): _optional("optFlatMap", flat=True),
    ("sortBy", 2, True): _sort_by,
}
