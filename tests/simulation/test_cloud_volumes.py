"""A cloud's volumes at work: claims, attachments and their ends, and whoever dies in between loses and leaves nothing."""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from kybern.api.core_v1 import (
    Event,
    Node,
    NodeStatus,
    NodeSystemInfo,
    PersistentVolume,
    PersistentVolumeClaim,
    PersistentVolumeClaimSpec,
    TopologySelectorLabelRequirement,
    TopologySelectorTerm,
    TypedLocalObjectReference,
    VolumeResourceRequirements,
)
from kybern.api.meta_v1 import ObjectMeta
from kybern.api.storage_v1 import (
    CSIStorageCapacity,
    StorageClass,
    VolumeAttachment,
    VolumeAttachmentSource,
    VolumeAttachmentSpec,
)
from kybern.client.verbs import Verbs
from kybern.cloud.volumes.controllers import controllers
from kybern.cloud.volumes.names import (
    ATTACHER_FINALIZER,
    CHOSEN_ZONE,
    DRIVER,
    HANDLE,
    PROVISIONING_FINALIZER,
    ZONE_KEY,
)
from kybern.cloud.volumes.snapshot_api import (
    GROUP,
    VolumeSnapshot,
    VolumeSnapshotClass,
    VolumeSnapshotContent,
    VolumeSnapshotSource,
    VolumeSnapshotSpec,
)
from kybern.cloud.volumes.snapshots import DEFAULT
from kybern.loop.controller import Controller
from kybern.loop.volume_marks import LATER, PROVISIONER, PROVISIONER_FINALIZER, SELECTED_NODE
from kybern.machinery.struct import replace
from tests.simulation.api import FakeApi
from tests.simulation.cluster import Simulation, kinds_of
from tests.simulation.mortal import Mortal, alive
from tests.unit.cloud.fake_volumes import FakeVolumes

MIB = 1 << 20


@dataclass
class World:
    """An API server, and a cloud that outlives those who ask it."""

    api: FakeApi
    cloud: FakeVolumes = field(default_factory=FakeVolumes)

    def controllers(self) -> tuple[Controller[Any], ...]:
        return controllers(self.cloud)

    async def settled(self, client: Verbs | None = None) -> None:
        async with alive(client or self.api, self.controllers()) as loop:
            await Simulation(self.api, loop).rest()

    async def until(self, holds: Any) -> None:
        async with alive(self.api, self.controllers()) as loop:
            await Simulation(self.api, loop).until(holds)

    async def lived(self, deaths: Sequence[int]) -> None:
        """One after the other dies after so many writes; the last one comes to rest."""
        for writes in deaths:
            client = Mortal(self.api, writes)
            async with alive(client, self.controllers()) as loop:
                rest = asyncio.create_task(Simulation(self.api, loop).rest())
                died = asyncio.create_task(client.died.wait())
                await asyncio.wait([rest, died], return_when=asyncio.FIRST_COMPLETED, timeout=10)
                for one in (rest, died):
                    one.cancel()
                await asyncio.gather(rest, died, return_exceptions=True)
        await self.settled()

    def events(self, name: str) -> list[tuple[str, str]]:
        """Reasons and messages, in their order."""
        found = (one for one in self.api.all(Event) if one.involved_object.name == name)
        return [(one.reason, one.message) for one in found]

    def claim(self, name: str = "data") -> PersistentVolumeClaim:
        found = self.api.one(PersistentVolumeClaim, "a", name)
        assert found is not None
        return found

    def volume(self) -> PersistentVolume:
        (found,) = self.api.all(PersistentVolume)
        return found


def claim(size: str = "64Mi", node: str = "n1", klass: str = "cloud", **spec: Any) -> PersistentVolumeClaim:
    marks = {PROVISIONER: DRIVER} | ({SELECTED_NODE: node} if node else {})
    asked = VolumeResourceRequirements(requests={"storage": size})
    return PersistentVolumeClaim(
        metadata=ObjectMeta(name="data", namespace="a", annotations=marks),
        spec=PersistentVolumeClaimSpec(
            storage_class_name=klass,
            resources=asked,
            **{"access_modes": ("ReadWriteOnce",), "volume_mode": "Filesystem"} | spec,
        ),
    )


