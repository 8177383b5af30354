"""The names of other objects that a pod refers to. Pods are plain JSON values here: both admission and the graph ask."""

from collections.abc import Iterator
from typing import Any

type Pod = dict[str, Any]

MIRROR = "kubernetes.io/config.mirror"

_SECRET_FIELDS = (
    ("azureFile", "secretName"), ("cephfs", "secretRef"), ("cinder", "secretRef"), ("flexVolume", "secretRef"),
    ("rbd", "secretRef"), ("scaleIO", "secretRef"), ("secret", "secretName"), ("iscsi", "secretRef"),
    ("storageos", "secretRef"), ("csi", "nodePublishSecretRef"),
)  # fmt: skip
"""Volume sources that name a secret: by name, or by a reference with a name."""


def containers(pod: Pod) -> Iterator[Any]:
    """Init, ordinary and ephemeral containers, in upstream's order of visiting."""
    spec = pod.get("spec") or {}
    for field in ("initContainers", "containers", "ephemeralContainers"):
        yield from spec.get(field) or ()


def volumes(pod: Pod) -> Iterator[Any]:
    yield from (pod.get("spec") or {}).get("volumes") or ()


def secrets(pod: Pod) -> Iterator[str]:
    """Secrets that the kubelet reads for a pod: pull secrets, environment, volumes."""
    for pull in (pod.get("spec") or {}).get("imagePullSecrets") or ():
        yield pull.get("name", "")
    yield from _environment(pod, "secretRef", "secretKeyRef")
    for volume in volumes(pod):
        yield from volume_secrets(volume)


def volume_secrets(volume: Any) -> Iterator[str]:
    """Secrets of one volume."""
    for source in (volume.get("projected") or {}).get("sources") or ():
        if source.get("secret"):
            yield source["secret"].get("name", "")
    for source, field in _SECRET_FIELDS:
        named = (volume.get(source) or {}).get(field)
        name = named.get("name") if isinstance(named, dict) else named
        if name:
            yield name


def config_maps(pod: Pod) -> Iterator[str]:
    """Config maps that the kubelet reads for a pod."""
    yield from _environment(pod, "configMapRef", "configMapKeyRef")
    for volume in volumes(pod):
        for source in (volume.get("projected") or {}).get("sources") or ():
            if source.get("configMap"):
                yield source["configMap"].get("name", "")
        if volume.get("configMap"):
            yield volume["configMap"].get("name", "")


def claims(pod: Pod) -> Iterator[str]:
    """Persistent volume claims, those of ephemeral volumes among them."""
    for volume in volumes(pod):
        if volume.get("persistentVolumeClaim"):
            yield volume["persistentVolumeClaim"].get("claimName", "")
        elif volume.get("ephemeral"):
            yield f"{pod['metadata'].get('name', '')}-{volume['name']}"


def resource_claims(pod: Pod) -> Iterator[str]:
    """Resource claims: named ones, and those made from templates once the status tells their names."""
    status = pod.get("status") or {}
    made = {
        entry["name"]: entry.get("resourceClaimName") for entry in status.get("resourceClaimStatuses") or ()
    }
    for claim in (pod.get("spec") or {}).get("resourceClaims") or ():
        name = claim.get("resourceClaimName") or made.get(claim["name"])
        if name:
            yield name
    extended = (status.get("extendedResourceClaimStatus") or {}).get("resourceClaimName")
    if extended:
        yield extended


def _environment(pod: Pod, whole: str, key: str) -> Iterator[str]:
    for container in containers(pod):
        for source in container.get("envFrom") or ():
            if source.get(whole):
                yield source[whole].get("name", "")
        for variable in container.get("env") or ():
            named = (variable.get("valueFrom") or {}).get(key)
            if named:
                yield named.get("name", "")
