"""What a driver is told of a volume and of the pod that uses it. Pure."""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kybern._proto import csi_pb2 as pb
from kybern.api.core_v1 import CSIPersistentVolumeSource, PersistentVolume, Pod, Secret, Volume
from kybern.api.storage_v1 import CSIDriver
from kybern.kubelet.csi.driver import GROUPS, MANY_WRITERS
from kybern.kubelet.csi.names import inline_handle
from kybern.kubelet.stats.summary import when
from kybern.kubelet.volumes.plugin import CannotMount, Objects

_MODES = {"ReadWriteOnce": 1, "ReadWriteOncePod": 1, "ReadOnlyMany": 3, "ReadWriteMany": 5}
# Of a driver that tells writers on one node apart.
_FINER = _MODES | {"ReadWriteOnce": 7, "ReadWriteOncePod": 6}


@dataclass(frozen=True, slots=True)
class Wanted:
    """A volume as the API has it. Secrets by namespace and name; empty names are none."""

    driver: str
    handle: str
    name: str
    persistent: bool
    fs_type: str
    read_only: bool
    attributes: Mapping[str, str]
    modes: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    stage_secret: tuple[str, str] = ("", "")
    publish_secret: tuple[str, str] = ("", "")
    expand_secret: tuple[str, str] = ("", "")
    block: bool = False


def of_persistent(found: PersistentVolume, *, read_only: bool) -> Wanted:
    source, spec = found.spec.csi, found.spec
    assert source is not None
    return Wanted(
        source.driver, source.volume_handle, found.metadata.name, True, source.fs_type,
        bool(source.read_only) or read_only, source.volume_attributes, spec.access_modes, spec.mount_options,
        _reference(source, "node_stage_secret_ref"), _reference(source, "node_publish_secret_ref"),
        _reference(source, "node_expand_secret_ref"), spec.volume_mode == "Block",
    )  # fmt: skip


def _reference(source: CSIPersistentVolumeSource, name: str) -> tuple[str, str]:
    found = getattr(source, name)
    return (found.namespace, found.name) if found is not None else ("", "")


def of_inline(pod: Pod, volume: Volume) -> Wanted:
    source = volume.csi
    assert source is not None
    secret = source.node_publish_secret_ref
    return Wanted(
        source.driver, inline_handle(pod.metadata.uid, volume.name), volume.name, False, source.fs_type,
        bool(source.read_only), source.volume_attributes,
        publish_secret=(pod.metadata.namespace, secret.name) if secret is not None else ("", ""),
    )  # fmt: skip


def check_mode(wanted: Wanted, info: CSIDriver | None) -> None:
    """Whether the driver takes volumes of this life; raises CannotMount. Persistent is what all take that do not say."""
    modes = (info.spec.volume_lifecycle_modes if info is not None else ()) or ("Persistent",)
    mode = "Persistent" if wanted.persistent else "Ephemeral"
    if mode not in modes:
        shown = " ".join(f'"{each}"' for each in modes)
        raise CannotMount(
            f'kubernetes.io/csi: volume mode "{mode}" not supported by driver {wanted.driver} (only supports [{shown}])'
        )


def needs_attachment(wanted: Wanted, info: CSIDriver | None) -> bool:
    """A driver that says nothing needs one."""
    return wanted.persistent and (info is None or info.spec.attach_required is not False)


def capability(wanted: Wanted, abilities: frozenset[int], group: int | None) -> Any:
    """CSI's VolumeCapability. A driver that can gives the volume to the group itself."""
    modes = _FINER if MANY_WRITERS in abilities else _MODES
    mode = modes.get(wanted.modes[0], 1) if wanted.modes else 1
    if wanted.block:
        return pb.VolumeCapability(block=pb.BlockVolume(), access_mode=pb.AccessMode(mode=mode))
    by_driver = str(group) if group is not None and GROUPS in abilities else ""
    mounted = pb.MountVolume(fs_type=wanted.fs_type, mount_flags=wanted.options, volume_mount_group=by_driver)
    return pb.VolumeCapability(mount=mounted, access_mode=pb.AccessMode(mode=mode))


def gives_group(wanted: Wanted, info: CSIDriver | None, abilities: frozenset[int]) -> bool:
    """Whether the kubelet gives what the volume holds to the pod's group (fsGroupPolicy)."""
    policy = (info.spec.fs_group_policy if info is not None else "") or "ReadWriteOnceWithFSType"
    if policy == "None" or wanted.read_only or GROUPS in abilities:
        return False
    if policy == "File":
        return True
    once = not wanted.persistent or bool({"ReadWriteOnce", "ReadWriteOncePod"} & set(wanted.modes))
    return bool(wanted.fs_type) and once


def context(wanted: Wanted, info: CSIDriver | None, pod: Pod) -> dict[str, str]:
    """The volume's attributes, and of the pod what the driver asks to know."""
    found = dict(wanted.attributes)
    if info is not None and info.spec.pod_info_on_mount:
        found |= {
            "csi.storage.k8s.io/pod.name": pod.metadata.name,
            "csi.storage.k8s.io/pod.namespace": pod.metadata.namespace,
            "csi.storage.k8s.io/pod.uid": pod.metadata.uid,
            "csi.storage.k8s.io/serviceAccount.name": pod.spec.service_account_name,
            "csi.storage.k8s.io/ephemeral": "false" if wanted.persistent else "true",
        }
    return found


def tokens(each: Mapping[str, str]) -> dict[str, str]:
    """The pod's tokens as a driver is told them, by audience; nothing for one that wants none."""
    if not each:
        return {}
    told = {aud: {"token": token, "expirationTimestamp": _expires(token)} for aud, token in each.items()}
    return {"csi.storage.k8s.io/serviceAccount.tokens": json.dumps(told)}


def _expires(token: str) -> str:
    """When a token ends, by its own word; empty for one that does not say."""
    try:
        body = token.split(".")[1]
        return when(json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))["exp"])
    except (IndexError, ValueError, KeyError, TypeError):
        return ""


async def secret(objects: Objects, reference: tuple[str, str]) -> dict[str, str]:
    """What a secret holds; of an empty reference nothing. Raises CannotMount."""
    namespace, name = reference
    if not name:
        return {}
    found = await objects.secret(namespace, name)
    if found is None:
        raise CannotMount(
            f'fetching NodePublishSecretRef {namespace}/{name} failed: secrets "{name}" not found'
        )
    return plain(found)


def plain(secret: Secret) -> dict[str, str]:
    return {key: base64.b64decode(value).decode(errors="replace") for key, value in secret.data.items()}
