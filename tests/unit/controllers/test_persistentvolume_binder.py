"""Claims and volumes come together, or say why they do not."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from kybern.api.core_v1 import (
    CSIPersistentVolumeSource,
    HostPathVolumeSource,
    NFSVolumeSource,
    ObjectReference,
    PersistentVolume,
    PersistentVolumeClaim,
    PersistentVolumeClaimSpec,
    PersistentVolumeClaimStatus,
    PersistentVolumeClaimVolumeSource,
    PersistentVolumeSpec,
    PersistentVolumeStatus,
    Pod,
    PodStatus,
    Volume,
    VolumeResourceRequirements,
)
from kybern.api.meta_v1 import LabelSelector, ObjectMeta, OwnerReference
from kybern.api.storage_v1 import StorageClass
from kybern.controllers import persistentvolume_binder as binder
from kybern.controllers.persistentvolume_binder import recycling
from kybern.controllers.persistentvolume_binder.volumes import reclaiming
from kybern.loop import volumes as match
from kybern.loop.controller import Again, Create, Delete, Emit, Key, Patch, PatchStatus
from kybern.loop.settings import Settings
from kybern.machinery.struct import Object
from tests.unit.controllers.making import ago, only, pod, view

CONTROLLER = binder.controller(Settings())
DONE = {"pv.kubernetes.io/bind-completed": "yes", "pv.kubernetes.io/bound-by-controller": "yes"}
BY_US = {"pv.kubernetes.io/bound-by-controller": "yes"}
MADE = {"pv.kubernetes.io/provisioned-by": "csi.example.com"}


def volume(
    name: str = "v",
    size: str = "5Gi",
    *,
    to: str = "",
    uid: str = "uid-data",
    phase: str = "Available",
    modes: tuple[str, ...] = ("ReadWriteOnce",),
    marks: dict[str, str] | None = None,
    labels: dict[str, str] | None = None,
    **spec: Any,
) -> PersistentVolume:
    ref = ObjectReference(namespace="a", name=to, uid=uid, kind="PersistentVolumeClaim") if to else None
    return PersistentVolume(
        metadata=ObjectMeta(name=name, uid=f"uid-{name}", annotations=marks or {}, labels=labels or {}),
        spec=PersistentVolumeSpec(capacity={"storage": size}, access_modes=modes, claim_ref=ref, **spec),
        status=PersistentVolumeStatus(phase=phase),
    )


def claim(
    size: str = "3Gi", *, marks: dict[str, str] | None = None, phase: str = "Pending", **spec: Any
) -> PersistentVolumeClaim:
    wanted: dict[str, Any] = {"access_modes": ("ReadWriteOnce",), **spec}
    return PersistentVolumeClaim(
        metadata=ObjectMeta(name="data", namespace="a", uid="uid-data", annotations=marks or {}),
        spec=PersistentVolumeClaimSpec(
            resources=VolumeResourceRequirements(requests={"storage": size}), **wanted
        ),
        status=PersistentVolumeClaimStatus(phase=phase),
    )


def storage(
    name: str, provisioner: str = "csi.example.com", *, late: bool = False, **marks: Any
) -> StorageClass:
    default = {binder.DEFAULT: "true"} if marks.get("default") else {}
    return StorageClass(
        metadata=ObjectMeta(name=name, annotations=default, creation_timestamp=ago(marks.get("age", 9))),
        provisioner=provisioner,
        volume_binding_mode="WaitForFirstConsumer" if late else "Immediate",
    )


def done(item: Any, *others: Object, live: Any = None) -> list[Any]:
    seen = view(CONTROLLER, item, *others, live=lambda _: live)
    state = CONTROLLER.observe(seen, Key(item.metadata.namespace, item.metadata.name))
    assert state is not None
    return list(CONTROLLER.diff(state))


def said(actions: list[Any]) -> list[tuple[str, str]]:
    return [(one.reason, one.message) for one in actions if isinstance(one, Emit)]


def phases(actions: list[Any]) -> list[str]:
    return [one.new.status.phase for one in only(actions, PatchStatus)]


def bound(actions: list[Any]) -> list[str]:
    """The names of the volumes that claims were given."""
    found = [one.new for one in actions if isinstance(one, Patch)]
    return [one.spec.volume_name for one in found if isinstance(one, PersistentVolumeClaim)]


GOLD: dict[str, Any] = {"storage_class_name": "gold"}
NONE: dict[str, Any] = {"storage_class_name": ""}
RWX, ROX = ("ReadWriteOnce", "ReadWriteMany"), ("ReadOnlyMany",)
IN_X = LabelSelector(match_labels={"zone": "x"})
OLD = {"volume.beta.kubernetes.io/storage-class": "gold"}


@pytest.mark.parametrize(
    ("asking", "volumes", "wanted"),
    [
        (claim(), [volume("a", "9Gi"), volume("b", "3Gi"), volume("c", "5Gi")], "b"),
        (claim(), [volume("a", "1Gi"), volume("b", "2Gi")], None),
        (claim("1024Mi"), [volume("a", "1Gi")], "a"),
        (claim("1G"), [volume("a", "1Gi"), volume("b", "1000M")], "b"),
        (claim(), [volume("a", modes=RWX, size="3Gi"), volume("b", "9Gi")], "b"),
        (claim(access_modes=("ReadWriteMany",)), [volume("a"), volume("b", modes=RWX)], "b"),
        (claim(access_modes=RWX), [volume("a", modes=("ReadWriteMany",))], None),
        (claim(access_modes=ROX), [volume("a")], None),
        (claim(volume_mode="Block"), [volume("a")], None),
        (claim(volume_mode="Block"), [volume("a", volume_mode="Block")], "a"),
        (claim(volume_mode="Filesystem"), [volume("a")], "a"),
        (claim(), [volume("a", volume_mode="Block")], None),
        (claim(**GOLD), [volume("a")], None),
        (claim(**GOLD), [volume("a", **GOLD)], "a"),
        (claim(**GOLD), [volume("a", marks=OLD)], "a"),
        (claim(marks=OLD), [volume("a", **GOLD)], "a"),
        (claim(), [volume("a", **GOLD)], None),
        (claim(**NONE), [volume("a")], "a"),
        (claim(selector=IN_X), [volume("a")], None),
        (claim(selector=IN_X), [volume("a", labels={"zone": "y"}), volume("b", labels={"zone": "x"})], "b"),
        (claim(selector=LabelSelector()), [volume("a")], "a"),
        (claim(), [volume("a", volume_attributes_class_name="fast")], None),
        (claim(volume_attributes_class_name="fast"), [volume("a")], None),
        (claim(volume_attributes_class_name="fast"), [volume("a", volume_attributes_class_name="fast")], "a"),
        (claim(volume_attributes_class_name=""), [volume("a")], "a"),
        (claim(), [volume("a", phase="Pending")], None),
        (claim(), [volume("a", phase="Released")], None),
        (claim(), [volume("a", phase="Failed")], None),
        (claim(), [volume("a", to="other", uid="")], None),
        (claim(), [volume("a"), volume("b", "9Gi", to="data", uid="")], "b"),
        (claim(), [volume("a"), volume("b", to="data", phase="Pending")], "b"),
        (claim(), [volume("a"), volume("b", "1Gi", to="data", uid="")], "a"),
        (claim(), [volume("b", to="data", uid="uid-of-another")], None),
        (claim(), [volume("b", "9Gi"), volume("a", "9Gi")], "a"),
        (claim(**GOLD), [volume("b", to="data", uid="", **NONE)], "b"),
        (claim(), [volume("b", to="data", uid="", volume_mode="Block")], None),
    ],
)  # fmt: skip
def test_the_volume_that_fits_best(
    asking: PersistentVolumeClaim, volumes: list[PersistentVolume], wanted: str | None
) -> None:
    found = match.best(asking, volumes, delayed=False)

    assert (found.metadata.name if found is not None else None) == wanted


@given(some.lists(some.integers(1, 40), max_size=12), some.integers(1, 40))
def test_the_smallest_that_is_large_enough(sizes: list[int], wanted: int) -> None:
    volumes = [volume(f"v{number}", f"{size}Gi") for number, size in enumerate(sizes)]

    found = match.best(claim(f"{wanted}Gi"), volumes, delayed=False)

    large = sorted(size for size in sizes if size >= wanted)
    assert (found.spec.capacity["storage"] if found is not None else None) == (
        f"{large[0]}Gi" if large else None
    )


def test_a_claim_that_waits_for_a_pod_gets_only_what_names_it() -> None:
    assert match.best(claim(), [volume("a")], delayed=True) is None
    assert match.best(claim(), [volume("a"), volume("b", to="data", uid="")], delayed=True) is not None


@pytest.mark.parametrize(
    ("asking", "asked", "why"),
    [
        (claim(), volume(), ""),
        (claim("9Gi"), volume(), "requested PV is too small"),
        (claim(**GOLD), volume(), "storageClassName does not match"),
        (claim(volume_mode="Block"), volume(), "incompatible volumeMode"),
        (claim(access_modes=RWX), volume(), "incompatible accessMode"),
        (claim(volume_attributes_class_name="fast"), volume(), "volumeAttributesClassName does not match"),
    ],
)  # fmt: skip
def test_why_a_claim_may_not_have_what_it_names(
    asking: PersistentVolumeClaim, asked: PersistentVolume, why: str
) -> None:
    assert match.refusal(asked, asking) == why


def test_binding_writes_the_volume_first() -> None:
    first, second = done(claim(), volume())

    ref = first.new.spec.claim_ref
    assert (ref.namespace, ref.name, ref.uid) == ("a", "data", "uid-data")
    assert first.new.metadata.annotations == BY_US
    assert (second.new.spec.volume_name, second.new.metadata.annotations) == ("v", DONE)


def test_then_both_are_bound() -> None:
    asked = claim(marks=DONE, volume_name="v")
    actions = done(asked, volume(to="data", marks=BY_US))

    assert phases(actions) == ["Bound", "Bound"]
    assert dict(actions[1].new.status.capacity) == {"storage": "5Gi"}
    assert actions[1].new.status.access_modes == ("ReadWriteOnce",)


def test_a_volume_that_was_prebound_is_not_marked_as_ours() -> None:
    first, second = done(claim(), volume(to="data", uid=""))

    assert (first.new.spec.claim_ref.uid, first.new.metadata.annotations) == ("uid-data", {})
    assert second.new.metadata.annotations == DONE


def test_a_claim_that_names_its_volume_is_not_marked_as_ours() -> None:
    first, second = done(claim(volume_name="v"), volume())

    assert first.new.metadata.annotations == BY_US
    assert second.new.metadata.annotations == {"pv.kubernetes.io/bind-completed": "yes"}


def test_the_capacity_of_a_bound_claim_is_left_to_who_resizes() -> None:
    old = PersistentVolumeClaimStatus(
        phase="Bound", access_modes=("ReadWriteOnce",), capacity={"storage": "5Gi"}
    )
    asked = PersistentVolumeClaim(
        metadata=claim(marks=DONE).metadata, spec=claim(volume_name="v").spec, status=old
    )

    assert done(asked, volume("v", "9Gi", to="data", phase="Bound")) == []


NO_CLASS = "no persistent volumes available for this claim and no storage class is set"
PROVISION = (
    "Waiting for a volume to be created either by the external provisioner 'csi.example.com' or manually by the "
    "system administrator. If volume creation is delayed, please verify that the provisioner is running and "
    "correctly registered."
)
FIRST = "waiting for first consumer to be created before binding"
MARKED = {
    "volume.kubernetes.io/storage-provisioner": "csi.example.com",
    "volume.beta.kubernetes.io/storage-provisioner": "csi.example.com",
}
AT = {"volume.kubernetes.io/selected-node": "n1"}
USES: dict[str, Any] = {
    "volumes": (
        Volume(name="v", persistent_volume_claim=PersistentVolumeClaimVolumeSource(claim_name="data")),
    )
}


@pytest.mark.parametrize(
    ("asking", "others", "events"),
    [
        (claim(), [], [("FailedBinding", NO_CLASS)]),
        (claim(**NONE), [storage("std", default=True)], [("FailedBinding", NO_CLASS)]),
        (claim(**GOLD), [], [("ProvisioningFailed", 'storageclass.storage.k8s.io "gold" not found')]),
        (claim(**GOLD), [storage("gold")], [("ExternalProvisioning", PROVISION)]),
        (claim(marks=MARKED, **GOLD), [storage("gold")], [("ExternalProvisioning", PROVISION)]),
        (claim(**GOLD), [storage("gold", "kubernetes.io/no-provisioner")],
         [("ProvisioningFailed", "no volume plugin matched name: kubernetes.io/no-provisioner")]),
        (claim(**GOLD), [storage("gold", "kubernetes.io/host-path")],
         [("ProvisioningFailed",
           'Failed to create provisioner: provisioning in volume plugin "kubernetes.io/host-path" is disabled')]),
        (claim(**GOLD), [storage("gold", "kubernetes.io/nfs")],
         [("ProvisioningFailed", "no provisionable volume plugin matched")]),
        (claim(**GOLD), [storage("gold", late=True)], [("WaitForFirstConsumer", FIRST)]),
        (claim(**GOLD), [storage("gold", late=True), volume(**GOLD)], [("WaitForFirstConsumer", FIRST)]),
        (claim(**GOLD), [storage("gold", late=True), pod("p", **USES)],
         [("WaitForPodScheduled", "waiting for pod p to be scheduled")]),
        (claim(**GOLD), [storage("gold", late=True), pod("q", **USES), pod("p", **USES)],
         [("WaitForPodScheduled", "waiting for pods p,q to be scheduled")]),
        (claim(**GOLD), [storage("gold", late=True), pod("p", node="n1", **USES)], [("WaitForFirstConsumer", FIRST)]),
        (claim(marks=AT, **GOLD), [storage("gold", late=True)], [("ExternalProvisioning", PROVISION)]),
        (claim(volume_name="v"), [], []),
        (claim(volume_name="v"), [volume("v", "1Gi")],
         [("VolumeMismatch", 'Cannot bind to requested volume "v": requested PV is too small')]),
        (claim(volume_name="v"), [volume("v", to="other", uid="uid-o")],
         [("FailedBinding", 'volume "v" already bound to a different claim.')]),
        (claim(), [storage("std", default=True)], []),
        (claim(), [volume()], []),
    ],
)  # fmt: skip
def test_what_a_claim_is_told(
    asking: PersistentVolumeClaim, others: list[Object], events: list[tuple[str, str]]
) -> None:
    assert said(done(asking, *others)) == events


def test_a_driver_is_told_by_both_annotations() -> None:
    (action,) = only(done(claim(**GOLD), storage("gold")), Patch)
    assert action.new.metadata.annotations == MARKED

    (action,) = only(done(claim(**GOLD), storage("gold", "kubernetes.io/aws-ebs")), Patch)
    assert set(action.new.metadata.annotations.values()) == {"ebs.csi.aws.com"}


def test_a_default_class_is_given_late_and_the_newest_counts() -> None:
    classes = storage("old", default=True, age=99), storage("new", default=True, age=1), storage("x", age=0)
    (action,) = done(claim(), *classes)

    assert action.new.spec.storage_class_name == "new"
    assert bound(done(claim(), volume(), *classes)) == ["v"]


LOST = "Bound claim has lost its PersistentVolume. Data on the volume is lost!"
LOST_REF = "Bound claim has lost reference to PersistentVolume. Data on the volume is lost!"
MISBOUND = "Two claims are bound to the same volume, this one is bound incorrectly"


@pytest.mark.parametrize(
    ("named", "others", "event"),
    [
        ("v", [], ("ClaimLost", LOST)),
        ("", [volume(to="data")], ("ClaimLost", LOST_REF)),
        ("v", [volume(to="other", uid="uid-o")], ("ClaimMisbound", MISBOUND)),
    ],
)
def test_a_claim_is_lost_once(named: str, others: list[Object], event: tuple[str, str]) -> None:
    actions = done(claim(marks=DONE, phase="Bound", volume_name=named), *others)
    assert (phases(actions), said(actions)) == (["Lost"], [event])

    assert done(claim(marks=DONE, phase="Lost", volume_name=named), *others) == []


def test_a_claim_is_not_lost_for_a_cache_that_lags() -> None:
    asked = claim(marks=DONE, phase="Bound", volume_name="v")

    assert said(done(asked, live=volume(to="data", phase="Bound"))) == []


DELETE: dict[str, Any] = {"persistent_volume_reclaim_policy": "Delete"}
RETAIN: dict[str, Any] = {"persistent_volume_reclaim_policy": "Retain"}
RECYCLE: dict[str, Any] = {"persistent_volume_reclaim_policy": "Recycle"}


@pytest.mark.parametrize(
    ("found", "others", "live", "phase"),
    [
        (volume(phase="Pending"), [], None, ["Available"]),
        (volume(), [], None, []),
        (volume(phase="Pending", to="data", uid=""), [], None, ["Available"]),
        (volume(to="data"), [claim(volume_name="v", marks=DONE)], None, ["Bound"]),
        (volume(to="data"), [claim()], None, []),
        (volume(to="data", phase="Bound", **RETAIN), [], None, ["Released"]),
        (volume(to="data", phase="Bound", **RETAIN), [], claim(volume_name="v"), []),
        (volume(to="data", phase="Bound", uid="uid-before"), [claim(volume_name="v")], claim(), ["Released"]),
        (volume(to="data", phase="Released", **RETAIN), [], None, []),
        (volume(to="data", phase="Released", marks=MADE, **DELETE), [], None, []),
        (volume(to="data", phase="Released", **DELETE), [], None, ["Failed"]),
        (volume(to="data", phase="Released", **RECYCLE), [], None, ["Failed"]),
        (volume(to="data", phase="Failed", **RECYCLE), [], None, []),
        (volume(to="data", phase="Bound", marks=MADE, **DELETE), [claim(volume_name="w")], None, ["Released"]),
    ],
)  # fmt: skip
def test_the_phase_of_a_volume(
    found: PersistentVolume, others: list[Object], live: Any, phase: list[str]
) -> None:
    assert phases(done(found, *others, live=live)) == phase


def test_a_volume_whose_claim_went_elsewhere_is_let_go() -> None:
    elsewhere = claim(volume_name="w")

    (action,) = done(volume(to="data", marks=BY_US), elsewhere)
    assert (action.new.spec.claim_ref, action.new.metadata.annotations) == (None, {})

    (action,) = done(volume(to="data"), elsewhere)
    assert (action.new.spec.claim_ref.name, action.new.spec.claim_ref.uid) == ("data", "")


OF_VOLUME = (
    'Cannot bind PersistentVolume to requested PersistentVolumeClaim "data" due to incompatible volumeMode.'
)
OF_CLAIM = (
    'Cannot bind PersistentVolume "v" to requested PersistentVolumeClaim due to incompatible volumeMode.'
)


def test_both_are_told_that_their_modes_differ() -> None:
    actions = done(volume(to="data", volume_mode="Block"), claim())

    assert said(actions) == [("VolumeMismatch", OF_VOLUME), ("VolumeMismatch", OF_CLAIM)]


CSI = CSIPersistentVolumeSource(driver="d", volume_handle="h")
BY_SPEC = 'error getting deleter volume plugin for volume "v": '


@pytest.mark.parametrize(
    ("found", "reason", "message"),
    [
        (volume(**RETAIN), "", ""),
        (volume(marks=MADE, **DELETE), "", ""),
        (volume(marks={"pv.kubernetes.io/provisioned-by": "kubernetes.io/gce-pd"}, **DELETE), "", ""),
        (volume(marks={"pv.kubernetes.io/provisioned-by": "kubernetes.io/rbd"}, **DELETE),
         "VolumeFailedDelete", "no volume plugin matched name: kubernetes.io/rbd"),
        (volume(marks={"pv.kubernetes.io/migrated-to": "d"}, **DELETE), "", ""),
        (volume(host_path=HostPathVolumeSource(path="/data"), **DELETE),
         "VolumeFailedDelete", "host_path deleter only supports /tmp/.+ but received provided /data"),
        (volume(host_path=HostPathVolumeSource(path="/tmp/data"), **DELETE), "", ""),
        (volume(csi=CSI, **DELETE), "VolumeFailedDelete", BY_SPEC + "no deletable volume plugin matched"),
        (volume(**DELETE), "VolumeFailedDelete", BY_SPEC + "no volume plugin matched"),
        (volume(**RECYCLE), "VolumeFailedRecycle", "No recycler plugin found for the volume!"),
        (volume(persistent_volume_reclaim_policy="Burn"),
         "VolumeUnknownReclaimPolicy", "Volume has unrecognized PersistentVolumeReclaimPolicy"),
    ],
)  # fmt: skip
def test_what_becomes_of_a_released_volume(found: PersistentVolume, reason: str, message: str) -> None:
    assert reclaiming(found) == (reason, message)


def test_a_path_below_tmp_is_forgotten_with_its_claim() -> None:
    tmp = {"host_path": HostPathVolumeSource(path="/tmp/data"), **DELETE}
    released = volume(to="data", phase="Released", **tmp)

    assert done(released) == [Delete(released)]
    assert not only(done(volume(to="data", phase="Released", marks=MADE, **tmp)), Delete)
    assert phases(done(volume(to="data", phase="Bound", **tmp))) == ["Released"]


OLD_PATH: dict[str, Any] = {"host_path": HostPathVolumeSource(path="/data"), **RECYCLE}


def recycler(phase: str, age: float = 1, message: str = "", owner: str = "uid-v", **more: Any) -> Pod:
    owners = (OwnerReference(api_version="v1", kind="PersistentVolume", name="v", uid=owner),)
    meta = ObjectMeta(
        name="recycler-for-v",
        namespace="default",
        uid="uid-r",
        owner_references=owners,
        creation_timestamp=ago(age),
        **more,
    )
    return Pod(metadata=meta, status=PodStatus(phase=phase, message=message))


def test_a_pod_empties_a_volume() -> None:
    released = volume(to="data", phase="Released", marks=BY_US, **OLD_PATH)

    (made,) = only(done(released), Create)
    assert (made.object.metadata.namespace, made.object.metadata.name) == ("default", "recycler-for-v")
    assert made.object.spec.volumes[0].host_path.path == "/data"
    assert made.object.spec.active_deadline_seconds == 150
    assert done(released, recycler("Running")) == []

    emptied = done(released, recycler("Succeeded"))
    (freed,) = only(emptied, Patch)
    assert freed.new.spec.claim_ref is None
    assert [one.object.metadata.name for one in only(emptied, Delete)] == ["recycler-for-v"]
    assert said(emptied) == [("VolumeRecycled", "Volume recycled")]


@pytest.mark.parametrize(("size", "source", "longest"), [
    ("1Gi", {"host_path": HostPathVolumeSource(path="/x")}, 60),
    ("10Gi", {"host_path": HostPathVolumeSource(path="/x")}, 300),
    ("1Gi", {"nfs": NFSVolumeSource(server="s", path="/x")}, 300),
    ("11Gi", {"nfs": NFSVolumeSource(server="s", path="/x")}, 330),
])  # fmt: skip
def test_larger_volumes_may_take_longer(size: str, source: dict[str, Any], longest: int) -> None:
    assert recycling.seconds(volume(size=size, **source)) == longest


def test_what_cannot_be_emptied_fails_and_is_tried_again_later() -> None:
    released = volume(to="data", phase="Released", **OLD_PATH)
    failed = volume(to="data", phase="Failed", **OLD_PATH)

    first = done(released, recycler("Failed", message="no space"))
    assert phases(first) == ["Failed"]
    assert said(first) == [("VolumeFailedRecycle", "Recycle failed: no space")]
    assert [one.seconds for one in only(first, Again)] == [299]
    unknown = said(done(released, recycler("Failed")))
    assert unknown == [("VolumeFailedRecycle", "Recycle failed: pod failed, pod.Status.Message unknown")]

    assert [one.seconds for one in only(done(failed, recycler("Failed", age=200)), Again)] == [100]
    assert len(only(done(failed, recycler("Failed", age=301)), Delete)) == 1
    assert len(only(done(failed), Create)) == 1


def test_a_pod_that_is_not_ours_empties_nothing() -> None:
    released = volume(to="data", phase="Released", **OLD_PATH)

    (action,) = done(released, recycler("Succeeded", owner="uid-of-another"))
    assert isinstance(action, Delete)
    assert done(released, recycler("Succeeded", deletion_timestamp=ago(1))) == []


def test_a_volume_in_use_is_not_emptied() -> None:
    released = volume(to="data", phase="Released", **OLD_PATH)

    used = done(released, pod("p", node="n1", **USES))

    assert said(used) == [("VolumeFailedRecycle", "Volume is used by pods: a/p")]
    assert not only(used, Create)


def test_who_is_woken() -> None:
    asking, prebound = claim(**GOLD), volume("w", to="data", uid="")
    seen = view(CONTROLLER, asking, prebound)

    assert set(binder.of_volume(volume(**GOLD), seen)) == {Key("", "v"), Key("a", "data")}
    assert set(binder.of_volume(volume(), seen)) == {Key("", "v")}
    assert set(binder.of_volume(prebound, seen)) == {Key("", "w"), Key("a", "data")}
    assert list(binder.of_claim(asking, seen)) == [Key("", "w")]
    assert list(binder.of_class(storage("gold"), seen)) == [Key("a", "data")]
    assert list(binder.of_class(storage("std", default=True), view(CONTROLLER, claim()))) == [
        Key("a", "data")
    ]
    assert list(binder.waiting_claims(pod("p", **USES), seen)) == [Key("a", "data")]
