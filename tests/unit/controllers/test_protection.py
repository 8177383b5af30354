"""What is in use is not deleted: claims, volumes, classes of attributes."""

from typing import Any

import pytest

from kybern.api.core_v1 import (
    EphemeralVolumeSource,
    ModifyVolumeStatus,
    PersistentVolume,
    PersistentVolumeClaim,
    PersistentVolumeClaimSpec,
    PersistentVolumeClaimStatus,
    PersistentVolumeClaimVolumeSource,
    PersistentVolumeSpec,
    PersistentVolumeStatus,
    Pod,
    Volume,
)
from kybern.api.meta_v1 import ObjectMeta
from kybern.api.storage_v1 import VolumeAttributesClass
from kybern.controllers import (
    persistentvolume_protection,
    persistentvolumeclaim_protection,
    volumeattributesclass_protection,
)
from kybern.loop.controller import Key, Patch
from kybern.loop.owners import controller_reference
from kybern.loop.settings import Settings
from kybern.machinery.struct import Object, replace
from tests.unit.controllers.making import NOW, only, pod, view


def finalizers(actions: list[Any]) -> list[tuple[str, ...]]:
    return [action.new.metadata.finalizers for action in only(actions, Patch)]


def meta(name: str, *held: str, going: bool = False, namespace: str = "", **more: Any) -> ObjectMeta:
    deleted = NOW if going else None
    return ObjectMeta(name=name, namespace=namespace, finalizers=held, deletion_timestamp=deleted, **more)


CLAIM = "kubernetes.io/pvc-protection"
USE = Volume(name="v", persistent_volume_claim=PersistentVolumeClaimVolumeSource(claim_name="data"))
OWN = Volume(name="v", ephemeral=EphemeralVolumeSource())


def user(volume: Volume = USE, node: str = "n1", **metadata: Any) -> Pod:
    found = pod("data" if volume is USE else "web", node=node, volumes=(volume,))
    return replace(found, metadata=replace(found.metadata, **metadata))


def claim(
    name: str = "data", *held: str, going: bool = True, owner: Pod | None = None
) -> PersistentVolumeClaim:
    owners = (controller_reference(owner),) if owner is not None else ()
    return PersistentVolumeClaim(
        metadata=meta(name, *(held or (CLAIM, "other")), going=going, namespace="a", owner_references=owners)
    )


def done(found: PersistentVolumeClaim, *cached: Object, live: tuple[Pod, ...] = ()) -> list[Any]:
    controller = persistentvolumeclaim_protection.controller(Settings())
    seen = view(controller, found, *cached, live=lambda _: live)
    state = controller.observe(seen, Key("a", found.metadata.name))
    assert state is not None
    return finalizers(list(controller.diff(state)))


def test_a_claim_that_nobody_uses_goes() -> None:
    assert done(claim(), user(node="")) == [("other",)]


def test_a_claim_stays_for_a_pod_on_a_node() -> None:
    assert done(claim(), user()) == []


def test_a_claim_stays_for_a_pod_that_only_the_server_knows() -> None:
    assert done(claim(), live=(user(),)) == []


def test_a_claim_that_is_not_being_deleted_is_held() -> None:
    assert done(claim("data", "other", going=False)) == [("other", CLAIM)]
    assert done(claim(going=False)) == []


def test_a_claim_that_others_hold_is_theirs() -> None:
    assert done(claim("data", "other")) == []


@pytest.mark.parametrize(
    ("shut_down", "owned", "kept"),
    [(False, True, True), (True, True, False), (False, False, False)],
    ids=["its own", "its own, after the end", "of another pod"],
)
def test_a_claim_made_for_a_pod_stays_until_its_kubelet_is_done(
    shut_down: bool, owned: bool, kept: bool
) -> None:
    going: dict[str, Any] = {"deletion_timestamp": NOW, "deletion_grace_period_seconds": 0}
    of = user(OWN, **(going if shut_down else {}))

    assert (done(claim("web-v", owner=of if owned else None), of) == []) is kept


@pytest.mark.parametrize(("phase", "left"), [("Bound", []), ("Released", [()]), ("Available", [()])])
def test_a_volume_stays_while_it_is_bound(phase: str, left: list[Any]) -> None:
    volume = PersistentVolume(
        metadata=meta("v", "kubernetes.io/pv-protection", going=True),
        status=PersistentVolumeStatus(phase=phase),
    )

    assert finalizers(list(persistentvolume_protection.diff(volume))) == left


USERS = [
    PersistentVolume(metadata=meta("u"), spec=PersistentVolumeSpec(volume_attributes_class_name="gold")),
    PersistentVolumeClaim(
        metadata=meta("u", namespace="a"), spec=PersistentVolumeClaimSpec(volume_attributes_class_name="gold")
    ),
    PersistentVolumeClaim(
        metadata=meta("u", namespace="a"),
        status=PersistentVolumeClaimStatus(current_volume_attributes_class_name="gold"),
    ),
    PersistentVolumeClaim(
        metadata=meta("u", namespace="a"),
        status=PersistentVolumeClaimStatus(
            modify_volume_status=ModifyVolumeStatus(target_volume_attributes_class_name="gold")
        ),
    ),
]


@pytest.mark.parametrize("of", USERS)
def test_a_class_of_attributes_stays_while_it_is_named(of: Object) -> None:
    controller = volumeattributesclass_protection.controller(Settings())
    gold = VolumeAttributesClass(metadata=meta("gold", "kubernetes.io/vac-protection", going=True))

    def left(*objects: Object) -> list[Any]:
        state = controller.observe(view(controller, gold, *objects), Key("", "gold"))
        assert state is not None
        return finalizers(list(controller.diff(state)))

    assert left(of) == []
    assert left() == [()]
    assert list(volumeattributesclass_protection.wakes(of, view())) == [Key("", "gold")]  # type: ignore[arg-type]
