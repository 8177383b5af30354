"""What names mean at a place of an expression: variables, functions, types.

Names may be written in parts (``authorizer.requestResource``): the longest that is declared counts. With a container ``a.b``
``x`` may mean ``a.b.x``, ``a.x`` or ``x``; a leading dot leaves only the last.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from kybern.machinery.cel.functions import Function
from kybern.machinery.cel.types import Type, type_of


@dataclass(frozen=True, slots=True)
class Named:
    """What a name stands for: a variable, or a type. ``local`` are those that a comprehension declares."""

    name: str
    type: Type
    value: Any = None
    constant: bool = False
    local: bool = False


@dataclass(frozen=True, slots=True)
class Declarations:
    variables: Mapping[str, Type]
    functions: Mapping[str, Function]
    types: Mapping[str, Type]
    container: str = ""

    def candidates(self, name: str) -> Iterator[str]:
        if name.startswith("."):
            yield name[1:]
            return
        prefix = self.container
        while prefix:
            yield f"{prefix}.{name}"
            prefix = prefix.rpartition(".")[0]
        yield name


@dataclass(frozen=True, slots=True)
class Scope:
    declarations: Declarations
    local: Mapping[str, Named] = field(default_factory=dict)

    def inside(self, *added: Named) -> "Scope":
        return Scope(self.declarations, {**self.local, **{each.name: each for each in added}})

    def ident(self, name: str) -> Named | None:
        for each in self.declarations.candidates(name):
            if each in self.local:
                return self.local[each]
            if each in self.declarations.variables:
                return Named(each, self.declarations.variables[each])
            found = self.declarations.types.get(each)
            if found is not None:
                return Named(each, type_of(found), Type(found.name), constant=True)
        return None

    def function(self, name: str) -> Function | None:
        found = self.declarations.functions
        return next((found[each] for each in self.declarations.candidates(name) if each in found), None)

    def type(self, name: str) -> Type | None:
        found = self.declarations.types
        return next((found[each] for each in self.declarations.candidates(name) if each in found), None)
