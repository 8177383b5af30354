"""Objects beside nodes and pods that plugins ask for. Pure."""

from collections.abc import Iterable, Mapping
from typing import Any

from kybern.api.core_v1 import Namespace
from kybern.machinery.struct import Object

type _Key = tuple[type[Object], str, str]  # kind, namespace, name


class Objects:
    """By kind, namespace and name. A plugin names the kinds that it ``needs``; others are not here.

    What the scheduler is about to write is shown to everybody from then on (upstream: the assume caches). ``assume`` does so
    until the API server says something newer of the object; ``hold`` whatever it says, until it has taken what is held
    (``written``) and the watch has brought that. Both can be taken back (``restore``).

    ``kept`` is what plugins keep from one attempt to the next, under their names; ``version`` grows with every change.
    """

    def __init__(self) -> None:
        self.kept: dict[str, Any] = {}
        self.version = 0
        self._known: dict[type[Object], dict[str, dict[str, Any]]] = {}
        # What the API server says of objects that are shown otherwise; None: it has none of that name.
        self._behind: dict[_Key, Any] = {}
        # From which version on its word counts again; "" while nothing is written.
        self._held: dict[_Key, str] = {}

    def set(self, item: Object) -> None:
        """What the API server says. Of a list that is read again, what was known before ends no assumption."""
        meta: Any = item.metadata  # type: ignore[attr-defined]  # every Object has metadata
        key = _key(item)
        behind = self._behind.get(key)
        if behind is not None and behind.metadata.resource_version == meta.resource_version:
            return
        if key in self._held and self._outlives(key, meta):
            self._behind[key] = item
            return
        self._forget(key)
        self._put(item)

    def remove(self, item: Object) -> None:
        self.version += 1
        self._forget(_key(item))
        self._drop(_key(item))

    def assume(self, item: Object) -> None:
        """Show an object of which the API server has something older."""
        said = self._said(_key(item))
        if said is not None:
            self._behind[_key(item)] = said
            self._put(item)

    def hold(self, item: Object) -> None:
        """Show an object that is going to be written; the API server need not have one of that name yet."""
        self._behind[_key(item)] = self._said(_key(item))
        self._held[_key(item)] = ""
        self._put(item)

    def written(self, item: Object) -> None:
        """The API server has taken what was held, and gave this back; nothing when that is over already."""
        meta: Any = item.metadata  # type: ignore[attr-defined]  # every Object has metadata
        key = _key(item)
        if key not in self._held:
            return
        said = self._behind[key]
        if said is not None and not _older(said.metadata.resource_version, meta.resource_version):
            self._forget(key)
            self._put(said)
        else:
            self._held[key] = meta.resource_version
            self._put(item)

    def is_held(self, item: Object) -> bool:
        """Whether an object is shown as it is going to be, and the API server has not taken it yet."""
        return self._held.get(_key(item)) == ""

    def restore(self, kind: type[Object], name: str, namespace: str = "") -> None:
        """Take an assumption back; nothing when it is over already."""
        key = kind, namespace, name
        if key not in self._behind:
            return
        behind = self._forget(key)
        if behind is not None:
            self._put(behind)
        else:
            self.version += 1
            self._drop(key)

    def said[T: Object](self, kind: type[T], name: str, namespace: str = "") -> T | None:
        """What the API server said last, whatever is assumed."""
        found: T | None = self._said((kind, namespace, name))
        return found

    def _said(self, key: _Key) -> Any:
        return self._behind[key] if key in self._behind else self.get(key[0], key[2], key[1])

    def _outlives(self, key: _Key, meta: Any) -> bool:
        """Whether what is held is still to be shown when the API server says something of this version."""
        shown: Any = self.get(key[0], key[2], key[1])
        until = self._held[key]
        return shown.metadata.uid == meta.uid and (not until or _older(meta.resource_version, until))

    def _forget(self, key: _Key) -> Any:
        self._held.pop(key, None)
        return self._behind.pop(key, None)

    def _drop(self, key: _Key) -> None:
        self._known.get(key[0], {}).get(key[1], {}).pop(key[2], None)

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


def _key(item: Object) -> _Key:
    meta: Any = item.metadata  # type: ignore[attr-defined]  # every Object has metadata
    return type(item), meta.namespace, meta.name


def _older(version: str, other: str) -> bool:
    """Versions are numbers that only grow; an object that never was in the API server has none."""
    return int(version or 0) < int(other or 0)


def namespace_labels(objects: Objects, name: str) -> Mapping[str, str]:
    found = objects.get(Namespace, name)
    return found.metadata.labels if found is not None else {}
