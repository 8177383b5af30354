"""What ``choice`` says of one node, over all nodes at once. Pure.

A volume may be taken by different claims on different nodes, so of each volume it is known on which nodes it is gone.
"""

from collections.abc import Iterable, Iterator

import numpy as np

from kybern.api.core_v1 import (
    NodeSelectorRequirement,
    NodeSelectorTerm,
    PersistentVolume,
    PersistentVolumeClaim,
    TopologySelectorTerm,
)
from kybern.api.meta_v1 import LabelSelector
from kybern.api.storage_v1 import CSIStorageCapacity
from kybern.loop.volume_marks import SELECTED_NODE
from kybern.scheduler.framework import Refusal
from kybern.scheduler.selection import by_term
from kybern.scheduler.table import Mask, Table
from kybern.scheduler.volumes.choice import in_order
from kybern.scheduler.volumes.claims import Wanted
from kybern.scheduler.volumes.places import Columns, Places, allowed_by
from kybern.scheduler.volumes.supply import (
    CONFLICT,
    NO_MATCH,
    NO_SPACE,
    NO_VOLUME,
    candidates,
    capacities,
    maker,
)


def refusals(found: Wanted, table: Table) -> Iterator[Refusal]:
    yield from _at_hand(found, table)
    if found.later:
        yield from _later(found, table)


def _at_hand(found: Wanted, table: Table) -> Iterator[Refusal]:
    left = np.ones(table.columns, np.bool_)
    for claim in found.bound:
        volume = table.objects.get(PersistentVolume, claim.spec.volume_name)
        allowed = np.zeros(table.columns, np.bool_) if volume is None else allowed_by(volume, table)
        yield Refusal(left & ~allowed, NO_VOLUME if volume is None else CONFLICT)
        left &= allowed


def _later(found: Wanted, table: Table) -> Iterator[Refusal]:
    marked = [one for one in found.later if SELECTED_NODE in one.metadata.annotations]
    left = table.valid.copy()
    for claim in marked:
        left &= _only(claim.metadata.annotations[SELECTED_NODE], table)
    yield Refusal(~left, NO_MATCH)
    to_make: list[tuple[PersistentVolumeClaim, Mask]] = [(one, left.copy()) for one in marked]
    if searching := in_order(found):
        places, gone = Places(table), dict[str, Columns]()
        to_make += [(one, _unmatched(one, left, gone, places)) for one in searching]
    for claim, nodes in to_make:
        for refusal in _unmade(claim, nodes & left, table):
            yield refusal
            left &= ~refusal.nodes


def _unmatched(claim: PersistentVolumeClaim, left: Mask, gone: dict[str, Columns], places: Places) -> Mask:
    """The nodes where a claim finds no volume; notes in ``gone`` which it takes elsewhere."""
    without = left.copy()
    number = int(np.count_nonzero(without))
    for volume in candidates(claim, places.table.objects):
        name, taken = volume.metadata.name, places.of(volume)
        taken = taken[without[taken]]
        if name in gone:
            taken = taken[~np.isin(taken, gone[name])]
        if not len(taken):
            continue
        gone[name] = np.concatenate((gone[name], taken)) if name in gone else taken
        without[taken] = False
        number -= len(taken)
        if not number:
            break
    return without


def _unmade(claim: PersistentVolumeClaim, nodes: Mask, table: Table) -> Iterator[Refusal]:
    """The nodes, of those given, where no volume can be made for a claim."""
    if not nodes.any():
        return
    found = maker(claim, table.objects)
    if found is None:
        yield Refusal(nodes, NO_MATCH)
        return
    within = _within(found.allowed_topologies, table)
    yield Refusal(nodes & ~within, NO_MATCH)
    stores = capacities(claim, found, table.objects)
    if stores is not None:
        reached = np.zeros(table.columns, np.bool_)
        for store in stores:
            reached |= _reached(store, table)
        yield Refusal(nodes & within & ~reached, NO_SPACE)


def _within(terms: Iterable[TopologySelectorTerm], table: Table) -> Mask:
    listed = tuple(terms)
    found = np.full(table.columns, not listed)
    for term in listed:
        inside = np.full(table.columns, bool(term.match_label_expressions))
        for one in term.match_label_expressions:
            inside &= table.having(one.key, one.values)
        found |= inside
    return found


def _reached(store: CSIStorageCapacity, table: Table) -> Mask:
    if store.node_topology is None:
        return np.zeros(table.columns, np.bool_)
    return _selected(store.node_topology, table)


def _selected(selector: LabelSelector, table: Table) -> Mask:
    """A label selector is a term of a node selector, but for the empty one, which selects everything."""
    asked = tuple(
        NodeSelectorRequirement(key=one.key, operator=one.operator, values=one.values)
        for one in selector.match_expressions
    )
    labels = tuple(
        NodeSelectorRequirement(key=key, operator="In", values=(value,))
        for key, value in selector.match_labels.items()
    )
    if not asked and not labels:
        return np.ones(table.columns, np.bool_)
    return by_term(NodeSelectorTerm(match_expressions=(*labels, *asked)), table)


def _only(name: str, table: Table) -> Mask:
    found = np.zeros(table.columns, np.bool_)
    if name in table.index:
        found[table.index[name]] = True
    return found
