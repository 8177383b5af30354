"""What a failed pod means for its job, and when enough has succeeded; pure."""

from collections.abc import Iterable
from dataclasses import dataclass

from kybern.api.batch_v1 import (
    Job,
    PodFailurePolicyOnExitCodesRequirement,
    PodFailurePolicyRule,
)
from kybern.api.core_v1 import Pod
from kybern.controllers.job.indexes import parsed


@dataclass(frozen=True, slots=True)
class Verdict:
    """The action of the first rule that matches; ``Count`` when none does. ``message`` says why a job fails."""

    action: str = "Count"
    message: str = ""


def verdict(job: Job, pod: Pod) -> Verdict:
    policy = job.spec.pod_failure_policy
    if policy is None or pod.status.phase != "Failed":
        return Verdict()
    for number, rule in enumerate(policy.rules):
        why = _matched(rule, pod)
        if why and not (rule.action == "FailIndex" and job.spec.backoff_limit_per_index is None):
            return Verdict(rule.action, f"{why} matching {rule.action} rule at index {number}")
    return Verdict()


def _matched(rule: PodFailurePolicyRule, pod: Pod) -> str:
    name = f"{pod.metadata.namespace}/{pod.metadata.name}"
    if rule.on_exit_codes is not None:
        for container, code in _exits(pod):
            if _codes(rule.on_exit_codes, container, code):
                return f"Container {container} for pod {name} failed with exit code {code}"
    for pattern in rule.on_pod_conditions:
        for one in pod.status.conditions:
            if (one.type, one.status) == (pattern.type, pattern.status or "True"):
                return f"Pod {name} has condition {one.type}"
    return ""


def _exits(pod: Pod) -> Iterable[tuple[str, int]]:
    for one in (*pod.status.init_container_statuses, *pod.status.container_statuses):
        ended = one.state.terminated if one.state is not None else None
        if ended is not None and ended.exit_code:
            yield one.name, ended.exit_code


def _codes(asked: PodFailurePolicyOnExitCodesRequirement, container: str, code: int) -> bool:
    if asked.container_name and asked.container_name != container:
        return False
    return (code in asked.values) == (asked.operator == "In")


def succeeded_by(job: Job, indexes: frozenset[int]) -> int | None:
    """The number of the first rule of the success policy that holds."""
    policy = job.spec.success_policy
    for number, rule in enumerate(policy.rules if policy is not None else ()):
        wanted = parsed(rule.succeeded_indexes, job.spec.completions or 0)
        have = indexes & wanted if rule.succeeded_indexes else indexes
        needed = rule.succeeded_count if rule.succeeded_count is not None else len(wanted)
        if len(have) >= needed:
            return number
    return None
