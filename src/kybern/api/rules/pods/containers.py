"""The containers of a pod: regular, init and ephemeral ones."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from kybern.api.rules import amounts
from kybern.api.rules.causes import (
    all_invalid,
    duplicate,
    forbidden,
    in_range,
    invalid,
    not_found,
    not_supported,
    one_of,
    required,
)
from kybern.api.rules.formats import label, port_name
from kybern.api.rules.pods import environment, handlers, mounts, security
from kybern.api.rules.ports import PROTOCOLS
from kybern.machinery.errors import Cause
from kybern.machinery.kind import Raw

_MESSAGES = ("File", "FallbackToLogsOnError")
_RESIZED = ("cpu", "memory")
_RESTARTS = ("NotRequired", "RestartContainer")
_POLICIES = ("Always", "Never", "OnFailure")
_SIDECARS_ONLY = "may not be set for init containers without restartPolicy=Always"
_HANDLERS = ("lifecycle", "livenessProbe", "readinessProbe", "startupProbe")
_NOT_EPHEMERAL = (
    "ports", "livenessProbe", "readinessProbe", "startupProbe", "resources", "lifecycle", "resizePolicy",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a container's rules need to know of its pod."""

    spec: Raw
    volumes: Mapping[str, Raw]
    claims: frozenset[str]

    @property
    def grace(self) -> int | None:
        found = self.spec.get("terminationGracePeriodSeconds")
        return int(found) if found is not None else None


def _ports(field: str, found: list[Raw]) -> Iterator[Cause]:
    names: set[str] = set()
    for i, port in enumerate(found):
        at, name, number = f"{field}[{i}]", port.get("name", ""), port.get("containerPort", 0)
        if name:
            complaints = port_name(name)
            yield from all_invalid(f"{at}.name", name, complaints)
            if not complaints and name in names:
                yield duplicate(f"{at}.name", name)
            names.add(name)
        if not number:
            yield required(f"{at}.containerPort")
        else:
            yield from in_range(f"{at}.containerPort", number, 1, 65535)
        if port.get("hostPort"):
            yield from in_range(f"{at}.hostPort", port["hostPort"], 1, 65535)
        if not port.get("protocol"):
            yield required(f"{at}.protocol")
        elif port["protocol"] not in PROTOCOLS:
            yield not_supported(f"{at}.protocol", port["protocol"], sorted(PROTOCOLS))


def _name_and_image(field: str, raw: Raw) -> Iterator[Cause]:
    name = raw.get("name", "")
    if not name:
        yield required(f"{field}.name")
    else:
        yield from all_invalid(f"{field}.name", name, label(name))
    if not raw.get("image"):
        yield required(f"{field}.image")


def _resize(field: str, found: list[Raw]) -> Iterator[Cause]:
    seen: set[str] = set()
    for policy in found:
        resource, restart = policy.get("resourceName", ""), policy.get("restartPolicy", "")
        if resource in seen:
            yield duplicate(field, resource)
        seen.add(resource)
        if not resource:
            yield required(field)
        elif resource not in _RESIZED:
            yield not_supported(field, resource, _RESIZED)
        if not restart:
            yield required(field)
        elif restart not in _RESTARTS:
            yield not_supported(field, restart, _RESTARTS)


def _every(field: str, raw: Raw, around: Surroundings) -> Iterator[Cause]:
    """What holds for all containers."""
    yield from _name_and_image(field, raw)
    yield from one_of(f"{field}.terminationMessagePolicy", raw.get("terminationMessagePolicy"), _MESSAGES)
    yield from _ports(f"{field}.ports", raw.get("ports") or [])
    yield from environment.variables(f"{field}.env", raw.get("env") or [])
    yield from environment.sources(f"{field}.envFrom", raw.get("envFrom") or [])
    if raw.get("volumeMounts"):
        yield from mounts.mounts(f"{field}.volumeMounts", raw, around.volumes)
    if raw.get("volumeDevices"):
        yield from mounts.devices(f"{field}.volumeDevices", raw, around.volumes)
    yield from handlers.pull_policy(f"{field}.imagePullPolicy", raw.get("imagePullPolicy"))
    if raw.get("resources"):
        yield from amounts.requirements(f"{field}.resources", raw["resources"], around.claims)
    yield from _resize(f"{field}.resizePolicy", raw.get("resizePolicy") or [])
    if raw.get("securityContext"):
        yield from security.container(f"{field}.securityContext", raw["securityContext"], around.spec)


