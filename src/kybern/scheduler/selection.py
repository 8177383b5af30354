"""Node selectors and node affinity over all nodes at once. Pure.

``kybern.api.node_selection`` says the same of one node.

Terms are alternatives; the requirements within one must all hold; a term without requirements matches nothing
(component-helpers/scheduling/corev1/nodeaffinity).
"""

import numpy as np

from kybern.api.core_v1 import NodeSelectorRequirement, NodeSelectorTerm, Pod
from kybern.api.node_selection import integer, required_terms
from kybern.scheduler.table import Mask, Table


def required(pod: Pod, table: Table) -> Mask:
    """Nodes that ``nodeSelector`` and the required node affinity allow."""
    found = np.ones(table.columns, np.bool_)
    for key, value in pod.spec.node_selector.items():
        found &= table.having(key, (value,))
    terms = required_terms(pod.spec)
    if terms is None:
        return found
    matching = np.zeros(table.columns, np.bool_)
    for term in terms:
        matching |= by_term(term, table)
    return found & matching


def by_term(term: NodeSelectorTerm, table: Table) -> Mask:
    if not term.match_expressions and not term.match_fields:
        return np.zeros(table.columns, np.bool_)
    found = np.ones(table.columns, np.bool_)
    for one in term.match_expressions:
        found &= _by_label(one, table)
    for one in term.match_fields:
        found &= _by_field(one, table)
    return found


def _by_label(one: NodeSelectorRequirement, table: Table) -> Mask:
    match one.operator:
        case "In":
            return table.having(one.key, one.values)
        case "NotIn":
            return ~table.having(one.key, one.values)
        case "Exists":
            return table.labelled(one.key)
        case "DoesNotExist":
            return ~table.labelled(one.key)
    bound = integer(one.values[0] if len(one.values) == 1 else None)
    numbers, isnumber = table.integers(one.key)
    if bound is None or one.operator not in ("Gt", "Lt"):
        return np.zeros(table.columns, np.bool_)
    return isnumber & (numbers > bound if one.operator == "Gt" else numbers < bound)


def _by_field(one: NodeSelectorRequirement, table: Table) -> Mask:
    """The only field is metadata.name."""
    named = np.zeros(table.columns, np.bool_)
    for value in one.values:
        if value in table.index:
            named[table.index[value]] = True
    return named if one.operator == "In" else ~named
