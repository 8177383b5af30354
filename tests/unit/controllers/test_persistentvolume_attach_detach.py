"""Volumes are attached where pods use them, and nowhere else."""

from datetime import timedelta
from typing import Any

import pytest

from kybern.api.core_v1 import (
    AttachedVolume,
    CSIPersistentVolumeSource,
    Node,
    NodeCondition,
    NodeSpec,
    NodeStatus,
    PersistentVolume,
    PersistentVolumeClaim,
    PersistentVolumeClaimSpec,
    PersistentVolumeClaimStatus,
    PersistentVolumeClaimVolumeSource,
    PersistentVolumeSpec,
    Pod,
    Taint,
    Volume,
)
from kybern.api.meta_v1 import ObjectMeta
from kybern.api.storage_v1 import (
    CSIDriver,
    CSIDriverSpec,
    VolumeAttachment,
    VolumeAttachmentSource,
    VolumeAttachmentSpec,
    VolumeAttachmentStatus,
    VolumeError,
)
from kybern.controllers import persistentvolume_attach_detach as attaching
from kybern.loop.controller import Again, Controller, Create, Delete, Emit, Key, PatchStatus
from kybern.loop.settings import Settings
from kybern.machinery.struct import Object, replace
from tests.unit.controllers.making import NOW, only, pod, view

UNIQUE = "kubernetes.io/csi/d^h"
USE = Volume(name="v", persistent_volume_claim=PersistentVolumeClaimVolumeSource(claim_name="data"))
CLAIM = PersistentVolumeClaim(
    metadata=ObjectMeta(name="data", namespace="a", uid="c"),
    spec=PersistentVolumeClaimSpec(volume_name="pv"),
    status=PersistentVolumeClaimStatus(phase="Bound"),
)


def volume(*modes: str) -> PersistentVolume:
    source = CSIPersistentVolumeSource(driver="d", volume_handle="h")
    return PersistentVolume(
        metadata=ObjectMeta(name="pv"),
        spec=PersistentVolumeSpec(csi=source, access_modes=modes or ("ReadWriteOnce",)),
    )


def node(name: str = "n1", *, in_use: bool = False, ready: bool = True, out: bool = False, attached: bool = False,
         managed: bool = True) -> Node:  # fmt: skip
    marks = {attaching.MANAGED: "true"} if managed else {}
    taints = (Taint(key=attaching.OUT_OF_SERVICE, value="nodeshutdown", effect="NoExecute"),) if out else ()
    return Node(
        metadata=ObjectMeta(name=name, annotations=marks),
        spec=NodeSpec(taints=taints),
        status=NodeStatus(
            conditions=(NodeCondition(type="Ready", status=str(ready)),),
            volumes_in_use=(UNIQUE,) if in_use else (),
            volumes_attached=(AttachedVolume(name=UNIQUE),) if attached else (),
        ),
    )


def user(name: str = "p", at: str = "n1") -> Pod:
    return pod(name, ready=True, node=at, volumes=(USE,))


def attachment(
    at: str = "n1", attached: bool = True, error: str = "", going: bool = False, name: str = ""
) -> VolumeAttachment:
    return VolumeAttachment(
        metadata=ObjectMeta(
            name=name or f"csi-{at.encode().hex():0>64}",
            uid=f"uid-{at}",
            deletion_timestamp=NOW if going else None,
        ),
        spec=VolumeAttachmentSpec(
            attacher="d", node_name=at, source=VolumeAttachmentSource(persistent_volume_name="pv")
        ),
        status=VolumeAttachmentStatus(
            attached=attached, attach_error=VolumeError(message=error) if error else None
        ),
    )


def made() -> Controller[Any]:
    return attaching.controller(Settings())


def done(*objects: Object, after: float = 0.0, by: Controller[Any] | None = None) -> list[Any]:
    controller = by or made()
    seen = view(controller, *objects)
    seen.now = NOW + timedelta(seconds=after)
    state = controller.observe(seen, Key("", "n1"))
    return list(controller.diff(state)) if state is not None else []


def listed(actions: list[Any]) -> list[list[str]]:
    return [[one.name for one in action.new.status.volumes_attached] for action in only(actions, PatchStatus)]


def test_a_pod_on_a_node_has_its_volume_attached() -> None:
    (action,) = done(node(), user(), CLAIM, volume())

    assert action.object.spec == attachment().spec
    # The SHA-256 of handle, driver and node: attachers and kubelets compute it, too.
    assert action.object.metadata.name == (
        "csi-8e3bb36fda804646cae96ea9b03b4b77d9b692e45ea0ddda23cccc30a6b1c3fe"
    )


