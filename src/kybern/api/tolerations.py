"""Which taints a pod bears. Pure; the rule is upstream's (core/v1: Toleration.ToleratesTaint)."""

from collections.abc import Iterable

from kybern.api.core_v1 import Taint, Toleration


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
    return _compares(operator, toleration.value, taint.value)


def _compares(operator: str, bound: str, value: str) -> bool:
    """Lt and Gt (KEP-5471): the taint's value is a number below or above the toleration's."""
    try:
        left, right = int(value), int(bound)
    except ValueError:
        return False
    return left < right if operator == "Lt" else operator == "Gt" and left > right


def tolerated(taint: Taint, tolerations: Iterable[Toleration]) -> bool:
    return any(tolerates(one, taint) for one in tolerations)
