"""Upstream's flags and its KubeletConfiguration file (v1beta1), read into ``Settings``.

An unknown key is an error that names it (design decision 1). A flag on the command line wins over the file. Keys of
upstream's file that only tune it are read past (``TUNING``); one whose part does not exist here (``ONLY``) is an error
unless it asks for nothing.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import yaml

from kybern.api.core_v1 import Taint
from kybern.daemon.flags import Values, duration
from kybern.daemon.run import Fatal
from kybern.kubelet import swap, sysctls
from kybern.kubelet.cpus import ledger
from kybern.kubelet.eviction.signals import DEFAULT, Lines, checked
from kybern.kubelet.eviction.signals import thresholds as lines_of
from kybern.kubelet.keys import FLAGS, KEYS, ONLY, TUNING
from kybern.kubelet.memory import reservation
from kybern.kubelet.settings import Settings
from kybern.kubelet.shutdown import groups as shutdown
from kybern.kubelet.shutdown.groups import Period
from kybern.kubelet.topology import options as topology
from kybern.machinery.quantity import QuantityError, parse

_RESERVABLE = ("cpu", "memory", "ephemeral-storage", "pid")
API_VERSION = "kubelet.config.k8s.io/v1beta1"

# Keys that hold further keys of ours.
_NESTED = frozenset(
    key.rsplit(".", depth)[0] for key in (*KEYS, *TUNING) for depth in (1, 2) if key.count(".") >= depth
)


def taint(text: str) -> Taint:
    """``KEY[=VALUE]:EFFECT``; raises ValueError."""
    left, sign, effect = text.rpartition(":")
    if not sign or effect not in ("NoSchedule", "PreferNoSchedule", "NoExecute"):
        raise ValueError(f"invalid taint spec: {text}")
    key, _, value = left.partition("=")
    return Taint(key=key, value=value, effect=effect)


def thresholds(text: str) -> Mapping[str, str]:
    """``memory.available<100Mi,...``; raises ValueError."""
    found = {}
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        signal, sign, value = part.partition("<")
        if not sign:
            raise ValueError(f'"{part}" is no eviction threshold such as memory.available<100Mi')
        checked(signal, value)
        found[signal] = value
    return found


def read(values: Values) -> Settings:
    """The settings of a command line and of the file that it names. Raises Fatal with one line for the operator."""
    found: dict[str, Any] = {}
    if values["config"]:
        found |= _file(Path(values["config"]))
    found |= {name: values[flag] for flag, name in FLAGS.items() if values.given(flag)}
    settings = _merged(_with_reserved_cpus(Settings(**found)))
    try:
        sysctls.allowed(settings.unsafe_sysctls)
    except ValueError as problem:
        raise Fatal(f"cannot allow unsafe sysctls: {problem}") from problem
    if settings.authorization not in ("AlwaysAllow", "Webhook"):
        raise Fatal(f'authorization mode "{settings.authorization}" is none of AlwaysAllow, Webhook')
    if settings.authorization == "Webhook" and not (settings.kubeconfig or settings.bootstrap_kubeconfig):
        raise Fatal("authorization mode Webhook needs an API server: give --kubeconfig")
    return settings


def _with_reserved_cpus(settings: Settings) -> Settings:
    """CPUs that are named count as reserved, whatever the amounts say. Raises Fatal."""
    if settings.cpu_policy not in ("none", "static"):
        raise Fatal(f'cpu manager policy "{settings.cpu_policy}" is none of none, static')
    if not settings.reserved_cpus:
        return settings
    try:
        count = len(ledger.parse(settings.reserved_cpus))
    except ValueError as problem:
        raise Fatal(f'cannot reserve CPUs "{settings.reserved_cpus}": {problem}') from problem
    others = {name: text for name, text in settings.kube_reserved.items() if name != "cpu"}
    system = {**settings.system_reserved, "cpu": str(count)}
    return replace(settings, kube_reserved=others, system_reserved=system)


def reserved_cpus(settings: Settings) -> int:
    """How many CPUs are reserved, rounded up to whole ones."""
    amounts = (settings.kube_reserved, settings.system_reserved)
    return -(-sum(parse(one["cpu"]).milli() for one in amounts if "cpu" in one) // 1000)


def _merged(settings: Settings) -> Settings:
    """With upstream's own thresholds, where they are to stand beside those that were given. Raises Fatal."""
    hard = settings.eviction_hard
    if settings.eviction_merge:
        hard = {**DEFAULT, **hard}
    settings = replace(settings, eviction_hard=hard)
    _consistent(settings)
    try:
        reservation.check(settings.memory_policy)
        swap.check(settings.swap_behavior)
    except ValueError as problem:
        raise Fatal(f"cannot share out memory: {problem}") from problem
    try:
        topology.check(settings.topology_policy, settings.topology_scope, settings.topology_options)
    except ValueError as problem:
        raise Fatal(f"cannot align pods: {problem}") from problem
    try:
        shutdown.check(settings.shutdown_period, settings.shutdown_critical, settings.shutdown_by_priority)
    except ValueError as problem:
        raise Fatal(f"cannot wait for a shutdown: {problem}") from problem
    try:
        lines_of(lines(settings))
    except ValueError as problem:
        raise Fatal(f"cannot use the eviction thresholds: {problem}") from problem
    return settings


