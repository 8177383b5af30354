"""Volumes that only one pod may have, that are in a zone, or of which a node takes so many."""

import numpy as np
import pytest

from kybern.api.core_v1 import (
    AWSElasticBlockStoreVolumeSource,
    GCEPersistentDiskVolumeSource,
    ISCSIVolumeSource,
    Pod,
    RBDVolumeSource,
    Volume,
)
from kybern.machinery.struct import Object, Struct
from kybern.scheduler.changes import Action, Happening
from kybern.scheduler.cycle import narrow
from kybern.scheduler.facts import PodFacts
from kybern.scheduler.framework import Plugin
from kybern.scheduler.outcomes import Placed, Refused
from kybern.scheduler.plugins import node_volume_limits, volume_restrictions, volume_zone
from kybern.scheduler.plugins.volume_restrictions import IN_USE, NO_DISK, clash
from kybern.scheduler.table import Table
from tests.unit.scheduler.making import attempt, decide, node, pod, table_of
from tests.unit.scheduler.storing import attachment, claim, csi_node, storage_class, using, volume

ALONE = ("ReadWriteOncePod",)
ZONE, OLD = "topology.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/zone"


def table_with(*objects: Object) -> Table:
    table = table_of(node("n1"), node("n2"))
    for item in objects:
        table.set_object(item)
    return table


def put(table: Table, one: Pod, where: str) -> None:
    table.place(one.metadata.uid, where, PodFacts.of(one))


def places(one: Pod, table: Table) -> set[str]:
    left = narrow(attempt(one, table)).left
    return {table.names[column] for column in np.flatnonzero(left)}


def test_a_claim_for_one_pod_is_in_use_everywhere_and_its_user_may_leave() -> None:
    table = table_with(claim("a", "v", modes=ALONE), volume("v"))
    assert places(using("a"), table) == {"n1", "n2"}

    put(table, using("a", name="first"), "n1")
    refused = decide(using("a"), table)

    assert isinstance(refused, Refused)
    assert refused.reasons == f"0/2 nodes are available: 2 {IN_USE}."
    assert set(refused.helpful) == {"n1", "n2"}
    table.unplace("uid-first")
    assert places(using("a"), table) == {"n1", "n2"}


def test_other_claims_may_be_shared() -> None:
    table = table_with(claim("a", "v"), volume("v"))
    put(table, using("a", name="first"), "n1")

    assert places(using("a"), table) == {"n1", "n2"}


def disk(**source: Struct) -> Pod:
    return pod("p", volumes=(Volume(name="d", **source),))  # type: ignore[arg-type]  # one of the sources


def gce(name: str, reads: bool | None = None) -> Pod:
    return disk(gce_persistent_disk=GCEPersistentDiskVolumeSource(pd_name=name, read_only=reads))


def aws(name: str) -> Pod:
    return disk(aws_elastic_block_store=AWSElasticBlockStoreVolumeSource(volume_id=name, read_only=True))


def iscsi(name: str, reads: bool | None = None) -> Pod:
    return disk(iscsi=ISCSIVolumeSource(iqn=name, read_only=reads))


def rbd(image: str, *hosts: str, pool: str = "rbd", reads: bool | None = None) -> Pod:
    return disk(rbd=RBDVolumeSource(image=image, monitors=hosts, pool=pool, read_only=reads))


@pytest.mark.parametrize(
    ("one", "other", "clashes"),
    [
        (gce("a"), gce("a"), True),
        (gce("a"), gce("b"), False),
        (gce("a", reads=True), gce("a"), True),
        (gce("a", reads=True), gce("a", reads=True), False),
        (aws("a"), aws("a"), True),
        (aws("a"), aws("b"), False),
        (aws("a"), gce("a"), False),
        (iscsi("a"), iscsi("a"), True),
        (iscsi("a", reads=True), iscsi("a", reads=True), False),
        (rbd("i", "m1", "m2"), rbd("i", "m2", "m3"), True),
        (rbd("i", "m1"), rbd("i", "m2"), False),
        (rbd("i", "m1"), rbd("i", "m1", pool="other"), False),
        (rbd("i", "m1", reads=True), rbd("i", "m1", reads=True), False),
        (pod("p"), gce("a"), False),
    ],
)
def test_disks_that_two_pods_cannot_have(one: Pod, other: Pod, clashes: bool) -> None:
    assert clash(one, other) == clash(other, one) == clashes


def test_a_disk_keeps_its_node_for_itself() -> None:
    table = table_with()
    put(table, using(name="holds"), "n2")
    first = gce("a")
    table.place("uid-first", "n1", PodFacts.of(first))
    assert places(gce("a"), table) == {"n2"}

    table.place("uid-second", "n2", PodFacts.of(first))
    refused = decide(gce("a"), table)

    assert isinstance(refused, Refused)
    assert refused.reasons == f"0/2 nodes are available: 2 {NO_DISK}."
    assert set(refused.helpful) == {"n1", "n2"}


