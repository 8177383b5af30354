"""All containers of a pod begin anew when one of them ends with a code for which a rule says so (KEP-5532). Pure.

Each run remembers its round. What runs of an earlier round is stopped, without hooks, before anything of the next one
starts; init containers come first again. The sandbox, its address and the volumes stay.
"""

from collections.abc import Iterator
from dataclasses import replace

from kybern.api.core_v1 import Container, ContainerRestartRule, Pod
from kybern.kubelet.runtime import Actual, Instance, RunState

ACTION = "RestartAllContainers"


def could(pod: Pod) -> bool:
    """Whether a rule of the pod asks for it."""
    return any(rule.action == ACTION for one in _containers(pod) for rule in one.restart_policy_rules)


def _containers(pod: Pod) -> Iterator[Container]:
    yield from pod.spec.init_containers
    yield from pod.spec.containers


def rule_for(container: Container, code: int) -> ContainerRestartRule | None:
    """The first rule of a container that holds for an exit code."""
    for rule in container.restart_policy_rules:
        codes = rule.exit_codes
        if codes is not None and (code in (codes.values or ())) == (codes.operator == "In"):
            return rule
    return None


def begins(container: Container, run: Instance | None) -> bool:
    """Whether the end of a run is the beginning of a round."""
    if run is None or run.state is not RunState.EXITED:
        return False
    rule = rule_for(container, run.exit_code)
    return rule is not None and rule.action == ACTION


def current(pod: Pod, actual: Actual) -> int:
    """The number of the round; 0 for a pod that never began anew."""
    if not could(pod):
        return 0
    here = [(one, actual.here(one.name)) for one in _containers(pod)]
    last = max((run.round for _one, run in here if run is not None), default=0)
    ended = any(run is not None and run.round == last and begins(one, run) for one, run in here)
    return last + 1 if ended else last


def outdated(pod: Pod, actual: Actual) -> tuple[Instance, ...]:
    """The latest runs of containers that are of an earlier round, whether they run or not."""
    number = current(pod, actual)
    latest = (actual.here(one.name) for one in _containers(pod)) if number else ()
    return tuple(run for run in latest if run is not None and run.round < number)


def restarting(pod: Pod, actual: Actual) -> bool:
    """Whether a round has begun of which nothing has run yet."""
    number = current(pod, actual)
    return bool(number) and all(run.round < number for run in actual.instances)


def left_behind(pod: Pod, actual: Actual) -> Actual:
    """The same with runs of earlier rounds as if they had been in an earlier sandbox."""
    old = {run.id for run in outdated(pod, actual)}
    if not old:
        return actual
    instances = tuple(replace(run, sandbox="") if run.id in old else run for run in actual.instances)
    return replace(actual, instances=instances)
