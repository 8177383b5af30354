"""Upstream's flags and its KubeletConfiguration (``config_file``), read into ``Settings``.

A flag on the command line wins over the file and its drop-ins; feature gates are joined, the flag's over the file's. A flag
whose part does not exist here is an error unless it asks for nothing, just as its field.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from kybern.api.core_v1 import Taint
from kybern.daemon import shared_flags
from kybern.daemon.flags import Values
from kybern.daemon.run import Fatal
from kybern.kubelet import checks, config_file, gates, swap, sysctls
from kybern.kubelet.cpus import ledger
from kybern.kubelet.cpus import options as cpus
from kybern.kubelet.eviction.signals import DEFAULT, Lines, checked
from kybern.kubelet.eviction.signals import thresholds as lines_of
from kybern.kubelet.keys import FIELDS, FLAGS, ONLY
from kybern.kubelet.memory import reservation
from kybern.kubelet.settings import Settings
from kybern.kubelet.shutdown import groups as shutdown
from kybern.kubelet.topology import options as topology
from kybern.machinery.quantity import QuantityError, parse

_RESERVABLE = ("cpu", "memory", "ephemeral-storage", "pid")


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
    contents = config_file.read(values["config"], values["config-dir"])
    found: dict[str, Any] = {**contents.found, "past": {**contents.past, **_past(values)}}
    found["gates"] = _satisfied({**found.get("gates", {}), **_gates(values)})
    found |= {name: values[flag] for flag, name in FLAGS.items() if values.given(flag)}
    settings = Settings(**found)
    try:
        checks.check(settings)
    except ValueError as problem:
        raise Fatal(f"invalid configuration: {problem}") from problem
    settings = _merged(_with_reserved_cpus(settings))
    try:
        sysctls.allowed(settings.unsafe_sysctls)
    except ValueError as problem:
        raise Fatal(f"cannot allow unsafe sysctls: {problem}") from problem
    if settings.authorization not in ("AlwaysAllow", "Webhook"):
        raise Fatal(f'authorization mode "{settings.authorization}" is none of AlwaysAllow, Webhook')
    if settings.authorization == "Webhook" and not (settings.kubeconfig or settings.bootstrap_kubeconfig):
        raise Fatal("authorization mode Webhook needs an API server: give --kubeconfig")
    return settings


def _past(values: Values) -> dict[str, Any]:
    """Flags of fields that have no effect here; raises Fatal for those that ask for what is not here."""
    found = {}
    for flag, key in FIELDS.items():
        if not values.given(flag):
            continue
        if key not in ONLY:
            found[key] = values[flag]
            continue
        try:
            config_file.refuse(key, values[flag])
        except ValueError as problem:
            raise Fatal(f"cannot use --{flag}: {problem}") from problem
    return found


def _gates(values: Values) -> Mapping[str, bool]:
    try:
        return gates.checked(values["feature-gates"])
    except ValueError as problem:
        raise Fatal(f"cannot use --feature-gates: {problem}") from problem


def _satisfied(found: Mapping[str, bool]) -> Mapping[str, bool]:
    try:
        shared_flags.satisfied(found)
    except ValueError as problem:
        raise Fatal(f"cannot use the feature gates: {problem}") from problem
    return found


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
        cpus.check(settings.cpu_policy, settings.topology_policy, settings.cpu_options, settings.gates)
    except ValueError as problem:
        raise Fatal(f"cannot give CPUs to pods: {problem}") from problem
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