async def world() -> World:
    """A node in either zone and one in none, a class that waits for pods and one that does not."""
    made = World(FakeApi(*kinds_of(controllers(FakeVolumes())), Event))
    for name, labels in (("n1", {ZONE_KEY: "rack-1"}), ("n2", {ZONE_KEY: "rack-2"}), ("n3", {})):
        status = NodeStatus(node_info=NodeSystemInfo(boot_id="first"))
        await made.api.create(Node(metadata=ObjectMeta(name=name, labels=labels), status=status))
    for name, mode in (("cloud", LATER), ("now", "Immediate")):
        await made.api.create(
            StorageClass(
                metadata=ObjectMeta(name=name),
                provisioner=DRIVER,
                volume_binding_mode=mode,
                reclaim_policy="Delete",
                parameters={"pool": "default"},
            )
        )
    return made


def attachment(volume: PersistentVolume, node: str = "n1") -> VolumeAttachment:
    source = VolumeAttachmentSource(persistent_volume_name=volume.metadata.name)
    spec = VolumeAttachmentSpec(attacher=DRIVER, node_name=node, source=source)
    return VolumeAttachment(metadata=ObjectMeta(name=f"csi-{node}"), spec=spec)


async def bound(made: World) -> PersistentVolume:
    """As the binder does it."""
    volume, found = made.volume(), made.claim()
    found = await made.api.update(replace(found, spec=replace(found.spec, volume_name=volume.metadata.name)))
    await made.api.set_status(found, phase="Bound", capacity=dict(volume.spec.capacity))
    await made.api.set_status(volume, phase="Bound")
    return made.volume()


async def test_a_claim_gets_a_volume_in_the_zone_of_its_node() -> None:
    made = await world()
    await made.api.create(claim())
    await made.settled()

    volume, name = made.volume(), f"pvc-{made.claim().metadata.uid}"
    assert (volume.metadata.name, volume.metadata.finalizers) == (name, (PROVISIONER_FINALIZER,))
    assert made.cloud.made == {f"rack-1/default/{name}": 64 * MIB}
    assert volume.spec.capacity == {"storage": "64Mi"}
    csi, affinity = volume.spec.csi, volume.spec.node_affinity
    assert csi is not None
    assert (csi.driver, csi.volume_handle, csi.fs_type) == (DRIVER, f"rack-1/default/{name}", "ext4")
    assert affinity is not None
    assert affinity.required is not None
    ((rule,),) = (one.match_expressions for one in affinity.required.node_selector_terms)
    assert (rule.key, rule.values) == (ZONE_KEY, ("rack-1",))
    assert made.claim().metadata.finalizers == ()
    assert [reason for reason, _ in made.events("data")] == ["Provisioning", "ProvisioningSucceeded"]


async def test_where_there_is_no_room_the_scheduler_chooses_anew() -> None:
    made = await world()
    await made.api.create(claim("2Mi", "n2"))
    await made.until(lambda: SELECTED_NODE not in made.claim().metadata.annotations)

    assert made.claim().metadata.finalizers == ()
    assert made.cloud.made == {}
    assert made.api.all(PersistentVolume) == []
    (_, failed) = made.events("data")
    assert failed[0] == "ProvisioningFailed"
    assert 'volume with StorageClass "cloud": rpc error: code = ResourceExhausted desc = ' in failed[1]


async def test_a_claim_that_waits_for_no_pod_goes_where_there_is_most_room() -> None:
    made = await world()
    await made.api.create(claim("1Mi", "", "now"))
    await made.settled()
    assert [handle.partition("/")[0] for handle in made.cloud.made] == ["rack-1"]


async def test_allowed_topologies_are_kept_to() -> None:
    made = await world()
    found = made.api.one(StorageClass, "", "now")
    assert found is not None
    rule = TopologySelectorLabelRequirement(key=ZONE_KEY, values=("rack-2",))
    await made.api.update(
        replace(found, allowed_topologies=(TopologySelectorTerm(match_label_expressions=(rule,)),))
    )
    await made.api.create(claim("1Mi", "", "now"))
    await made.settled()
    assert [handle.partition("/")[0] for handle in made.cloud.made] == ["rack-2"]


