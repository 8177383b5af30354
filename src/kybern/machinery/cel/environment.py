"""What expressions may name, and how they are compiled.

An environment is frozen; ``extend`` makes one with more variables.
"""

import copy
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial

from kybern.machinery.cel import standard
from kybern.machinery.cel.check import literals
from kybern.machinery.cel.check.checker import check
from kybern.machinery.cel.check.found import Checked
from kybern.machinery.cel.check.scope import Declarations
from kybern.machinery.cel.functions import Function, Library
from kybern.machinery.cel.libraries import LIBRARIES
from kybern.machinery.cel.program import Program
from kybern.machinery.cel.room import with_room
from kybern.machinery.cel.source import CompileError, Source
from kybern.machinery.cel.syntax.macros import MACROS, Macros
from kybern.machinery.cel.syntax.parser import parse
from kybern.machinery.cel.types import Type
from kybern.machinery.cel.values import EvaluationError

_STANDARD = frozenset(each.name for each in standard.FUNCTIONS)


class Environment:
    """``variables`` by their names; ``types`` are objects that expressions may make: ``name{field: value}``.

    ``macros`` are known beside those that every environment has.
    """

    __slots__ = ("_declarations", "_macros")

    def __init__(
        self,
        variables: Mapping[str, Type],
        libraries: Iterable[Library] = LIBRARIES,
        container: str = "",
        types: Iterable[Type] = (),
        macros: Macros | None = None,
    ) -> None:
        self._macros: Macros = {**MACROS, **(macros or {})}
        libraries = tuple(libraries)
        functions: dict[str, Function] = {}
        for each in (*standard.FUNCTIONS, *(each for library in libraries for each in library.functions)):
            before = functions.get(each.name)
            overloads = (*before.overloads, *each.overloads) if before else each.overloads
            functions[each.name] = Function(each.name, overloads)
        named = (*(kind for library in libraries for kind in library.types), *types)
        known = {**standard.TYPES, **{kind.name: kind for kind in named}}
        self._declarations = Declarations(dict(variables), functions, known, container)

    def extend(self, variables: Mapping[str, Type], types: Iterable[Type] = ()) -> "Environment":
        """The same with more variables, and more objects to make; what is declared again is so anew."""
        before = self._declarations
        found = copy.copy(self)
        found._declarations = replace(  # noqa: SLF001  its own class
            before,
            variables={**before.variables, **variables},
            types={**before.types, **{kind.name: kind for kind in types}},
        )
        return found

    def compile(self, source: str) -> Program:
        """Raises CompileError with everything that is wrong."""
        try:
            return self._compile(source)
        except RecursionError:
            return with_room(partial(self._compile, source))

    def result_of(self, source: str) -> Type:
        """The type of what an expression gives, without a program being made of it. Raises CompileError."""
        try:
            return self._checked(source).result
        except RecursionError:
            return with_room(partial(self._checked, source)).result

    def _compile(self, source: str) -> Program:
        try:
            return Program(self._checked(source), _STANDARD)
        except EvaluationError as problem:
            raise CompileError(f"program instantiation failed: {problem}") from None

    def _checked(self, source: str) -> Checked:
        text = Source(source)
        root = parse(text, self._macros)
        if root is None:
            raise text.error()
        checked = check(root, self._declarations, text)
        if text.issues:
            raise text.error()
        literals.validate(checked, text)
        if text.issues:
            raise text.error()
        return checked
