"""Pods go where the volumes behind their claims are, or can be made."""

import pytest

from kybern.api.core_v1 import Node, PersistentVolume, PersistentVolumeClaim, Pod
from kybern.api.meta_v1 import LabelSelector, OwnerReference
from kybern.api.storage_v1 import CSIDriver, CSIStorageCapacity, StorageClass
from kybern.machinery.struct import Object
from kybern.scheduler.changes import Action, Happening
from kybern.scheduler.facts import PodFacts
from kybern.scheduler.framework import BadArgs, Cluster, NodeInfo
from kybern.scheduler.outcomes import Placed, Refused
from kybern.scheduler.plugins import volume_binding
from kybern.scheduler.plugins.volume_binding import PLUGIN
from kybern.scheduler.table import Table
from kybern.scheduler.volumes.choice import choose
from kybern.scheduler.volumes.claims import UNBOUND, wanted
from kybern.scheduler.volumes.supply import CONFLICT, NO_MATCH, NO_SPACE, candidates
from tests.unit.scheduler.making import decide, node, table_of
from tests.unit.scheduler.storing import GONE, claim, csi_node, driver, storage_class, store, using, volume

NODES = tuple(node(name, labels={"zone": zone}) for name, zone in (("n1", "a"), ("n2", "b"), ("n3", "b")))
EVERYWHERE = {"n1", "n2", "n3"}
BY_HAND, MADE = storage_class("local"), storage_class("made", "csi.example.com")
OWNER = OwnerReference(api_version="v1", kind="Pod", name="p", uid="uid-p", controller=True)


def table_with(*objects: Object) -> Table:
    table = table_of(*NODES)
    for item in objects:
        table.set_object(item)
    return table


def all_(reason: str, head: str = "3 ") -> str:
    return (
        f"0/3 nodes are available: {head}{reason}. "
        "preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling."
    )


