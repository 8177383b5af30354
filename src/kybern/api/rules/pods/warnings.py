"""What works but should not be written any more, or does not mean what it seems to: texts for Warning headers."""

from collections.abc import Iterator, Mapping
from typing import Any

from kybern.api.rules.formats import label
from kybern.machinery import quantity
from kybern.machinery.kind import Raw

_LABELS = {
    "beta.kubernetes.io/arch": ("v1.14", "kubernetes.io/arch"),
    "beta.kubernetes.io/os": ("v1.14", "kubernetes.io/os"),
    "failure-domain.beta.kubernetes.io/region": ("v1.17", "topology.kubernetes.io/region"),
    "failure-domain.beta.kubernetes.io/zone": ("v1.17", "topology.kubernetes.io/zone"),
    "beta.kubernetes.io/instance-type": ("v1.17", "node.kubernetes.io/instance-type"),
}
_VOLUMES = {
    "photonPersistentDisk": "deprecated in v1.11, non-functional in v1.16+",
    "gitRepo": "deprecated in v1.11, and disabled by default in v1.33+",
    "scaleIO": "deprecated in v1.16, non-functional in v1.22+",
    "flocker": "deprecated in v1.22, non-functional in v1.25+",
    "storageos": "deprecated in v1.22, non-functional in v1.25+",
    "quobyte": "deprecated in v1.22, non-functional in v1.25+",
    "glusterfs": "deprecated in v1.25, non-functional in v1.26+",
    "cephfs": "deprecated in v1.28, non-functional in v1.31+",
    "rbd": "deprecated in v1.28, non-functional in v1.31+",
}
_NO_POD = "a null labelSelector results in matching no pod"
_BYTES = ("memory", "ephemeral-storage")
_SECCOMP = "seccomp.security.alpha.kubernetes.io/pod"
_APPARMOR = "container.apparmor.security.beta.kubernetes.io/"
_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"


def deprecated_label(field: str, key: str) -> Iterator[str]:
    if key in _LABELS:
        since, instead = _LABELS[key]
        yield f'{field}: deprecated since {since}; use "{instead}" instead'


def not_a_label(name: str, used: str) -> Iterator[str]:
    """A name that ends up in hostnames, but has dots or is too long for one."""
    complaints = label(name)
    if complaints:
        text = "which can result in surprising behavior; a DNS label is recommended"
        yield f"metadata.name: this is used in {used}, {text}: [{' '.join(complaints)}]"