def _host_ports(field: str, found: list[Raw]) -> Iterator[Cause]:
    seen: set[str] = set()
    for i, raw in enumerate(found):
        for j, port in enumerate(raw.get("ports") or ()):
            if not port.get("hostPort"):
                continue
            taken = f"{port.get('protocol', '')}/{port.get('hostIP', '')}/{port['hostPort']}"
            if taken in seen:
                yield duplicate(f"{field}[{i}].ports[{j}].hostPort", taken)
            seen.add(taken)


def _running(field: str, raw: Raw, around: Surroundings) -> Iterator[Cause]:
    yield from handlers.lifecycle(f"{field}.lifecycle", raw.get("lifecycle"), around.grace)
    yield from handlers.probes(field, raw, around.grace)


def regular(field: str, found: list[Raw], around: Surroundings) -> Iterator[Cause]:
    if not found:
        yield required(field)
        return
    names: set[str] = set()
    for i, raw in enumerate(found):
        at = f"{field}[{i}]"
        yield from _every(at, raw, around)
        if raw.get("name") in names:
            yield duplicate(f"{at}.name", raw["name"])
        elif raw.get("name"):
            names.add(raw["name"])
        yield from _running(at, raw, around)
        if raw.get("restartPolicy") is not None:
            yield from one_of(f"{at}.restartPolicy", raw["restartPolicy"], _POLICIES)
    yield from _host_ports(field, found)


def init(field: str, found: list[Raw], around: Surroundings) -> Iterator[Cause]:
    names = {raw.get("name") for raw in around.spec.get("containers") or ()}
    for i, raw in enumerate(found):
        at = f"{field}[{i}]"
        yield from _every(at, raw, around)
        if raw.get("restartPolicy") is not None:
            yield from one_of(f"{at}.restartPolicy", raw["restartPolicy"], _POLICIES)
        if raw.get("name") in names:
            yield duplicate(f"{at}.name", raw["name"])
        elif raw.get("name"):
            names.add(raw["name"])
        yield from _host_ports(field, [raw])
        if raw.get("restartPolicy") == "Always":
            yield from _running(at, raw, around)
            continue
        for key in _HANDLERS:
            if raw.get(key) is not None:
                yield forbidden(f"{at}.{key}", _SIDECARS_ONLY)


def ephemeral(field: str, found: list[Raw], around: Surroundings) -> Iterator[Cause]:
    """Containers for looking into a running pod: they have no ports, probes or resources of their own."""
    kinds = ("containers", "initContainers")
    others = {raw.get("name") for kind in kinds for raw in around.spec.get(kind) or ()}
    names: set[str] = set()
    for i, raw in enumerate(found):
        at, name = f"{field}[{i}]", raw.get("name", "")
        yield from _every(at, raw, around)
        if name and name in others | names:
            yield duplicate(f"{at}.name", name)
        names.add(name)
        target = raw.get("targetContainerName")
        if target and target not in others:
            yield not_found(f"{at}.targetContainerName", target)
        yield from _bare(at, raw)


def _bare(field: str, raw: Raw) -> Iterator[Cause]:
    for key in _NOT_EPHEMERAL:
        # an empty handler is one, while a container without resources has an empty set of them
        if raw.get(key) or (key in _HANDLERS and raw.get(key) is not None):
            yield forbidden(f"{field}.{key}", "cannot be set for an Ephemeral Container")
    for j, mount in enumerate(raw.get("volumeMounts") or ()):
        for key in ("subPath", "subPathExpr"):
            if mount.get(key):
                yield forbidden(
                    f"{field}.volumeMounts[{j}].{key}", "cannot be set for an Ephemeral Container"
                )


def trimmed(field: str, found: list[Raw]) -> Iterator[Cause]:
    """Only pods are held to this; templates with such images exist."""
    for i, raw in enumerate(found):
        image = raw.get("image", "")
        if image != image.strip():
            yield invalid(f"{field}[{i}].image", image, "must not have leading or trailing whitespace")
