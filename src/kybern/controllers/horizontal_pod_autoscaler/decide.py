"""What an autoscaler does and says, once all metrics are known or known to be missing; pure.

no scale ──> AbleToScale False          zero replicas ──> ScalingActive False: somebody switched it off
outside of its bounds ──> the bound     else: metrics, stabilisation, rates ──> the size, or why there is none
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from kybern.api.autoscaling_v1 import Scale
from kybern.api.autoscaling_v2 import (
    HorizontalPodAutoscaler,
    HorizontalPodAutoscalerCondition,
    HorizontalPodAutoscalerStatus,
    MetricStatus,
)
from kybern.controllers.horizontal_pod_autoscaler.behaviour import Asked, Moment, allowed
from kybern.controllers.horizontal_pod_autoscaler.sources import Failed, Found
from kybern.loop.controller import Action, Emit, Failure, PatchStatus, Rescale
from kybern.machinery.struct import replace

type Conditions = tuple[HorizontalPodAutoscalerCondition, ...]

_GOT = "the HPA controller was able to get the target's current scale"


@dataclass(frozen=True, slots=True)
class Given:
    """An autoscaler, its target's scale (None or a text when there is none), and the results of its metrics in order."""

    found: HorizontalPodAutoscaler
    scale: Scale | str | None
    now: datetime
    recommended: tuple[Moment, ...] = ()
    changes: tuple[Moment, ...] = ()
    results: tuple[Found | Failed, ...] = ()
    unselectable: str = ""

    @property
    def least(self) -> int:
        return 1 if self.found.spec.min_replicas is None else self.found.spec.min_replicas

    @property
    def is_measured(self) -> bool:
        """Whether the metrics decide: the target is switched on, within its bounds, and says which pods it has."""
        if not isinstance(self.scale, Scale):
            return False
        count = self.scale.spec.replicas or 0
        within = self.least <= count <= (self.found.spec.max_replicas or 0)
        return within and bool(self.scale.status.selector)


@dataclass(frozen=True, slots=True)
class Decision:
    """Actions, and what is to be remembered: the size found, the one recommended, the one set (None: none)."""

    actions: tuple[Action, ...]
    current: int | None = None
    recommended: int | None = None
    replicas: int | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class _Size:
    """What the metrics come to; ``why`` when a rescale follows."""

    replicas: int
    recommended: int | None
    why: str
    conditions: Conditions
    statuses: tuple[MetricStatus, ...] = ()


def with_condition(
    conditions: Conditions, now: datetime, type_: str, status: bool, reason: str, message: str
) -> Conditions:
    """One set, in its place or at the end; its time moves only when its status does."""
    old = next((one for one in conditions if one.type == type_), None)
    said = str(status)
    since = old.last_transition_time if old is not None and old.status == said else now.replace(microsecond=0)
    fresh = HorizontalPodAutoscalerCondition(
        type=type_, status=said, reason=reason, message=message, last_transition_time=since
    )
    if old is None:
        return (*conditions, fresh)
    return tuple(fresh if one is old else one for one in conditions)


def decide(given: Given, window: float) -> Decision:
    found, now, scale = given.found, given.now, given.scale
    conditions = found.status.conditions
    if not isinstance(scale, Scale):
        return _unscalable(found, scale, now)
    conditions = with_condition(conditions, now, "AbleToScale", True, "SucceededGetScale", _GOT)
    current = scale.spec.replicas or 0
    if not given.least <= current <= (found.spec.max_replicas or 0):
        return _outside(given, scale, conditions, current)
    problem = _no_selector(given, scale, conditions) or _invalid(given, conditions, current)
    if problem is not None:
        return problem
    size = _sized(given, current, conditions, window)
    if size.replicas != current:
        return _scaled(given, scale, size)
    return _kept(given, size.conditions, current, size.replicas, size.recommended, size.statuses)


def _outside(given: Given, scale: Scale, conditions: Conditions, current: int) -> Decision:
    """Without a look at metrics: nothing was wanted, or too much, or too little."""
    most = given.found.spec.max_replicas or 0
    if current == 0:
        text = "scaling is disabled since the replica count of the target is zero"
        conditions = with_condition(conditions, given.now, "ScalingActive", False, "ScalingDisabled", text)
        return _kept(given, conditions, current, 0)
    bound, why = (
        (most, "above Spec.MaxReplicas") if current > most else (given.least, "below Spec.MinReplicas")
    )
    return _scaled(given, scale, _Size(bound, None, f"Current number of replicas {why}", conditions))


def _written(found: HorizontalPodAutoscaler, conditions: Conditions, **status: object) -> tuple[Action, ...]:
    fresh: HorizontalPodAutoscalerStatus = replace(found.status, conditions=conditions, **status)
    return (PatchStatus(found, replace(found, status=fresh)),) if fresh != found.status else ()


def _unscalable(found: HorizontalPodAutoscaler, why: str | None, now: datetime) -> Decision:
    ref = found.spec.scale_target_ref
    group = ref.api_version.rpartition("/")[0]
    plural = f"{ref.kind.lower()}s.{group}" if group else f"{ref.kind.lower()}s"
    text = why if why is not None else f'{plural} "{ref.name}" not found'
    message = f"the HPA controller was unable to get the target's current scale: {text}"
    conditions = with_condition(found.status.conditions, now, "AbleToScale", False, "FailedGetScale", message)
    return Decision((Emit(found, "Warning", "FailedGetScale", text), *_written(found, conditions)))


