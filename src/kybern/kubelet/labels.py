"""Labels and annotations that the kubelet gives sandboxes and containers: its memory across restarts.

The names are upstream's, so that tools which look into the runtime (crictl, log collectors) find what they know, and so
that either kubelet can take over the pods of the other.
"""

import json
from collections.abc import Mapping

from kybern.api.core_v1 import Container, Pod

POD_NAME = "io.kubernetes.pod.name"
POD_NAMESPACE = "io.kubernetes.pod.namespace"
POD_UID = "io.kubernetes.pod.uid"
CONTAINER_NAME = "io.kubernetes.container.name"

HASH = "io.kubernetes.container.hash"
RESTART_COUNT = "io.kubernetes.container.restartCount"
MESSAGE_PATH = "io.kubernetes.container.terminationMessagePath"
MESSAGE_POLICY = "io.kubernetes.container.terminationMessagePolicy"
GRACE = "io.kubernetes.pod.terminationGracePeriod"
DELETION_GRACE = "io.kubernetes.pod.deletionGracePeriod"
PRE_STOP = "io.kubernetes.container.preStopHandler"
ROUND = "io.kybern.container.round"
"""Ours: how often all containers of the pod had begun anew before (``rounds``)."""
PORTS = "io.kubernetes.container.ports"

SOURCE = "kubernetes.io/config.source"
SEEN = "kubernetes.io/config.seen"
CONFIG_HASH = "kubernetes.io/config.hash"
MIRROR = "kubernetes.io/config.mirror"


def spec_hash(container: Container) -> str:
    """Changes when a running container must be replaced: its name or its image is another."""
    text = json.dumps({"image": container.image, "name": container.name}, separators=(",", ":"))
    value = 0x811C9DC5
    for byte in text.encode():
        value = ((value ^ byte) * 0x01000193) & 0xFFFFFFFF
    return f"{value:x}"


def sandbox_labels(pod: Pod) -> dict[str, str]:
    meta = pod.metadata
    own = {POD_NAME: meta.name, POD_NAMESPACE: meta.namespace, POD_UID: meta.uid}
    return {**meta.labels, **own}


def container_labels(pod: Pod, container: Container) -> dict[str, str]:
    meta = pod.metadata
    own = {POD_NAME: meta.name, POD_NAMESPACE: meta.namespace, POD_UID: meta.uid}
    return {**own, CONTAINER_NAME: container.name}


def container_annotations(pod: Pod, container: Container, attempt: int, number: int = 0) -> dict[str, str]:
    """``number`` is that of the round."""
    found = {
        HASH: spec_hash(container),
        RESTART_COUNT: str(attempt),
        MESSAGE_PATH: container.termination_message_path,
        MESSAGE_POLICY: container.termination_message_policy,
    }
    if pod.metadata.deletion_grace_period_seconds is not None:
        found[DELETION_GRACE] = str(pod.metadata.deletion_grace_period_seconds)
    if pod.spec.termination_grace_period_seconds is not None:
        found[GRACE] = str(pod.spec.termination_grace_period_seconds)
    if number:
        found[ROUND] = str(number)
    if container.ports:
        ports = [{"containerPort": p.container_port, "protocol": p.protocol} for p in container.ports]
        found[PORTS] = json.dumps(ports)
    return found


def number(annotations: Mapping[str, str], name: str, default: int = 0) -> int:
    """An annotation that is a number; what cannot be read counts as absent."""
    try:
        return int(annotations.get(name, ""))
    except ValueError:
        return default


def is_static(pod: Pod) -> bool:
    """Whether the pod comes from a file on this node."""
    return pod.metadata.annotations.get(SOURCE, "api") != "api"


def is_mirror(pod: Pod) -> bool:
    """Whether the pod is the API server's picture of a static one."""
    return MIRROR in pod.metadata.annotations
