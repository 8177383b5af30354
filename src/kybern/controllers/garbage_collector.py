"""Delete what nobody owns any more, and make owners wait or let go as their deletion asks for.

Reads the metadata of every kind that discovery lists. Writes owner references and finalizers; deletes.

Keys name objects of any kind: the namespace, and ``PLURAL.GROUP/NAME``. An object is looked at when it changes, when
what it owns changes, and when what owns it goes.

    being deleted, finalizer "orphan"              -> take it out of its dependents' owners, then drop the finalizer
    being deleted, finalizer "foregroundDeletion"  -> drop the finalizer once no dependent blocks any more, but for those
                                                      that wait for it in turn: objects that own each other in a circle
    no owner is left                               -> delete, passing on how its dependents are to be treated
    some owners are left, some are gone            -> take the gone ones out
    every owner that is left waits for its dependents -> delete, in the foreground when it has dependents itself

A cache may lag behind, and one kind's behind another's. So an owner that the cache does not have is asked for from the
API server before anything is deleted because of it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from kybern.api.meta_v1 import OwnerReference
from kybern.client.verbs import Partial
from kybern.loop.controller import Action, Controller, Delete, Key, Patch, View
from kybern.loop.settings import Settings
from kybern.machinery.struct import Object, replace

ORPHAN = "orphan"
FOREGROUND = "foregroundDeletion"
OWNER = "owner"


class Owner(Enum):
    """How an owner stands."""

    SOLID = "solid"
    WAITING = "waiting"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class State:
    """An object of any kind; its owners with how they stand, and what it owns.

    ``circular``: uids of the dependents that wait, over any number of others, for the object itself.
    """

    item: Any
    owners: tuple[tuple[OwnerReference, Owner], ...]
    dependents: tuple[Any, ...]
    circular: frozenset[str] = frozenset()


def _group(kind: type[Object]) -> str:
    return kind.api_version.rpartition("/")[0]


def key_of(item: Any) -> Key:
    kind = type(item)
    return Key(item.metadata.namespace, f"{kind.plural}.{_group(kind)}/{item.metadata.name}")


def _find(view: View, key: Key) -> Any:
    resource, _, name = key.name.partition("/")
    for kind in view.kinds():
        if f"{kind.plural}.{_group(kind)}" == resource:
            return view.get(kind, key.namespace, name)
    return None


def observe(view: View, key: Key) -> State | None:
    item = _find(view, key)
    if item is None:
        return None
    metadata = item.metadata
    if not metadata.owner_references and metadata.deletion_timestamp is None:
        return None
    owners: list[tuple[OwnerReference, Owner]] = []
    if metadata.deletion_timestamp is None:
        owners = [(owner, _standing(view, item, owner)) for owner in metadata.owner_references]
    found = tuple(dependents(view, metadata.uid))
    return State(item, tuple(owners), found, _circular(view, item, found))


def _circular(view: View, item: Any, found: Iterable[Any]) -> frozenset[str]:
    if not _waits(item):
        return frozenset()
    return frozenset(one.metadata.uid for one in found if _waits_for(view, one, item.metadata.uid))


def _waits(item: Any) -> bool:
    """Whether it is being deleted and stays until its dependents are gone."""
    return item.metadata.deletion_timestamp is not None and FOREGROUND in item.metadata.finalizers


def _waits_for(view: View, item: Any, uid: str) -> bool:
    """Whether an object of a uid is among those that hold an item back, directly or over others that wait as well."""
    seen: set[str] = set()
    left = [item]
    while left:
        one = left.pop()
        if one.metadata.uid == uid:
            return True
        if one.metadata.uid not in seen and _waits(one):
            seen.add(one.metadata.uid)
            left += [held for held in dependents(view, one.metadata.uid) if _blocks(held, one.metadata.uid)]
    return False


def dependents(view: View, uid: str) -> Iterable[Any]:
    for kind in view.kinds():
        yield from view.index(kind, OWNER, uid)


def _standing(view: View, item: Any, owner: OwnerReference) -> Owner:
    kind = _kind(view, owner)
    # Of a kind that is not known nothing is known; and a namespaced owner of a cluster-wide object cannot be looked up.
    if kind is None or (kind.namespaced and not item.metadata.namespace):
        return Owner.SOLID
    namespace = item.metadata.namespace if kind.namespaced else ""
    found: Any = view.get(kind, namespace, owner.name)
    if found is None or found.metadata.uid != owner.uid:
        found = view.live(kind, namespace, owner.name)
    if found is None or found.metadata.uid != owner.uid:
        return Owner.GONE
    return Owner.WAITING if _waits(found) else Owner.SOLID


def _kind(view: View, owner: OwnerReference) -> type[Object] | None:
    group = owner.api_version.rpartition("/")[0]
    return next((kind for kind in view.kinds() if kind.kind == owner.kind and _group(kind) == group), None)


def diff(state: State) -> Iterable[Action]:
    metadata = state.item.metadata
    if metadata.deletion_timestamp is not None:
        yield from _finish(state)
        return
    standing = {how for _, how in state.owners}
    if Owner.SOLID in standing:
        if standing != {Owner.SOLID}:
            yield _keeping(state.item, {owner.uid for owner, how in state.owners if how is Owner.SOLID})
    elif Owner.WAITING in standing:
        # Its owner waits for it to be gone, so it must go; those that depend on it go first if they may hold it back.
        yield Delete(state.item, "Foreground" if state.dependents else "Background")
    elif state.owners:
        yield Delete(state.item, _propagation(state.item))


def _propagation(item: Any) -> str:
    """What the object itself asks for by its finalizers."""
    if ORPHAN in item.metadata.finalizers:
        return "Orphan"
    return "Foreground" if FOREGROUND in item.metadata.finalizers else "Background"


def _finish(state: State) -> Iterable[Action]:
    item = state.item
    if ORPHAN in item.metadata.finalizers:
        for dependent in state.dependents:
            kept = {owner.uid for owner in dependent.metadata.owner_references} - {item.metadata.uid}
            yield _keeping(dependent, kept)
        yield _without(item, ORPHAN)
    elif FOREGROUND in item.metadata.finalizers:
        blocking = {one.metadata.uid for one in state.dependents if _blocks(one, item.metadata.uid)}
        if not blocking - state.circular:
            yield _without(item, FOREGROUND)


def _blocks(dependent: Any, uid: str) -> bool:
    return any(
        owner.uid == uid and owner.block_owner_deletion for owner in dependent.metadata.owner_references
    )


def _keeping(item: Any, uids: set[str]) -> Patch:
    """The object with only the owners of these uids."""
    owners = tuple(owner for owner in item.metadata.owner_references if owner.uid in uids)
    return Patch(item, replace(item, metadata=replace(item.metadata, owner_references=owners)))


def _without(item: Any, finalizer: str) -> Patch:
    finalizers = tuple(one for one in item.metadata.finalizers if one != finalizer)
    return Patch(item, replace(item, metadata=replace(item.metadata, finalizers=finalizers)))


def wakes(item: Any, view: View) -> Iterable[Key]:
    """Itself when there may be something to do; its owners that wait for it; what it owned, when it goes."""
    metadata = item.metadata
    if metadata.owner_references or metadata.finalizers:
        yield key_of(item)
    for owner in metadata.owner_references:
        kind = _kind(view, owner)
        if kind is not None:
            yield Key(
                metadata.namespace if kind.namespaced else "", f"{kind.plural}.{_group(kind)}/{owner.name}"
            )
    if (
        metadata.deletion_timestamp is not None
        or view.get(type(item), metadata.namespace, metadata.name) is None
    ):
        for dependent in dependents(view, metadata.uid):
            yield key_of(dependent)


def controller(_settings: Settings) -> Controller[State]:
    return Controller(
        "garbage-collector-controller",
        Partial,
        observe,
        diff,
        everything=wakes,
        component="generic-garbage-collector",
        source="garbage-collector-controller",
        workers=20,
    )
