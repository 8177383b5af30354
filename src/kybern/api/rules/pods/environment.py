"""The environment of a container, and references to fields of its pod."""

import re
from collections.abc import Callable, Iterator

from kybern.api.rules.causes import all_invalid, invalid, not_supported, required
from kybern.api.rules.formats import (
    data_key,
    environment_name,
    qualified_name,
    subdomain,
)
from kybern.api.rules.paths import below_and_free
from kybern.machinery.errors import Cause
from kybern.machinery.kind import Raw

_IN_ENVIRONMENT = (
    "metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName",
    "status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs",
)  # fmt: skip
_IN_VOLUMES = (
    "metadata.annotations",
    "metadata.labels",
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
)
_CONVERTIBLE = {
    *_IN_ENVIRONMENT, *_IN_VOLUMES, "spec.restartPolicy", "spec.schedulerName", "spec.hostNetwork",
    "status.phase", "status.nominatedNodeName",
}  # fmt: skip
_RESOURCES = (
    "limits.cpu", "limits.ephemeral-storage", "limits.memory",
    "requests.cpu", "requests.ephemeral-storage", "requests.memory",
)  # fmt: skip
_CPU_DIVISORS = ("1m", "1")
_DIVISORS = ("1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei")
_SUBSCRIPTED = re.compile(r"(metadata\.(?:annotations|labels))\['(.*)'\]")
_SOURCES = (
    "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"
)


def field_of_pod(field: str, raw: Raw, known: tuple[str, ...]) -> Iterator[Cause]:
    if not raw.get("apiVersion"):
        yield required(f"{field}.apiVersion")
    path = raw.get("fieldPath", "")
    if not path:
        yield required(f"{field}.fieldPath")
        return
    at = f"{field}.fieldPath"
    subscripted = _SUBSCRIPTED.fullmatch(path)
    if subscripted:
        check = qualified_name if subscripted[1].endswith("labels") else _annotation
        yield from all_invalid(at, path, check(subscripted[2]))
    elif path not in _CONVERTIBLE:
        yield invalid(at, path, f"error converting fieldPath: field label not supported: {path}")
    elif path not in known:
        yield not_supported(at, path, known)


def _annotation(key: str) -> tuple[str, ...]:
    return qualified_name(key.lower())


def resource_of_container(field: str, raw: Raw, *, in_volume: bool) -> Iterator[Cause]:
    resource = raw.get("resource", "")
    if in_volume and not raw.get("containerName"):
        yield required(f"{field}.containerName")
    elif not resource:
        yield required(f"{field}.resource")
    elif resource not in _RESOURCES and not resource.startswith(("limits.hugepages-", "requests.hugepages-")):
        yield not_supported(f"{field}.resource", resource, _RESOURCES)
    divisor = raw.get("divisor", "0")
    known = _CPU_DIVISORS if resource.endswith(".cpu") else _DIVISORS
    if resource and divisor not in ("0", *known):
        yield not_supported(f"{field}.divisor", divisor, known)


def environment_field(field: str, raw: Raw) -> Iterator[Cause]:
    return field_of_pod(field, raw, _IN_ENVIRONMENT)


def volume_field(field: str, raw: Raw) -> Iterator[Cause]:
    return field_of_pod(field, raw, _IN_VOLUMES)


def _environment_resource(field: str, raw: Raw) -> Iterator[Cause]:
    return resource_of_container(field, raw, in_volume=False)


def _key_of(field: str, raw: Raw) -> Iterator[Cause]:
    name, key = raw.get("name", ""), raw.get("key", "")
    yield from all_invalid(f"{field}.name", name, subdomain(name))
    if not key:
        yield required(f"{field}.key")
    else:
        yield from all_invalid(f"{field}.key", key, data_key(key))


def _file_key(field: str, raw: Raw) -> Iterator[Cause]:
    for key in ("key", "volumeName", "path"):
        if not raw.get(key):
            yield required(f"{field}.{key}")
    yield from below_and_free(f"{field}.path", raw.get("path", ""))


_FROM: dict[str, Callable[[str, Raw], Iterator[Cause]]] = {
    "fieldRef": environment_field,
    "resourceFieldRef": _environment_resource,
    "configMapKeyRef": _key_of,
    "secretKeyRef": _key_of,
    "fileKeyRef": _file_key,
}


def _value_from(field: str, variable: Raw) -> Iterator[Cause]:
    source = variable["valueFrom"]
    found = [kind for kind in _FROM if source.get(kind) is not None]
    for kind in found:
        yield from _FROM[kind](f"{field}.{kind}", source[kind])
    if not found:
        yield invalid(field, "", _SOURCES)
    elif variable.get("value"):
        yield invalid(field, "", "may not be specified when `value` is not empty")
    elif len(found) > 1:
        yield invalid(field, "", "may not have more than one field specified at a time")


def variables(field: str, found: list[Raw]) -> Iterator[Cause]:
    for i, variable in enumerate(found):
        name = variable.get("name", "")
        if not name:
            yield required(f"{field}[{i}].name")
        else:
            yield from all_invalid(f"{field}[{i}].name", name, environment_name(name))
        if variable.get("valueFrom") is not None:
            yield from _value_from(f"{field}[{i}].valueFrom", variable)


def sources(field: str, found: list[Raw]) -> Iterator[Cause]:
    """Whole config maps and secrets as an environment."""
    for i, source in enumerate(found):
        at, prefix = f"{field}[{i}]", source.get("prefix", "")
        if prefix:
            yield from all_invalid(f"{at}.prefix", prefix, environment_name(prefix))
        kinds = [kind for kind in ("configMapRef", "secretRef") if source.get(kind) is not None]
        for kind in kinds:
            name = source[kind].get("name", "")
            if not name:
                yield required(f"{at}.{kind}.name")
            else:
                yield from all_invalid(f"{at}.{kind}.name", name, subdomain(name))
        if not kinds:
            yield invalid(at, "", "must specify one of: `configMapRef` or `secretRef`")
        elif len(kinds) > 1:
            yield invalid(at, "", "may not have more than one field specified at a time")
