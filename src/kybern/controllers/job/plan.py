"""Which pods a job makes and which it ends; pure."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count, islice
from typing import Any

from kybern.api.batch_v1 import Job
from kybern.api.core_v1 import Container, EnvVar, EnvVarSource, ObjectFieldSelector, Pod
from kybern.controllers.job.count import FINALIZER, Tally, has_failed, is_indexed, is_tracked, waits_for_end
from kybern.controllers.job.indexes import FAILURES, IGNORED, INDEX, failures_of, ignored_of, index_of
from kybern.controllers.job.policy import verdict
from kybern.loop.pods import condition, is_ready
from kybern.loop.templates import labelled, pod_of, suffix, with_spec
from kybern.machinery.struct import replace

BURST = 500
_FIRST_WAIT = 10.0
_LAST_WAIT = 600.0
_ENVIRONMENT = "JOB_COMPLETION_INDEX"


@dataclass(slots=True)
class Plan:
    """``again``: seconds until more may be made."""

    create: list[Pod] = field(default_factory=list)
    delete: list[Pod] = field(default_factory=list)
    again: float | None = None


def wanted_active(tally: Tally) -> int:
    spec = tally.job.spec
    parallel = 1 if spec.parallelism is None else spec.parallelism
    if spec.completions is None:
        return len(tally.active) if tally.succeeded else parallel
    left = spec.completions - tally.succeeded - len(tally.failed_indexes)
    return max(min(left, parallel), 0)


def plan(tally: Tally, now: datetime) -> Plan:
    if tally.job.spec.suspend:
        return Plan(delete=list(tally.active[:BURST]))
    wanted = wanted_active(tally)
    surplus = list(_surplus(tally, len(tally.active) - wanted))
    if surplus:
        return Plan(delete=surplus[:BURST])
    missing = wanted - len(tally.active)
    if waits_for_end(tally.job):
        missing -= len(tally.terminating)
    if missing <= 0:
        return Plan()
    return _indexed(tally, missing, now) if is_indexed(tally.job) else _plain(tally, missing, now)


def _surplus(tally: Tally, too_many: int) -> Iterable[Pod]:
    """Pods that have no place: of no index, of one that is over or has a pod already; then those that lose least."""
    rest, taken = [], set()
    over = tally.indexes | tally.failed_indexes
    for pod in sorted(tally.active, key=_worth, reverse=True):
        index = index_of(pod)
        completions = tally.job.spec.completions or 0
        if is_indexed(tally.job) and (
            index is None or index >= completions or index in over or index in taken
        ):
            yield pod
            too_many -= 1
        else:
            taken.add(index)
            rest.append(pod)
    yield from rest[::-1][: max(too_many, 0)]


def _worth(pod: Pod) -> tuple[Any, ...]:
    phases = {"Pending": 0, "Unknown": 1, "Running": 2}
    made = pod.metadata.creation_timestamp
    return (
        bool(pod.spec.node_name),
        phases.get(pod.status.phase, 0),
        is_ready(pod),
        -made.timestamp() if made is not None else 0.0,
        pod.metadata.name,
    )


def ended(pod: Pod, now: datetime) -> datetime:
    """When a pod came to its end, as well as can be told."""
    states = (one.state for one in pod.status.container_statuses)
    times = [one.terminated.finished_at for one in states if one is not None and one.terminated is not None]
    known = [one for one in times if one is not None]
    if known:
        return max(known)
    ready = condition(pod, "Ready")
    if ready is not None and ready.last_transition_time is not None:
        return ready.last_transition_time
    return pod.metadata.deletion_timestamp or pod.metadata.creation_timestamp or now


def _left(failures: int, last: datetime, now: datetime) -> float:
    """Seconds to wait after so many failures: twice as long after each."""
    if not failures:
        return 0.0
    wait = min(_FIRST_WAIT * 2 ** min(failures - 1, 10), _LAST_WAIT)
    return max((last + timedelta(seconds=wait) - now).total_seconds(), 0.0)


def delay(tally: Tally, now: datetime) -> float:
    """Seconds until pods may be made again: the failures since the last success count."""
    good = [ended(pod, now) for pod in tally.pods if pod.status.phase == "Succeeded"]
    bad = [
        ended(pod, now)
        for pod in tally.pods
        if _counted(tally.job, pod) and verdict(tally.job, pod).action != "Ignore"
    ]
    since = max(good, default=None)
    recent = [one for one in bad if since is None or one > since]
    return _left(len(recent), max(recent, default=now), now)


def _counted(job: Job, pod: Pod) -> bool:
    """Whether a pod's end was a failure, and not the job's own wish."""
    wished = pod.metadata.deletion_timestamp is not None and not is_tracked(pod)
    return has_failed(job, pod) and not wished


def _plain(tally: Tally, missing: int, now: datetime) -> Plan:
    wait = delay(tally, now)
    if wait:
        return Plan(again=wait)
    names = _names(tally.job, f"{tally.job.metadata.name}-", _taken(tally), _over_before(tally))
    return Plan(create=[new_pod(tally.job, None, name) for name in islice(names, min(missing, BURST))])


def _indexed(tally: Tally, missing: int, now: datetime) -> Plan:
    """The lowest indexes first; with a limit per index each index waits for itself only."""
    job, found = tally.job, Plan()
    per_index = job.spec.backoff_limit_per_index is not None
    wait = 0.0 if per_index else delay(tally, now)
    if wait:
        return Plan(again=wait)
    busy = {index_of(pod) for pod in tally.active}
    if waits_for_end(job):
        busy |= {index_of(pod) for pod in tally.terminating}
    waits, taken = [], _taken(tally)
    for index in range(job.spec.completions or 0):
        if index in tally.indexes or index in tally.failed_indexes or index in busy:
            continue
        last = tally.last_failed.get(index)
        wait = _left(failures_of(last) + 1, ended(last, now), now) if last is not None else 0.0
        if wait:
            waits.append(wait)
        elif len(found.create) < min(missing, BURST):
            name = next(_names(job, f"{job.metadata.name}-{index}-", taken))
            found.create.append(new_pod(job, index, name, last))
    found.again = min(waits, default=None)
    return found


def _names(job: Job, prefix: str, taken: frozenset[str], first: int = 0) -> Iterator[str]:
    """Names of new pods: the n-th of a job has the n-th name, but for those that are ``taken`` by pods that are seen.

    A pod whose making was never answered is so asked for again under its name, and is there. Under another name it would be
    one too many, and its end would count as a failure of the job.
    """
    names = (prefix[:58] + suffix(job, prefix, number) for number in count(first))
    return (name for name in names if name not in taken)


def _taken(tally: Tally) -> frozenset[str]:
    return frozenset(pod.metadata.name for pod in tally.pods)


def _over_before(tally: Tally) -> int:
    """How many pods came to their end whose names need not be looked at: those that are gone, and all but the newest."""
    over = len(tally.pods) - len(tally.active)
    return max(tally.succeeded + tally.failed - min(over, BURST), 0)


def new_pod(job: Job, index: int | None, name: str, last: Pod | None = None) -> Pod:
    """A pod that bears the tracking finalizer; of an index, with its number in name, label, annotation, environment."""
    prefix = f"{job.metadata.name}-" if index is None else f"{job.metadata.name}-{index}-"
    pod = pod_of(job, job.spec.template, name, prefix)
    pod = replace(pod, metadata=replace(pod.metadata, finalizers=(*pod.metadata.finalizers, FINALIZER)))
    if index is None:
        return pod
    notes = {INDEX: str(index)}
    if job.spec.backoff_limit_per_index is not None:
        ignored = last is not None and verdict(job, last).action == "Ignore"
        notes[FAILURES] = str(failures_of(last) + (not ignored) if last is not None else 0)
        if ignored or (last is not None and ignored_of(last)):
            notes[IGNORED] = str(ignored_of(last) + ignored if last is not None else 0)
    pod = labelled(pod, labels={INDEX: str(index)}, annotations=notes)
    return with_spec(
        pod,
        hostname=f"{job.metadata.name}-{index}",
        containers=tuple(map(_knowing, pod.spec.containers)),
        init_containers=tuple(map(_knowing, pod.spec.init_containers)),
    )


def _knowing(container: Container) -> Container:
    if any(one.name == _ENVIRONMENT for one in container.env):
        return container
    where = ObjectFieldSelector(field_path=f"metadata.labels['{INDEX}']")
    return replace(
        container,
        env=(*container.env, EnvVar(name=_ENVIRONMENT, value_from=EnvVarSource(field_ref=where))),
    )
