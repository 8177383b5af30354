"""For volumes, too, the vectors say what the plain forms say."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kybern.api.core_v1 import (
    AWSElasticBlockStoreVolumeSource,
    GCEPersistentDiskVolumeSource,
    ISCSIVolumeSource,
    Node,
    Pod,
    RBDVolumeSource,
    Volume,
)
from kybern.machinery.struct import Object, replace
from kybern.scheduler.facts import PodFacts
from kybern.scheduler.framework import Plugin
from kybern.scheduler.plugins import node_volume_limits, volume_binding, volume_restrictions, volume_zone
from kybern.scheduler.volumes.choice import choose
from kybern.scheduler.volumes.claims import wanted
from tests.unit.scheduler.generated import Made, made
from tests.unit.scheduler.making import node
from tests.unit.scheduler.storing import (
    attachment,
    claim,
    csi_node,
    driver,
    storage_class,
    store,
    using,
    volume,
)

PLUGINS = [
    pytest.param(module.PLUGIN, id=module.PLUGIN.name)
    for module in (volume_binding, volume_restrictions, volume_zone, node_volume_limits)
]
WHERE = st.sampled_from(["w0", "w1", "w2", "w3"])
CLAIMS = st.sampled_from(["a", "b", "c"])
CLASSES = st.sampled_from(["hand"] * 6 + ["made", "made", "now"])
SIZES = st.sampled_from(["1Gi", "2Gi", "3Gi"])
MODES = st.sampled_from(
    [("ReadWriteOnce",), ("ReadWriteOnce",), ("ReadWriteOnce", "ReadWriteMany"), ("ReadWriteOncePod",)]
)
ZONE, OLD_ZONE = "topology.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/zone"
ZONES = st.dictionaries(
    st.sampled_from([ZONE, OLD_ZONE, "zone"]), st.sampled_from(["a", "b", "a__b", "a__"]), max_size=2
)

READS = st.sampled_from([None, True])
DISKS = st.one_of(
    st.builds(
        lambda name, reads: Volume(
            name="d", gce_persistent_disk=GCEPersistentDiskVolumeSource(pd_name=name, read_only=reads)
        ),
        CLAIMS,
        READS,
    ),
    st.builds(
        lambda name: Volume(
            name="d", aws_elastic_block_store=AWSElasticBlockStoreVolumeSource(volume_id=name)
        ),
        CLAIMS,
    ),
    st.builds(
        lambda name, reads: Volume(name="d", iscsi=ISCSIVolumeSource(iqn=name, read_only=reads)),
        CLAIMS,
        READS,
    ),
    st.builds(
        lambda name, hosts, reads: Volume(
            name="d", rbd=RBDVolumeSource(image=name, monitors=tuple(hosts), read_only=reads)
        ),
        CLAIMS,
        st.lists(CLAIMS, max_size=2),
        READS,
    ),
)


def pod_of(number: int, names: list[str], disks: list[Volume], namespace: str) -> Pod:
    found = using(*names, name=f"p{number}", namespace=namespace)
    return replace(found, spec=replace(found.spec, volumes=(*found.spec.volumes, *disks)))


PODS = st.builds(
    pod_of,
    st.integers(0, 9),
    st.lists(st.sampled_from(["a", "a", "b", "b", "c", "~d"]), min_size=1, max_size=3, unique=True),
    st.lists(DISKS, max_size=1),
    st.sampled_from(["default", "default", "other"]),
)
VOLUMES = st.builds(
    lambda name, nodes, of, by, uid, **more: volume(
        name, *nodes, of=of, by=by, uid=f"uid-{by}" if uid else uid, **more
    ),
    st.sampled_from(["v", "w", "x", "y", "z"]),
    st.lists(WHERE, max_size=2),
    CLASSES,
    st.sampled_from([None, None, None, None, None, "a", "b"]),
    st.sampled_from(["", "yes"]),
    size=SIZES,
    modes=MODES,
    driver=st.sampled_from(["", "d1", "d1", "d2"]),
    labels=ZONES,
)
OBJECTS: st.SearchStrategy[list[Object]] = st.builds(
    lambda *lists: [item for listed in lists for item in listed],
    st.tuples(*(
        st.builds(
            claim, st.just(name), st.sampled_from(["", "", "", "", "v", "w"]), CLASSES, size=SIZES, modes=MODES,
            at=st.sampled_from([""] * 8 + ["w1", "w2"]), done=st.sampled_from([True, True, True, False]),
        )
        for name in ("a", "b", "c")
    )),
    st.lists(VOLUMES, min_size=2, max_size=6),
    st.lists(
        st.builds(
            storage_class, st.sampled_from(["made", "hand"]), st.sampled_from(["kubernetes.io/no-provisioner", "d1", "d2"]),
            st.sampled_from(["a", "b"]),
        ),
        max_size=2,
    ),
    st.just([storage_class("hand"), storage_class("made", "d1"), storage_class("now", "d2", mode="Immediate")]),
    st.lists(st.builds(driver, st.sampled_from(["d1", "d2"]), st.booleans()), max_size=2),
    st.lists(
        st.builds(lambda of, size, zone: store(of, size, zone=zone), CLASSES, SIZES, st.sampled_from(["a", "b"])),
        max_size=3,
    ),
    st.lists(
        st.builds(
            lambda name, one, other: csi_node(name, d1=one, d2=other), WHERE,
            st.sampled_from([None, 0, 1, 2]), st.sampled_from([None, 1]),
        ),
        max_size=4,
    ),
    st.lists(
        st.builds(attachment, st.sampled_from(["x1", "x2"]), WHERE, st.sampled_from(["v", "w", "x", "gone"])),
        max_size=2,
    ),
)  # fmt: skip
NODES = st.builds(node, WHERE, labels=ZONES)


def with_objects(nodes: list[Node], placed: list[tuple[Pod, int]], objects: list[Object]) -> Made:
    found = made(nodes, placed, [])
    for item in objects:
        found.table.set_object(item)
    return found


CLUSTERS = st.builds(
    with_objects,
    st.lists(NODES, min_size=1, max_size=5),
    st.lists(st.tuples(PODS, st.integers(0, 3)), max_size=6),
    OBJECTS,
)


@pytest.mark.parametrize("plugin", PLUGINS)
@settings(max_examples=200, deadline=None)
@given(CLUSTERS, PODS)
def test_a_filter_refuses_what_its_plain_form_refuses(plugin: Plugin, there: Made, one: Pod) -> None:
    assert plugin.filter is not None
    assert plugin.refuse is not None
    refusals = list(plugin.filter(PodFacts.of(one), there.table))

    for info in there.cluster.nodes:
        column = there.table.index[info.node.metadata.name]
        vector = sorted(refusal.reason for refusal in refusals if refusal.nodes[column])
        assert vector == sorted(plugin.refuse(one, info, there.cluster))


@settings(max_examples=200, deadline=None)
@given(CLUSTERS, PODS)
def test_every_claim_gets_one_volume_and_no_volume_two_claims(there: Made, one: Pod) -> None:
    found = wanted(one, there.table.objects)
    for info in there.cluster.nodes:
        choice = choose(found, info.node, there.table.objects)
        if choice.reasons:
            assert not choice.bindings
            continue
        served = [each.claim.metadata.name for each in choice.bindings]
        served += [each.metadata.name for each in choice.provisions]
        assert sorted(served) == sorted(each.metadata.name for each in found.later)
        names = [each.volume.metadata.name for each in choice.bindings]
        assert len(set(names)) == len(names)
