"""In-place resize: which resources a pod was granted, whether others can be granted, and what must be done for it. Pure.

KEP-1287. Three states of a container's resources are told apart: what is wanted (the spec, changed through /resize), what
is granted (``allocated``: everything on the node runs and counts by it), and what a running container got (``actuated``).
A wish that the node can never fulfil is Infeasible, one that has to wait for room is Deferred; until then all stays as
granted. While granted and actuated differ the resize is in progress.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from kybern.api.core_v1 import Container, Pod, PodCondition, ResourceRequirements
from kybern.kubelet.labels import is_static
from kybern.kubelet.resources import amount, limits, request_of, requests
from kybern.machinery.quantity import parse
from kybern.machinery.struct import encode, replace

PENDING, IN_PROGRESS = "PodResizePending", "PodResizeInProgress"
NAMES = ("cpu", "memory")
WHOLE = ""
"""The name under which the pod's own resources are kept, beside those of its containers."""
_NONE = ResourceRequirements()

type Resources = Mapping[str, ResourceRequirements]


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a wish is not granted: Infeasible or Deferred."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Progress:
    """What the conditions say. ``generation`` is the pod's when the resize was granted; ``error`` the last failure."""

    generation: int | None = None
    error: str = ""
    pending: Refusal | None = None
    pending_generation: int | None = None

    @property
    def waits(self) -> bool:
        """Whether room on the node would help."""
        return self.pending is not None and self.pending.reason == "Deferred"


def resources_of(pod: Pod) -> dict[str, ResourceRequirements]:
    """Of all containers by name, and of the pod itself under the empty name."""
    found = {c.name: c.resources or ResourceRequirements() for c in _every(pod)}
    if pod.spec.resources is not None:
        found[WHOLE] = pod.spec.resources
    return found


def _every(pod: Pod) -> tuple[Container, ...]:
    return (*pod.spec.init_containers, *pod.spec.containers)


def with_resources(pod: Pod, granted: Resources) -> Pod:
    """The pod as if it asked for what it was granted."""
    if not differ(pod, granted):
        return pod

    def each(containers: tuple[Container, ...]) -> tuple[Container, ...]:
        return tuple(replace(c, resources=granted.get(c.name, c.resources)) for c in containers)

    spec = replace(
        pod.spec,
        containers=each(pod.spec.containers),
        init_containers=each(pod.spec.init_containers),
        # One that never had any of its own was granted none.
        resources=granted.get(WHOLE),
    )
    return replace(pod, spec=spec)


def same(one: ResourceRequirements, other: ResourceRequirements) -> bool:
    """Whether both say the same amounts, however they spell them."""
    return _amounts(one.limits) == _amounts(other.limits) and _amounts(one.requests) == _amounts(
        other.requests
    )


def _amounts(found: Mapping[str, str]) -> dict[str, int]:
    return {name: parse(text).nano for name, text in found.items()}


def differ(pod: Pod, granted: Resources) -> bool:
    """Whether the pod wants something else than it was granted."""
    wanted = resources_of(pod)
    if not same(wanted.get(WHOLE, _NONE), granted.get(WHOLE, _NONE)):
        return True
    return any(name in granted and not same(wanted[name], granted[name]) for name in wanted)


def changes(before: Resources, fresh: Resources) -> dict[str, ResourceRequirements]:
    """What containers had that get something else now, by name; those too whose limits are the pod's (KEP-2837).

    With it, what the pod as a whole had, where that is what changed.
    """
    then, now = before.get(WHOLE, _NONE), fresh.get(WHOLE, _NONE)
    found = {
        name: had
        for name, had in before.items()
        if name != WHOLE
        and name in fresh
        and (not same(had, fresh[name]) or _differs(_given(had, then), _given(fresh[name], now)))
    }
    return found if same(then, now) else {**found, WHOLE: then}


