"""From what the metrics ask for to what may be done at once: stabilisation, rates, bounds; pure. The rules are upstream's.

Recommendations and changes of the last minutes are remembered: a recommendation to shrink counts only when it is the
highest of its window, one to grow when it is the lowest; a policy bounds the change over its period.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from kybern.api.autoscaling_v2 import HorizontalPodAutoscalerBehavior, HPAScalingRules

_WORDS: Mapping[str, str] = {
    "ScaleUpStabilized": "recent recommendations were lower than current one, applying the lowest recent recommendation",
    "ScaleDownStabilized": "recent recommendations were higher than current one, applying the highest recent recommendation",
    "ReadyForNewScale": "recommended size matches current size",
    "ScaleUpLimit": "the desired replica count is increasing faster than the maximum scale rate",
    "ScaleDownLimit": "the desired replica count is decreasing faster than the maximum scale rate",
    "TooManyReplicas": "the desired replica count is more than the maximum replica count",
    "TooFewReplicas": "the desired replica count is less than the minimum replica count",
    "DesiredWithinRange": "the desired count is within the acceptable range",
}


@dataclass(frozen=True, slots=True)
class Moment:
    """A number at a time: a recommendation, or by how many replicas the target grew (shrank, when negative)."""

    at: datetime
    count: int


@dataclass(frozen=True, slots=True)
class Asked:
    """What is known when a size is asked for; ``window`` in seconds is that of shrinking where nothing else is said."""

    current: int
    desired: int
    least: int
    most: int
    now: datetime
    recommended: tuple[Moment, ...] = ()
    changes: tuple[Moment, ...] = ()
    window: float = 300.0


@dataclass(frozen=True, slots=True)
class Allowed:
    """The size that may be, and why: reasons of the conditions AbleToScale and ScalingLimited."""

    replicas: int
    able: str
    limited: bool
    limit: str

    @property
    def able_message(self) -> str:
        return _WORDS[self.able]

    @property
    def limit_message(self) -> str:
        return _WORDS[self.limit]


def allowed(asked: Asked, behaviour: HorizontalPodAutoscalerBehavior | None) -> Allowed:
    up = (behaviour.scale_up if behaviour is not None else None) or HPAScalingRules()
    down = (behaviour.scale_down if behaviour is not None else None) or HPAScalingRules()
    if behaviour is None:
        stable = max((asked.desired, *_within(asked.recommended, asked.now, asked.window)))
        able = "ScaleDownStabilized"
        replicas, limit = _bounded(asked, stable)
    else:
        stable, able = _stabilised(asked, up, down)
        replicas, limit = _rated(asked, stable, up, down)
    if stable == asked.desired:
        able = "ReadyForNewScale"
    return Allowed(replicas, able, replicas != stable, limit)


def _within(moments: Iterable[Moment], now: datetime, seconds: float) -> list[int]:
    cutoff = now - timedelta(seconds=seconds)
    return [one.count for one in moments if one.at > cutoff]


def _stabilised(asked: Asked, up: HPAScalingRules, down: HPAScalingRules) -> tuple[int, str]:
    up_window = up.stabilization_window_seconds or 0
    down_window = down.stabilization_window_seconds
    shrink = asked.window if down_window is None else down_window
    lowest = min((asked.desired, *_within(asked.recommended, asked.now, up_window)))
    highest = max((asked.desired, *_within(asked.recommended, asked.now, shrink)))
    stable = min(max(asked.current, lowest), highest)
    return stable, "ScaleUpStabilized" if asked.desired >= asked.current else "ScaleDownStabilized"


def _bounded(asked: Asked, desired: int) -> tuple[int, str]:
    """Without a behaviour: at most twice as many at once, or four."""
    fastest = max(2 * asked.current, 4)
    if desired < asked.least:
        return asked.least, "TooFewReplicas"
    most = min(fastest, asked.most)
    if desired > most:
        return most, "ScaleUpLimit" if asked.most > fastest else "TooManyReplicas"
    return desired, "DesiredWithinRange"


def _rated(asked: Asked, desired: int, up: HPAScalingRules, down: HPAScalingRules) -> tuple[int, str]:
    if desired > asked.current:
        fastest = max(grown(asked, up), asked.current)
        most = min(fastest, asked.most)
        if desired > most:
            return most, "ScaleUpLimit" if asked.most > fastest else "TooManyReplicas"
    elif desired < asked.current:
        slowest = min(shrunk(asked, down), asked.current)
        least = max(slowest, asked.least)
        if desired < least:
            return least, "ScaleDownLimit" if asked.least < slowest else "TooFewReplicas"
    return desired, "DesiredWithinRange"


def grown(asked: Asked, rules: HPAScalingRules) -> int:
    """As many as the policies let it grow to by now."""
    pick: Callable[[Iterable[int]], int] = min if rules.select_policy == "Min" else max
    found = []
    for policy in rules.policies:
        start, value = _start(asked, policy.period_seconds or 0), policy.value or 0
        # Rounded up: a share of few would else be none for ever.
        share = math.ceil(start * (1 + value / 100)) if policy.type == "Percent" else start + value
        found.append(share)
    return asked.current if rules.select_policy == "Disabled" else pick(found or [asked.most])


def shrunk(asked: Asked, rules: HPAScalingRules) -> int:
    """As few as the policies let it shrink to by now."""
    pick: Callable[[Iterable[int]], int] = max if rules.select_policy == "Min" else min
    found = []
    for policy in rules.policies:
        start, value = _start(asked, policy.period_seconds or 0), policy.value or 0
        found.append(int(start * (1 - value / 100)) if policy.type == "Percent" else start - value)
    return asked.current if rules.select_policy == "Disabled" else pick(found or [asked.least])


def _start(asked: Asked, seconds: int) -> int:
    """How many there were when the period began."""
    return asked.current - sum(_within(asked.changes, asked.now, seconds))
