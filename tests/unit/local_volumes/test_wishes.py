"""What claims and volumes want of a node's driver."""

from datetime import UTC, datetime
from typing import Any

import pytest

from kybern.api.core_v1 import (
    NodeSelector,
    NodeSelectorRequirement,
    NodeSelectorTerm,
    PersistentVolume,
    PersistentVolumeClaim,
    PersistentVolumeClaimSpec,
    PersistentVolumeClaimStatus,
    PersistentVolumeStatus,
    TypedLocalObjectReference,
    VolumeNodeAffinity,
    VolumeResourceRequirements,
)
from kybern.api.meta_v1 import LabelSelector, ObjectMeta
from kybern.api.storage_v1 import StorageClass
from kybern.local_volumes import objects, wishes
from kybern.local_volumes.names import DRIVER, NODE_KEY
from kybern.local_volumes.wishes import Grow, Guard, Make, Own, Refuse, Remove
from kybern.loop.volume_marks import LATER, PROVISIONER, SELECTED_NODE
from kybern.loop.volume_marks import PROVISIONER_FINALIZER as FINALIZER
from kybern.machinery.quantity import parse
from kybern.machinery.struct import replace

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def klass(mode: str = LATER, **more: Any) -> StorageClass:
    return StorageClass(
        metadata=ObjectMeta(name="local"), provisioner=DRIVER, volume_binding_mode=mode, **more
    )


def claim(node: str = "n1", *, maker: str = DRIVER, size: str = "1Gi", **more: Any) -> PersistentVolumeClaim:
    marks = {PROVISIONER: maker} | ({SELECTED_NODE: node} if node else {})
    spec = PersistentVolumeClaimSpec(
        access_modes=("ReadWriteOnce",),
        resources=VolumeResourceRequirements(requests={"storage": size}),
        storage_class_name="local",
    )
    metadata = ObjectMeta(name="data", namespace="a", uid="u-1", annotations=marks)
    return PersistentVolumeClaim(metadata=metadata, spec=replace(spec, **more))


def volume(
    node: str = "n1", *, phase: str = "Bound", going: bool = False, policy: str = "Delete", held: bool = True
) -> PersistentVolume:
    made = objects.volume_for(claim(), klass(reclaim_policy=policy), node)
    metadata = replace(
        made.metadata,
        finalizers=("kubernetes.io/pv-protection", *((FINALIZER,) if held else ())),
        deletion_timestamp=NOW if going else None,
    )
    return replace(made, metadata=metadata, status=PersistentVolumeStatus(phase=phase))


def test_the_chosen_node_makes_a_volume() -> None:
    assert wishes.of_claim(claim(), klass(), "n1") == Make(1 << 30, later=True)
    assert wishes.of_claim(claim(), klass("Immediate"), "n1") == Make(1 << 30, later=False)


@pytest.mark.parametrize(
    ("found", "of"),
    [
        pytest.param(claim("n2"), klass(), id="another node"),
        pytest.param(claim("n2"), klass("Immediate"), id="another node was first"),
        pytest.param(claim(""), klass(), id="no node yet"),
        pytest.param(claim(maker="csi.example.com"), klass(), id="another driver"),
        pytest.param(claim(volume_name="v"), klass(), id="bound"),
        pytest.param(claim(), None, id="no class"),
        pytest.param(claim(), replace(klass(), provisioner="csi.example.com"), id="class of another driver"),
        pytest.param(
            replace(claim(), metadata=replace(claim().metadata, deletion_timestamp=NOW)),
            klass(),
            id="deleted",
        ),
    ],
)
def test_a_claim_that_is_not_this_node_s_is_left_alone(
    found: PersistentVolumeClaim, of: StorageClass | None
) -> None:
    assert wishes.of_claim(found, of, "n1") is None


def test_any_node_may_ask_for_a_claim_that_does_not_wait() -> None:
    assert wishes.of_claim(claim(""), klass("Immediate"), "n1") == Own(1 << 30)


def test_what_no_node_can_make_is_said_by_the_one_that_has_it() -> None:
    """Every node would say the same otherwise, and each in an event of its own."""
    found = claim("", access_modes=("ReadWriteMany",))

    assert wishes.of_claim(found, klass("Immediate"), "n1") == Own(0)
    assert isinstance(wishes.of_claim(objects.with_node(found, "n1"), klass("Immediate"), "n1"), Refuse)


SOURCE = TypedLocalObjectReference(kind="PersistentVolumeClaim", name="other")


