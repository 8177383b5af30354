"""Where volumes can be used, over all nodes at once. Pure.

Volumes of nodes name each its own node by one label, and there may be as many as there are nodes: so the columns of each
value of a label are worked out once, and a volume's are looked up.
"""

import numpy as np
from numpy.typing import NDArray

from kybern.api.core_v1 import PersistentVolume
from kybern.scheduler.selection import by_term
from kybern.scheduler.table import Mask, Table

type Columns = NDArray[np.intp]

NOWHERE: Columns = np.zeros(0, np.intp)


def allowed_by(volume: PersistentVolume, table: Table) -> Mask:
    """The nodes where a volume can be used."""
    required = volume.spec.node_affinity.required if volume.spec.node_affinity else None
    if required is None:
        return np.ones(table.columns, np.bool_)
    found = np.zeros(table.columns, np.bool_)
    for term in required.node_selector_terms:
        found |= by_term(term, table)
    return found


class Places:
    """For one decision: the table does not change meanwhile."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self._by_label: dict[str, dict[str, Columns]] = {}

    def of(self, volume: PersistentVolume) -> Columns:
        """The columns of the nodes where a volume can be used."""
        label = _one_label(volume)
        if label is None:
            return np.flatnonzero(allowed_by(volume, self.table))
        key, values = label
        if key not in self._by_label:
            self._by_label[key] = self._columns(key)
        found = [self._by_label[key].get(value, NOWHERE) for value in dict.fromkeys(values)]
        return found[0] if len(found) == 1 else np.concatenate((NOWHERE, *found))

    def _columns(self, key: str) -> dict[str, Columns]:
        numbers, kinds = self.table.topology(key)
        order = np.argsort(numbers, kind="stable")
        starts = np.searchsorted(numbers[order], np.arange(kinds + 1))
        return {
            value: order[starts[number] : starts[number + 1]]
            for value, number in self.table.values.get(key, {}).items()
        }


def _one_label(volume: PersistentVolume) -> tuple[str, tuple[str, ...]] | None:
    """The label and its values, when a volume asks for nothing else of a node."""
    required = volume.spec.node_affinity.required if volume.spec.node_affinity else None
    terms = required.node_selector_terms if required else ()
    if len(terms) != 1 or terms[0].match_fields or len(terms[0].match_expressions) != 1:
        return None
    asked = terms[0].match_expressions[0]
    return (asked.key, asked.values) if asked.operator == "In" else None