HAND, TOLD = "local", "made"
CASES = {
    "no claims": (using(), [], EVERYWHERE, ""),
    "bound": (using("a"), [claim("a", "v"), volume("v", "n2")], {"n2"}, ""),
    "bound, anywhere": (using("a"), [claim("a", "v"), volume("v")], EVERYWHERE, ""),
    "two bound": (
        using("a", "b"), [claim("a", "v"), volume("v", "n1", "n2"), claim("b", "w"), volume("w", "n2")], {"n2"}, "",
    ),
    "two bound apart": (
        using("a", "b"), [claim("a", "v"), volume("v", "n1"), claim("b", "w"), volume("w", "n2")],
        set(), all_(CONFLICT),
    ),
    "its volume is gone": (
        using("a"), [claim("a", "gone")], set(), all_('persistentvolume "gone" not found', ""),
    ),
    "no claim": (using("a"), [], set(), all_('persistentvolumeclaim "a" not found', "")),
    "unbound": (using("a"), [claim("a", of="now"), storage_class("now", mode="Immediate")], set(), all_(UNBOUND, "")),
    "unbound, no class": (using("a"), [claim("a")], set(), all_(UNBOUND, "")),
    "unbound, class unknown": (using("a"), [claim("a", of="none")], set(), all_(UNBOUND, "")),
    "names its volume only": (using("a"), [claim("a", "v", done=False), volume("v")], set(), all_(UNBOUND, "")),
    "lost": (
        using("a"), [claim("a", "v", phase="Lost")], set(),
        all_('persistentvolumeclaim "a" bound to non-existent persistentvolume "v"', ""),
    ),
    "ends": (
        using("a"), [claim("a", "v", ends=GONE)], set(), all_('persistentvolumeclaim "a" is being deleted', ""),
    ),
    "unusable is said before unbound": (
        using("a", "b"), [claim("a")], set(), all_('persistentvolumeclaim "b" not found', ""),
    ),
    "not made yet": (
        using("~v"), [], set(),
        all_('waiting for ephemeral volume controller to create the persistentvolumeclaim "p-v"', ""),
    ),
    "not made for it": (
        using("~v"), [claim("p-v", "v"), volume("v")], set(),
        all_("PVC default/p-v was not created for pod default/p (pod is not owner)", ""),
    ),
    "made for it": (using("~v"), [claim("p-v", "v", owners=(OWNER,)), volume("v", "n3")], {"n3"}, ""),
    "found": (using("a"), [BY_HAND, claim("a", of=HAND), volume("v", "n2", of=HAND)], {"n2"}, ""),
    "found on several": (
        using("a"), [BY_HAND, claim("a", of=HAND), volume("v", "n2", of=HAND), volume("w", "n3", of=HAND)],
        {"n2", "n3"}, "",
    ),
    "none is there": (using("a"), [BY_HAND, claim("a", of=HAND)], set(), all_(NO_MATCH)),
    "none of the class": (using("a"), [BY_HAND, claim("a", of=HAND), volume("v", of="x")], set(), all_(NO_MATCH)),
    "one for two": (
        using("a", "b"), [BY_HAND, claim("a", of=HAND), claim("b", of=HAND), volume("v", of=HAND)],
        set(), all_(NO_MATCH),
    ),
    "two for two": (
        using("a", "b"),
        [BY_HAND, claim("a", of=HAND), claim("b", of=HAND), volume("v", "n1", "n2", of=HAND), volume("w", "n2", of=HAND)],
        {"n2"}, "",
    ),
    "it is another's": (
        using("a"), [BY_HAND, claim("a", of=HAND), volume("v", of=HAND, by="b")], set(), all_(NO_MATCH),
    ),
    "it was prebound": (
        using("a"), [BY_HAND, claim("a", of=HAND), volume("v", "n3", of=HAND, by="a", uid=""), volume("w", of=HAND)],
        {"n3"}, "",
    ),
    "it was prebound for a claim before": (
        using("a"), [BY_HAND, claim("a", of=HAND), volume("v", of=HAND, by="a", uid="old")], set(), all_(NO_MATCH),
    ),
    "to be made": (using("a"), [MADE, claim("a", of=TOLD)], EVERYWHERE, ""),
    "to be made in a zone": (
        using("a"), [storage_class("b", "csi.example.com", "b"), claim("a", of="b")], {"n2", "n3"}, "",
    ),
    "to be made nowhere": (
        using("a"), [storage_class("b", "csi.example.com", "c"), claim("a", of="b")], set(), all_(NO_MATCH),
    ),
    "promised": (using("a"), [MADE, claim("a", of=TOLD, at="n2")], {"n2"}, ""),
    "promised to two": (
        using("a", "b"), [MADE, claim("a", of=TOLD, at="n2"), claim("b", of=TOLD, at="n1")], set(), all_(NO_MATCH),
    ),
    "promised to who is gone": (using("a"), [MADE, claim("a", of=TOLD, at="n9")], set(), all_(NO_MATCH)),
    "the driver does not count": (
        using("a"), [MADE, driver("csi.example.com", counts=False), claim("a", of=TOLD)], EVERYWHERE, "",
    ),
    "no room anywhere": (using("a"), [MADE, driver("csi.example.com"), claim("a", of=TOLD)], set(), all_(NO_SPACE)),
    "room in a zone": (
        using("a"), [MADE, driver("csi.example.com"), claim("a", of=TOLD), store("made", "1Gi", zone="b")],
        {"n2", "n3"}, "",
    ),
    "too little room": (
        using("a"), [MADE, driver("csi.example.com"), claim("a", of=TOLD), store("made", "1023Mi")],
        set(), all_(NO_SPACE),
    ),
    "room for small ones": (
        using("a"), [MADE, driver("csi.example.com"), claim("a", of=TOLD), store("made", "1Ti", "1Mi")],
        set(), all_(NO_SPACE),
    ),
    "one is there, one is to be made": (
        using("a", "b"), [MADE, claim("a", of=TOLD), claim("b", of=TOLD), volume("v", "n1", of=TOLD)], EVERYWHERE, "",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("one", "objects", "places", "message"), CASES.values(), ids=CASES)
def test_nodes_are_those_where_every_claim_gets_a_volume(
    one: Pod, objects: list[Object], places: set[str], message: str
) -> None:
    table = table_with(*objects)
    cluster = Cluster(tuple(NodeInfo(each) for each in NODES), table.objects)

    found = {decide(one, table, seed) for seed in range(40)}
    plain = {each.metadata.name for each in NODES if not volume_binding.refuse(one, NodeInfo(each), cluster)}

    assert {each.node for each in found if isinstance(each, Placed)} == places
    assert {each.message for each in found if isinstance(each, Refused)} == ({message} if message else set())
    assert plain == places


def test_reasons_of_both_kinds_are_counted() -> None:
    table = table_with(BY_HAND, claim("a", "v"), volume("v", "n1"), claim("b", of="local"))

    found = decide(using("a", "b"), table)

    assert isinstance(found, Refused)
    assert found.reasons == f"0/3 nodes are available: 2 {CONFLICT}, 3 {NO_MATCH}."


LABELLED = LabelSelector(match_labels={"fast": "yes"})


@pytest.mark.parametrize(
    ("asked", "there", "names"),
    [
        (claim("a"), [volume("large", size="3Gi"), volume("right", size="1Gi")], ["right", "large"]),
        (claim("a", size="2Gi"), [volume("small"), volume("large", size="3Gi")], ["large"]),
        (claim("a", modes=("ReadWriteMany",)), [volume("v")], []),
        (claim("a"), [volume("v", modes=("ReadWriteOnce", "ReadWriteMany"))], ["v"]),
        (claim("a", mode="Block"), [volume("v"), volume("raw", mode="Block")], ["raw"]),
        (claim("a", selector=LABELLED), [volume("v"), volume("w", labels={"fast": "yes"})], ["w"]),
        (claim("a"), [volume("v", phase="Released"), volume("w", phase="Pending")], []),
        (claim("a"), [volume("v", ends=GONE)], []),
        (claim("a"), [volume("v"), volume("mine", by="a", size="9Gi")], ["mine"]),
        (claim("a", size="2Gi"), [volume("mine", by="a"), volume("w", size="2Gi")], ["w"]),
        (claim("a", modes=("ReadWriteMany",)), [volume("mine", by="a")], ["mine"]),
        (claim("a", of="x"), [volume("mine", by="a")], []),
    ],
)
def test_which_volumes_a_claim_may_have(
    asked: PersistentVolumeClaim, there: list[PersistentVolume], names: list[str]
) -> None:
    table = table_with(*there)

    assert [one.metadata.name for one in candidates(asked, table.objects)] == names


def test_small_claims_choose_first_and_each_takes_the_smallest() -> None:
    table = table_with(
        BY_HAND,
        claim("large", of="local", size="5Gi"),
        claim("small", of="local", size="1Gi"),
        *(volume(f"v{size}", of="local", size=f"{size}Gi") for size in (10, 6, 2)),
    )
    found = wanted(using("large", "small"), table.objects)

    choice = choose(found, NODES[0], table.objects)

    pairs = {one.claim.metadata.name: one.volume.metadata.name for one in choice.bindings}
    assert pairs == {"small": "v2", "large": "v6"}


CHANGE = Action.CHANGED


def changed(old: Object | None, new: Object | None) -> Happening:
    kind = type(new or old)
    action = Action.ADDED if old is None else Action.GONE if new is None else Action.CHANGED
    return Happening(kind, action, new, old)  # type: ignore[arg-type]  # one of the two is there


@pytest.mark.parametrize(
    ("what", "wakes"),
    [
        (changed(claim("a"), claim("a", "v")), True),
        (changed(None, claim("a")), True),
        (changed(None, claim("b")), False),
        (changed(None, claim("a", namespace="other")), False),
        (changed(None, volume("v")), True),
        (changed(volume("v"), volume("v", phase="Released")), True),
        (changed(volume("v"), None), False),
        (changed(None, MADE), True),
        (changed(MADE, storage_class("made", "csi.example.com", "a")), True),
        (changed(MADE, MADE), False),
        (changed(None, store("made", "1Gi")), True),
        (changed(store("made", "1Gi"), store("made", "2Gi")), True),
        (changed(store("made", "2Gi"), store("made", "1Gi")), False),
        (changed(store("made", "2Gi", "1Gi"), store("made", "3Gi", "1Gi")), False),
        (changed(driver("d"), driver("d", counts=False)), True),
        (changed(driver("d"), None), True),
        (changed(driver("d", counts=False), driver("d")), False),
        (changed(None, NODES[0]), True),
        (changed(NODES[0], node("n1", labels={"zone": "c"})), True),
        (changed(NODES[0], node("n1", cpu="9", labels={"zone": "a"})), False),
        (changed(None, csi_node("n1")), False),
    ],
)
def test_what_wakes_a_pod(what: Happening, wakes: bool) -> None:
    def woken(facts: PodFacts) -> bool:
        return any(wake.hint(facts, what) for wake in PLUGIN.wakes if wake.hears(what))

    assert woken(PodFacts.of(using("a"))) == wakes
    assert not woken(PodFacts.of(using()))


def test_kinds_that_are_looked_at_are_watched() -> None:
    assert {Node, *PLUGIN.needs} >= {wake.kind for wake in PLUGIN.wakes}
    assert {PersistentVolume, PersistentVolumeClaim, StorageClass, CSIDriver, CSIStorageCapacity} <= set(
        PLUGIN.needs
    )


def test_the_time_to_bind_is_a_setting() -> None:
    plugin = volume_binding.configure({"bindTimeoutSeconds": 7}, "args")

    assert plugin.pre_bind is not None
    assert plugin.pre_bind.args == (7,)  # type: ignore[attr-defined]  # a partial
    with pytest.raises(BadArgs, match=r"args\.bindTimeoutSeconds.*should not be a negative value"):
        volume_binding.configure({"bindTimeoutSeconds": -1}, "args")
