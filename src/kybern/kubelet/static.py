"""Static pods: manifests on this node, run without the API server, which only gets a picture of them.

They lie in a directory, or behind a URL (``static_url``).

What holds: a manifest gives the pod ``NAME-NODE`` with a uid made from node, file and content, so that another content is
another pod; defaults and checks are the API's own; a file that cannot be read keeps the others running. The picture
(mirror pod) carries the hash of what it shows, and is made again when it was deleted or shows something else.
"""

import asyncio
import hashlib
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import msgspec
import yaml

from kybern.api.core_v1 import Node, Pod
from kybern.api.core_v1 import pod as rules
from kybern.api.meta_v1 import OwnerReference
from kybern.client.verbs import Verbs
from kybern.kubelet import labels
from kybern.machinery import meta, names
from kybern.machinery.errors import AlreadyExists, ApiError, NotFound
from kybern.machinery.quantity import parse
from kybern.machinery.struct import decoder, replace

log = logging.getLogger(__name__)

# Fields that are quantities, or maps of them, wherever they stand in a pod.
_AMOUNT = {"sizeLimit", "divisor"}
_AMOUNTS = {"limits", "requests", "overhead"}
_CONTAINERS = ("initContainers", "containers")
# Fields of volumes, of their parts and of variables that name an object of the API server.
_REFERENCES = {
    "configMap": "configmaps", "configMapRef": "configmaps", "configMapKeyRef": "configmaps",
    "secret": "secrets", "secretRef": "secrets", "secretKeyRef": "secrets",
    "persistentVolumeClaim": "persistentvolumeclaims", "ephemeral": "persistentvolumeclaims",
    "serviceAccountToken": "serviceaccounts", "clusterTrustBundle": "clustertrustbundles",
    "podCertificate": "podcertificaterequests",
}  # fmt: skip
_EVERYTHING = {"operator": "Exists", "effect": "NoExecute"}


# Manifests are read by a thread: see the decoder's word on threads.
decoder(Pod)


class BadManifest(ValueError):
    """A file that describes no pod."""


def pod_of(text: str, file: str, node: str) -> Pod:
    """The pod of one manifest; raises BadManifest. Pure."""
    return made(loaded(text), text, Origin("file", file), node)


def loaded(text: str) -> Any:
    """Raises BadManifest."""
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as problem:
        raise BadManifest(f"not YAML: {problem}") from problem


@dataclass(frozen=True, slots=True)
class Origin:
    """The kind of source (file, http), and which one of it."""

    source: str
    place: str


def made(raw: Any, text: str, origin: Origin, node: str) -> Pod:
    """The static pod that a decoded manifest describes; another ``text`` makes another pod. Raises BadManifest. Pure."""
    if not isinstance(raw, dict) or raw.get("kind") != "Pod" or raw.get("apiVersion") != "v1":
        raise BadManifest("not a v1 Pod")
    raw = _read(raw)
    _typed(raw)
    about: dict[str, Any] = raw.setdefault("metadata", {})
    if not about.get("name"):
        raise BadManifest("metadata.name: Required value")
    seed = f"{node}{origin.place}{text}"
    uid = about.get("uid") or hashlib.md5(seed.encode(), usedforsecurity=False).hexdigest()
    about["uid"] = uid
    about["name"] = f"{about['name']}-{node.lower()}"
    about.setdefault("namespace", "default")
    about["annotations"] = {
        **(about.get("annotations") or {}),
        labels.CONFIG_HASH: uid,
        labels.SOURCE: origin.source,
        labels.SEEN: datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
    }
    spec: dict[str, Any] = raw.setdefault("spec", {})
    spec["nodeName"] = node
    spec["tolerations"] = [*(spec.get("tolerations") or []), _EVERYTHING]
    raw["status"] = {"phase": "Pending"}
    rules.KIND.rules.default(raw)
    pod = _typed(raw)
    _judge(raw)
    kind = next(_referred(raw["spec"]), "")
    if kind:
        raise BadManifest(f"static pods may not reference {kind}: there may be no API server that has them")
    return pod


def _referred(spec: dict[str, Any]) -> Iterator[str]:
    """Kinds of the API server's objects that a pod cannot do without (upstream's PreventStaticPodAPIReferences)."""
    if spec.get("serviceAccountName"):
        yield "serviceaccounts"
    if spec.get("resourceClaims"):
        yield "resourceclaims"
    volumes = spec.get("volumes") or ()
    parts = [part for volume in volumes for part in (volume.get("projected") or {}).get("sources") or ()]
    containers = [one for name in _CONTAINERS for one in spec.get(name) or ()]
    sources = [variable.get("valueFrom") or {} for one in containers for variable in one.get("env") or ()]
    whole = [source for one in containers for source in one.get("envFrom") or ()]
    found = {key for each in (*volumes, *parts, *sources, *whole) for key in each}
    for field, kind in _REFERENCES.items():
        if field in found:
            yield kind