@pytest.mark.parametrize(
    ("wanted", "why"),
    [
        (claim(access_modes=("ReadWriteMany",)), "access mode ReadWriteMany is not supported"),
        (claim(node="n3"), "node n3 has no label topology.kubernetes.io/zone"),
        (claim("2Gi", "", "now"), "no zone has room for"),
    ],
)
async def test_what_cannot_be_is_told_and_makes_nothing(wanted: PersistentVolumeClaim, why: str) -> None:
    made = await world()
    await made.api.create(wanted)
    await made.until(lambda: made.events("data"))

    assert [reason for reason, _ in made.events("data")][:1] == ["ProvisioningFailed"]
    assert why in made.events("data")[0][1]
    assert made.cloud.made == {}
    assert made.claim().metadata.finalizers == ()


async def test_a_cloud_that_does_not_answer_is_told_and_loses_nothing() -> None:
    made = await world()
    made.cloud.broken = True
    await made.api.create(claim())
    await made.until(lambda: any(reason == "ProvisioningFailed" for reason, _ in made.events("data")))
    assert "cannot ask rack-1" in dict(made.events("data"))["ProvisioningFailed"]
    made.cloud.broken = False
    await made.until(lambda: made.api.all(PersistentVolume))


@pytest.mark.parametrize("writes", range(4))
async def test_a_claim_that_is_deleted_while_its_volume_is_made_leaves_none(writes: int) -> None:
    made = await world()
    await made.api.create(claim())
    client = Mortal(made.api, writes)
    async with alive(client, made.controllers()):
        if writes < 3:
            await asyncio.wait_for(client.died.wait(), 10)
        else:
            await asyncio.sleep(0.2)
    await made.api.delete(made.claim())
    await made.settled()
    for volume in made.api.all(PersistentVolume):
        await made.api.set_status(volume, phase="Released")  # as the binder does: its claim is gone
    await made.settled()

    assert made.api.all(PersistentVolumeClaim) == []
    assert made.api.all(PersistentVolume) == []
    assert made.cloud.made == {}


async def test_a_volume_is_attached_told_of_and_detached() -> None:
    made = await world()
    await made.api.create(claim())
    await made.settled()
    volume = await bound(made)
    await made.api.create(attachment(volume))
    await made.settled()

    (found,) = made.api.all(VolumeAttachment)
    assert volume.spec.csi is not None
    handle = volume.spec.csi.volume_handle
    assert made.cloud.at == {handle: "n1"}
    assert found.metadata.finalizers == (ATTACHER_FINALIZER,)
    assert found.metadata.annotations == {HANDLE: handle}
    assert (found.status.attached, dict(found.status.attachment_metadata)) == (True, {"serial": handle})

    await made.api.delete(found)
    await made.settled()
    assert made.api.all(VolumeAttachment) == []
    assert made.cloud.at == {}


async def test_what_a_machine_has_is_given_to_no_other_one_and_not_removed() -> None:
    made = await world()
    await made.api.create(claim())
    await made.settled()
    volume = await bound(made)
    assert volume.spec.csi is not None
    made.cloud.at[volume.spec.csi.volume_handle] = "n2"
    await made.api.create(attachment(volume))

    def told() -> bool:
        (found,) = made.api.all(VolumeAttachment)
        return found.status.attach_error is not None

    await made.until(told)
    (found,) = made.api.all(VolumeAttachment)
    assert found.status.attach_error is not None
    assert "n2 has it" in found.status.attach_error.message
    assert not found.status.attached

    await made.api.delete(found)
    await made.settled()
    await made.api.set_status(volume, phase="Released")
    await made.until(lambda: made.events(volume.metadata.name))
    assert made.events(volume.metadata.name)[0][0] == "VolumeFailedDelete"
    assert len(made.cloud.made) == 1
    made.cloud.at.clear()
    await made.until(lambda: not made.cloud.made and not made.api.all(PersistentVolume))


async def test_a_machine_that_started_anew_gets_its_volumes_back() -> None:
    made = await world()
    await made.api.create(claim())
    await made.settled()
    await made.api.create(attachment(await bound(made)))
    async with alive(made.api, made.controllers()) as loop:
        simulation = Simulation(made.api, loop)
        await simulation.until(lambda: made.cloud.at)
        made.cloud.at.clear()
        node = made.api.one(Node, "", "n1")
        assert node is not None
        await made.api.set_status(node, nodeInfo={"bootID": "second"})
        await simulation.until(lambda: made.cloud.at)