@pytest.mark.parametrize(
    ("labels", "found"),
    [
        ({ZONE: "a"}, {"old", "new", "plain"}),
        ({OLD: "a"}, {"old", "new", "plain"}),
        ({ZONE: "b"}, {"plain", "other"}),
        ({ZONE: "a__b"}, {"old", "new", "plain", "other"}),
        ({ZONE: "a__"}, {"old", "new", "plain", "other"}),
        ({"topology.kubernetes.io/region": "r"}, {"plain"}),
        ({}, {"old", "new", "plain", "other"}),
    ],
)
def test_nodes_of_the_zone_that_a_volume_names(labels: dict[str, str], found: set[str]) -> None:
    # A node with only the old label has no word for what a new one asks, as upstream.
    if ZONE in labels and "a" in labels[ZONE].split("__") and not labels[ZONE].endswith("__"):
        found = found - {"old"}
    table = table_of(
        node("old", labels={OLD: "a"}),
        node("new", labels={ZONE: "a"}),
        node("plain"),
        node("other", labels={ZONE: "b"}),
    )
    for item in (claim("a", "v"), volume("v", labels=labels)):
        table.set_object(item)

    assert places(using("a"), table) == found


def test_what_is_said_of_a_zone() -> None:
    table = table_of(node("n1", labels={ZONE: "b"}))
    for item in (claim("a", "v"), volume("v", labels={ZONE: "a"})):
        table.set_object(item)

    refused = decide(using("a"), table)

    assert isinstance(refused, Refused)
    assert refused.reasons == "0/1 nodes are available: 1 node(s) had no available volume zone."
    assert not refused.helpful


def test_a_node_takes_no_more_volumes_than_it_says() -> None:
    volumes = [volume(f"v{number}", driver="d") for number in range(4)]
    claims = [claim(f"c{number}", f"v{number}") for number in range(4)]
    table = table_with(*volumes, *claims, csi_node("n1", d=2), csi_node("n2", d=1, other=0))
    put(table, using("c0", name="first"), "n1")
    assert places(using("c1"), table) == {"n1", "n2"}
    put(table, using("c1", name="second"), "n2")
    assert places(using("c2"), table) == {"n1"}
    assert places(using("c1"), table) == {"n1", "n2"}, "a volume counts once on its node"
    put(table, using("c2", name="third"), "n1")

    refused = decide(using("c3"), table)

    assert isinstance(refused, Refused)
    assert refused.reasons == "0/2 nodes are available: 2 node(s) exceed max volume count."
    assert set(refused.helpful) == {"n1", "n2"}
    assert isinstance(decide(using("c0"), table), Placed)


def test_what_is_still_attached_and_what_is_to_be_made_count() -> None:
    table = table_with(
        storage_class("made", "d"),
        claim("a", of="made"),
        claim("b", of="made"),
        volume("v", driver="d"),
        csi_node("n1", d=1),
        csi_node("n2", d=1),
        attachment("x", "n1", "v"),
    )
    assert places(using("a"), table) == {"n2"}

    put(table, using("b", name="first"), "n2")

    assert isinstance(decide(using("a"), table), Refused)
    table.remove_object(attachment("x", "n1", "v"))
    assert places(using("a"), table) == {"n1"}


def changed(old: Object | None, new: Object | None) -> Happening:
    kind = type(new or old)
    action = Action.ADDED if old is None else Action.GONE if new is None else Action.CHANGED
    return Happening(kind, action, new, old)  # type: ignore[arg-type]  # one of the two is there


RESTRICTIONS, ZONES, LIMITS = volume_restrictions.PLUGIN, volume_zone.PLUGIN, node_volume_limits.PLUGIN


@pytest.mark.parametrize(
    ("plugin", "what", "wakes"),
    [
        (RESTRICTIONS, changed(using("a", name="q"), None), True),
        (RESTRICTIONS, changed(using("b", name="q"), None), False),
        (RESTRICTIONS, changed(None, claim("a")), True),
        (RESTRICTIONS, changed(None, node("n9")), True),
        (RESTRICTIONS, changed(node("n9"), node("n9")), False),
        (ZONES, changed(None, volume("v")), True),
        (ZONES, changed(volume("v", labels={ZONE: "a"}), volume("v", labels={ZONE: "b"})), True),
        (ZONES, changed(volume("v", labels={"x": "a"}), volume("v", labels={"x": "b"})), False),
        (ZONES, changed(None, storage_class("c")), True),
        (ZONES, changed(None, storage_class("c", mode="Immediate")), False),
        (ZONES, changed(node("n9"), node("n9", labels={ZONE: "a"})), True),
        (ZONES, changed(claim("a"), claim("a", "v")), True),
        (LIMITS, changed(using("b", name="q"), None), True),
        (LIMITS, changed(using(name="q"), None), False),
        (LIMITS, changed(None, csi_node("n1", d=1)), True),
        (LIMITS, changed(csi_node("n1", d=1), csi_node("n1", d=2)), True),
        (LIMITS, changed(csi_node("n1", d=1), csi_node("n1", d=None)), True),
        (LIMITS, changed(csi_node("n1", d=2), csi_node("n1", d=1)), False),
        (LIMITS, changed(attachment("x", "n1", "v"), None), True),
        (LIMITS, changed(None, claim("a")), True),
        (LIMITS, changed(None, claim("b")), False),
    ],
)
def test_what_wakes_a_pod(plugin: Plugin, what: Happening, wakes: bool) -> None:
    facts = PodFacts.of(using("a"))

    assert any(wake.hint(facts, what) for wake in plugin.wakes if wake.hears(what)) == wakes
