"""Whether a pod may be on a node, one node at a time; pure. Terms of a selector are alternatives."""

from collections.abc import Iterable, Mapping

from kybern.api.core_v1 import Node, NodeSelectorRequirement, NodeSelectorTerm, PodSpec, Taint, Toleration


def tolerates(toleration: Toleration, taint: Taint) -> bool:
    """An empty effect bears every effect; an empty key with Exists bears every taint."""
    if toleration.effect and toleration.effect != taint.effect:
        return False
    if toleration.key and toleration.key != taint.key:
        return False
    operator = toleration.operator or "Equal"
    if operator == "Exists":
        return True
    if operator == "Equal":
        return toleration.key == taint.key and toleration.value == taint.value
    bound, value = _integer(toleration.value), _integer(taint.value)
    if bound is None or value is None:
        return False
    return value < bound if operator == "Lt" else operator == "Gt" and value > bound


def keeps_off(node: Node, tolerations: Iterable[Toleration], *effects: str) -> bool:
    """Whether a taint of one of these effects is not tolerated."""
    given = tuple(tolerations)
    return any(
        taint.effect in effects and not any(tolerates(one, taint) for one in given)
        for taint in node.spec.taints
    )


def selects(spec: PodSpec, node: Node) -> bool:
    """Whether ``nodeSelector`` and the required node affinity allow a node."""
    labels = node.metadata.labels
    if any(labels.get(key) != value for key, value in spec.node_selector.items()):
        return False
    affinity = spec.affinity.node_affinity if spec.affinity is not None else None
    asked = affinity.required_during_scheduling_ignored_during_execution if affinity is not None else None
    return asked is None or any(_matches(term, node) for term in asked.node_selector_terms)


def _matches(term: NodeSelectorTerm, node: Node) -> bool:
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
    bound = _integer(one.values[0]) if len(one.values) == 1 else None
    number = _integer(value)
    if bound is None or number is None:
        return False
    return number > bound if one.operator == "Gt" else one.operator == "Lt" and number < bound


def _integer(text: str | None) -> int | None:
    try:
        return int(text or "")
    except ValueError:
        return None