async def test_a_claim_that_asks_for_more_gets_it_and_the_kubelet_is_told() -> None:
    made = await world()
    await made.api.create(claim())
    await made.settled()
    await bound(made)
    found = made.claim()
    asked = VolumeResourceRequirements(requests={"storage": "128Mi"})
    await made.api.update(replace(found, spec=replace(found.spec, resources=asked)))
    await made.settled()

    assert [*made.cloud.made.values()] == [128 * MIB]
    assert made.volume().spec.capacity == {"storage": "128Mi"}
    status = made.claim().status
    assert status.allocated_resource_statuses == {"storage": "NodeResizePending"}
    assert status.allocated_resources == {"storage": "128Mi"}
    assert status.capacity == {"storage": "64Mi"}
    assert [one.type for one in status.conditions] == ["FileSystemResizePending"]


async def test_a_volume_that_cannot_grow_says_so_and_less_may_be_asked_for() -> None:
    made = await world()
    await made.api.create(claim())
    await made.settled()
    await bound(made)
    for size in ("4Gi", "64Mi"):
        found, asked = made.claim(), VolumeResourceRequirements(requests={"storage": size})
        await made.api.update(replace(found, spec=replace(found.spec, resources=asked)))
        if size == "4Gi":
            await made.until(lambda: made.claim().status.allocated_resource_statuses)
            assert made.claim().status.allocated_resource_statuses == {
                "storage": "ControllerResizeInfeasible"
            }
            assert "VolumeResizeFailed" in dict(made.events("data"))
    await made.settled()

    assert made.claim().status.allocated_resource_statuses == {}
    assert made.claim().status.conditions == ()
    assert [*made.cloud.made.values()] == [64 * MIB]


async def test_a_retained_volume_is_left_alone() -> None:
    made = await world()
    await made.api.create(claim())
    await made.settled()
    volume = made.volume()
    kept = replace(volume, spec=replace(volume.spec, persistent_volume_reclaim_policy="Retain"))
    await made.api.update(kept)
    await made.settled()
    await made.api.set_status(made.volume(), phase="Released")
    await made.settled()

    assert made.volume().metadata.finalizers == ()
    assert len(made.cloud.made) == 1


async def test_the_scheduler_is_told_of_the_room_of_each_zone() -> None:
    made = await world()
    del made.cloud.left["rack-2"]
    await made.settled()
    (found,) = made.api.all(CSIStorageCapacity)

    assert (found.storage_class_name, found.capacity) == ("cloud", "1Gi")
    assert found.node_topology is not None
    assert found.node_topology.match_labels == {ZONE_KEY: "rack-1"}


async def snapshotted(made: World) -> None:
    """A class of snapshots, a bound claim, and a snapshot of it."""
    await made.api.create(
        VolumeSnapshotClass(
            metadata=ObjectMeta(name="cloud", annotations={DEFAULT: "true"}),
            driver=DRIVER,
            deletion_policy="Delete",
        )
    )
    await made.api.create(claim())
    await made.settled()
    await bound(made)
    source = VolumeSnapshotSource(persistent_volume_claim_name="data")
    await made.api.create(
        VolumeSnapshot(
            metadata=ObjectMeta(name="before", namespace="a"), spec=VolumeSnapshotSpec(source=source)
        )
    )


def snapshot(made: World) -> VolumeSnapshot:
    (found,) = made.api.all(VolumeSnapshot)
    return found


def restored(size: str = "64Mi", **spec: Any) -> PersistentVolumeClaim:
    asked = TypedLocalObjectReference(api_group=GROUP, kind="VolumeSnapshot", name="before")
    made = claim(size, data_source=asked, **spec)
    return replace(made, metadata=replace(made.metadata, name="restored"))