def _terms(field: str, spec: Raw) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The terms of pod affinity and anti-affinity, with where they are."""
    affinity = spec.get("affinity") or {}
    for kind in ("podAffinity", "podAntiAffinity"):
        rules = affinity.get(kind) or {}
        for i, term in enumerate(rules.get(_REQUIRED) or ()):
            yield f"{field}.affinity.{kind}.{_REQUIRED}[{i}]", term
        for i, weighted in enumerate(rules.get(_PREFERRED) or ()):
            at = f"{field}.affinity.{kind}.{_PREFERRED}[{i}].podAffinityTerm"
            yield at, weighted.get("podAffinityTerm") or {}


def _placing(field: str, spec: Raw) -> Iterator[str]:
    for key in spec.get("nodeSelector") or ():
        yield from deprecated_label(f"{field}.nodeSelector[{key}]", key)
    for i, constraint in enumerate(spec.get("topologySpreadConstraints") or ()):
        at = f"{field}.topologySpreadConstraints[{i}]"
        yield from deprecated_label(f"{at}.topologyKey", constraint.get("topologyKey", ""))
        if constraint.get("labelSelector") is None:
            yield f"{at}.labelSelector: {_NO_POD}"
    for at, term in _terms(field, spec):
        if term.get("labelSelector") is None:
            yield f"{at}.labelSelector: {_NO_POD}"


def _volumes(field: str, spec: Raw) -> Iterator[str]:
    for i, volume in enumerate(spec.get("volumes") or ()):
        for kind, text in _VOLUMES.items():
            if volume.get(kind) is not None:
                yield f"{field}.volumes[{i}].{kind}: {text}"
        if not all((volume.get("projected") or {}).get("sources") or ()):
            yield f'volume "{volume.get("name", "")}" (Projected) has no sources provided'


def _secrets(field: str, spec: Raw) -> Iterator[str]:
    seen: set[str] = set()
    for i, secret in enumerate(spec.get("imagePullSecrets") or ()):
        name = secret.get("name", "")
        if not name:
            yield f'{field}.imagePullSecrets[{i}].name: invalid empty name ""'
        elif name in seen:
            yield f'{field}.imagePullSecrets[{i}].name: duplicate name "{name}"'
        seen.add(name)


def _container(field: str, raw: Raw) -> Iterator[str]:
    resources = raw.get("resources") or {}
    for side in ("limits", "requests"):
        for key in _BYTES:
            text = (resources.get(side) or {}).get(key)
            if text is not None and quantity.parse(text).milli() % 1000:
                at = f"{field}.resources.{side}[{key}]"
                yield f'{at}: fractional byte value "{text}" is invalid, must be an integer'
    seen: set[str] = set()
    for i, variable in enumerate(raw.get("env") or ()):
        name = variable.get("name", "")
        if name in seen:
            text = "which may be dropped when using apply"
            yield f'{field}.env[{i}]: hides previous definition of "{name}", {text}'
        seen.add(name)
    for i, port in enumerate(raw.get("ports") or ()):
        if port.get("hostIP") and not port.get("hostPort"):
            yield f"{field}.ports[{i}]: hostIP set without hostPort: {_port(port)}"


def _port(port: Raw) -> str:
    """A port as Go prints a struct."""
    fields = {
        "Name": port.get("name", ""),
        "HostPort": port.get("hostPort", 0),
        "ContainerPort": port.get("containerPort", 0),
        "Protocol": port.get("protocol", ""),
        "HostIP": port.get("hostIP", ""),
    }
    return "{" + " ".join(f"{key}:{value}" for key, value in fields.items()) + "}"


def _spec(field: str, spec: Raw) -> Iterator[str]:
    yield from _placing(field, spec)
    yield from _volumes(field, spec)
    yield from _secrets(field, spec)
    for kind in ("initContainers", "containers"):
        for i, container in enumerate(spec.get(kind) or ()):
            yield from _container(f"{field}.{kind}[{i}]", container)


def _annotations(field: str, raw: Raw) -> Iterator[str]:
    for key in (raw.get("metadata") or {}).get("annotations") or ():
        if key == _SECCOMP:
            yield f'{field}[{key}]: non-functional in v1.27+; use the "seccompProfile" field instead'
        elif key.startswith(_APPARMOR):
            yield f'{field}[{key}]: deprecated since v1.30; use the "appArmorProfile" field instead'


def pod(new: Raw, old: Raw | None) -> Iterator[str]:
    """Pods are changed by programs; only their making is commented."""
    if old is not None:
        return
    spec = new.get("spec") or {}
    if not spec.get("hostname"):
        yield from not_a_label((new.get("metadata") or {}).get("name", ""), "the Pod's hostname")
    yield from _annotations("metadata.annotations", new)
    yield from _spec("spec", spec)


def template(field: str, new: Raw | None, old: Raw | None) -> Iterator[str]:
    """A pod template, new or changed."""
    if new and new != old:
        yield from _annotations(f"{field}.metadata.annotations", new)
        yield from _spec(f"{field}.spec", new.get("spec") or {})


def workload(new: Raw, old: Raw | None) -> Iterator[str]:
    """A kind with a pod template in its spec."""
    found = (new.get("spec") or {}).get("template")
    yield from template("spec.template", found, ((old or {}).get("spec") or {}).get("template"))


def named_workload(new: Raw, old: Raw | None) -> Iterator[str]:
    """A workload whose pods are called after it."""
    if old is None:
        name = (new.get("metadata") or {}).get("name", "")
        yield from not_a_label(name, "Pod names and hostnames")
    yield from workload(new, old)


def cron_job(new: Raw, old: Raw | None) -> Iterator[str]:
    if old is None:
        name = (new.get("metadata") or {}).get("name", "")
        yield from not_a_label(name, "Pod names and hostnames")
    job, was = _job(new), _job(old or {})
    yield from template("spec.jobTemplate.spec.template", job.get("template"), was.get("template"))


def _job(raw: Raw) -> Raw:
    found: Raw = ((raw.get("spec") or {}).get("jobTemplate") or {}).get("spec") or {}
    return found
