"""How many replicas a metric asks for; pure. The rules are upstream's replica calculator.

All amounts are thousandths, whole numbers. Pods that have not come up yet count as using nothing when the others use too
much; pods without a sample count as using nothing then, and as using what they may when the others use too little. So an
unknown never makes a change larger than it would be if all were known; and none that would turn round is made at all.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from kybern.api.core_v1 import Pod
from kybern.loop.pods import condition, is_ready
from kybern.machinery.quantity import parse


class Unknown(Exception):
    """No number follows from what is known; the text says why, in upstream's words."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What one pod uses, measured over so many seconds up to a moment."""

    value: int
    at: datetime | None = None
    window: float = 60.0


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far from 1 a ratio may be before it means anything."""

    down: float = 0.1
    up: float = 0.1

    def covers(self, ratio: float) -> bool:
        return 1.0 - self.down <= ratio <= 1.0 + self.up


@dataclass(frozen=True, slots=True)
class Target:
    """What is scaled: its replicas, the pods of its selector, and what of time and tolerance applies."""

    replicas: int
    pods: tuple[Pod, ...]
    now: datetime
    tolerance: Tolerance = Tolerance()
    cpu_period: float = 300.0
    readiness_delay: float = 30.0


@dataclass(frozen=True, slots=True)
class Groups:
    ready: int
    unready: frozenset[str]
    missing: frozenset[str]
    ignored: frozenset[str]


def groups(target: Target, samples: Mapping[str, Sample], resource: str) -> Groups:
    """Pods by what their samples are worth; only CPU is misleading while a pod starts."""
    ready, sorts = 0, {"unready": set[str](), "missing": set[str](), "ignored": set[str]()}
    for pod in target.pods:
        name = pod.metadata.name
        if pod.metadata.deletion_timestamp is not None or pod.status.phase == "Failed":
            sorts["ignored"].add(name)
        elif pod.status.phase == "Pending":
            sorts["unready"].add(name)
        elif name not in samples:
            sorts["missing"].add(name)
        elif resource == "cpu" and _is_starting(pod, samples[name], target):
            sorts["unready"].add(name)
        else:
            ready += 1
    return Groups(ready, *(frozenset(sorts[key]) for key in ("unready", "missing", "ignored")))


def _is_starting(pod: Pod, sample: Sample, target: Target) -> bool:
    found, started = condition(pod, "Ready"), pod.status.start_time
    if found is None or started is None:
        return True
    since = found.last_transition_time or started
    if started + timedelta(seconds=target.cpu_period) > target.now:
        early = sample.at is not None and sample.at < since + timedelta(seconds=sample.window)
        return found.status == "False" or early
    return found.status == "False" and started + timedelta(seconds=target.readiness_delay) > since


def requests(pods: Iterable[Pod], resource: str, container: str = "") -> dict[str, int]:
    """What pods, or one container of each, ask for; raises Unknown when one does not say."""
    return {pod.metadata.name: _request(pod, resource, container) for pod in pods}


def _request(pod: Pod, resource: str, container: str) -> int:
    whole = pod.spec.resources.requests if pod.spec.resources is not None else {}
    if not container and resource in whole:
        return parse(whole[resource]).milli()
    sidecars = (one for one in pod.spec.init_containers if one.restart_policy == "Always")
    total = 0
    for one in (*pod.spec.containers, *sidecars):
        if container and one.name != container:
            continue
        asked = one.resources.requests if one.resources is not None else {}
        if resource not in asked:
            raise Unknown(
                f"missing request for {resource} in container {one.name} of Pod {pod.metadata.name}"
            )
        total += parse(asked[resource]).milli()
    return total


@dataclass(frozen=True, slots=True)
class Proposal:
    """Replicas, and what of the metric goes into the status: its average or its value, and the share of the requests."""

    replicas: int
    amount: int
    percent: int | None = None


def by_utilization(
    target: Target, samples: Mapping[str, Sample], resource: str, percent: int, container: str = ""
) -> Proposal:
    """So many that the pods use this share of what they ask for."""
    found, known = _sorted(target, samples, resource)
    asked = requests(target.pods, resource, container)
    if not known:
        raise Unknown("did not receive metrics for targeted pods (pods might be unready)")
    ratio, share, average = _utilization(known, asked, percent)
    full = {name: asked[name] * max(100, percent) // 100 for name in found.missing}
    replicas = _settled(
        target, found, ratio, known, full, lambda values: _utilization(values, asked, percent)[0]
    )
    return Proposal(replicas, average, share)


def by_average(target: Target, samples: Mapping[str, Sample], wanted: int, resource: str = "") -> Proposal:
    """So many that the pods use this much on average."""
    found, known = _sorted(target, samples, resource)
    if not known:
        raise Unknown("did not receive metrics for targeted pods (pods might be unready)")
    average = _average(known)
    full = dict.fromkeys(found.missing, wanted)
    replicas = _settled(
        target, found, average / wanted, known, full, lambda values: _average(values) / wanted
    )
    return Proposal(replicas, average)


def _sorted(target: Target, samples: Mapping[str, Sample], resource: str) -> tuple[Groups, dict[str, int]]:
    if not target.pods:
        raise Unknown("no pods returned by selector while calculating replica count")
    found = groups(target, samples, resource)
    left_out = found.ignored | found.unready
    return found, {name: one.value for name, one in samples.items() if name not in left_out}


def _average(values: Mapping[str, int]) -> int:
    return sum(values.values()) // len(values)


def _utilization(values: Mapping[str, int], asked: Mapping[str, int], percent: int) -> tuple[float, int, int]:
    """The ratio to the target, the share in percent, and the average use."""
    both = [name for name in values if name in asked]
    total = sum(asked[name] for name in both)
    if total == 0:
        raise Unknown("no metrics returned matched known pods")
    used = sum(values[name] for name in both)
    share = used * 100 // total
    return share / percent, share, used // len(both)


def _settled(
    target: Target,
    found: Groups,
    ratio: float,
    known: Mapping[str, int],
    full: Mapping[str, int],
    again: Callable[[Mapping[str, int]], float],
) -> int:
    """Replicas for a ratio; with what is not known filled in so that it damps the change."""
    up = ratio > 1.0
    with_unready = up and bool(found.unready)
    if not with_unready and not found.missing:
        return target.replicas if target.tolerance.covers(ratio) else math.ceil(ratio * found.ready)
    values = dict(known)
    if ratio < 1.0:
        values |= full
    elif up:
        values |= dict.fromkeys(found.missing, 0)
    if with_unready:
        values |= dict.fromkeys(found.unready, 0)
    damped = again(values)
    if target.tolerance.covers(damped) or (ratio < 1.0 < damped) or (damped < 1.0 < ratio):
        return target.replicas
    replicas = math.ceil(damped * len(values))
    turned = (damped < 1.0 and replicas > target.replicas) or (damped > 1.0 and replicas < target.replicas)
    return target.replicas if turned else replicas


def by_value(target: Target, value: int, wanted: int) -> Proposal:
    """So many that one value, which all pods bring about together, gets to this much."""
    ratio = value / wanted
    if target.replicas == 0:
        return Proposal(math.ceil(ratio), value)
    if target.tolerance.covers(ratio):
        return Proposal(target.replicas, value)
    if not target.pods:
        raise Unknown(
            "unable to calculate ready pods: no pods returned by selector while calculating replica count"
        )
    ready = sum(pod.status.phase == "Running" and is_ready(pod) for pod in target.pods)
    return Proposal(math.ceil(ratio * ready), value)


def by_share(target: Target, running: int, value: int, wanted: int) -> Proposal:
    """So many that each pod's share of one value gets to this much; ``running`` replicas share it now."""
    ratio = value / (wanted * running) if running else math.inf
    replicas = running if target.tolerance.covers(ratio) else math.ceil(value / wanted)
    return Proposal(replicas, math.ceil(value / running) if running else 0)
