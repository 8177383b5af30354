"""Reading settings out of a configuration file: known fields, of the right type, or errors that name them. Pure."""

from collections.abc import Mapping
from typing import Any

import msgspec

from kybern.machinery.causes import invalid, wrong_type
from kybern.machinery.errors import Cause
from kybern.scheduler.framework import BadArgs

API_VERSION = "kubescheduler.config.k8s.io/v1"


class Arguments:
    """The fields of one object of the file, at ``path`` ("" for the whole). A null is what an absent field is.

    Every field that is read is a known one. What is wrong is kept, also what is wrong inside of ``child`` and ``children``,
    and ``check`` raises BadArgs with all of it; it is to be called when everything has been read.
    """

    def __init__(self, given: Any, path: str, kind: str = "") -> None:
        self.path = path
        self._wrong: list[Cause] = []
        self._inside: list[Arguments] = []
        self._known: set[str] = set()
        if not isinstance(given, Mapping):
            self._wrong.append(wrong_type(path, given, "must be an object"))
            given = {}
        self._given = {name: value for name, value in given.items() if value is not None}
        if kind:
            self._expect("apiVersion", API_VERSION)
            self._expect("kind", kind)

    def __contains__(self, name: str) -> bool:
        return name in self._given

    def at(self, name: str) -> str:
        return f"{self.path}.{name}" if self.path else name

    def wrong(self, *causes: Cause) -> None:
        self._wrong += causes

    def accept(self, *names: str) -> None:
        """Fields that may be there and mean nothing here."""
        self._known |= set(names)

    def integer(self, name: str, default: int = 0) -> int:
        found = self.read(name, int)
        return default if found is None else found

    def flag(self, name: str, default: bool = False) -> bool:
        found = self.read(name, bool)
        return default if found is None else found

    def text(self, name: str, default: str = "") -> str:
        found = self.read(name, str)
        return default if found is None else found

    def texts(self, name: str) -> tuple[str, ...]:
        return self.read(name, tuple[str, ...]) or ()

    def raw(self, name: str) -> Any:
        self._known.add(name)
        return self._given.get(name)

    def read[T](self, name: str, kind: type[T]) -> T | None:
        """Anything that msgspec can make of the field; None when it is not there, or wrong."""
        if self.raw(name) is None:
            return None
        try:
            return msgspec.convert(self._given[name], kind)
        except msgspec.ValidationError as problem:
            self._wrong.append(wrong_type(self.at(name), self._given[name], str(problem)))
            return None

    def child(self, name: str, kind: str = "") -> "Arguments":
        """The object that a field holds, an empty one when it is not there."""
        found = Arguments(self.raw(name) if name in self else {}, self.at(name), kind)
        self._inside.append(found)
        return found

    def children(self, name: str) -> list["Arguments"]:
        """The objects of a list."""
        listed = self.raw(name) or ()
        if not isinstance(listed, list | tuple):
            self._wrong.append(wrong_type(self.at(name), listed, "must be a list"))
            listed = ()
        found = [Arguments(one, f"{self.at(name)}[{number}]") for number, one in enumerate(listed)]
        self._inside += found
        return found

    def problems(self) -> list[Cause]:
        unknown = [
            Cause("", "FieldValueInvalid", f'unknown field "{self.at(name)}"')
            for name in self._given
            if name not in self._known
        ]
        return [*unknown, *self._wrong, *(cause for one in self._inside for cause in one.problems())]

    def check(self) -> None:
        if found := self.problems():
            raise BadArgs(*found)

    def _expect(self, name: str, expected: str) -> None:
        found = self.text(name, expected)
        if found != expected:
            self._wrong.append(invalid(self.at(name), found, f'must be "{expected}"'))