def _no_selector(given: Given, scale: Scale, conditions: Conditions) -> Decision | None:
    if scale.status.selector and not given.unselectable:
        return None
    text = given.unselectable or "selector is required"
    message = given.unselectable or "the HPA target's scale is missing a selector"
    event = "InvalidSelector" if given.unselectable else "SelectorRequired"
    conditions = with_condition(conditions, given.now, "ScalingActive", False, "InvalidSelector", message)
    return _hopeless(given, conditions, scale.spec.replicas or 0, [(event, text)], text)


def _hopeless(
    given: Given, conditions: Conditions, current: int, events: list[tuple[str, str]], text: str
) -> Decision:
    """Nothing can be decided: say why, and keep the size."""
    found = given.found
    said = (Emit(found, "Warning", reason, message) for reason, message in events)
    written = _written(found, conditions, current_replicas=current)
    last = Emit(found, "Warning", "FailedComputeMetricsReplicas", text)
    return Decision((*said, *written, last), current)


def _highest(results: Iterable[Found | Failed]) -> Found | None:
    """The first of those that ask for most."""
    return max((one for one in results if isinstance(one, Found)), key=lambda one: one.replicas, default=None)


def _invalid(given: Given, conditions: Conditions, current: int) -> Decision | None:
    """No metric at all, or one too few to be sure that shrinking does no harm."""
    wrong = [one for one in given.results if isinstance(one, Failed)]
    best = _highest(given.results)
    if not wrong or (best is not None and best.replicas >= current):
        return None
    message = f"the HPA was unable to compute the replica count: {wrong[0].inner}"
    conditions = with_condition(conditions, given.now, "ScalingActive", False, wrong[0].reason, message)
    text = (
        f"invalid metrics ({len(wrong)} invalid out of {len(given.results)}), first error is: {wrong[0].text}"
    )
    return _hopeless(given, conditions, current, [(one.reason, one.inner) for one in wrong], text)


def _sized(given: Given, current: int, conditions: Conditions, window: float) -> _Size:
    now, found = given.now, given.found
    best = _highest(given.results)
    desired, name = (best.replicas, best.name) if best is not None else (0, "")
    text = f"the HPA was able to successfully calculate a replica count from {name}"
    conditions = with_condition(conditions, now, "ScalingActive", True, "ValidMetricFound", text)
    asked = Asked(
        current,
        desired,
        given.least,
        found.spec.max_replicas or 0,
        now,
        given.recommended,
        given.changes,
        window,
    )
    result = allowed(asked, found.spec.behavior)
    conditions = with_condition(conditions, now, "AbleToScale", True, result.able, result.able_message)
    conditions = with_condition(
        conditions, now, "ScalingLimited", result.limited, result.limit, result.limit_message
    )
    why = (
        f"{name} above target"
        if desired > current
        else "All metrics below target"
        if desired < current
        else ""
    )
    statuses = tuple(one.status if isinstance(one, Found) else MetricStatus() for one in given.results)
    return _Size(result.replicas, desired, why, conditions, statuses)


def _kept(
    given: Given,
    conditions: Conditions,
    current: int,
    desired: int,
    recommended: int | None = None,
    statuses: tuple[MetricStatus, ...] = (),
) -> Decision:
    written = _written(
        given.found, conditions, current_replicas=current, desired_replicas=desired, current_metrics=statuses
    )
    said = tuple(
        Emit(given.found, "Warning", one.reason, one.inner)
        for one in given.results
        if isinstance(one, Failed)
    )
    return Decision((*said, *written), current, recommended)


def _scaled(given: Given, scale: Scale, size: _Size) -> Decision:
    found, ref = given.found, given.found.spec.scale_target_ref
    current, count = scale.spec.replicas or 0, size.replicas
    text = f"the HPA controller was able to update the target scale to {count}"
    conditions = with_condition(size.conditions, given.now, "AbleToScale", True, "SucceededRescale", text)
    written = _written(
        found,
        conditions,
        current_replicas=current,
        desired_replicas=count,
        current_metrics=size.statuses,
        last_scale_time=given.now.replace(microsecond=0),
    )
    done = Emit(found, "Normal", "SuccessfulRescale", f"New size: {count}; reason: {size.why}")
    rescale = Rescale(ref.api_version, ref.kind, scale, count)
    return Decision((rescale, done, *written), current, size.recommended, count, size.why)


def failed(found: HorizontalPodAutoscaler, failure: Failure, why: str, now: datetime) -> Iterable[Action]:
    """What is said of a size that could not be written."""
    if not isinstance(failure.action, Rescale):
        return
    text = f"New size: {failure.action.replicas}; reason: {why}; error: {failure.error}"
    yield Emit(found, "Warning", "FailedRescale", text)
    message = f"the HPA controller was unable to update the target scale: {failure.error}"
    conditions = with_condition(
        found.status.conditions, now, "AbleToScale", False, "FailedUpdateScale", message
    )
    yield from _written(found, conditions, current_replicas=failure.action.scale.spec.replicas or 0)