async def test_a_snapshot_is_taken_told_of_and_restored() -> None:
    made = await world()
    await snapshotted(made)
    await made.settled()

    status, (content,) = snapshot(made).status, made.api.all(VolumeSnapshotContent)
    assert status.ready_to_use
    assert (status.restore_size, status.bound_volume_snapshot_content_name) == (
        "64Mi",
        content.metadata.name,
    )
    handle = content.status.snapshot_handle
    assert made.cloud.made[handle] == 64 * MIB
    await made.api.create(restored("128Mi"))
    await made.settled()
    volume = next(one for one in made.api.all(PersistentVolume) if one.spec.capacity == {"storage": "128Mi"})
    assert volume.spec.csi is not None
    assert made.cloud.sources[volume.spec.csi.volume_handle] == handle


@pytest.mark.parametrize(
    ("wanted", "why"),
    [
        (restored("8Mi"), "requested volume size is less than the size 67108864 of snapshot before"),
        (
            restored(volume_mode="Block"),
            "snapshot before is of volumeMode Filesystem, and Block is asked for",
        ),
        (
            claim(data_source=TypedLocalObjectReference(kind="ConfigMap", name="data")),
            "a volume cannot be made from ConfigMap data",
        ),
    ],
)
async def test_what_a_snapshot_cannot_become_is_told(wanted: PersistentVolumeClaim, why: str) -> None:
    made = await world()
    await snapshotted(made)
    await made.settled()
    await made.api.create(replace(wanted, metadata=replace(wanted.metadata, name="restored")))
    await made.until(lambda: made.events("restored"))

    assert why in made.events("restored")[0][1]
    assert len(made.api.all(PersistentVolume)) == 1


async def test_a_claim_waits_for_its_snapshot() -> None:
    made = await world()
    await made.api.create(restored())
    await made.until(lambda: made.events("restored"))
    assert "snapshot before is not there, or not ready" in made.events("restored")[0][1]
    await snapshotted(made)
    await made.until(lambda: len(made.api.all(PersistentVolume)) == 2)


def cloned(size: str = "64Mi", name: str = "data", **spec: Any) -> PersistentVolumeClaim:
    asked = TypedLocalObjectReference(kind="PersistentVolumeClaim", name=name)
    made = claim(size, data_source=asked, **spec)
    return replace(made, metadata=replace(made.metadata, name="copy"))


async def test_a_claim_of_another_one_gets_what_its_volume_holds() -> None:
    made = await world()
    await made.api.create(cloned("128Mi"))
    await made.until(lambda: made.events("copy"))
    assert "claim data is not there, or not bound" in made.events("copy")[0][1]
    await made.api.create(claim())
    await made.until(lambda: made.api.all(PersistentVolume))
    origin = await bound(made)
    await made.until(lambda: len(made.api.all(PersistentVolume)) == 2)

    copy = next(one for one in made.api.all(PersistentVolume) if one.metadata.name != origin.metadata.name)
    assert (origin.spec.csi is not None, copy.spec.csi is not None) == (True, True)
    assert made.cloud.sources[copy.spec.csi.volume_handle] == origin.spec.csi.volume_handle  # type: ignore[union-attr]
    assert copy.spec.capacity == {"storage": "128Mi"}


async def test_a_volume_that_a_machine_has_is_cloned_when_it_is_free() -> None:
    made = await world()
    await made.api.create(claim())
    await made.settled()
    volume = await bound(made)
    await made.api.create(attachment(volume))
    await made.settled()
    await made.api.create(cloned(klass="now", node=""))
    await made.until(lambda: "ProvisioningFailed" in dict(made.events("copy")))
    assert "cannot copy volume" in dict(made.events("copy"))["ProvisioningFailed"]
    await made.api.delete(made.api.all(VolumeAttachment)[0])
    await made.settled()
    await made.until(lambda: len(made.api.all(PersistentVolume)) == 2)


@pytest.mark.parametrize(
    ("wanted", "why"),
    [
        (cloned("8Mi"), "requested volume size is less than the size 64Mi of claim data"),
        (cloned(volume_mode="Block"), "claim data is of volumeMode Filesystem, and Block is asked for"),
        (cloned(name="foreign"), f"the volume of claim foreign is not of {DRIVER}"),
    ],
)
async def test_what_a_clone_cannot_be_is_told(wanted: PersistentVolumeClaim, why: str) -> None:
    made = await world()
    await made.api.create(claim())
    await made.settled()
    await bound(made)
    foreign = claim(volume_name="elsewhere")
    foreign = await made.api.create(replace(foreign, metadata=replace(foreign.metadata, name="foreign")))
    await made.api.set_status(foreign, phase="Bound")
    await made.api.create(PersistentVolume(metadata=ObjectMeta(name="elsewhere")))
    await made.api.create(wanted)
    await made.until(lambda: any(why in text for _, text in made.events("copy")))

    assert len(made.api.all(PersistentVolume)) == 2


