"""A node that a cloud-controller-manager is to complete, as its kubelet registers it."""

from types import SimpleNamespace
from typing import Any

import pytest

from kybern.api.core_v1 import Node
from kybern.api.meta_v1 import ObjectMeta
from kybern.daemon.flags import BadFlag
from kybern.kubelet.flags import FLAGS
from kybern.kubelet.node import Cloud, NodeKeeper, Wishes
from tests.simulation.api import FakeApi
from tests.unit.kubelet.test_node_status import seen

NOTE = "alpha.kubernetes.io/provided-node-ip"
UNINITIALIZED = "node.cloudprovider.kubernetes.io/uninitialized"


async def registered(api: FakeApi, cloud: Cloud | None, tmp_path: Any) -> Node:
    wishes = Wishes("n1", ("10.0.0.1",), tmp_path, cloud=cloud)
    voice = SimpleNamespace(node=lambda *_said: None)
    here: Any = SimpleNamespace(machine=SimpleNamespace(node="n1"), voice=voice)
    me: Any = SimpleNamespace(node=None)
    keeper = NodeKeeper(wishes, here, api, me, lambda: "")
    await keeper._register(seen())
    found = api.one(Node, "", "n1")
    assert found is not None
    return found


async def test_pods_are_kept_off_until_the_cloud_has_seen_it(tmp_path: Any) -> None:
    made = await registered(FakeApi(Node), Cloud("10.0.0.1"), tmp_path)

    assert [(one.key, one.value, one.effect) for one in made.spec.taints] == [
        (UNINITIALIZED, "true", "NoSchedule")
    ]
    assert made.metadata.annotations[NOTE] == "10.0.0.1"


async def test_without_a_cloud_nobody_is_waited_for(tmp_path: Any) -> None:
    made = await registered(FakeApi(Node), None, tmp_path)

    assert made.spec.taints == ()
    assert NOTE not in made.metadata.annotations


async def test_a_node_that_is_there_already_is_not_kept_from_pods_again(tmp_path: Any) -> None:
    api = FakeApi(Node)
    await api.create(Node(metadata=ObjectMeta(name="n1")))
    made = await registered(api, Cloud("10.0.0.1"), tmp_path)

    assert made.spec.taints == ()
    assert made.metadata.annotations[NOTE] == "10.0.0.1"


def test_a_provider_is_no_part_of_the_kubelet() -> None:
    assert FLAGS.read(["--cloud-provider=external"])["cloud-provider"] == "external"
    with pytest.raises(BadFlag, match="providers are programs of their own"):
        FLAGS.read(["--cloud-provider=libvirt"])
