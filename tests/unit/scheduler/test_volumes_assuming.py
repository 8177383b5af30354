"""What is chosen is seen at once, written later, and waited for."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from kybern.api.core_v1 import PersistentVolume, PersistentVolumeClaim
from kybern.loop.volume_marks import BIND_COMPLETED, BOUND_BY_CONTROLLER, SELECTED_NODE
from kybern.machinery.struct import Object, replace
from kybern.scheduler.facts import PodFacts
from kybern.scheduler.framework import Attempt
from kybern.scheduler.outcomes import Refused
from kybern.scheduler.plugins.volume_binding import PLUGIN
from kybern.scheduler.settling import reserve, unreserve
from kybern.scheduler.table import Table
from kybern.scheduler.volumes import writing
from kybern.scheduler.volumes.assuming import Assumed, Write, standing
from kybern.scheduler.volumes.supply import NO_MATCH
from tests.unit.scheduler.making import DEFAULT, attempt, decide, node, table_of
from tests.unit.scheduler.storing import claim, storage_class, using, volume

HAND, MADE = storage_class("hand"), storage_class("made", "csi.example.com")


def table_with(*objects: Object) -> Table:
    table = table_of(node("n1"), node("n2"))
    for item in objects:
        table.set_object(item)
    return table


def at(item: Any, version: str, **marks: str) -> Any:
    """The same object as the API server has it some versions later."""
    meta = replace(
        item.metadata, resource_version=version, annotations={**item.metadata.annotations, **marks}
    )
    return replace(item, metadata=meta)


def test_an_assumption_lasts_until_something_newer_is_said() -> None:
    table = table_with(volume("v", version="5"))
    mine = volume("v", by="a", version="5")

    table.objects.assume(mine)
    assert table.objects.get(PersistentVolume, "v") == mine
    assert list(table.objects.all(PersistentVolume)) == [mine]
    assert table.objects.said(PersistentVolume, "v") == volume("v", version="5")

    table.set_object(volume("v", version="5"))  # of a list that is read again
    assert table.objects.get(PersistentVolume, "v") == mine

    table.set_object(volume("v", version="6"))
    assert table.objects.get(PersistentVolume, "v") == volume("v", version="6")
    table.objects.restore(PersistentVolume, "v")
    assert table.objects.get(PersistentVolume, "v") == volume("v", version="6")


def test_an_assumption_can_be_taken_back_and_ends_with_its_object() -> None:
    table = table_with(volume("v"), volume("w"))
    for name in ("v", "w", "never-seen"):
        table.objects.assume(volume(name, by="a"))

    table.objects.restore(PersistentVolume, "v")
    table.remove_object(volume("w"))

    assert list(table.objects.all(PersistentVolume)) == [volume("v")]


def reserved(table: Table, *names: str, pod: str = "p", place: str = "n1") -> Attempt:
    found = attempt(using(*names, name=pod), table)
    table.place(found.facts.uid, place, found.facts)
    assert reserve(found, place) is None
    return found


def test_a_volume_that_is_chosen_is_nobody_elses() -> None:
    table = table_with(HAND, claim("a", of="hand"), claim("b", of="hand"), volume("v", of="hand"))

    first = reserved(table, "a")
    refused = decide(using("b", name="q"), table)

    assert isinstance(refused, Refused)
    assert refused.reasons == f"0/2 nodes are available: 2 {NO_MATCH}."
    taken = table.objects.get(PersistentVolume, "v")
    assert taken is not None
    assert taken.spec.claim_ref is not None
    assert (taken.spec.claim_ref.name, taken.spec.claim_ref.uid) == ("a", "uid-a")
    assert taken.metadata.annotations == {BOUND_BY_CONTROLLER: "yes"}
    unreserve(first, "n1")
    assert not isinstance(decide(using("b", name="q"), table), Refused)


def test_pods_that_share_a_claim_go_to_the_node_that_it_was_promised() -> None:
    table = table_with(MADE, claim("a", of="made"))

    reserved(table, "a", place="n2")

    found = {decide(using("a", name="q"), table, seed) for seed in range(20)}
    assert {getattr(one, "node", "") for one in found} == {"n2"}


def test_nothing_is_reserved_for_claims_that_are_bound() -> None:
    table = table_with(claim("a", "v"), volume("v"))

    found = reserved(table, "a")

    assert not found.state
    assert PLUGIN.prepares is not None
    assert not PLUGIN.prepares(found, "n1")


def test_a_pod_whose_volume_was_taken_meanwhile_is_turned_down() -> None:
    table = table_with(HAND, claim("a", of="hand"))
    found = attempt(using("a"), table)
    table.place(found.facts.uid, "n1", found.facts)

    refused = reserve(found, "n1")

    assert refused is not None
    assert refused.reasons == f"0/1 nodes are available: 1 {NO_MATCH}."
    assert refused.plugins == {"VolumeBinding"}


BY_HAND = Assumed(volumes=(Write(volume("v"), volume("v", by="a"), claim("a"), "7"),))
PROMISED = claim("a", at="n1", version="7")
TO_MAKE = Assumed(claims=(Write(claim("a"), PROMISED, claim("a"), "7"),))
DONE = {BIND_COMPLETED: "yes"}


@pytest.mark.parametrize(
    ("assumed", "objects", "told"),
    [
        (BY_HAND, [volume("v", version="6"), claim("a")], None),
        (BY_HAND, [volume("v", by="a", version="7"), claim("a")], None),
        (BY_HAND, [volume("v", by="a", version="9"), claim("a", "v", done=False)], None),
        (BY_HAND, [volume("v", by="a", version="7"), claim("a", "v")], ""),
        (BY_HAND, [volume("v", version="8"), claim("a")], 'ClaimRef got reset for pv "v"'),
        (BY_HAND, [volume("v", by="a", uid="", version="8"), claim("a")], 'ClaimRef got reset for pv "v"'),
        (BY_HAND, [claim("a")], 'failed to check binding: could not find v1.PersistentVolume "v"'),
        (
            BY_HAND,
            [volume("v")],
            'failed to check binding: could not find v1.PersistentVolumeClaim "default/a"',
        ),
        (
            BY_HAND,
            [volume("v", "n2", by="a", version="7"), claim("a")],
            'pv "v" node affinity doesn\'t match node "n1": no matching NodeSelectorTerms',
        ),
        (TO_MAKE, [claim("a", version="6")], None),
        (TO_MAKE, [PROMISED], None),
        (TO_MAKE, [claim("a", "v", at="n1", version="9")], None),
        (TO_MAKE, [claim("a", "v", at="n1", version="9", done=False), volume("v")], None),
        (TO_MAKE, [claim("a", "v", at="n1", version="9"), volume("v")], ""),
        (
            TO_MAKE,
            [claim("a", "v", at="n1", version="9"), volume("v", "n2")],
            'pv "v" node affinity doesn\'t match node "n1": no matching NodeSelectorTerms',
        ),
        (TO_MAKE, [claim("a", version="8")], 'selectedNode annotation reset for PVC "a"'),
        (TO_MAKE, [claim("a", version="8", marks={"x": "y"})], 'provisioning failed for PVC "a"'),
        (TO_MAKE, [claim("a", version="8", at="n2")], 'provisioning failed for PVC "a"'),
        (
            TO_MAKE,
            [],
            'failed to check provisioning pvc: could not find v1.PersistentVolumeClaim "default/a"',
        ),
        (Assumed(), [], ""),
    ],
)
def test_how_far_the_binding_is(assumed: Assumed, objects: list[Object], told: str | None) -> None:
    table = table_with(*objects)
    table.place("uid-p", "n1", PodFacts.of(using("a")))

    assert standing(assumed, "uid-p", "n1", table) == told


def test_it_is_over_when_the_pod_or_its_node_is_gone() -> None:
    table = table_with(PROMISED)
    assert standing(TO_MAKE, "uid-p", "n1", table) == "pod does not exist any more"

    table.remove_node("n1")
    assert standing(TO_MAKE, "uid-p", "n1", table) == 'failed to get node "n1": node "n1" not found'


class Client:
    """Takes patches, gives versions, and says afterwards what the world does then."""

    def __init__(self, *then: Callable[[], None]) -> None:
        self.patches: list[Any] = []
        self._then = then

    async def patch(self, old: Any, new: Any) -> Any:
        assert old.metadata.resource_version == "1"
        self.patches.append(new)
        told = at(new, str(10 + len(self.patches)))
        loop = asyncio.get_running_loop()
        for one in self._then:
            loop.call_soon(one)
        return told


class Handle:
    """As much of a handle as is used."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.binder = self
        self.parallel = asyncio.Semaphore(1)


