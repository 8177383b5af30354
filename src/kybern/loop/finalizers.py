"""Finalizers that hold an object for as long as something uses it; pure.

The admission plugin StorageObjectInUseProtection sets them on new objects; a loop sets them on the others and takes them
away at the end.
"""

from collections.abc import Iterable
from typing import Any

from kybern.loop.controller import Action, Patch
from kybern.machinery.struct import replace


def is_held(item: Any, finalizer: str) -> bool:
    """Whether an object is to be deleted and waits for this finalizer, too."""
    return item.metadata.deletion_timestamp is not None and finalizer in item.metadata.finalizers


def protect(item: Any, finalizer: str, *, used: bool) -> Iterable[Action]:
    """Hold what is not being deleted; let go what is, once nothing uses it."""
    found = item.metadata.finalizers
    if is_held(item, finalizer) and not used:
        yield _with(item, tuple(one for one in found if one != finalizer))
    elif item.metadata.deletion_timestamp is None and finalizer not in found:
        yield _with(item, (*found, finalizer))


def _with(item: Any, finalizers: tuple[str, ...]) -> Patch:
    return Patch(item, replace(item, metadata=replace(item.metadata, finalizers=finalizers)))
