"""The API's objects as this driver writes them: a volume for a claim, and the marks of one that is being made. Pure."""

from collections.abc import Iterator

from kybern.api.core_v1 import (
    CSIPersistentVolumeSource,
    PersistentVolume,
    PersistentVolumeClaim,
)
from kybern.api.storage_v1 import StorageClass
from kybern.cloud.provider import BlockVolume
from kybern.cloud.volumes.names import (
    CHOSEN_ZONE,
    DRIVER,
    FS_TYPE,
    FS_TYPES,
    PROVISIONING_FINALIZER,
    ZONE_KEY,
)
from kybern.loop import made_volumes
from kybern.loop.volume_marks import (
    IDENTITY,
    SELECTED_NODE,
)
from kybern.machinery.quantity import Format, Quantity
from kybern.machinery.struct import replace

MODES = frozenset({"ReadWriteOnce", "ReadWriteOncePod"})
_NANO = 10**9


def bytes_(size: int) -> str:
    """As the API has it."""
    return str(Quantity(size * _NANO, Format.BINARY))


def parameters(found: StorageClass) -> tuple[tuple[str, str], ...]:
    """Those that are the cloud's."""
    return tuple(sorted((key, value) for key, value in found.parameters.items() if key != FS_TYPE))


def allowed_zones(found: StorageClass) -> frozenset[str] | None:
    """The zones of a class's allowedTopologies; None for any."""
    if not found.allowed_topologies:
        return None
    return frozenset(
        zone
        for term in found.allowed_topologies
        for rule in term.match_label_expressions
        if rule.key == ZONE_KEY
        for zone in rule.values
    )


def impossible(claim: PersistentVolumeClaim, found: StorageClass) -> str:
    """What about a claim a block volume cannot be; empty when it can."""
    return next(_obstacles(claim, found), "")


def _obstacles(claim: PersistentVolumeClaim, found: StorageClass) -> Iterator[str]:
    for mode in claim.spec.access_modes:
        if mode not in MODES:
            can = " or ".join(sorted(MODES))
            yield f"access mode {mode} is not supported: a volume of one machine at a time can be {can}"
    if claim.spec.selector is not None:
        yield "claim Selector is not supported"
    kind = found.parameters.get(FS_TYPE, "") or FS_TYPES[0]
    if kind not in FS_TYPES:
        yield f'parameter "{FS_TYPE}": "{kind}" is not one of {", ".join(FS_TYPES)}'


def marked(claim: PersistentVolumeClaim, zone: str) -> PersistentVolumeClaim:
    """The claim while its volume is being made in a zone."""
    metadata = replace(
        claim.metadata,
        finalizers=(*claim.metadata.finalizers, PROVISIONING_FINALIZER),
        annotations={**claim.metadata.annotations, CHOSEN_ZONE: zone},
    )
    return replace(claim, metadata=metadata)


def unmarked(claim: PersistentVolumeClaim, *, chosen: bool = True) -> PersistentVolumeClaim:
    """The claim once that has come to an end; ``chosen`` False takes back the choice of a node, too."""
    gone = {CHOSEN_ZONE} if chosen else {CHOSEN_ZONE, SELECTED_NODE}
    metadata = replace(
        claim.metadata,
        finalizers=tuple(one for one in claim.metadata.finalizers if one != PROVISIONING_FINALIZER),
        annotations={key: value for key, value in claim.metadata.annotations.items() if key not in gone},
    )
    return replace(claim, metadata=metadata)


def volume_for(claim: PersistentVolumeClaim, found: StorageClass, made: BlockVolume) -> PersistentVolume:
    """The volume that was made for a claim, for the nodes of its zone."""
    is_block = claim.spec.volume_mode == "Block"
    source = CSIPersistentVolumeSource(
        driver=DRIVER,
        volume_handle=made.handle,
        fs_type="" if is_block else found.parameters.get(FS_TYPE, "") or FS_TYPES[0],
        volume_attributes={IDENTITY: DRIVER},
    )
    return made_volumes.volume_for(claim, found, source, bytes_(made.size), (ZONE_KEY, made.zone))


def is_ours(volume: PersistentVolume) -> bool:
    return volume.spec.csi is not None and volume.spec.csi.driver == DRIVER


def handle_of(volume: PersistentVolume) -> str:
    return volume.spec.csi.volume_handle if volume.spec.csi is not None else ""


def held(volume: PersistentVolume, finalizers: tuple[str, ...]) -> PersistentVolume:
    return replace(volume, metadata=replace(volume.metadata, finalizers=finalizers))