def _read(raw: Any) -> Any:
    """As the API server reads a body: what is null is not there, and amounts may be numbers. Raises BadManifest."""
    if isinstance(raw, list):
        return [_read(value) for value in raw]
    if not isinstance(raw, dict):
        return raw
    found = {key: _read(value) for key, value in raw.items() if value is not None}
    for key in _AMOUNTS & found.keys():
        if isinstance(found[key], dict):
            found[key] = {name: _amount(value) for name, value in found[key].items()}
    for key in _AMOUNT & found.keys():
        found[key] = _amount(found[key])
    return found


def _amount(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return value
    try:
        parse(str(value))
    except ValueError as problem:
        raise BadManifest(f'"{value}": {problem}') from problem
    return str(value)


def _judge(raw: dict[str, Any]) -> None:
    """Hold a pod to what the API server holds all others to. Raises BadManifest with all that is wrong."""
    causes = [
        *meta.validate(raw["metadata"], True, names.dns1123_subdomain),
        *rules.KIND.rules.validate(raw, None),
    ]
    found = [f"{cause.field}: {cause.message}" for cause in causes]
    # Directories are called by it.
    uid = raw["metadata"]["uid"]
    if "/" in uid or uid in (".", ".."):
        found.append(f'metadata.uid: Invalid value: "{uid}": may not be a path')
    if found:
        raise BadManifest("; ".join(found))


def _typed(raw: dict[str, Any]) -> Pod:
    """What follows relies on every field being of its type. Raises BadManifest."""
    try:
        return msgspec.convert(raw, Pod)
    except msgspec.ValidationError as problem:
        raise BadManifest(str(problem)) from problem


class Told(Protocol):
    """A source of static pods, and how often it is looked at."""

    every: float

    async def look(self) -> Mapping[str, Pod] | None:
        """All of its pods by uid, when something changed since the last look; None otherwise."""
        ...


@dataclass(slots=True)
class Manifests:
    """The directory, read again when a file in it changed."""

    directory: Path
    node: str
    every: float = 2.0
    _stamp: tuple[tuple[str, int, int], ...] | None = None

    async def look(self) -> Mapping[str, Pod] | None:
        return await asyncio.to_thread(self.changed)

    def changed(self) -> Mapping[str, Pod] | None:
        """All static pods by uid, when something changed since the last look; None otherwise."""
        stamp = tuple(self._stamps())
        if stamp == self._stamp:
            return None
        self._stamp = stamp
        found: dict[str, Pod] = {}
        for name, _time, _size in stamp:
            path = self.directory / name
            try:
                pod = pod_of(path.read_text(), str(path), self.node)
            except (OSError, BadManifest, UnicodeDecodeError) as problem:
                log.warning("cannot use the manifest %s: %s", path, problem)
                continue
            found[pod.metadata.uid] = pod
        return found

    def _stamps(self) -> Iterator[tuple[str, int, int]]:
        if not self.directory.is_dir():
            return
        for path in sorted(self.directory.iterdir()):
            if not path.name.startswith(".") and path.is_file():
                status = path.stat()
                yield path.name, status.st_mtime_ns, status.st_size


def mirror_of(pod: Pod, owner: Node | None) -> Pod:
    """What the API server is shown of a static pod. Pure."""
    meta = pod.metadata
    notes = {**meta.annotations, labels.MIRROR: meta.annotations[labels.CONFIG_HASH]}
    owners: tuple[OwnerReference, ...] = ()
    if owner is not None and owner.metadata.uid:
        owners = (
            OwnerReference(
                api_version="v1",
                kind="Node",
                name=owner.metadata.name,
                uid=owner.metadata.uid,
                controller=True,
            ),
        )
    shown = replace(meta, annotations=notes, uid="", owner_references=owners)
    return replace(pod, metadata=shown, status=Pod().status)


async def show(pod: Pod, seen: Pod | None, owner: Node | None, client: Verbs) -> bool:
    """Make sure that the API server has the right picture of a static pod. ``seen`` is the one that it has.

    False when it did not take it, so that it is worth another try.
    """
    wanted = pod.metadata.annotations[labels.CONFIG_HASH]
    meta = pod.metadata
    if seen is not None:
        stale = seen.metadata.annotations.get(labels.MIRROR) != wanted
        if not stale and seen.metadata.deletion_timestamp is None:
            return True
        await hide(seen, client)
    try:
        await client.create(mirror_of(pod, owner))
    except AlreadyExists:
        return True
    except ApiError as problem:
        log.warning("cannot show static pod %s/%s: %s", meta.namespace, meta.name, problem)
        return False
    return True


async def hide(mirror: Pod, client: Verbs) -> bool:
    """Take a picture away whose pod is not there any more. False when it may still be there."""
    try:
        await client.delete(mirror, grace_seconds=0)
    except NotFound:
        return True
    except ApiError as problem:
        log.warning("cannot remove the mirror pod %s: %s", mirror.metadata.name, problem)
        return False
    return True