@pytest.mark.parametrize(
    "objects",
    [
        (node(managed=False), user(), CLAIM, volume()),
        (node(), user(at="n2"), CLAIM, volume()),
        (node(), replace(user(), status=replace(user().status, phase="Succeeded")), CLAIM, volume()),
        (node(), user(), replace(CLAIM, status=PersistentVolumeClaimStatus(phase="Pending")), volume()),
        (node(), user(), CLAIM, PersistentVolume(metadata=ObjectMeta(name="pv"))),
        (node(), user(), CLAIM, volume(),
         CSIDriver(metadata=ObjectMeta(name="d"), spec=CSIDriverSpec(attach_required=False))),
        (node(), user(), CLAIM, volume(), attachment(attached=False)),
        (node(attached=True), user(), CLAIM, volume(), attachment()),
        # It is on its way out, and comes back once it is gone.
        (node(), user(), CLAIM, volume(), attachment(going=True)),
    ],
)  # fmt: skip
def test_nothing_is_to_be_done(objects: tuple[Object, ...]) -> None:
    assert done(*objects) == []


def test_the_kubelet_and_the_pod_are_told_once_it_is_attached() -> None:
    actions = done(node(), user(), CLAIM, volume(), attachment())

    assert listed(actions) == [[UNIQUE]]
    assert [(one.reason, one.message) for one in only(actions, Emit)] == [
        ("SuccessfulAttachVolume", 'AttachVolume.Attach succeeded for volume "pv" ')
    ]


def test_a_driver_that_fails_is_quoted() -> None:
    actions = done(node(), user(), CLAIM, volume(), attachment(attached=False, error="no disk"))

    assert [(one.reason, one.message) for one in actions] == [
        ("FailedAttachVolume", 'AttachVolume.Attach failed for volume "pv" : no disk')
    ]


def test_what_somebody_else_attached_is_left_to_them() -> None:
    assert done(node(), attachment(name="va-e2e"), volume()) != []
    assert only(done(node(), attachment(name="va-e2e")), Delete) == []
    assert only(done(node(), attachment(name="va-e2e"), after=9999), Delete) == []


def test_it_is_detached_when_nothing_uses_it() -> None:
    actions = done(node(attached=True), CLAIM, volume(), attachment())

    assert listed(actions) == [[]]
    assert isinstance(actions[-1], Delete)
    assert isinstance(actions[0], PatchStatus)


def test_a_node_that_is_gone_has_nothing_attached() -> None:
    assert [type(one) for one in done(volume(), attachment())] == [Delete]


@pytest.mark.parametrize(
    ("on", "after", "leaves"),
    [
        (node(in_use=True, attached=True), 0, False),
        (node(in_use=True, attached=True), 9999, False),
        (node(in_use=True, attached=True, ready=False), 300, False),
        (node(in_use=True, attached=True, ready=False), 361, True),
        (node(in_use=True, attached=True, ready=False, out=True), 0, True),
        (node(attached=True, ready=False), 0, True),
    ],
)
def test_what_is_mounted_stays_unless_the_node_is_lost(on: Node, after: float, leaves: bool) -> None:
    controller = made()
    done(on, CLAIM, volume(), attachment(), by=controller)

    actions = done(on, CLAIM, volume(), attachment(), after=after, by=controller)

    assert bool(only(actions, Delete)) is leaves
    assert bool(only(actions, Again)) is not leaves


def test_the_time_begins_anew_when_a_pod_comes_back() -> None:
    controller, lost = made(), node(in_use=True, attached=True, ready=False)
    done(lost, CLAIM, volume(), attachment(), by=controller)
    done(lost, user(), CLAIM, volume(), attachment(), after=200, by=controller)

    assert not only(done(lost, CLAIM, volume(), attachment(), after=400, by=controller), Delete)


OTHER = "Volume is already exclusively attached to one node and can't be attached to another"


@pytest.mark.parametrize(
    ("there", "why"),
    [((), OTHER), ((user("q", "n2"),), "Volume is already used by pod(s) q")],
)
def test_one_node_at_a_time(there: tuple[Pod, ...], why: str) -> None:
    (event,) = done(node(), user(), CLAIM, volume(), attachment("n2"), *there)

    assert event == Emit(user(), "Warning", "FailedAttachVolume", f'Multi-Attach error for volume "pv" {why}')


def test_volumes_of_many_nodes_are_attached_to_many() -> None:
    assert only(done(node(), user(), CLAIM, volume("ReadWriteMany"), attachment("n2")), Create)


def test_who_wakes_a_node() -> None:
    seen = view(made(), user(), CLAIM)

    assert list(attaching.nodes_by(CLAIM, seen)) == [Key("", "n1")]
    assert list(attaching.node_of(user(at=""), seen)) == []
    assert list(attaching.nodes_of(attachment("n2"), seen)) == [Key("", "n2")]
