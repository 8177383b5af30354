"""Measure attempts: extension points of each, single plugins of some.

A plugin is measured by another one of the same name, whose hooks note what those of the first take. A profile of such
plugins is used for one attempt in SAMPLE, so that all others pay nothing (upstream: pluginMetricsSamplePercent). A filter or
a score speaks of all nodes at once; upstream measures these node by node.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from itertools import cycle
from time import perf_counter
from typing import Any

from kybern.scheduler import plain
from kybern.scheduler.framework import Plugin, Refusal, Scope, Verdict, no_filter, no_score
from kybern.scheduler.metrics import EVALUATIONS, PLUGINS, POINTS
from kybern.scheduler.profile import Profile
from kybern.scheduler.timing import ERROR, HOPELESS, SKIPPED, SUCCESS, UNSCHEDULABLE, WAITS

SAMPLE = 10

type Status = Callable[[Any], str]


class Stopwatch:
    """Of one attempt."""

    __slots__ = ("_began", "_last", "_profile")

    def __init__(self, profile: str) -> None:
        self._profile = profile
        self._began = self._last = perf_counter()

    def taken(self) -> float:
        return perf_counter() - self._began

    def start(self) -> None:
        self._last = perf_counter()

    def passed(self, point: str, status: str = SUCCESS) -> None:
        now = perf_counter()
        POINTS.of(point, status, self._profile).observe(now - self._last)
        self._last = now

    def asked(self, point: str, plugins: tuple[str, ...]) -> None:
        EVALUATIONS[plugins, point, self._profile] += 1


class Sampled:
    """Profiles by name; now and then one that measures its plugins."""

    def __init__(self, profiles: Mapping[str, Profile]) -> None:
        self._turns = {
            name: cycle((measuring(profile), *[profile] * (SAMPLE - 1))) for name, profile in profiles.items()
        }

    def next(self, name: str) -> Profile:
        return next(self._turns[name])


def measuring(profile: Profile) -> Profile:
    """The same profile, with plugins that are measured."""
    made = {one.name: _measured(one) for one in profile.plugins}
    at = {point: tuple(made[one.name] for one in listed) for point, listed in profile.at.items()}
    return replace(profile, at=at)


def _measured(plugin: Plugin) -> Plugin:
    name = plugin.name
    hooks: dict[str, Any] = {
        hook: _noting(name, point, status, getattr(plugin, hook))
        for hook, (point, status) in _SYNC.items()
        if getattr(plugin, hook) is not None
    }
    hooks |= {
        hook: _noting_later(name, point, status, getattr(plugin, hook))
        for hook, (point, status) in _ASYNC.items()
        if getattr(plugin, hook) is not None
    }
    if plugin.pre_filter is not None:
        hooks["pre_filter"] = _scoping(name, hooks["pre_filter"])
    if plugin.pre_score is not None:
        hooks["pre_score"] = _scoring(name, hooks["pre_score"])
    if plugin.filter is not None or plugin.refuse is not None:
        hooks["filter"] = _filtering(name, plugin.filter or partial(plain.filtered, plugin.refuse))  # type: ignore[arg-type]  # one of the two is there
    return replace(plugin, **hooks)


def _noting(name: str, point: str, status: Status, hook: Callable[..., Any]) -> Callable[..., Any]:
    def measured(*given: Any) -> Any:
        began = perf_counter()
        found = hook(*given)
        PLUGINS.of(name, point, status(found)).observe(perf_counter() - began)
        return found

    return measured


def _noting_later(
    name: str, point: str, status: Status, hook: Callable[..., Awaitable[Any]]
) -> Callable[..., Awaitable[Any]]:
    async def measured(*given: Any) -> Any:
        began = perf_counter()
        found = await hook(*given)
        PLUGINS.of(name, point, status(found)).observe(perf_counter() - began)
        return found

    return measured


def _filtering(name: str, hook: Callable[..., Iterable[Refusal]]) -> Callable[..., Any]:
    """All refusals are asked for here: a filter may work them out one by one."""
    return _noting(name, "Filter", _of_refusals, lambda *given: tuple(hook(*given)))


def _scoping(name: str, hook: Callable[..., Scope | None]) -> Callable[..., Scope | None]:
    """A filter that stands in for the plugin's own is measured like that one."""

    def measured(*given: Any) -> Scope | None:
        scope = hook(*given)
        if scope is None or scope.filter in (None, no_filter):
            return scope
        return replace(scope, filter=_filtering(name, scope.filter))

    return measured


def _scoring(name: str, hook: Callable[..., Any]) -> Callable[..., Any]:
    def measured(*given: Any) -> Any:
        score = hook(*given)
        return score if score in (None, no_score) else _noting(name, "Score", _fine, score)

    return measured


def _fine(_found: object) -> str:
    return SUCCESS


def _of_refusals(found: tuple[Refusal, ...]) -> str:
    return UNSCHEDULABLE if found else SUCCESS


def _of_scope(found: Scope | None) -> str:
    if found is not None and found.reason:
        return HOPELESS
    return SKIPPED if found is not None and found.filter is no_filter else SUCCESS


def _of_score(found: object) -> str:
    return SKIPPED if found is no_score else SUCCESS


def _of_relief(found: Any) -> str:
    return SUCCESS if found.node else UNSCHEDULABLE


def _of_reason(found: str) -> str:
    return UNSCHEDULABLE if found else SUCCESS


def _of_verdict(found: Verdict | None) -> str:
    if found is None:
        return SUCCESS
    return UNSCHEDULABLE if found.reason else WAITS


def _of_binding(found: str | None) -> str:
    if found is None:
        return SKIPPED
    return ERROR if found else SUCCESS


_SYNC: Mapping[str, tuple[str, Status]] = {
    "pre_filter": ("PreFilter", _of_scope),
    "pre_score": ("PreScore", _of_score),
    "score": ("Score", _fine),
    "normalize": ("ScoreExtensionNormalize", _fine),
    "reserve": ("Reserve", _of_reason),
    "unreserve": ("Unreserve", _fine),
    "permit": ("Permit", _of_verdict),
    "post_bind": ("PostBind", _fine),
}
_ASYNC: Mapping[str, tuple[str, Status]] = {
    "post_filter": ("PostFilter", _of_relief),
    "pre_bind": ("PreBind", _of_binding),
    "bind": ("Bind", _of_binding),
}
