"""Pods go where the volumes behind their claims can be."""

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
    PersistentVolumeClaimVolumeSource,
    PersistentVolumeSpec,
    Pod,
    Volume,
    VolumeNodeAffinity,
)
from kybern.api.meta_v1 import ObjectMeta
from kybern.api.storage_v1 import StorageClass
from kybern.machinery.struct import Object
from kybern.scheduler.changes import Action, Happening
from kybern.scheduler.facts import PodFacts
from kybern.scheduler.framework import Cluster, NodeInfo
from kybern.scheduler.outcomes import Placed, Refused
from kybern.scheduler.plugins import volume_binding
from kybern.scheduler.plugins.volume_binding import CONFLICT, NO_VOLUME, UNBOUND
from tests.unit.scheduler.making import decide, node, pod, table_of

NODES = tuple(node(name) for name in ("n1", "n2", "n3"))
NOT_HELPFUL = "preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling."


def using(*names: str) -> Pod:
    volumes = tuple(
        Volume(name=name, persistent_volume_claim=PersistentVolumeClaimVolumeSource(claim_name=name))
        for name in names
    )
    return pod("p", volumes=volumes)


def claim(name: str, volume: str = "", **more: Any) -> PersistentVolumeClaim:
    spec = PersistentVolumeClaimSpec(volume_name=volume, storage_class_name=more.get("of", ""))
    phase = more.get("phase", "Bound" if volume else "Pending")
    return PersistentVolumeClaim(
        metadata=ObjectMeta(namespace="default", name=name, deletion_timestamp=more.get("ends")),
        spec=spec,
        status=PersistentVolumeClaimStatus(phase=phase),
    )


def local(name: str, *nodes: str) -> PersistentVolume:
    hosts = NodeSelectorRequirement(key="kubernetes.io/hostname", operator="In", values=nodes)
    terms = NodeSelector(node_selector_terms=(NodeSelectorTerm(match_expressions=(hosts,)),))
    affinity = VolumeNodeAffinity(required=terms) if nodes else None
    return PersistentVolume(metadata=ObjectMeta(name=name), spec=PersistentVolumeSpec(node_affinity=affinity))


LATER = StorageClass(metadata=ObjectMeta(name="later"), volume_binding_mode="WaitForFirstConsumer")


@pytest.mark.parametrize(
    ("one", "objects", "places", "message"),
    [
        (using(), [], {"n1", "n2", "n3"}, ""),
        (using("a"), [claim("a", "v"), local("v", "n2")], {"n2"}, ""),
        (using("a"), [claim("a", "v"), local("v")], {"n1", "n2", "n3"}, ""),
        (
            using("a", "b"),
            [claim("a", "v"), local("v", "n1", "n2"), claim("b", "w"), local("w", "n2")],
            {"n2"},
            "",
        ),
        (
            using("a", "b"),
            [claim("a", "v"), local("v", "n1"), claim("b", "w"), local("w", "n2")],
            set(),
            f"0/3 nodes are available: 3 {CONFLICT}. {NOT_HELPFUL}",
        ),
        (using("a"), [claim("a", "gone")], set(), f"0/3 nodes are available: 3 {NO_VOLUME}. {NOT_HELPFUL}"),
        (
            using("a"),
            [],
            set(),
            f'0/3 nodes are available: persistentvolumeclaim "a" not found. {NOT_HELPFUL}',
        ),
        (using("a"), [claim("a")], set(), f"0/3 nodes are available: {UNBOUND}. {NOT_HELPFUL}"),
        (using("a"), [claim("a", of="later"), LATER], {"n1", "n2", "n3"}, ""),
        (
            using("a"),
            [claim("a", "v", phase="Lost")],
            set(),
            (
                '0/3 nodes are available: persistentvolumeclaim "a" bound to non-existent persistentvolume "v". '
                f"{NOT_HELPFUL}"
            ),
        ),
    ],
)
def test_nodes_are_those_that_every_volume_allows(
    one: Pod, objects: list[Object], places: set[str], message: str
) -> None:
    table = table_of(*NODES)
    for item in objects:
        table.set_object(item)
    cluster = Cluster(tuple(NodeInfo(each) for each in NODES), table.objects)

    found = {decide(one, table, seed) for seed in range(40)}
    plain = {each.metadata.name for each in NODES if not volume_binding.refuse(one, NodeInfo(each), cluster)}

    assert {each.node for each in found if isinstance(each, Placed)} == places
    assert {each.message for each in found if isinstance(each, Refused)} == ({message} if message else set())
    assert plain == places


def test_only_its_own_claims_wake_a_pod() -> None:
    facts = PodFacts.of(using("a"))

    assert volume_binding.of_pod(
        facts, Happening(PersistentVolumeClaim, Action.CHANGED, claim("a", "v"), claim("a"))
    )
    assert not volume_binding.of_pod(facts, Happening(PersistentVolumeClaim, Action.ADDED, claim("b")))
