"""What the kubelet says of its node, as `kubectl describe node` shows it."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kybern.api.core_v1 import Node, NodeSpec
from kybern.api.meta_v1 import ObjectMeta
from kybern.kubelet.cri import RuntimeFailure
from kybern.kubelet.node import NodeKeeper, Wishes
from kybern.kubelet.sources import Self
from kybern.kubelet.surroundings import Closing, Pressures
from kybern.machinery.struct import replace
from tests.simulation.api import FakeApi
from tests.unit.kubelet.test_node_status import seen


class Keeper:
    """A kubelet's, whose machine is as ``seen`` says."""

    def __init__(self, tmp_path: Path, api: FakeApi) -> None:
        self.said: list[str] = []
        self.me = Self()
        here: Any = SimpleNamespace(
            machine=SimpleNamespace(node="n1"),
            voice=SimpleNamespace(node=lambda _type, reason, _message: self.said.append(reason)),
        )
        self._keeper = NodeKeeper(Wishes("n1", ("10.0.0.1",), tmp_path), here, api, self.me, lambda: "")
        self.api = api

    async def look(self, **more: Any) -> list[str]:
        """What is said at one look."""

        async def now() -> Any:
            return seen(**more)

        self.said.clear()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(self._keeper, "_seen", now)
            await self._keeper.look()
        return list(self.said)


async def test_a_node_is_told_when_it_is_new_and_when_it_changes(tmp_path: Path) -> None:
    keeper = Keeper(tmp_path, FakeApi(Node))

    pressures = ["NodeHasSufficientMemory", "NodeHasNoDiskPressure", "NodeHasSufficientPID"]
    assert await keeper.look(problems=("not yet",)) == [*pressures, "NodeNotReady"]
    assert await keeper.look(problems=("not yet",)) == []
    assert await keeper.look() == ["NodeReady"]
    assert await keeper.look(pressures=("DiskPressure",)) == ["NodeHasDiskPressure"]


async def test_a_node_that_takes_no_pods_is_told_once(tmp_path: Path) -> None:
    api = FakeApi(Node)
    await api.create(Node(metadata=ObjectMeta(name="n1"), spec=NodeSpec(unschedulable=True)))
    keeper = Keeper(tmp_path, api)

    assert "NodeNotSchedulable" in await keeper.look()
    assert await keeper.look() == []
    keeper.me.node = None
    found = api.one(Node, "", "n1")
    assert found is not None
    await api.delete(Node, "n1")
    await api.create(Node(metadata=ObjectMeta(name="n1"), status=found.status))
    assert "NodeSchedulable" in await keeper.look()


async def test_labels_of_the_machine_are_set_again_when_somebody_writes_others(tmp_path: Path) -> None:
    """As upstream's OSArchLabelReconciliation; labels of an administrator stay."""
    api = FakeApi(Node)
    keeper = Keeper(tmp_path, api)
    await keeper.look()
    node = api.one(Node, "", "n1")
    assert node is not None
    right = node.metadata.labels
    wrong = {**right, "kubernetes.io/os": "dummyOS", "kubernetes.io/hostname": "mine", "zone": "a"}
    del wrong["kubernetes.io/arch"]
    keeper.me.node = await api.patch(node, replace(node, metadata=replace(node.metadata, labels=wrong)))

    await keeper.look()

    found = api.one(Node, "", "n1")
    assert found is not None
    assert found.metadata.labels == {**right, "kubernetes.io/hostname": "mine", "zone": "a"}
    revision = found.metadata.resource_version
    await keeper.look()
    again = api.one(Node, "", "n1")
    assert again is not None
    assert again.metadata.resource_version == revision, "nothing is written that is right"


class Hung:
    """A runtime that says how it is, and hangs when it is asked for its images."""

    name, version = "containerd", "2.1"

    async def conditions(self) -> dict[str, tuple[bool, str, str]]:
        return {"RuntimeReady": (True, "", "")}

    async def images(self) -> Any:
        raise RuntimeFailure("rpc error: code = DeadlineExceeded", "DEADLINE_EXCEEDED")


async def test_a_node_is_told_of_though_its_images_cannot_be_listed(tmp_path: Path) -> None:
    here: Any = SimpleNamespace(
        machine=SimpleNamespace(node="n1"),
        voice=SimpleNamespace(node=lambda *_what: None),
        runtime=Hung(),
        network=SimpleNamespace(ready=False, message=""),
        closing=Closing(),
        pressures=Pressures(),
        devices=SimpleNamespace(plugins=SimpleNamespace(counts=dict)),
    )
    api = FakeApi(Node)
    keeper = NodeKeeper(Wishes("n1", ("10.0.0.1",), tmp_path), here, api, Self(), lambda: "")

    await keeper.look()

    found = api.one(Node, "", "n1")
    assert found is not None
    assert [one.status for one in found.status.conditions if one.type == "Ready"] == ["True"]
    assert here.network.ready
