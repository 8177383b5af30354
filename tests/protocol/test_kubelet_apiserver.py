"""A kubelet as a node of a real API server, with no more rights than a node has."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest

from kybern.client import kubeconfig
from kybern.client.rest import Client
from kybern.kubelet.cri import Runtime
from kybern.kubelet.daemon import Kubelet
from tests.protocol.apiserver_bed import Lab, Server
from tests.protocol.containerd_bed import NODE, SLEEP, Bed, clean, settings
from tests.protocol.csi_driver import NAME, driver

pytestmark = [pytest.mark.containerd, pytest.mark.etcd, pytest.mark.timeout(180)]

CORE, STORAGE = "/api/v1", "/apis/storage.k8s.io/v1"
PODS = f"{CORE}/namespaces/default/pods"


@pytest.fixture(scope="module")
def server(lab: Lab, free_ports: Callable[[], int]) -> Server:
    lab.add_node(NODE)
    found = lab.start(free_ports(), "--enable-admission-plugins=NodeRestriction")
    make(found, f"{CORE}/namespaces/default/serviceaccounts", {"metadata": {"name": "default"}})
    return found


def make(server: Server, path: str, body: Any) -> Any:
    code, answer = server.ask("POST", path, body)
    assert code == 201, answer
    return answer


async def until(server: Server, path: str, check: Callable[[Any], Any], seconds: float = 40.0) -> Any:
    limit = time.monotonic() + seconds
    while True:
        code, found = await asyncio.to_thread(server.ask, "GET", path)
        if code == 200 and check(found):
            return found
        assert time.monotonic() < limit, found
        await asyncio.sleep(0.1)


def volumes(server: Server) -> None:
    """A class, a driver, and a claim with its volume."""
    make(server, "/apis/node.k8s.io/v1/runtimeclasses", {"metadata": {"name": "special"}, "handler": "other"})
    make(
        server,
        f"{STORAGE}/csidrivers",
        {"metadata": {"name": NAME}, "spec": {"attachRequired": False, "podInfoOnMount": True}},
    )
    size = {"storage": "1Gi"}
    claim = {
        "metadata": {"name": "data"},
        "spec": {
            "accessModes": ["ReadWriteOnce"], "volumeName": "vol", "storageClassName": "",
            "resources": {"requests": size},
        },
    }  # fmt: skip
    path = f"{CORE}/namespaces/default/persistentvolumeclaims"
    made = make(server, path, claim)
    spec = {
        "capacity": size, "accessModes": ["ReadWriteOnce"], "csi": {"driver": NAME, "volumeHandle": "vol"},
        "claimRef": {"namespace": "default", "name": "data", "uid": made["metadata"]["uid"]},
    }  # fmt: skip
    make(server, f"{CORE}/persistentvolumes", {"metadata": {"name": "vol"}, "spec": spec})
    made["status"] = {"phase": "Bound", "accessModes": ["ReadWriteOnce"], "capacity": size}
    code, answer = server.ask("PUT", f"{path}/data/status", made)
    assert code == 200, answer


def pods(server: Server) -> None:
    """One that uses the claim by the class, and one that fills more than it may."""
    mounts = [{"name": "v", "mountPath": "/v"}]
    usual = {"name": "c", "image": "busybox:1.36", "command": SLEEP, "volumeMounts": mounts}
    spec = {"nodeName": NODE, "terminationGracePeriodSeconds": 1, "automountServiceAccountToken": False}
    claimed = {"name": "v", "persistentVolumeClaim": {"claimName": "data"}}
    uses = {"containers": [usual], "volumes": [claimed], "runtimeClassName": "special"}
    make(server, PODS, {"metadata": {"name": "uses"}, "spec": spec | uses})
    fills = usual | {"command": ["sh", "-c", f"head -c 3000000 /dev/zero > /v/x; {SLEEP[2]}"]}
    small = {"containers": [fills], "volumes": [{"name": "v", "emptyDir": {"sizeLimit": "1Mi"}}]}
    make(server, PODS, {"metadata": {"name": "fills"}, "spec": spec | small})


def running(pod: Any) -> bool:
    status = pod["status"]
    return status.get("phase") == "Running" and all(one["ready"] for one in status["containerStatuses"])


async def test_a_node_runs_pods_with_no_more_than_a_nodes_rights(bed: Bed, lab: Lab, server: Server) -> None:
    volumes(server)
    config = kubeconfig.load(str(lab.kubeconfig(server, "node")))
    quick = settings(bed, eviction_every=0.3, stats_fresh=0.2, status_every=0.3)
    async with Runtime(bed.endpoint) as runtime, Client(config) as client:
        await runtime.greet()
        kubelet = asyncio.create_task(Kubelet(quick, runtime, client, NODE).run())
        try:
            async with driver(bed.at / "kubelet") as (called, _registration):
                await until(server, f"{STORAGE}/csinodes/{NODE}", lambda found: found["spec"]["drivers"])
                node = await until(
                    server, f"{CORE}/nodes/{NODE}", lambda found: found["status"].get("conditions")
                )
                pods(server)
                uses = await until(server, f"{PODS}/uses", running)
                evicted = await until(
                    server, f"{PODS}/fills", lambda pod: pod["status"].get("phase") == "Failed"
                )
                for name in ("uses", "fills"):
                    server.ask("DELETE", f"{PODS}/{name}")
                await until(server, PODS, lambda found: not found["items"])
        finally:
            kubelet.cancel()
            await asyncio.gather(kubelet, return_exceptions=True)

    assert node["metadata"]["annotations"]["csi.volume.kubernetes.io/nodeid"]
    assert uses["status"]["qosClass"] == "BestEffort"
    assert evicted["status"]["reason"] == "Evicted"
    assert evicted["status"]["message"] == 'Usage of EmptyDir volume "v" exceeds the limit "1Mi". '
    assert called.asked() == ["stage", "publish", "unpublish", "unstage"]
    await clean(bed)