async def bind(found: Attempt, client: Client, seconds: float = 5.0) -> str:
    assumed = found.state["VolumeBinding"]
    return await writing.bind(assumed, found, "n1", Handle(client), seconds)  # type: ignore[arg-type]  # a fake


async def test_a_volume_is_written_and_its_claim_waited_for() -> None:
    table = table_with(HAND, claim("a", of="hand"), volume("v", of="hand"))
    found = reserved(table, "a")
    taken = table.objects.get(PersistentVolume, "v")
    assert taken is not None
    client = Client(
        lambda: table.set_object(at(taken, "11")),
        lambda: table.set_object(claim("other", "w", version="12")),
        lambda: table.set_object(claim("a", "v", of="hand", version="13")),
    )

    assert await bind(found, client) == ""
    assert client.patches == [taken]
    assert not table.listeners


async def test_a_claim_is_told_its_node_and_a_driver_may_give_up() -> None:
    table = table_with(MADE, claim("a", of="made"))
    found = reserved(table, "a")
    client = Client(
        lambda: table.set_object(claim("a", of="made", at="n1", version="11")),
        lambda: table.set_object(claim("a", of="made", version="12", marks={"x": "y"})),
    )

    assert await bind(found, client) == 'binding volumes: provisioning failed for PVC "a"'
    assert [one.metadata.annotations for one in client.patches] == [{SELECTED_NODE: "n1"}]
    unreserve(found, "n1")
    current = table.objects.get(PersistentVolumeClaim, "a", "default")
    assert current is not None
    assert current.metadata.annotations == {"x": "y"}