def refusal(pod: Pod, others: Iterable[Pod], allocatable: Mapping[str, str]) -> Refusal | None:
    """Why what the pod wants cannot be granted beside what the others were granted."""
    if is_static(pod):
        return Refusal("Infeasible", "In-place resize of static-pods is not supported")
    most = {name: amount(allocatable, name).milli() for name in NAMES}
    wanted = {name: request_of(pod, name) for name in NAMES}
    for name in reversed(NAMES):
        if wanted[name] > most[name]:
            text = f"{name}, requested: {_unit(name, wanted[name])}, capacity: {_unit(name, most[name])}"
            return Refusal("Infeasible", f"Node didn't have enough capacity: {text}")
    rest = tuple(others)
    for name in NAMES:
        used = sum(request_of(other, name) for other in rest)
        if wanted[name] and wanted[name] + used > most[name]:
            numbers = (_unit(name, value) for value in (wanted[name], used, most[name]))
            text = "{}, requested: {}, used: {}, capacity: {}".format(name, *numbers)
            return Refusal("Deferred", f"Node didn't have enough resource: {text}")
    return None


def _unit(name: str, milli: int) -> int:
    return milli if name == "cpu" else milli // 1000


def needs(
    container: Container,
    actuated: ResourceRequirements,
    whole: ResourceRequirements | None = None,
    whole_actuated: ResourceRequirements | None = None,
) -> str:
    """What a running container needs to have what was granted: nothing (empty), "update" or "restart".

    ``whole`` is the pod's own, which limits containers without a limit.
    """
    now = _given(container.resources or _NONE, whole or _NONE)
    changed = _differs(_given(actuated, whole_actuated or whole or _NONE), now)
    policies = {policy.resource_name: policy.restart_policy for policy in container.resize_policy}
    if any(policies.get(name) == "RestartContainer" for name in changed):
        return "restart"
    return "update" if changed else ""


type _Given = Mapping[str, tuple[int, int]]


def _given(own: ResourceRequirements, whole: ResourceRequirements) -> _Given:
    """The limit and the request that the kernel is told of, by the name of the resource."""
    most, asked = {**whole.limits, **own.limits}, {**own.limits, **own.requests}
    return {name: (amount(most, name).nano, amount(asked, name).nano) for name in NAMES}


def _differs(one: _Given, other: _Given) -> list[str]:
    return [name for name in NAMES if one[name] != other[name]]


def decreases_first(containers: Iterable[Container], actuated: Resources) -> list[Container]:
    """The order in which running containers are updated: what is given back may be what another one gets."""

    def grows(container: Container) -> int:
        before = actuated.get(container.name, ResourceRequirements())
        now, then = amount(limits(container), "memory"), amount(before.limits, "memory")
        cpu_now = amount(requests(container), "cpu")
        cpu_then = amount({**before.limits, **before.requests}, "cpu")
        return (now > then) + (cpu_now > cpu_then)

    return sorted(containers, key=grows)


def conditions(progress: Progress) -> Iterator[PodCondition]:
    """What is told of it; nothing when all is as wanted."""
    if progress.pending is not None:
        yield PodCondition(
            type=PENDING, status="True", reason=progress.pending.reason, message=progress.pending.message,
            observed_generation=progress.pending_generation,
        )  # fmt: skip
    if progress.generation is not None:
        yield PodCondition(
            type=IN_PROGRESS, status="True", reason="Error" if progress.error else "", message=progress.error,
            observed_generation=progress.generation,
        )  # fmt: skip


def told(what: str, pod: Pod, error: str = "") -> str:
    """The text of an event: upstream's, with the resources as JSON."""

    def each(containers: tuple[Container, ...]) -> list[object]:
        return [{"name": c.name, "resources": _plain(c)} for c in containers]

    found: dict[str, object] = {}
    if pod.spec.init_containers:
        found["initContainers"] = each(pod.spec.init_containers)
    found["containers"] = each(pod.spec.containers)
    found["generation"] = pod.metadata.generation or 0
    if error:
        found["error"] = error
    return f"Pod resize {what}: {json.dumps(found, separators=(',', ':'))}"


def _plain(container: Container) -> object:
    whole: dict[str, dict[str, str]] = json.loads(encode(container.resources or ResourceRequirements()))
    return {kind: dict(sorted(whole[kind].items())) for kind in ("limits", "requests") if whole.get(kind)}
