"""The ``profiles`` of a KubeSchedulerConfiguration: which plugins are on where, in which order, with which arguments. Pure.

The rules are upstream's (apis/config/v1: mergePlugins; framework/runtime: expandMultiPointPlugins). What a profile lists
under multiPoint is merged into the default plugins: one that is listed again stays in its place and takes the new weight,
others come last. At each extension point, those of multiPoint that are listed there too come first, in the order told there;
then the rest of multiPoint; then what is listed there only.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from kybern.machinery.causes import duplicate, invalid, required, wrong_type
from kybern.machinery.errors import Cause
from kybern.scheduler.arguments import API_VERSION, Arguments
from kybern.scheduler.framework import BadArgs, Plugin
from kybern.scheduler.plugins import PLUGINS
from kybern.scheduler.profile import DEFAULT_NAME, POINTS, Profile, extends
from kybern.scheduler.registry import EXTENDS, REMOVED

MULTI = "multiPoint"
FIT = "NodeResourcesFit"
EVERY = "*"


@dataclass(frozen=True, slots=True)
class Listed:
    """A plugin as a profile lists it; ``weight`` 0 is for none told."""

    name: str
    weight: int = 0


@dataclass(frozen=True, slots=True)
class PluginSet:
    enabled: tuple[Listed, ...] = ()
    disabled: frozenset[str] = frozenset()


DEFAULTS = PluginSet(tuple(Listed(one.name, one.weight) for one in PLUGINS))


def read(
    listed: Sequence[Arguments], known: Mapping[str, Plugin], percentage: int, ignored: frozenset[str]
) -> dict[str, Profile]:
    """The profiles by scheduler name; what is wrong is told to the Arguments that it stands in.

    ``percentage`` is that of profiles that name none. ``ignored`` resources are not for NodeResourcesFit.
    """
    found: dict[str, Profile] = {}
    places: dict[str, str] = {}
    sorts: list[PluginSet] = []
    for given in listed:
        profile = _profile(given, known, percentage, ignored, sorts)
        if profile.name in found:
            place = f"{places[profile.name]}"
            given.wrong(Cause(given.at("schedulerName"), "FieldValueDuplicate", f"Duplicate value: {place}"))
        found.setdefault(profile.name, profile)
        places.setdefault(profile.name, given.path)
        if sorts[0] != sorts[-1]:
            told = [one.name for one in sorts[-1].enabled]
            given.wrong(invalid(given.at("plugins.queueSort"), told, "must be the same for all profiles"))
    return found


def _profile(
    given: Arguments,
    known: Mapping[str, Plugin],
    percentage: int,
    ignored: frozenset[str],
    sorts: list[PluginSet],
) -> Profile:
    name = given.text("schedulerName", DEFAULT_NAME)
    if not name:
        given.wrong(required(given.at("schedulerName")))
    own = percentage_of(given, percentage)
    plugins = _configured(given, known, ignored)
    sets = _sets(given.child("plugins"), plugins)
    sorts.append(sets["queueSort"])
    multi = merged(DEFAULTS, sets[MULTI])
    try:
        at = {point: _at(point, sets[point], multi, plugins) for point in POINTS}
    except BadArgs as problem:
        given.wrong(*problem.causes)
        at = dict.fromkeys(POINTS, ())
    else:
        given.wrong(*_incomplete(given, name, at))
    return Profile(name, MappingProxyType(at), _weights(sets["score"], multi), own)


def percentage_of(given: Arguments, default: int = 0) -> int:
    found = given.integer("percentageOfNodesToScore", default)
    if not 0 <= found <= 100:
        given.wrong(invalid(given.at("percentageOfNodesToScore"), found, "not in valid range [0-100]"))
    return found


def merged(defaults: PluginSet, own: PluginSet) -> PluginSet:
    """What a profile lists, merged into what holds without it."""
    disabled = own.disabled | defaults.disabled
    again = {one.name: one for one in own.enabled}
    kept = [
        again.get(one.name, one)
        for one in defaults.enabled
        if EVERY not in disabled and one.name not in disabled
    ]
    replaced = {one.name for one in kept} & again.keys()
    return PluginSet((*kept, *(one for one in own.enabled if one.name not in replaced)), disabled)


def ordered(point: PluginSet, multi: Iterable[str]) -> list[str]:
    """The names at one point; ``multi`` are those of multiPoint that take part. Raises BadArgs for one listed twice."""
    listed = [one.name for one in point.enabled]
    everywhere = [name for name in multi if EVERY not in point.disabled and name not in point.disabled]
    for names in (listed, [name for name in everywhere if name not in listed]):
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise BadArgs(Cause("", "FieldValueDuplicate", f'plugin "{twice[0]}" already registered'))
    first = [name for name in listed if name in everywhere]
    return [
        *first,
        *(name for name in everywhere if name not in listed),
        *(name for name in listed if name not in first),
    ]


def _at(point: str, own: PluginSet, multi: PluginSet, plugins: Mapping[str, Plugin]) -> tuple[Plugin, ...]:
    everywhere = [
        one.name for one in multi.enabled if one.name in plugins and extends(plugins[one.name], point)
    ]
    return tuple(
        plugins[name]
        for name in ordered(own, everywhere)
        if name in plugins and extends(plugins[name], point)
    )


def _sets(given: Arguments, plugins: Mapping[str, Plugin]) -> dict[str, PluginSet]:
    return {point: _set(given, point, plugins) for point in (MULTI, *POINTS)}


def _set(given: Arguments, point: str, plugins: Mapping[str, Plugin]) -> PluginSet:
    here = given.child(point)
    on = []
    for one in here.children("enabled"):
        listed = Listed(one.text("name"), one.integer("weight"))
        one.wrong(*_misplaced(one.path, point, listed.name, plugins))
        on.append(listed)
    off = []
    for one in here.children("disabled"):
        one.accept("weight")
        off.append(one.text("name"))
    return PluginSet(tuple(on), frozenset(off))


def _misplaced(path: str, point: str, name: str, plugins: Mapping[str, Plugin]) -> Iterable[Cause]:
    kind = f"{point[0].upper()}{point[1:]}Plugin"
    if name in REMOVED:
        yield invalid(path, name, _removed())
    elif name not in plugins and name not in EXTENDS:
        yield Cause(path, "FieldValueNotFound", f'{kind} "{name}" does not exist')
    elif (
        point != MULTI
        and point not in EXTENDS.get(name, ())
        and not (name in plugins and extends(plugins[name], point))
    ):
        yield Cause(path, "FieldValueInvalid", f'plugin "{name}" does not extend {kind} plugin')


def _removed() -> str:
    return f'was invalid in version "{API_VERSION}" (KubeSchedulerConfiguration is version "{API_VERSION}")'


def _configured(given: Arguments, known: Mapping[str, Plugin], ignored: frozenset[str]) -> dict[str, Plugin]:
    """The plugins, made of the arguments that ``pluginConfig`` gives them."""
    found = dict(known)
    args = _args(given, known)
    if ignored and FIT in found:
        path, own = args.get(FIT, (given.at("pluginConfig"), {}))
        args[FIT] = (
            path,
            {**own, "ignoredResources": [*(own.get("ignoredResources") or ()), *sorted(ignored)]},
        )
    for name, (path, own) in args.items():
        if name in found and own:
            try:
                found[name] = _made(found[name], own, path)
            except BadArgs as problem:
                given.wrong(*problem.causes)
    return found


def _args(given: Arguments, known: Mapping[str, Plugin]) -> dict[str, tuple[str, Mapping[str, Any]]]:
    """By name, with the path that they have in the file."""
    found: dict[str, tuple[str, Mapping[str, Any]]] = {}
    for one in given.children("pluginConfig"):
        name, own = one.text("name"), one.raw("args") or {}
        if name in REMOVED:
            one.wrong(invalid(one.path, name, _removed()))
        elif name not in known and name not in EXTENDS:
            one.wrong(Cause(one.path, "FieldValueNotFound", f'plugin "{name}" does not exist'))
        if name in found:
            one.wrong(duplicate(one.path, name))
        if not isinstance(own, Mapping):
            one.wrong(wrong_type(one.at("args"), own, "must be an object"))
            own = {}
        found[name] = one.at("args"), own
    return found


def _made(plugin: Plugin, args: Mapping[str, Any], path: str) -> Plugin:
    if plugin.configure is not None:
        return plugin.configure(args, path)
    given = Arguments(args, path, f"{plugin.name}Args")
    given.check()
    return plugin


def _incomplete(given: Arguments, name: str, at: Mapping[str, Sequence[Plugin]]) -> Iterable[Cause]:
    sorts = len(at["queueSort"])
    if sorts != 1:
        told = (
            f'only one queue sort plugin required for profile with scheduler name "{name}", but got {sorts}'
        )
        yield Cause(given.at("plugins.queueSort"), "FieldValueInvalid", told)
    if not at["bind"]:
        told = f'at least one bind plugin is needed for profile with scheduler name "{name}"'
        yield Cause(given.at("plugins.bind"), "FieldValueRequired", told)


def _weights(score: PluginSet, multi: PluginSet) -> Mapping[str, int]:
    """The weight told with the score wins; none, or 0, is 1."""
    return MappingProxyType({one.name: one.weight or 1 for one in (*multi.enabled, *score.enabled)})