def _consistent(settings: Settings) -> None:
    """What no single field shows. Raises Fatal."""
    for reserved in (settings.kube_reserved, settings.system_reserved):
        for name, text in reserved.items():
            if name not in _RESERVABLE:
                raise Fatal(f'cannot reserve "{name}" resource')
            _positive(name, text)
    if settings.serialize_pulls and settings.parallel_pulls > 1:
        raise Fatal(
            "cannot pull several images at once (maxParallelImagePulls) while serializeImagePulls is true"
        )
    if settings.cpu_policy == "static" and reserved_cpus(settings) == 0:
        raise Fatal(
            "the static policy requires systemreserved.cpu + kubereserved.cpu to be greater than zero"
        )
    if settings.log_max_files <= 1:
        raise Fatal(f"containerLogMaxFiles must be greater than 1: {settings.log_max_files}")
    strange = [name for name in settings.enforce if name not in ("pods", "none")]
    if strange:
        raise Fatal(
            f"cannot enforce node allocatable for {', '.join(strange)}: only pods and none are supported"
        )


def _positive(name: str, text: str) -> None:
    try:
        amount = parse(text)
    except QuantityError as problem:
        raise Fatal(f'cannot reserve {text} of "{name}": {problem}') from problem
    if amount.sign() < 0:
        raise Fatal(f'resource quantity for "{name}" cannot be negative: {text}')


def lines(settings: Settings) -> Lines:
    """What was configured of eviction."""
    return Lines(
        settings.eviction_hard,
        settings.eviction_soft,
        settings.eviction_grace,
        settings.eviction_minimum,
        "pods" in settings.enforce,
    )


def _file(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError) as problem:
        reason = problem.strerror if isinstance(problem, OSError) else "not YAML"
        raise Fatal(f"cannot read {path}: {reason}") from problem
    if not isinstance(content, Mapping):
        raise Fatal(f"cannot read {path}: it holds no settings")
    head = (content.get("apiVersion"), content.get("kind"))
    if head != (API_VERSION, "KubeletConfiguration"):
        raise Fatal(f"cannot use {path}: it is {head[0]} {head[1]}, not {API_VERSION} KubeletConfiguration")
    found: dict[str, Any] = {}
    for key, value in _flat(content, ""):
        if _counts(path, key, value):
            found[KEYS[key]] = _converted(path, key, value)
    return found


def _counts(path: Path, key: str, value: Any) -> bool:
    """Whether a field is one of ours, and set. Raises Fatal for what is unknown, or asks for what does not exist."""
    if key in ("apiVersion", "kind", *TUNING):
        return False
    if key in ONLY:
        if value not in ONLY[key] and value not in (None, "", [], {}):
            raise Fatal(f'cannot use {path}: field "{key}" is not supported with {json.dumps(value)}')
        return False
    if key not in KEYS:
        raise Fatal(f'cannot use {path}: unknown field "{key}"')
    return value is not None


def _flat(content: Mapping[str, Any], prefix: str) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for name, value in content.items():
        key = f"{prefix}{name}"
        if key in _NESTED and isinstance(value, Mapping):
            found += _flat(value, f"{key}.")
        elif key not in _NESTED or value is not None:
            found.append((key, value))
    return found


_TYPES = {each.name: each.type for each in fields(Settings)}


def _converted(path: Path, key: str, value: Any) -> Any:
    name = KEYS[key]
    try:
        return _READ.get(name, _plain(_TYPES[name]))(value)
    except (TypeError, ValueError, AttributeError) as problem:
        raise Fatal(f'cannot use {path}: invalid value "{value}" for field "{key}": {problem}') from problem


def _plain(of: Any) -> Callable[[Any], Any]:
    def check(value: Any) -> Any:
        if of is float:
            return duration(str(value))
        if of in (bool, int, str) and type(value) is not of:
            raise ValueError(f"want {of.__name__}")
        return value

    return check


def _taints(value: Any) -> tuple[Taint, ...]:
    return tuple(
        Taint(key=raw["key"], value=raw.get("value") or "", effect=raw["effect"]) for raw in value or ()
    )


def _limits(value: Any) -> Mapping[str, str]:
    return thresholds(",".join(f"{signal}<{text}" for signal, text in value.items()))


def _texts(value: Any) -> Mapping[str, str]:
    return {str(name): str(text) for name, text in value.items()}


def _durations(value: Any) -> Mapping[str, float]:
    return {str(name): duration(str(text)) for name, text in value.items()}


def _periods(value: Any) -> tuple[Period, ...]:
    return tuple(
        Period(_whole(raw.get("priority")), _whole(raw.get("shutdownGracePeriodSeconds")))
        for raw in value or ()
    )


def _whole(value: Any) -> int:
    if value is not None and type(value) is not int:
        raise ValueError(f"{value} is no whole number")
    return value or 0


_READ: Mapping[str, Callable[[Any], Any]] = {
    "reserved_memory": reservation.from_file,
    "topology_options": _texts,
    "shutdown_by_priority": _periods,
    "eviction_soft": _limits,
    "eviction_grace": _durations,
    "eviction_minimum": _texts,
    "taints": _taints,
    "eviction_hard": _limits,
    "kube_reserved": _texts,
    "system_reserved": _texts,
    "cluster_dns": tuple,
    "enforce": tuple,
    "unsafe_sysctls": tuple,
}
