"""Node selectors and node affinity over all nodes at once, and over one in the plain way. Pure.

Terms are alternatives; the requirements within one must all hold; a term without requirements matches nothing
(component-helpers/scheduling/corev1/nodeaffinity).
"""

from collections.abc import Mapping

import numpy as np

from kybern.api.core_v1 import Node, NodeSelectorRequirement, NodeSelectorTerm, Pod
from kybern.scheduler.table import Mask, Table


def required(pod: Pod, table: Table) -> Mask:
    """Nodes that ``nodeSelector`` and the required node affinity allow."""
    found = np.ones(table.columns, np.bool_)
    for key, value in pod.spec.node_selector.items():
        found &= table.having(key, (value,))
    terms = required_terms(pod)
    if terms is None:
        return found
    matching = np.zeros(table.columns, np.bool_)
    for term in terms:
        matching |= by_term(term, table)
    return found & matching


def required_terms(pod: Pod) -> tuple[NodeSelectorTerm, ...] | None:
    """The alternatives of the required affinity, None without one."""
    affinity = pod.spec.affinity.node_affinity if pod.spec.affinity else None
    asked = affinity.required_during_scheduling_ignored_during_execution if affinity else None
    return asked.node_selector_terms if asked else None


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
    bound = _integer(one.values)
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


def _integer(values: tuple[str, ...]) -> int | None:
    text = values[0] if len(values) == 1 else ""
    return int(text) if text.lstrip("-").isdigit() else None


def matches(term: NodeSelectorTerm, node: Node) -> bool:
    """The plain form of ``by_term``."""
    if not term.match_expressions and not term.match_fields:
        return False
    fields = {"metadata.name": node.metadata.name}
    return all(_holds(one, node.metadata.labels) for one in term.match_expressions) and all(
        _holds(one, fields) for one in term.match_fields
    )


def _holds(one: NodeSelectorRequirement, facts: Mapping[str, str]) -> bool:
    value = facts.get(one.key)
    match one.operator:
        case "In":
            return value in one.values
        case "NotIn":
            return value not in one.values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
    bound, number = _integer(one.values), _integer(() if value is None else (value,))
    if bound is None or number is None:
        return False
    return number > bound if one.operator == "Gt" else one.operator == "Lt" and number < bound
