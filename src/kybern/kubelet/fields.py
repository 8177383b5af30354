"""Values of a pod's own fields and resources, for environment variables and files (the downward API). Pure."""

import re
from dataclasses import dataclass

from kybern.api.core_v1 import Container, ObjectFieldSelector, Pod, ResourceFieldSelector
from kybern.kubelet.resources import amount, limits, requests
from kybern.machinery.quantity import NANO, parse

_KEYED = re.compile(r"metadata\.(annotations|labels)\['(.+)'\]")


class Unknown(ValueError):
    """A field or resource that does not exist; the message is shown to the user."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a pod runs, as far as it may ask."""

    node: str = ""
    host_ips: tuple[str, ...] = ()
    pod_ips: tuple[str, ...] = ()
    cpu_milli: int = 0
    memory: int = 0
    storage: int = 0


def _mapped(values: object) -> str:
    assert hasattr(values, "items")
    return "\n".join(f"{key}={_quoted(value)}" for key, value in sorted(values.items()))


def _quoted(text: str) -> str:
    """As Go's %q writes it, for what labels and annotations hold."""
    plain = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + plain.replace("\n", "\\n").replace("\t", "\\t").replace("\r", "\\r") + '"'


def field_value(selector: ObjectFieldSelector, pod: Pod, place: Place) -> str:
    """What a fieldRef gives."""
    path = selector.field_path
    keyed = _KEYED.fullmatch(path)
    meta = pod.metadata
    if keyed:
        found = meta.labels if keyed[1] == "labels" else meta.annotations
        return found.get(keyed[2], "")
    known = {
        "metadata.name": lambda: meta.name,
        "metadata.namespace": lambda: meta.namespace,
        "metadata.uid": lambda: meta.uid,
        "metadata.labels": lambda: _mapped(meta.labels),
        "metadata.annotations": lambda: _mapped(meta.annotations),
        "spec.nodeName": lambda: pod.spec.node_name or place.node,
        "spec.serviceAccountName": lambda: pod.spec.service_account_name,
        "status.hostIP": lambda: place.host_ips[0] if place.host_ips else "",
        "status.hostIPs": lambda: ",".join(place.host_ips),
        "status.podIP": lambda: place.pod_ips[0] if place.pod_ips else "",
        "status.podIPs": lambda: ",".join(place.pod_ips),
    }
    if path not in known:
        raise Unknown(f"unsupported fieldPath: {path}")
    return known[path]()


def resource_value(selector: ResourceFieldSelector, container: Container, place: Place) -> str:
    """What a resourceFieldRef gives: in units of the divisor, rounded up. No limit means all of the node."""
    kind, _, name = selector.resource.partition(".")
    if kind not in ("limits", "requests") or not name:
        raise Unknown(f"unsupported container resource : {selector.resource}")
    found = amount(limits(container) if kind == "limits" else requests(container), name)
    nano = found.nano
    if kind == "limits" and not found:
        whole = {"cpu": place.cpu_milli * NANO // 1000, "memory": place.memory * NANO}
        nano = whole.get(name, place.storage * NANO if name == "ephemeral-storage" else 0)
    divisor = parse(selector.divisor).nano if selector.divisor else NANO
    return str(-(-nano // (divisor or NANO)))


def container_of(pod: Pod, name: str) -> Container:
    for container in (*pod.spec.init_containers, *pod.spec.containers):
        if container.name == name:
            return container
    raise Unknown(f"container {name} not found")
