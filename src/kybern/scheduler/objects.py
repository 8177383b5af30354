"""Objects beside nodes and pods that plugins ask for. Pure."""

from collections.abc import Iterable, Mapping
from typing import Any

from kybern.api.core_v1 import Namespace
from kybern.machinery.struct import Object


class Objects:
    """By kind, namespace and name. A plugin names the kinds that it ``needs``; others are not here.

    What the scheduler is about to write can be assumed: it is seen by everybody from then on, until the API server says
    something newer of the object, or the assumption is taken back (upstream: the assume caches).

    ``kept`` is what plugins keep from one attempt to the next, under their names; ``version`` grows with every change.
    """

    def __init__(self) -> None:
        self.kept: dict[str, Any] = {}
        self.version = 0
        self._known: dict[type[Object], dict[str, dict[str, Any]]] = {}
        self._behind: dict[tuple[type[Object], str, str], Any] = {}

    def set(self, item: Object) -> None:
        """What the API server says. Of a list that is read again, what was known before ends no assumption."""
        meta: Any = item.metadata  # type: ignore[attr-defined]  # every Object has metadata
        key = type(item), meta.namespace, meta.name
        behind = self._behind.get(key)
        if behind is not None and behind.metadata.resource_version == meta.resource_version:
            return
        self._behind.pop(key, None)
        self._put(item)

    def remove(self, item: Object) -> None:
        meta: Any = item.metadata  # type: ignore[attr-defined]  # every Object has metadata
        self.version += 1
        self._behind.pop((type(item), meta.namespace, meta.name), None)
        self._known.get(type(item), {}).get(meta.namespace, {}).pop(meta.name, None)

    def assume(self, item: Object) -> None:
        """Show an object of which the API server has something older."""
        meta: Any = item.metadata  # type: ignore[attr-defined]  # every Object has metadata
        said = self.said(type(item), meta.name, meta.namespace)
        if said is not None:
            self._behind[type(item), meta.namespace, meta.name] = said
            self._put(item)

    def restore(self, kind: type[Object], name: str, namespace: str = "") -> None:
        """Take an assumption back; nothing when it is over already."""
        behind = self._behind.pop((kind, namespace, name), None)
        if behind is not None:
            self._put(behind)

    def said[T: Object](self, kind: type[T], name: str, namespace: str = "") -> T | None:
        """What the API server said last, whatever is assumed."""
        behind: T | None = self._behind.get((kind, namespace, name))
        return behind if behind is not None else self.get(kind, name, namespace)

    def _put(self, item: Object) -> None:
        meta: Any = item.metadata  # type: ignore[attr-defined]  # every Object has metadata
        self.version += 1
        self._known.setdefault(type(item), {}).setdefault(meta.namespace, {})[meta.name] = item

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
