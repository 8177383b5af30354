"""Where volumes for a claim come from: those that are there, and those that a class can have made. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from kybern.api.core_v1 import Node, PersistentVolume, PersistentVolumeClaim, TopologySelectorTerm
from kybern.api.node_selection import matches
from kybern.api.storage_v1 import CSIDriver, CSIStorageCapacity, StorageClass
from kybern.loop import volumes as match
from kybern.loop.claims import class_of, requested
from kybern.loop.owners import selector_of
from kybern.loop.volume_marks import NO_PROVISIONER
from kybern.machinery.quantity import Quantity, parse
from kybern.scheduler.objects import Objects

CONFLICT = "node(s) didn't match PersistentVolume's node affinity"
NO_VOLUME = "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)"
NO_MATCH = "node(s) didn't find available persistent volumes to bind"
NO_SPACE = "node(s) did not have enough free storage"


def size(claim: PersistentVolumeClaim) -> Quantity:
    return parse(requested(claim))


@dataclass(slots=True)
class _Kept:
    """What was found out while nothing changed: preemption asks for the same claims again on every node."""

    version: int = -1
    found: dict[str, list[PersistentVolume]] = field(default_factory=dict)


def candidates(claim: PersistentVolumeClaim, objects: Objects) -> list[PersistentVolume]:
    """Volumes that a claim may have on some node, the smallest first; one that names the claim leaves no other choice.

    The access modes of a volume that names the claim are not looked at: a person chose it (upstream: FindMatchingVolume).
    """
    kept: _Kept = objects.kept.setdefault("VolumeBinding", _Kept())
    if kept.version != objects.version:
        kept.version = objects.version
        kept.found.clear()
    key = f"{claim.metadata.namespace}/{claim.metadata.name}"
    if key not in kept.found:
        kept.found[key] = _candidates(claim, objects)
    return kept.found[key]


def _candidates(claim: PersistentVolumeClaim, objects: Objects) -> list[PersistentVolume]:
    wanted, asked = size(claim), class_of(claim)
    usable = [
        one
        for one in objects.all(PersistentVolume)
        if match.class_of_volume(one) == asked
        and (one.spec.claim_ref is None or match.is_for(one, claim))
        and one.metadata.deletion_timestamp is None
        and match.same_mode(one, claim)
        and match.same_attributes(one, claim)
        and match.capacity(one) >= wanted
    ]
    usable.sort(key=lambda one: (match.capacity(one).nano, one.metadata.name))
    named = [one for one in usable if one.spec.claim_ref is not None]
    return named[:1] or [one for one in usable if match.is_free(one, claim) and match.has_modes(one, claim)]


def allows(volume: PersistentVolume, node: Node) -> bool:
    """Whether a volume can be used on a node."""
    required = volume.spec.node_affinity.required if volume.spec.node_affinity else None
    return required is None or any(matches(term, node) for term in required.node_selector_terms)


def maker(claim: PersistentVolumeClaim, objects: Objects) -> StorageClass | None:
    """The class that has volumes made for a claim; None when somebody has to make them by hand."""
    found = objects.get(StorageClass, class_of(claim))
    return None if found is None or found.provisioner in {"", NO_PROVISIONER} else found


def unmade(claim: PersistentVolumeClaim, node: Node, objects: Objects) -> str:
    """Why no volume can be made for a claim on a node, "" when one can."""
    found = maker(claim, objects)
    if found is None or not within(found.allowed_topologies, node):
        return NO_MATCH
    stores = capacities(claim, found, objects)
    if stores is not None and not any(reaches(one, node) for one in stores):
        return NO_SPACE
    return ""


def within(terms: Iterable[TopologySelectorTerm], node: Node) -> bool:
    """Whether a node is in one of the topologies; no terms allow every node, an empty term none."""
    listed = tuple(terms)
    labels = node.metadata.labels
    return not listed or any(
        term.match_label_expressions
        and all(labels.get(one.key) in one.values for one in term.match_label_expressions)
        for term in listed
    )


def capacities(
    claim: PersistentVolumeClaim, found: StorageClass, objects: Objects
) -> list[CSIStorageCapacity] | None:
    """The stores that have room for a claim; None when the driver does not tell what it has."""
    driver = objects.get(CSIDriver, found.provisioner)
    if driver is None or not driver.spec.storage_capacity or requested(claim) == "0":
        return None
    wanted, name = size(claim), found.metadata.name
    return [
        one
        for one in objects.all(CSIStorageCapacity)
        if one.storage_class_name == name and (limit := room(one)) is not None and limit >= wanted
    ]


def room(store: CSIStorageCapacity) -> Quantity | None:
    """The largest volume that can be made in a store; None when it does not say."""
    told = store.maximum_volume_size or store.capacity
    return parse(told) if told else None


def reaches(store: CSIStorageCapacity, node: Node) -> bool:
    return store.node_topology is not None and selector_of(store.node_topology).matches(node.metadata.labels)
