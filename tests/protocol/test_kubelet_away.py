"""A kubelet that starts while no API server answers: what runs goes on, what lies on the node runs, and all is told."""

from pathlib import Path

import pytest

from kybern.api.coordination_v1 import Lease
from kybern.api.core_v1 import Event, Node, Pod
from kybern.kubelet.labels import is_mirror
from kybern.kubelet.runtime import Actual
from kybern.machinery.errors import ServiceUnavailable
from tests.protocol.containerd_bed import KINDS, SLEEP, Api, Bed, OneNode, clean, first, one_node, running
from tests.protocol.pods_bed import until

pytestmark = [pytest.mark.containerd, pytest.mark.timeout(180)]

STATIC = f"""
apiVersion: v1
kind: Pod
metadata: {{name: static}}
spec:
  terminationGracePeriodSeconds: 1
  containers: [{{name: c, image: "busybox:1.36", command: {SLEEP}}}]
"""


def away(_method: str, _path: str) -> None:
    raise ServiceUnavailable("cannot reach the API server")


def back(_method: str, _path: str) -> None: ...


async def of_name(node: OneNode, name: str) -> Actual:
    for uid, (_mark, _namespace, found) in (await node.runtime.all()).items():
        if found == name:
            return await node.runtime.actual(uid)
    return Actual("")


async def test_what_ran_runs_on_and_what_lies_on_the_node_runs(bed: Bed, tmp_path: Path) -> None:
    api = Api(*KINDS)
    async with one_node(bed, api, static_pod_path=str(tmp_path)) as node:
        pods = [
            await node.add(name, {"name": "c", "command": SLEEP}) for name in ("calm", "crashed", "deleted")
        ]
        before = [first(await node.until(pod.metadata.name, running)) for pod in pods]

    api.refuse = away
    async with one_node(bed, api, static_pod_path=str(tmp_path)) as node:
        (tmp_path / "static.yaml").write_text(STATIC)

        async def static_runs() -> bool:
            return any(run.running for run in (await of_name(node, "static-n1")).instances)

        await until(static_runs, 60)
        # Nobody says what shall become of it: as it is, it stays.
        await node.runtime.stop_container(before[1].container_id.partition("://")[2], 0)
        for pod, status in zip(pods, before, strict=True):
            (run,) = (await node.runtime.actual(pod.metadata.uid)).instances
            assert run.id == status.container_id.partition("://")[2]
            assert run.running == (pod.metadata.name != "crashed")

        # Meanwhile it went for good: nobody waits for a kubelet that is away.
        api.refuse = back
        found = node.pod("deleted")
        assert found is not None
        await api.delete(found, grace_seconds=0)
        await node.until("crashed", lambda pod: first(pod).restart_count == 1 and running(pod), 60)
        await until(lambda: _ready(api), 30)
        await until(lambda: _mirrored(api), 30)
        await until(lambda: _gone(node, pods[2]), 60)

        calm = node.pod("calm")
        assert calm is not None
        assert (first(calm).container_id, first(calm).restart_count) == (before[0].container_id, 0)
        assert api.one(Lease, "kube-node-lease", "n1") is not None
        reasons = {event.reason for event in api.all(Event) if event.involved_object.name == "static-n1"}
        assert {"Created", "Started"} <= reasons, "what happened meanwhile is told"
        (tmp_path / "static.yaml").unlink()
    await clean(bed)


def _ready(api: Api) -> bool:
    found = api.one(Node, "", "n1")
    return found is not None and {c.type: c.status for c in found.status.conditions}["Ready"] == "True"


def _mirrored(api: Api) -> bool:
    found = api.one(Pod, "default", "static-n1")
    return found is not None and is_mirror(found) and found.status.phase == "Running"


async def _gone(node: OneNode, pod: Pod) -> bool:
    return not (await node.runtime.actual(pod.metadata.uid)).alive
