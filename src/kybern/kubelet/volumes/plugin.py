"""What a kind of volume must give, and what it gets."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from kybern.api.core_v1 import (
    ClusterTrustBundleProjection,
    ConfigMap,
    PersistentVolume,
    PersistentVolumeClaim,
    Pod,
    Secret,
    ServiceAccountTokenProjection,
    Volume,
)
from kybern.api.storage_v1 import CSIDriver, VolumeAttachment
from kybern.kubelet.fields import Place


class CannotMount(Exception):
    """A volume cannot be set up now; the message is shown in an event, and it is tried again.

    ``volume`` is the name by which it is told, where that is not its name in the pod; ``block``: it is a device.
    """

    volume = ""
    block = False


class LimitReached(CannotMount):
    """No more volumes can be attached to the node: the pod must go elsewhere."""


class Objects(Protocol):
    """The API server's objects that volumes are made from."""

    async def config_map(self, namespace: str, name: str) -> ConfigMap | None: ...

    async def secret(self, namespace: str, name: str) -> Secret | None: ...

    async def claim(self, namespace: str, name: str) -> PersistentVolumeClaim | None: ...

    async def claim_status(
        self, old: PersistentVolumeClaim, new: PersistentVolumeClaim
    ) -> PersistentVolumeClaim:
        """Write what differs in a claim's status; raises CannotMount."""
        ...

    async def persistent(self, name: str) -> PersistentVolume | None: ...

    async def csi_driver(self, name: str) -> CSIDriver | None: ...

    async def attachment(self, name: str) -> VolumeAttachment | None: ...

    async def token(self, pod: Pod, wanted: ServiceAccountTokenProjection) -> str: ...

    async def trust_anchors(self, wanted: ClusterTrustBundleProjection) -> str: ...


@dataclass(frozen=True, slots=True)
class Site:
    """One volume of one pod: where it goes, and what it may be made from."""

    pod: Pod
    volume: Volume
    directory: Path
    objects: Objects
    place: Place
    persistent: PersistentVolume | None = None
    drivers: "Drivers | None" = None

    @property
    def read_only(self) -> bool:
        """Whether the pod may only read it."""
        claim = self.volume.persistent_volume_claim
        return bool(claim is not None and claim.read_only)

    @property
    def fs_group_policy(self) -> str:
        context = self.pod.spec.security_context
        return context.fs_group_change_policy if context is not None else ""

    @property
    def fs_group(self) -> int | None:
        context = self.pod.spec.security_context
        return context.fs_group if context is not None else None


class Drivers(Protocol):
    """The node's storage drivers."""

    async def set_up(self, site: Site) -> Path: ...

    async def grow(self, site: Site, claim: str, where: Path) -> None: ...

    async def statistics(self, volume: PersistentVolume, where: Path) -> Any: ...

    async def tear_down(self, home: Path) -> None: ...


@dataclass(frozen=True, slots=True)
class Plugin:
    """A kind of volume. ``field`` names it in a Volume or a persistent one, ``name`` is upstream's directory for it.

    ``set_up`` makes it (again) and gives the path that containers see. ``changes``: it is made again from time to time.
    ``only_read``: containers cannot write there, whatever their mounts say.
    ``tear_down`` runs before its directory is removed. ``map`` gives the path of a device, for volumes of mode Block; the
    site's directory is then where the link to it belongs. ``tidy`` gets --root-dir once a pod's volumes are gone, and takes
    away what no other pod uses; it raises CannotMount to be asked again.
    """

    name: str
    field: str
    set_up: Callable[[Site], Awaitable[Path]]
    changes: bool = False
    only_read: bool = False
    tear_down: Callable[[Path], Awaitable[None]] | None = None
    map: Callable[[Site], Awaitable[Path]] | None = None
    tidy: Callable[[Path], Awaitable[None]] | None = None
