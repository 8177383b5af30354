"""What is short and since when, who goes first, and what pods are told of it."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from kybern.api.core_v1 import EmptyDirVolumeSource, Pod, ResourceRequirements, Volume
from kybern.kubelet.eviction.message import annotations, message
from kybern.kubelet.eviction.outlook import Outlook, crossed, look
from kybern.kubelet.eviction.ranking import ranked
from kybern.kubelet.eviction.signals import Amount, Lines, Threshold, checked, observed, thresholds
from kybern.kubelet.eviction.storage import exceeded
from kybern.kubelet.stats.use import Disk, FileSystem, Memory, NodeUse, SystemUse
from tests.unit.kubelet.making import container, pod
from tests.unit.kubelet.using import MIB, named, node_use, use

HARD = Threshold("memory.available", "100Mi")
SOFT = Threshold("memory.available", "200Mi", grace=30.0)
DISK = Threshold("nodefs.available", "10%", minimum="5%")


def left(**amounts: int) -> Mapping[str, Amount]:
    """What is left of 1000 MiB."""
    return {name.replace("_", "."): Amount(value * MIB, 1000 * MIB) for name, value in amounts.items()}


class TestOutlook:
    """Thresholds that are crossed for their grace are due; conditions stay a while."""

    def test_a_hard_threshold_is_due_at_once(self) -> None:
        found = look(Outlook(), (HARD, SOFT), left(memory_available=90), 0.0, 300.0)

        assert found.due == (HARD,)
        assert found.conditions == ("MemoryPressure",)

    def test_a_soft_one_is_due_after_its_grace_if_it_stays_crossed(self) -> None:
        first = look(Outlook(), (SOFT,), left(memory_available=150), 0.0, 300.0)
        second = look(first, (SOFT,), left(memory_available=150), 30.0, 300.0)
        back = look(first, (SOFT,), left(memory_available=250), 20.0, 300.0)
        again = look(back, (SOFT,), left(memory_available=150), 40.0, 300.0)

        assert [found.due for found in (first, second, again)] == [(), (SOFT,), ()]

    def test_what_was_due_stays_until_its_minimum_is_free_too(self) -> None:
        short = look(Outlook(), (DISK,), left(nodefs_available=90), 0.0, 0.0)
        above_line = look(short, (DISK,), left(nodefs_available=120), 10.0, 0.0)
        well = look(above_line, (DISK,), left(nodefs_available=150), 20.0, 0.0)
        never_short = look(Outlook(), (DISK,), left(nodefs_available=120), 10.0, 0.0)

        assert [found.due for found in (short, above_line, well, never_short)] == [(DISK,), (DISK,), (), ()]

    def test_a_condition_stays_for_the_transition_period(self) -> None:
        short = look(Outlook(), (DISK,), left(nodefs_available=10), 0.0, 60.0)
        soon = look(short, (DISK,), left(nodefs_available=500), 59.0, 60.0)
        later = look(soon, (DISK,), left(nodefs_available=500), 60.0, 60.0)

        assert [found.conditions for found in (short, soon, later)] == [
            ("DiskPressure",),
            ("DiskPressure",),
            (),
        ]

    def test_without_a_transition_period_a_condition_holds_while_it_is_seen(self) -> None:
        assert look(Outlook(), (DISK,), left(nodefs_available=10), 5.0, 0.0).conditions == ("DiskPressure",)

    def test_memory_is_acted_on_first(self) -> None:
        found = look(Outlook(), (DISK, HARD), left(nodefs_available=1, memory_available=1), 0.0, 0.0)

        assert found.due == (HARD, DISK)

    def test_a_signal_that_is_not_seen_is_not_crossed(self) -> None:
        assert crossed((HARD,), {}) == ()


class TestThresholds:
    """From what was configured."""

    def test_a_hard_one_of_memory_is_one_of_all_pods_too(self) -> None:
        found = thresholds(Lines({"memory.available": "1Gi", "pid.available": "0%"}, {}, {}, {}))

        assert [one.signal for one in found] == ["memory.available", "allocatableMemory.available"]

    def test_a_soft_one_needs_a_grace(self) -> None:
        lines = Lines(
            {}, {"memory.available": "1Gi"}, {"memory.available": 60.0}, {"memory.available": "1Mi"}
        )

        assert thresholds(lines) == (Threshold("memory.available", "1Gi", 60.0, "1Mi"),)
        with pytest.raises(
            ValueError, match="grace period must be specified for the soft eviction threshold"
        ):
            thresholds(replace(lines, grace={}))

    @pytest.mark.parametrize(
        ("signal", "value", "text"),
        [
            ("foo", "1", "unsupported eviction signal foo"),
            ("memory.available", "-1Mi", "eviction threshold memory.available must be positive: -1Mi"),
            (
                "nodefs.available",
                "101%",
                "eviction percentage threshold nodefs.available must be <= 100%: 101%",
            ),
            ("nodefs.available", "-1%", "eviction percentage threshold nodefs.available must be >= 0%: -1%"),
            ("nodefs.available", "x", '"x" is neither a quantity nor a percentage'),
        ],
    )
    def test_what_is_no_threshold_is_told(self, signal: str, value: str, text: str) -> None:
        with pytest.raises(ValueError, match=text):
            checked(signal, value)


def order(threshold: Threshold, pods: list[Pod], found: NodeUse) -> list[str]:
    return [one.metadata.uid for one in ranked(threshold, pods, found)]


class TestRanking:
    """Beyond the request, then priority, then how far."""

    def test_memory(self) -> None:
        pods = [
            named("within", memory="100Mi"), named("over", memory="10Mi"), named("far", memory="10Mi"),
            named("dear", priority=100), named("unknown", priority=1000),
        ]  # fmt: skip
        found = node_use(use("within", 90), use("over", 20), use("far", 80), use("dear", 500))

        assert order(HARD, pods, found) == ["unknown", "far", "over", "dear", "within"]

    def test_processes_are_never_asked_for(self) -> None:
        pods = [named("few"), named("many"), named("dear", priority=1)]
        found = node_use(use("few", processes=2), use("many", processes=90), use("dear", processes=500))

        assert order(Threshold("pid.available", "10"), pods, found) == ["many", "few", "dear"]

    def test_layers_do_not_count_for_the_nodes_disk_when_images_have_their_own(self) -> None:
        pods = [named("layer"), named("volume")]
        volume: dict[str, Any] = {"volumes": {"v": Disk(0.0, 10 * MIB, 10)}, "local": frozenset({"v"})}
        uses = (use("layer", disk=50), use("volume", **volume))
        images = Threshold("imagefs.available", "10%")

        assert order(DISK, pods, node_use(*uses)) == ["layer", "volume"]
        assert order(DISK, pods, node_use(*uses, dedicated=True)) == ["volume", "layer"]
        assert order(images, pods, node_use(*uses, dedicated=True)) == ["layer", "volume"]

    def test_inodes_are_counted(self) -> None:
        pods = [named("few"), named("many")]
        many = use("many", volumes={"v": Disk(0.0, 0, 5000)}, local=frozenset({"v"}))

        assert order(Threshold("nodefs.inodesFree", "5%"), pods, node_use(use("few", disk=50), many)) == [
            "many",
            "few",
        ]


def test_a_pod_is_told_what_was_short_and_what_it_used() -> None:
    found = message(HARD, named("u", memory="10Mi"), use("u", 20), left(memory_available=50))

    assert found == (
        "The node was low on resource: memory. Threshold quantity: 100Mi, available: 50Mi. "
        "Container c was using 20Mi, request is 10Mi, has larger consumption of memory. "
    )


def test_a_pod_within_its_request_is_told_only_what_was_short() -> None:
    found = message(DISK, named("u", storage="30Mi"), use("u", disk=20), left(nodefs_available=50))

    assert found == (
        "The node was low on resource: ephemeral-storage. Threshold quantity: 100Mi, available: 50Mi. "
    )


def test_programs_are_told_the_same() -> None:
    assert annotations(HARD, named("u", memory="10Mi"), use("u", 20)) == {
        "starved_resource": "memory", "offending_containers": "c", "offending_containers_usage": "20Mi",
    }  # fmt: skip
    assert annotations(DISK, named("u", storage="30Mi"), use("u", disk=20)) == {
        "starved_resource": "ephemeral-storage", "offending_containers": "", "offending_containers_usage": "",
    }  # fmt: skip
    assert annotations(HARD, named("u"), None) == {}


def test_of_a_pod_with_resources_of_its_own_it_is_told_too() -> None:
    asked = ResourceRequirements(requests={"memory": "10Mi"})
    whole = pod(container(resources=asked), resources=ResourceRequirements(requests={"memory": "15Mi"}))

    assert annotations(HARD, whole, use("u", 20)) == {
        "starved_resource": "memory", "offending_containers": "c", "offending_containers_usage": "20Mi",
        "offending_pod": whole.metadata.name, "offending_pod_usage": "20Mi",
    }  # fmt: skip


def test_counts_are_told_by_thousands() -> None:
    short = {"pid.available": Amount(2000, 32000)}

    assert message(Threshold("pid.available", "3000"), named("u"), None, short) == (
        "The node was low on resource: pids. Threshold quantity: 3k, available: 2k. "
    )


class TestStorage:
    """Limits that a pod has of its own."""

    def test_an_empty_dir_has_a_size(self) -> None:
        full = Volume(name="v", empty_dir=EmptyDirVolumeSource(size_limit="1Mi"))
        found = use("u", volumes={"v": Disk(0.0, MIB + 1, 1)}, local=frozenset({"v"}))

        assert exceeded(pod(volumes=(full,)), found, dedicated=False) == (
            "emptydirfs.limit", 'Usage of EmptyDir volume "v" exceeds the limit "1Mi". ',
        )  # fmt: skip
        assert (
            exceeded(
                pod(volumes=(Volume(name="v", empty_dir=EmptyDirVolumeSource()),)), found, dedicated=False
            )
            is None
        )

    def test_containers_together(self) -> None:
        limited = pod(container(resources=ResourceRequirements(limits={"ephemeral-storage": "10Mi"})))
        volume: dict[str, Any] = {"volumes": {"v": Disk(0.0, 6 * MIB, 1)}, "local": frozenset({"v"})}

        assert exceeded(limited, use("u", disk=5, **volume), dedicated=False) == (
            "ephemeralpodfs.limit", "Pod ephemeral local storage usage exceeds the total limit of containers 10Mi. ",
        )  # fmt: skip
        assert exceeded(limited, use("u", disk=10), dedicated=False) is None

    def test_one_container(self) -> None:
        small = container("c", resources=ResourceRequirements(limits={"ephemeral-storage": "10Mi"}))
        large = container("d", resources=ResourceRequirements(limits={"ephemeral-storage": "10Mi"}))

        assert exceeded(pod(small, large), use("u", disk=11), dedicated=False) == (
            "ephemeralcontainerfs.limit", 'Container c exceeded its local ephemeral storage limit "10Mi". ',
        )  # fmt: skip
        assert exceeded(pod(small, large), use("u", disk=11), dedicated=True) is None


def test_what_is_left_is_told_by_signal() -> None:
    found = replace(
        node_use(memory=300), system=(SystemUse("pods", 0.0, None, Memory(0.0, 0, 100, available=400)),),
        image_fs=FileSystem(0.0, 5, 10, 0, 0),
    )  # fmt: skip

    seen = observed(found)

    assert seen["memory.available"] == Amount(300 * MIB, 1000 * MIB)
    assert seen["allocatableMemory.available"] == Amount(400, 500)
    assert seen["imagefs.available"] == Amount(5, 10)
    assert "imagefs.inodesFree" not in seen
    assert seen["pid.available"] == Amount(900, 1000)
