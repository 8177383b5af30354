"""Objects beside nodes and pods that plugins ask for. Pure."""

from collections.abc import Iterable, Mapping
from typing import Any

from kybern.api.core_v1 import Namespace
from kybern.machinery.struct import Object


class Objects:
    """By kind, namespace and name. A plugin names the kinds that it ``needs``; others are not here.

    ``kept`` is what plugins keep from one attempt to the next, under their names.
    """

    def __init__(self) -> None:
        self.kept: dict[str, Any] = {}
        self._known: dict[type[Object], dict[str, dict[str, Any]]] = {}

    def set(self, item: Object) -> None:
        meta: Any = item.metadata  # type: ignore[attr-defined]  # every Object has metadata
        self._known.setdefault(type(item), {}).setdefault(meta.namespace, {})[meta.name] = item

    def remove(self, item: Object) -> None:
        meta: Any = item.metadata  # type: ignore[attr-defined]  # every Object has metadata
        self._known.get(type(item), {}).get(meta.namespace, {}).pop(meta.name, None)

    def get[T: Object](self, kind: type[T], name: str, namespace: str = "") -> T | None:
        found: T | None = self._known.get(kind, {}).get(namespace, {}).get(name)
        return found

    def within[T: Object](self, kind: type[T], namespace: str = "") -> Iterable[T]:
        """All of a namespace, or all of a kind that has none."""
        return self._known.get(kind, {}).get(namespace, {}).values()

    def all[T: Object](self, kind: type[T]) -> Iterable[T]:
        """Of every namespace."""
        return (item for named in self._known.get(kind, {}).values() for item in named.values())


def namespace_labels(objects: Objects, name: str) -> Mapping[str, str]:
    found = objects.get(Namespace, name)
    return found.metadata.labels if found is not None else {}
