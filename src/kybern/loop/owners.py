"""Who owns whom: owner references, and which objects a selector claims; pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from kybern.api.meta_v1 import LabelSelector, OwnerReference
from kybern.loop.controller import Action, Patch
from kybern.machinery import selectors
from kybern.machinery.struct import Object, replace


def controller_of(item: Any) -> OwnerReference | None:
    """The reference that says who controls an object."""
    return next((owner for owner in item.metadata.owner_references if owner.controller), None)


def controller_reference(owner: Any) -> OwnerReference:
    """What an object carries that ``owner`` controls."""
    return OwnerReference(
        api_version=owner.api_version,
        kind=owner.kind,
        name=owner.metadata.name,
        uid=owner.metadata.uid,
        controller=True,
        block_owner_deletion=True,
    )


def orphaned(item: Any) -> Iterable[str]:
    """Index: objects that nobody controls, by namespace."""
    if controller_of(item) is None:
        yield item.metadata.namespace


@lru_cache(1024)
def _selector(
    labels: tuple[tuple[str, str], ...], expressions: tuple[tuple[str, str, tuple[str, ...]], ...]
) -> selectors.LabelSelector:
    found = [
        {"key": key, "operator": operator, "values": list(values)} for key, operator, values in expressions
    ]
    return selectors.of_selector({"matchLabels": dict(labels), "matchExpressions": found})


def selector_of(given: LabelSelector) -> selectors.LabelSelector:
    """A typed selector, ready to match; an empty one matches everything."""
    expressions = tuple((one.key, one.operator, one.values) for one in given.match_expressions)
    return _selector(tuple(sorted(given.match_labels.items())), expressions)


@dataclass(frozen=True, slots=True)
class Claim[T: Object]:
    """What a controller has, what it may take, and what it must let go."""

    mine: tuple[T, ...]
    adoptable: tuple[T, ...]
    released: tuple[T, ...]


def claim[T: Object](
    owner: Any, selector: selectors.LabelSelector, owned: Iterable[T], orphans: Iterable[T]
) -> Claim[T]:
    """Sort objects by whether ``owner`` controls them and its selector matches them. One being deleted is left alone."""
    deleting = owner.metadata.deletion_timestamp is not None
    mine, released = [], []
    for item in owned:
        if selector.matches(item.metadata.labels):  # type: ignore[attr-defined]  # every Object has metadata
            mine.append(item)
        elif not deleting:
            released.append(item)
    adoptable = (
        [] if deleting else [item for item in orphans if _free(item) and selector.matches(_labels(item))]
    )
    return Claim(tuple(mine), tuple(adoptable), tuple(released))


def _free(item: Any) -> bool:
    return item.metadata.deletion_timestamp is None


def _labels(item: Any) -> Any:
    return item.metadata.labels


def settle(owner: Any, found: Claim[Any]) -> Iterable[Action]:
    """Adopt and let go."""
    for item in found.adoptable:
        references = (*item.metadata.owner_references, controller_reference(owner))
        yield Patch(item, replace(item, metadata=replace(item.metadata, owner_references=references)))
    for item in found.released:
        references = tuple(one for one in item.metadata.owner_references if one.uid != owner.metadata.uid)
        yield Patch(item, replace(item, metadata=replace(item.metadata, owner_references=references)))