@pytest.mark.parametrize(
    ("found", "of", "why"),
    [
        (claim(access_modes=("ReadWriteOnce", "ReadOnlyMany")), klass(), "access mode ReadOnlyMany is not"),
        (claim(volume_mode="Block"), klass(), "volumeMode Block is not supported"),
        (claim(data_source=SOURCE), klass(), "cannot be made from another one"),
        (claim(selector=LabelSelector()), klass(), "claim Selector is not supported"),
        (claim(), klass(mount_options=("noatime", "hard")), 'mount option "hard" is not supported'),
        (claim(), klass(parameters={"type": "ssd"}), 'parameter "type" of class local is not known'),
    ],
)
def test_what_a_directory_cannot_be_is_refused(
    found: PersistentVolumeClaim, of: StorageClass, why: str
) -> None:
    wish = wishes.of_claim(found, of, "n1")

    assert isinstance(wish, Refuse)
    assert why in wish.why


@pytest.mark.parametrize(
    ("found", "wish"),
    [
        pytest.param(volume(), None, id="in use"),
        pytest.param(volume(phase="Released"), Remove(), id="released"),
        pytest.param(volume(phase="Released", going=True), Remove(), id="released and deleted"),
        pytest.param(volume(phase="Released", going=True, held=False), None, id="removed already"),
        pytest.param(volume(phase="Bound", going=True), None, id="deleted while bound"),
        pytest.param(volume("n2", phase="Released"), None, id="of another node"),
        pytest.param(volume(phase="Released", policy="Retain", held=False), None, id="retained"),
        pytest.param(
            volume(policy="Retain"), Guard(("kubernetes.io/pv-protection",)), id="retained from now on"
        ),
        pytest.param(
            volume(held=False),
            Guard(("kubernetes.io/pv-protection", FINALIZER)),
            id="to be deleted from now on",
        ),
    ],
)
def test_a_volume_goes_when_it_is_released_and_its_policy_says_so(
    found: PersistentVolume, wish: Remove | Guard | None
) -> None:
    assert wishes.of_volume(found, "n1") == wish


def test_a_volume_that_was_written_by_hand_is_not_this_driver_s_to_remove() -> None:
    found = volume(phase="Released")

    assert wishes.of_volume(replace(found, metadata=replace(found.metadata, annotations={})), "n1") is None


def test_the_node_of_a_volume_is_the_only_one_that_it_allows() -> None:
    made = volume()
    rule = NodeSelectorRequirement(key=NODE_KEY, operator="In", values=("n1",))
    wider, zone = replace(rule, values=("n1", "n2")), replace(rule, key="zone")

    def allowing(*rules: NodeSelectorRequirement) -> PersistentVolume:
        term = NodeSelectorTerm(match_expressions=rules)
        affinity = VolumeNodeAffinity(required=NodeSelector(node_selector_terms=(term,)))
        return replace(made, spec=replace(made.spec, node_affinity=affinity))

    assert wishes.node_of(made) == "n1"
    assert wishes.node_of(allowing(rule)) == "n1"
    assert [wishes.node_of(allowing(*rules)) for rules in ((wider,), (zone,), (zone, wider), ())] == [""] * 4


def bound(asked: str, has: str, **marks: str) -> PersistentVolumeClaim:
    status = PersistentVolumeClaimStatus(
        phase="Bound", capacity={"storage": has}, allocated_resource_statuses=marks
    )
    return replace(claim(size=asked, volume_name="pvc-u-1"), status=status)


def test_a_volume_grows_when_its_claim_asks_for_more() -> None:
    assert wishes.of_bound(bound("2Gi", "1Gi"), volume(), "n1") == Grow(2 << 30, parse("2Gi"))
    assert wishes.of_bound(bound("1Gi", "1Gi"), volume(), "n1") is None
    assert wishes.of_bound(bound("2Gi", "1Gi"), volume("n2"), "n1") is None


def test_a_claim_that_asks_for_less_again_is_taken_at_its_word() -> None:
    found = bound("1Gi", "1Gi", storage=objects.INFEASIBLE)

    assert wishes.of_bound(found, volume(), "n1") == Grow(1 << 30, parse("1Gi"))
    assert wishes.of_bound(objects.grown(found, "1Gi"), volume(), "n1") is None


def test_a_claim_of_the_same_name_that_came_later_gets_nothing() -> None:
    other = bound("2Gi", "1Gi")
    other = replace(other, metadata=replace(other.metadata, uid="u-2"))

    assert wishes.of_bound(other, volume(), "n1") is None


def test_a_node_s_choice_is_made_and_taken_back() -> None:
    assert objects.with_node(claim(""), "n1") == claim("n1")
    assert objects.with_node(claim("n1"), "") == claim("")


def test_a_refusal_is_marked_once() -> None:
    once = objects.refused(bound("9Gi", "1Gi"), "9Gi", NOW)

    assert once.status.allocated_resource_statuses == {"storage": objects.INFEASIBLE}
    assert objects.refused(once, "9Gi", NOW.replace(hour=1)) == once
