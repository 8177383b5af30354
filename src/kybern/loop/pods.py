"""What can be said about a pod from its status; pure."""

from collections.abc import Iterable
from datetime import datetime

from kybern.api.core_v1 import Pod, PodCondition
from kybern.machinery.struct import replace


def condition(pod: Pod, type: str) -> PodCondition | None:  # noqa: A002  # the API's word
    return next((one for one in pod.status.conditions if one.type == type), None)


def is_ready(pod: Pod) -> bool:
    found = condition(pod, "Ready")
    return found is not None and found.status == "True"


def is_terminal(pod: Pod) -> bool:
    return pod.status.phase in {"Succeeded", "Failed"}


def is_active(pod: Pod) -> bool:
    """Neither finished nor being deleted."""
    return not is_terminal(pod) and pod.metadata.deletion_timestamp is None


def available_in(pod: Pod, min_ready: int, now: datetime) -> float | None:
    """Seconds until a ready pod counts as available (0: it does); None when it is not ready."""
    found = condition(pod, "Ready")
    if found is None or found.status != "True":
        return None
    if min_ready == 0:
        return 0.0
    if found.last_transition_time is None:
        return float(min_ready)
    return max(0.0, min_ready - (now - found.last_transition_time).total_seconds())


def with_condition(pod: Pod, wanted: PodCondition) -> Pod:
    """The pod with a condition set; the time of the last transition stays when the status does."""
    old = condition(pod, wanted.type)
    if old is not None and old.status == wanted.status:
        wanted = replace(wanted, last_transition_time=old.last_transition_time)
    if old is None:
        conditions = (*pod.status.conditions, wanted)
    else:
        conditions = tuple(wanted if one is old else one for one in pod.status.conditions)
    return replace(pod, status=replace(pod.status, conditions=conditions))


def disrupted(pod: Pod, reason: str, message: str, now: datetime) -> Pod:
    """The pod with the condition DisruptionTarget, which says who is about to end it; as it is when that is said already."""
    said = condition(pod, "DisruptionTarget")
    if said is not None and said.status == "True":
        return pod
    wanted = PodCondition(
        type="DisruptionTarget",
        status="True",
        reason=reason,
        message=message,
        observed_generation=pod.metadata.generation,
        last_transition_time=now.replace(microsecond=0),
    )
    return with_condition(pod, wanted)


def by_node(pod: Pod) -> Iterable[str]:
    """Index: pods by the node that they are bound to."""
    if pod.spec.node_name:
        yield pod.spec.node_name