async def test_a_claim_whose_source_went_while_it_was_made_can_be_deleted() -> None:
    """It is marked, so what may have been made of it has to be found and go, and nothing to make it from is there."""
    made = await world()
    wanted = cloned()
    marked = replace(
        wanted.metadata,
        finalizers=(PROVISIONING_FINALIZER,),
        annotations={**wanted.metadata.annotations, CHOSEN_ZONE: "rack-1"},
    )
    await made.api.create(replace(wanted, metadata=marked))
    await made.until(lambda: made.events("copy"))
    await made.api.delete(made.claim("copy"))
    await made.until(lambda: not made.api.all(PersistentVolumeClaim))
    for volume in made.api.all(PersistentVolume):
        await made.api.set_status(volume, phase="Released")
    await made.settled()

    assert made.api.all(PersistentVolume) == []
    assert made.cloud.made == {}


async def test_a_volume_that_a_machine_has_is_not_copied_before_it_is_free() -> None:
    made = await world()
    await snapshotted(made)
    handle = next(iter(made.cloud.made))
    made.cloud.at[handle] = "n1"
    await made.until(lambda: snapshot(made).status.error)
    error = snapshot(made).status.error
    assert error is not None
    assert error.message == f"cannot copy volume {handle}: n1 has it"
    assert snapshot(made).status.ready_to_use is False
    made.cloud.at.clear()
    await made.settled()
    found = made.api.all(VolumeSnapshotContent)[0]
    await made.api.update(replace(found, metadata=replace(found.metadata, labels={"look": "again"})))
    await made.until(lambda: snapshot(made).status.ready_to_use)
    assert snapshot(made).status.error is None


@pytest.mark.parametrize("policy", ["Delete", "Retain"])
async def test_a_snapshot_goes_with_its_object_or_stays_by_its_policy(policy: str) -> None:
    made = await world()
    await snapshotted(made)
    await made.settled()
    (content,) = made.api.all(VolumeSnapshotContent)
    await made.api.update(replace(content, spec=replace(content.spec, deletion_policy=policy)))
    await made.api.delete(snapshot(made))
    await made.settled()

    assert made.api.all(VolumeSnapshot) == []
    assert (len(made.cloud.made), len(made.api.all(VolumeSnapshotContent))) == (
        (1, 0) if policy == "Delete" else (2, 1)
    )


@pytest.mark.parametrize("seed", range(4))
async def test_a_kill_while_a_snapshot_comes_or_goes_leaves_nothing(seed: int) -> None:
    chance = random.Random(seed)  # no secret
    made = await world()
    await snapshotted(made)
    await made.lived([chance.randrange(3) for _ in range(5)])
    assert snapshot(made).status.ready_to_use
    await made.api.delete(snapshot(made))
    await made.lived([chance.randrange(2) for _ in range(4)])

    assert (made.api.all(VolumeSnapshot), made.api.all(VolumeSnapshotContent)) == ([], [])
    assert len(made.cloud.made) == 1


@pytest.mark.parametrize("seed", range(6))
async def test_a_kill_between_any_two_writes_changes_nothing(seed: int) -> None:
    chance = random.Random(seed)  # no secret
    made = await world()
    await made.api.create(claim())
    await made.lived([chance.randrange(4) for _ in range(5)])
    assert len(made.cloud.made) == 1
    await made.api.create(attachment(await bound(made)))
    await made.lived([chance.randrange(3) for _ in range(4)])
    assert [*made.cloud.at.values()] == ["n1"]
    (found,) = made.api.all(VolumeAttachment)
    assert found.status.attached
    await made.api.delete(found)
    await made.lived([chance.randrange(2) for _ in range(3)])
    await made.api.delete(made.claim())
    await made.api.set_status(made.volume(), phase="Released")
    await made.lived([chance.randrange(3) for _ in range(4)])

    assert made.api.all(PersistentVolume) == []
    assert (made.cloud.made, made.cloud.at) == ({}, {})
