"""Reading the ``args`` of a pluginConfig: known fields, of the right type, or errors that name them. Pure."""

from collections.abc import Mapping
from typing import Any

import msgspec

from kybern.machinery.causes import invalid, shown
from kybern.machinery.errors import Cause
from kybern.scheduler.framework import BadArgs

API_VERSION = "kubescheduler.config.k8s.io/v1"


class Arguments:
    """Fields of one plugin's arguments. A null is what an absent field is; every field that is read is a known one.

    ``check`` is to be called when all have been read: it raises BadArgs with everything that is wrong.
    """

    def __init__(self, given: Mapping[str, Any], path: str, kind: str = "") -> None:
        self._given = {name: value for name, value in given.items() if value is not None}
        self._path = path
        self._known = {"apiVersion", "kind"} if kind else set()
        self._wrong: list[Cause] = []
        for name, expected in (("apiVersion", API_VERSION), ("kind", kind)):
            if kind and self._given.get(name, expected) != expected:
                self._wrong.append(
                    invalid(self.at(name), self._given[name], f"has to match plugin args, {shown(expected)}")
                )

    def at(self, name: str) -> str:
        return f"{self._path}.{name}"

    def _read(self, name: str, kind: Any, default: Any) -> Any:
        self._known.add(name)
        if name not in self._given:
            return default
        try:
            return msgspec.convert(self._given[name], kind)
        except msgspec.ValidationError as problem:
            self._wrong.append(invalid(self.at(name), self._given[name], str(problem)))
            return default

    def integer(self, name: str, default: int) -> int:
        return int(self._read(name, int, default))

    def flag(self, name: str, default: bool) -> bool:
        return bool(self._read(name, bool, default))

    def text(self, name: str, default: str = "") -> str:
        return str(self._read(name, str, default))

    def read[T](self, name: str, kind: type[T]) -> T | None:
        """Anything that msgspec can make of the field."""
        found: T | None = self._read(name, kind, None)
        return found

    def check(self, *wrong: Cause) -> None:
        unknown = [
            Cause(self._path, "FieldValueInvalid", f'unknown field "{name}"')
            for name in self._given
            if name not in self._known
        ]
        if found := (*unknown, *self._wrong, *wrong):
            raise BadArgs(*found)
