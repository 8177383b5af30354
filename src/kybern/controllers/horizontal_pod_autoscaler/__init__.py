"""Scale what has a size so that its metrics come to their targets.

Reads HorizontalPodAutoscaler, Pod, the target's scale, the APIs of metrics. Writes the target's scale,
HorizontalPodAutoscaler.status.

Of several metrics the one that asks for most counts; one that cannot be had forbids shrinking, none that can be had
forbids everything. An autoscaler is looked at once a period whatever happens, as upstream does: a target that has just
been scaled must not be judged by the metrics from before. What was recommended and done in the last minutes is kept in
memory, for stabilisation and rates; a new leader starts with the size that it finds.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from kybern.api.autoscaling_v1 import Scale
from kybern.api.autoscaling_v2 import HorizontalPodAutoscaler
from kybern.api.core_v1 import Pod
from kybern.controllers.horizontal_pod_autoscaler.behaviour import Moment
from kybern.controllers.horizontal_pod_autoscaler.decide import Decision, Given, decide, failed
from kybern.controllers.horizontal_pod_autoscaler.replicas import Target, Tolerance
from kybern.controllers.horizontal_pod_autoscaler.sources import Failed, Found, Scope, measured
from kybern.loop.controller import Action, Again, Controller, Failure, Key, Rescale, View
from kybern.loop.settings import Settings
from kybern.machinery.errors import BadRequest
from kybern.machinery.quantity import parse
from kybern.machinery.selectors import parse_labels

# No window and no period is longer than an hour: the API server refuses more.
_REMEMBERED = timedelta(hours=1)


@dataclass(slots=True)
class Memory:
    """What is remembered of one autoscaler."""

    uid: str
    at: datetime | None = None
    generation: int | None = None
    recommended: tuple[Moment, ...] = ()
    changes: tuple[Moment, ...] = ()
    reason: str = ""

    def is_early(self, found: HorizontalPodAutoscaler, now: datetime, period: float) -> float:
        """Seconds until this autoscaler is to be looked at again."""
        if self.at is None or self.generation != found.metadata.generation:
            return 0.0
        left = period - (now - self.at).total_seconds()
        return left if left > 0.5 else 0.0


@dataclass(frozen=True, slots=True)
class State:
    """Either a while to wait, and what the last attempt to scale failed by; or a decision."""

    found: HorizontalPodAutoscaler
    now: datetime
    decision: Decision | None = None
    wait: float = 0.0
    failure: Failure | None = None
    reason: str = ""


@dataclass(slots=True)
class Autoscaler:
    """The loop's two halves, and the memory between their rounds."""

    settings: Settings
    memory: dict[Key, Memory] = field(default_factory=dict)

    def observe(self, view: View, key: Key) -> State | None:
        found = view.get(HorizontalPodAutoscaler, *key)
        if found is None:
            self.memory.pop(key, None)
            return None
        memory = self.memory.get(key)
        if memory is None or memory.uid != found.metadata.uid:
            memory = self.memory[key] = Memory(found.metadata.uid)
        failure = view.failure
        if failure is not None and isinstance(failure.action, Rescale):
            # It never came to be.
            memory.changes = tuple(one for one in memory.changes if one.at != memory.at)
            return State(
                found, view.now, wait=self.settings.autoscaler_period, failure=failure, reason=memory.reason
            )
        left = memory.is_early(found, view.now, self.settings.autoscaler_period)
        if left:
            return State(found, view.now, wait=left)
        return self._decided(view, found, memory)

    def _decided(self, view: View, found: HorizontalPodAutoscaler, memory: Memory) -> State:
        ref = found.spec.scale_target_ref
        scale = view.scale(ref.api_version, ref.kind, found.metadata.namespace, ref.name)
        if memory.at is None and isinstance(scale, Scale):
            # Nothing is known of before: the size that is there was recommended by somebody.
            memory.recommended = (Moment(view.now, scale.spec.replicas or 0),)
        given = Given(found, scale, view.now, memory.recommended, memory.changes)
        if isinstance(scale, Scale) and given.is_measured:
            given = self._measured(view, given, scale)
        decision = decide(given, self.settings.autoscaler_downscale_window)
        # From here on nothing is asked any more: this is the round that counts.
        self._remember(memory, found, decision, view.now)
        return State(found, view.now, decision)

    def _measured(self, view: View, given: Given, scale: Scale) -> Given:
        found, selector = given.found, scale.status.selector
        try:
            wanted = parse_labels(selector)
        except BadRequest as problem:
            text = f"couldn't convert selector into a corresponding internal selector object: {problem}"
            return replace(given, unselectable=text)
        pods = tuple(
            pod for pod in view.list(Pod, found.metadata.namespace) if wanted.matches(pod.metadata.labels)
        )
        settings = self.settings
        target = Target(
            scale.spec.replicas or 0,
            pods,
            view.now,
            tolerance(found, settings.autoscaler_tolerance),
            settings.autoscaler_cpu_period,
            settings.autoscaler_readiness_delay,
        )
        scope = Scope(view, found.metadata.namespace, selector, target, scale.status.replicas or 0)
        results: tuple[Found | Failed, ...] = tuple(measured(scope, one) for one in found.spec.metrics)
        return replace(given, results=results)

    def _remember(
        self, memory: Memory, found: HorizontalPodAutoscaler, decision: Decision, now: datetime
    ) -> None:
        kept = tuple(one for one in memory.recommended if one.at > now - _REMEMBERED)
        if decision.recommended is not None:
            kept = (*kept, Moment(now, decision.recommended))
        memory.recommended = kept
        memory.changes = tuple(one for one in memory.changes if one.at > now - _REMEMBERED)
        if decision.replicas is not None and decision.current is not None:
            memory.changes = (*memory.changes, Moment(now, decision.replicas - decision.current))
        memory.at, memory.generation, memory.reason = now, found.metadata.generation, decision.reason

    def diff(self, state: State) -> Iterable[Action]:
        if state.decision is not None:
            yield from state.decision.actions
            yield Again(self.settings.autoscaler_period)
            return
        if state.failure is not None:
            yield from failed(state.found, state.failure, state.reason, state.now)
        yield Again(state.wait)


def tolerance(found: HorizontalPodAutoscaler, default: float) -> Tolerance:
    """Each direction may have its own."""
    behaviour = found.spec.behavior
    down = (
        behaviour.scale_down.tolerance if behaviour is not None and behaviour.scale_down is not None else ""
    )
    up = behaviour.scale_up.tolerance if behaviour is not None and behaviour.scale_up is not None else ""
    return Tolerance(
        parse(down).milli() / 1000 if down else default, parse(up).milli() / 1000 if up else default
    )


def controller(settings: Settings) -> Controller[State]:
    made = Autoscaler(settings)
    return Controller(
        "horizontal-pod-autoscaler-controller",
        HorizontalPodAutoscaler,
        made.observe,
        made.diff,
        watches=((Pod, lambda _pod, _view: ()),),
        component="horizontal-pod-autoscaler",
    )
