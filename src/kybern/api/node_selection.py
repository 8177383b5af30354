"""Which nodes a pod's ``nodeSelector`` and required node affinity allow, one node at a time. Pure.

Terms are alternatives; the requirements within one must all hold; a term without requirements matches nothing
(component-helpers/scheduling/corev1/nodeaffinity).
"""

from collections.abc import Mapping

from kybern.api.core_v1 import Node, NodeSelectorRequirement, NodeSelectorTerm, PodSpec


def selects(spec: PodSpec, node: Node) -> bool:
    """Whether ``nodeSelector`` and the required node affinity allow a node."""
    labels = node.metadata.labels
    if any(labels.get(key) != value for key, value in spec.node_selector.items()):
        return False
    terms = required_terms(spec)
    return terms is None or any(matches(term, node) for term in terms)


def required_terms(spec: PodSpec) -> tuple[NodeSelectorTerm, ...] | None:
    """The alternatives of the required affinity, None without one."""
    affinity = spec.affinity.node_affinity if spec.affinity else None
    asked = affinity.required_during_scheduling_ignored_during_execution if affinity else None
    return asked.node_selector_terms if asked else None


def matches(term: NodeSelectorTerm, node: Node) -> bool:
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
    bound, number = integer(one.values[0] if len(one.values) == 1 else None), integer(value)
    if bound is None or number is None:
        return False
    return number > bound if one.operator == "Gt" else one.operator == "Lt" and number < bound


def integer(text: str | None) -> int | None:
    """A label's value as a number, for Gt and Lt; None when it is none."""
    try:
        return int(text or "")
    except ValueError:
        return None