async def test_who_waits_hears_that_its_pod_is_gone() -> None:
    table = table_with(MADE, claim("a", of="made"))
    found = reserved(table, "a")

    told = await bind(found, Client(lambda: table.unplace("uid-p")))

    assert told == "binding volumes: pod does not exist any more"


async def test_who_waits_for_another_pod_hears_that_it_gave_up() -> None:
    table = table_with(HAND, claim("a", of="hand"), volume("v", of="hand"))
    first = reserved(table, "a", pod="first")
    second = reserved(table, "a", pod="second")
    asyncio.get_running_loop().call_later(0, lambda: unreserve(first, "n1"))
    client = Client()

    assert await bind(second, client) == 'binding volumes: ClaimRef got reset for pv "v"'
    assert client.patches == []


async def test_who_waits_for_another_pod_is_done_with_it() -> None:
    table = table_with(MADE, claim("a", of="made"), volume("v"))
    reserved(table, "a", pod="first")
    second = reserved(table, "a", pod="second")
    made = claim("a", "v", of="made", at="n1", version="12")
    asyncio.get_running_loop().call_later(0, lambda: table.set_object(made))

    assert await bind(second, Client()) == ""


async def test_waiting_has_an_end() -> None:
    table = table_with(MADE, claim("a", of="made"))

    told = await bind(reserved(table, "a"), Client(), 0.01)

    assert told == "binding volumes: context deadline exceeded"
    assert not table.listeners


def test_the_plugin_has_all_of_it() -> None:
    assert all(PLUGIN in DEFAULT.at[point] for point in ("preFilter", "filter", "reserve", "preBind"))
