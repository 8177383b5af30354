"""Whether a value of one type may stand where another is wanted, and what type parameters are then.

``dyn`` fits everything. A parameter takes the first type that it meets, and a more general one when that fits as well.
"""

from collections.abc import Sequence

from kybern.machinery.cel.types import DYN, NULL, Type

type Bindings = dict[Type, Type]
_LOOSE = frozenset({"error"})
_NULLABLE = frozenset({"opaque", "optional", "object"})
_NULLABLE_NAMES = frozenset({"google.protobuf.Timestamp", "google.protobuf.Duration"})
_NESTED = frozenset({"list", "map", "optional", "opaque", "type"})


def loose(found: Type) -> bool:
    return found == DYN or found.kind in _LOOSE


class Unifier:
    """Knows what parameters stand for. What does not fit leaves no trace."""

    def __init__(self) -> None:
        self._bindings: Bindings = {}
        self._count = 0

    def fresh(self) -> Type:
        self._count += 1
        return Type(f"_var{self._count - 1}", "parameter")

    def fits(self, found: Type, wanted: Type) -> bool:
        return self.all_fit((found,), (wanted,))

    def all_fit(self, found: Sequence[Type], wanted: Sequence[Type]) -> bool:
        before = dict(self._bindings)
        if self._all(found, wanted):
            return True
        self._bindings = before
        return False

    def substitute(self, found: Type, *, final: bool = False) -> Type:
        """A type with its parameters replaced; in the end those that are free are dyn."""
        bound = self._bindings.get(found)
        if bound is not None:
            return self.substitute(bound, final=final)
        if found.kind == "parameter":
            return DYN if final else found
        if not found.parameters:
            return found
        inner = tuple(self.substitute(each, final=final) for each in found.parameters)
        return found if inner == found.parameters else Type(found.name, found.kind, inner, found.fields)

    def _all(self, found: Sequence[Type], wanted: Sequence[Type]) -> bool:
        return len(found) == len(wanted) and all(
            self._one(each, other) for each, other in zip(found, wanted, strict=True)
        )

    def _one(self, found: Type, wanted: Type) -> bool:
        if wanted.kind == "parameter":
            valid, bound = self._stands_for(found, wanted)
            if valid or bound:
                return valid
        if found.kind == "parameter":
            return self._stands_for(wanted, found)[0]
        if loose(found) or loose(wanted):
            return True
        if NULL in (found, wanted):
            return found == wanted or _nullable(wanted if found == NULL else found)
        return self._structure(found, wanted)

    def _structure(self, found: Type, wanted: Type) -> bool:
        if found.kind == "type":
            return wanted.kind == "type"
        if found.kind != wanted.kind or found.name != wanted.name:
            return False
        return self._all(found.parameters, wanted.parameters)

    def _stands_for(self, found: Type, parameter: Type) -> tuple[bool, bool]:
        """Whether the parameter may be the type, and whether it was something before."""
        if found == parameter:
            return True, True
        before = self._bindings.get(parameter)
        if before is None:
            if self._free_of(parameter, found):
                self._bindings[parameter] = found
                return True, False
            return False, False
        if found == before:
            return True, True
        if not self._one(found, before):
            return False, True
        general = most_general(found, before)
        if self._free_of(parameter, general):
            self._bindings[parameter] = general
        return True, True

    def _free_of(self, parameter: Type, within: Type) -> bool:
        if parameter == within:
            return False
        if within.kind == "parameter":
            bound = self._bindings.get(within)
            return bound is None or self._free_of(parameter, bound)
        return all(self._free_of(parameter, each) for each in within.parameters)


def _nullable(found: Type) -> bool:
    return found.kind in _NULLABLE or found.name in _NULLABLE_NAMES


def most_general(one: Type, other: Type) -> Type:
    return one if _general(one, other) else other


def _general(one: Type, other: Type) -> bool:
    """Whether one says no more than the other."""
    if one == DYN or one.kind == "parameter":
        return True
    if other == DYN or other.kind == "parameter" or one.kind != other.kind:
        return False
    if one.kind == "type":
        return True
    if one.kind in _NESTED:
        same = one.name == other.name and len(one.parameters) == len(other.parameters)
        return same and all(map(_general, one.parameters, other.parameters))
    return one == other
