"""Claims that live as long as a pod, and claims that are to grow."""

from typing import Any

import pytest

from kybern.api.core_v1 import (
    EphemeralVolumeSource,
    ObjectReference,
    PersistentVolume,
    PersistentVolumeClaim,
    PersistentVolumeClaimSpec,
    PersistentVolumeClaimStatus,
    PersistentVolumeClaimTemplate,
    PersistentVolumeSpec,
    Pod,
    Volume,
    VolumeResourceRequirements,
)
from kybern.api.meta_v1 import ObjectMeta
from kybern.controllers import ephemeral_volume, persistentvolume_expander
from kybern.loop.controller import Create, Emit, Failure, Key
from kybern.loop.owners import controller_reference
from kybern.loop.settings import Settings
from kybern.machinery.errors import Forbidden
from kybern.machinery.struct import Object, replace
from tests.unit.controllers.making import NOW, only, pod, view

EPHEMERAL = ephemeral_volume.controller(Settings())
EXPANDER = persistentvolume_expander.controller(Settings())
SPEC = PersistentVolumeClaimSpec(storage_class_name="fast")
TEMPLATE = PersistentVolumeClaimTemplate(
    metadata=ObjectMeta(labels={"a": "b"}, annotations={"c": "d"}), spec=SPEC
)


def volume(name: str) -> Volume:
    return Volume(name=name, ephemeral=EphemeralVolumeSource(volume_claim_template=TEMPLATE))


POD = pod("web", volumes=(volume("x"), Volume(name="other"), volume("y")))
FOREIGN = PersistentVolumeClaim(metadata=ObjectMeta(name="web-x", namespace="a", uid="u"))
OWN = replace(FOREIGN, metadata=replace(FOREIGN.metadata, owner_references=(controller_reference(POD),)))


def done(of: Pod, *others: Object, failure: Failure | None = None) -> list[Any]:
    state = EPHEMERAL.observe(view(EPHEMERAL, of, *others, failure=failure), Key("a", "web"))
    return list(EPHEMERAL.diff(state)) if state is not None else []


def names(actions: list[Any]) -> list[str]:
    return [action.object.metadata.name for action in only(actions, Create)]


def test_a_claim_a_volume() -> None:
    first, second = done(POD)

    assert (first.object.metadata.name, second.object.metadata.name) == ("web-x", "web-y")
    assert first.object.metadata.owner_references == (controller_reference(POD),)
    assert (first.object.spec, first.object.metadata.labels) == (SPEC, {"a": "b"})
    assert first.object.metadata.annotations == {"c": "d"}


def test_what_is_there_is_not_made_again() -> None:
    assert names(done(POD, OWN)) == ["web-y"]


def test_a_claim_of_another_is_not_taken() -> None:
    (event,) = done(POD, FOREIGN)

    assert event == Emit(
        POD,
        "Warning",
        "FailedBinding",
        "ephemeral volume x: PVC a/web-x was not created for pod a/web (pod is not owner)",
    )


def test_why_it_cannot_be_made_is_said() -> None:
    failure = Failure(Create(ephemeral_volume.wanted(POD, volume("y"))), Forbidden("exceeded quota"))
    actions = done(POD, OWN, failure=failure)

    assert [one.message for one in only(actions, Emit)] == [
        "ephemeral volume y: create PVC web-y: exceeded quota"
    ]
    assert names(actions) == ["web-y"]


def test_a_pod_that_goes_or_has_none_needs_none() -> None:
    assert done(replace(POD, metadata=replace(POD.metadata, deletion_timestamp=NOW))) == []
    assert done(pod("web", volumes=(Volume(name="other"),))) == []


def test_a_claim_wakes_its_pods() -> None:
    assert list(ephemeral_volume.pods_of(OWN, view(EPHEMERAL, POD))) == [Key("a", "web")]


@pytest.mark.parametrize(
    ("asked", "has", "phase", "uid", "said"),
    [
        ("2Gi", "1Gi", "Bound", "u", True),
        ("1Gi", "1Gi", "Bound", "u", False),
        ("1024Mi", "1Gi", "Bound", "u", False),
        ("1Gi", "2Gi", "Bound", "u", False),
        ("2Gi", "1Gi", "Pending", "u", False),
        ("2Gi", "1Gi", "Bound", "other", False),
    ],
)
def test_growing_is_left_to_the_driver(asked: str, has: str, phase: str, uid: str, said: bool) -> None:
    claim = PersistentVolumeClaim(
        metadata=ObjectMeta(name="data", namespace="a", uid="u"),
        spec=PersistentVolumeClaimSpec(
            volume_name="v", resources=VolumeResourceRequirements(requests={"storage": asked})
        ),
        status=PersistentVolumeClaimStatus(phase=phase, capacity={"storage": has}),
    )
    bound = PersistentVolume(
        metadata=ObjectMeta(name="v"),
        spec=PersistentVolumeSpec(claim_ref=ObjectReference(namespace="a", name="data", uid=uid)),
    )

    state = EXPANDER.observe(view(EXPANDER, claim, bound), Key("a", "data"))
    events = list(EXPANDER.diff(state)) if state is not None else []

    wanted = Emit(
        claim, "Warning", "ExternalExpanding", "waiting for an external controller to expand this PVC"
    )
    assert events == ([wanted] if said else [])
