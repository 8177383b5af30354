"""Claims and volumes in a whole control plane, with requests that fail by a seed."""

import asyncio
import random
from collections.abc import Callable

import pytest

from kybern.api.core_v1 import (
    ObjectReference,
    PersistentVolume,
    PersistentVolumeClaim,
    PersistentVolumeClaimSpec,
    PersistentVolumeSpec,
    VolumeResourceRequirements,
)
from kybern.api.meta_v1 import ObjectMeta
from kybern.api.storage_v1 import StorageClass
from kybern.loop.volume_marks import PROVISIONED_BY, PROVISIONER
from kybern.machinery.errors import ApiError, Conflict, Forbidden
from tests.simulation.cluster import Simulation, running

DRIVER = "csi.example.com"


def volume(name: str, size: int, *, claim: str = "", policy: str = "Retain") -> PersistentVolume:
    ref = ObjectReference(namespace="a", name=claim) if claim else None
    return PersistentVolume(
        metadata=ObjectMeta(name=name),
        spec=PersistentVolumeSpec(
            capacity={"storage": f"{size}Gi"},
            access_modes=("ReadWriteOnce",),
            claim_ref=ref,
            persistent_volume_reclaim_policy=policy,
        ),
    )


def claim(name: str, size: int, storage_class: str | None = None) -> PersistentVolumeClaim:
    return PersistentVolumeClaim(
        metadata=ObjectMeta(name=name, namespace="a"),
        spec=PersistentVolumeClaimSpec(
            resources=VolumeResourceRequirements(requests={"storage": f"{size}Gi"}),
            access_modes=("ReadWriteOnce",),
            storage_class_name=storage_class,
        ),
    )


async def driver(cluster: Simulation) -> None:
    """An external provisioner: makes what is asked of it, deletes what is released."""
    while True:
        made = {one.metadata.name for one in cluster.api.all(PersistentVolume)}
        for one in cluster.api.all(PersistentVolumeClaim):
            name = f"pvc-{one.metadata.name}"
            if one.metadata.annotations.get(PROVISIONER) != DRIVER or one.spec.volume_name or name in made:
                continue
            ref = ObjectReference(namespace="a", name=one.metadata.name, uid=one.metadata.uid)
            spec = PersistentVolumeSpec(
                capacity={"storage": "7Gi"},
                access_modes=("ReadWriteOnce",),
                claim_ref=ref,
                storage_class_name=one.spec.storage_class_name or "",
                persistent_volume_reclaim_policy="Delete",
            )
            metadata = ObjectMeta(name=name, annotations={PROVISIONED_BY: DRIVER})
            await cluster.api.create(PersistentVolume(metadata=metadata, spec=spec))
        for gone in cluster.api.all(PersistentVolume):
            if gone.status.phase == "Released" and PROVISIONED_BY in gone.metadata.annotations:
                await cluster.api.delete(gone)
        await asyncio.sleep(0.005)


def failing(seed: int) -> Callable[[str, str], None]:
    """One write of the loop in three fails."""
    dice = random.Random(seed)

    def refuse(method: str, path: str) -> None:
        problems: tuple[type[ApiError], ...] = (Conflict, Forbidden)
        if method == "PUT" and dice.random() < 1 / 3:
            raise dice.choice(problems)("a fault by the seed")

    return refuse


def agree(cluster: Simulation) -> set[str]:
    """The claims that are bound; each names a volume that is bound and names it, and no two the same."""
    volumes = {one.metadata.name: one for one in cluster.api.all(PersistentVolume)}
    found = [one for one in cluster.api.all(PersistentVolumeClaim) if one.status.phase == "Bound"]
    for one in found:
        ref = volumes[one.spec.volume_name].spec.claim_ref
        assert ref is not None
        assert (ref.name, ref.uid) == (one.metadata.name, one.metadata.uid)
        assert volumes[one.spec.volume_name].status.phase == "Bound"
    assert len({one.spec.volume_name for one in found}) == len(found)
    return {one.metadata.name for one in found}


def nothing_fits(cluster: Simulation) -> bool:
    """Whether no claim waits that a free volume is large enough for."""
    waiting = {one.metadata.name for one in cluster.api.all(PersistentVolumeClaim)} - agree(cluster)
    free = [name for name, phase in phases(cluster).items() if phase == "Available"]
    return not any(int(name[1:]) >= int(one[1:]) for name in free for one in waiting)


def phases(cluster: Simulation) -> dict[str, str]:
    return {one.metadata.name: one.status.phase for one in cluster.api.all(PersistentVolume)}


@pytest.mark.parametrize("seed", range(6))
async def test_every_claim_gets_a_volume_of_its_own(seed: int) -> None:
    async with running(("persistentvolume-binder-controller",)) as cluster:
        api = cluster.api
        api.refuse = failing(seed)
        made = asyncio.create_task(driver(cluster))
        await api.create(StorageClass(metadata=ObjectMeta(name="fast"), provisioner=DRIVER))
        sizes = [1, 2, 3, 4, 5, 6, 7, 8]
        await api.create(volume("mine", 20, claim="c1"))
        items = [
            *(claim(f"c{size}", size) for size in sizes),
            *(volume(f"v{size}", size) for size in sizes[1:]),
            *(claim(f"d{number}", 1, "fast") for number in range(4)),
        ]
        random.Random(seed).shuffle(items)
        await asyncio.gather(*(api.create(one) for one in items))
        wanted = {"c1", *(f"d{number}" for number in range(4))}
        await cluster.until(lambda: wanted <= agree(cluster) and nothing_fits(cluster), 20)
        await cluster.rest()

        for one in api.all(PersistentVolumeClaim):
            await api.delete(one)
        await cluster.until(lambda: not set(phases(cluster).values()) & {"Bound"}, 20)
        await cluster.until(lambda: not any(name.startswith("pvc-") for name in phases(cluster)), 20)
        await cluster.rest()
        assert phases(cluster)["mine"] == "Released"
        made.cancel()


async def test_a_default_class_that_comes_late_helps() -> None:
    async with running(("persistentvolume-binder-controller",)) as cluster:
        made = asyncio.create_task(driver(cluster))
        await cluster.api.create(claim("c", 1))
        await cluster.until(lambda: cluster.api.all(PersistentVolumeClaim)[0].status.phase == "Pending")
        default = {"storageclass.kubernetes.io/is-default-class": "true"}
        await cluster.api.create(
            StorageClass(metadata=ObjectMeta(name="std", annotations=default), provisioner=DRIVER)
        )
        await cluster.until(lambda: agree(cluster) == {"c"})
        made.cancel()
