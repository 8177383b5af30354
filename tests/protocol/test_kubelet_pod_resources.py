"""A program of the node asks over the socket what pods have, by a real client of gRPC."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio
import pytest

from kybern._proto import podresources_pb2 as pb
from kybern._proto import podresources_pb2_grpc as rpc
from tests.protocol.containerd_bed import SLEEP, Bed, OneNode, clean, one_node, running
from tests.protocol.test_kubelet_devices import NAME, counted, plugged

pytestmark = [pytest.mark.containerd, pytest.mark.timeout(180)]


@asynccontextmanager
async def asking(node: OneNode) -> AsyncIterator[Any]:
    socket = node.kubelet.here.volumes.root / "pod-resources/kubelet.sock"
    options = [("grpc.default_authority", "localhost")]
    async with grpc.aio.insecure_channel(f"unix://{socket}", options=options) as channel:
        yield rpc.PodResourcesListerStub(channel)


async def alpha(node: OneNode) -> Any:
    """What v1alpha1 lists."""
    socket = node.kubelet.here.volumes.root / "pod-resources/kubelet.sock"
    options = [("grpc.default_authority", "localhost")]
    async with grpc.aio.insecure_channel(f"unix://{socket}", options=options) as channel:
        ask = channel.unary_unary(
            "/v1alpha1.PodResourcesLister/List",
            request_serializer=pb.ListPodResourcesRequest.SerializeToString,
            response_deserializer=pb.ListPodResourcesResponse.FromString,
        )
        return await ask(pb.ListPodResourcesRequest(), timeout=10)


async def test_what_pods_have_is_told_on_the_socket(bed: Bed) -> None:
    wanted = {"name": "c", "command": SLEEP, "resources": {"limits": {NAME: "1"}, "requests": {NAME: "1"}}}
    async with one_node(bed, status_every=0.3) as node, plugged(node), asking(node) as stub:
        await counted(node, "2", "2")
        await node.add("has", wanted)
        await node.add("none", {"name": "c", "command": SLEEP})
        await node.until("has", running, 90)
        await node.until("none", running, 90)
        every = await stub.List(pb.ListPodResourcesRequest(), timeout=10, wait_for_ready=True)
        one = await stub.Get(pb.GetPodResourcesRequest(pod_name="has", pod_namespace="default"), timeout=10)
        room = await stub.GetAllocatableResources(pb.AllocatableResourcesRequest(), timeout=10)
        old = await alpha(node)
        for name in ("has", "none"):
            await node.delete(name)
            await node.gone(name)
        after = await stub.List(pb.ListPodResourcesRequest(), timeout=10)
    await clean(bed)

    has = {
        found.name: [list(d.device_ids) for d in found.containers[0].devices] for found in every.pod_resources
    }
    assert has.keys() == {"has", "none"}
    assert has["none"] == []
    assert has["has"] in ([["one"]], [["two"]])
    assert one.pod_resources in every.pod_resources
    assert sorted(d.device_ids[0] for d in room.devices) == ["one", "two"]
    assert list(after.pod_resources) == []
    assert {
        found.name: [list(d.device_ids) for d in found.containers[0].devices] for found in old.pod_resources
    } == has


async def test_who_asks_too_often_is_refused_and_only_root_may_ask(bed: Bed) -> None:
    async with one_node(bed) as node, asking(node) as stub:
        await stub.List(pb.ListPodResourcesRequest(), timeout=10, wait_for_ready=True)
        with pytest.raises(grpc.aio.AioRpcError) as unknown:
            await stub.Get(pb.GetPodResourcesRequest(pod_name="gone", pod_namespace="default"), timeout=10)
        calls = [asyncio.ensure_future(_ask(stub)) for _each in range(300)]
        answers = await asyncio.gather(*calls)
        root = node.kubelet.here.volumes.root / "pod-resources"
        modes = [path.stat().st_mode & 0o777 for path in (root, root / "kubelet.sock")]

    assert unknown.value.details() == "pod gone in namespace default not found"
    assert set(answers) == {"OK", "RESOURCE_EXHAUSTED"}
    assert modes == [0o750, 0o600]


async def _ask(stub: Any) -> str:
    try:
        await stub.List(pb.ListPodResourcesRequest(), timeout=10)
    except grpc.aio.AioRpcError as problem:
        return str(problem.code().name)
    return "OK"
