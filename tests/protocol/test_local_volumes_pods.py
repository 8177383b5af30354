"""A StatefulSet with volumes of its node's disk, by all daemons together: from the claim's template to the last byte.

API server, controller manager and scheduler are processes; kubelet and driver run here, with only their own rights.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from kybern.auth.x509 import Authority, Leaf
from kybern.client import kubeconfig
from kybern.client.rest import Client
from kybern.kubelet.cri import Runtime
from kybern.kubelet.daemon import Kubelet
from kybern.local_volumes.plugin import Plugin
from tests.protocol.apiserver_bed import Lab, Server
from tests.protocol.containerd_bed import NODE, SLEEP, Bed, clean, settings
from tests.protocol.controllers_bed import APPS, CORE, manage
from tests.protocol.local_volumes_bed import Driver, driver, prepare, schedule
from tests.protocol.test_kubelet_apiserver import make, running, until

pytestmark = [pytest.mark.containerd, pytest.mark.etcd, pytest.mark.timeout(240)]

PODS, CLAIMS = f"{CORE}/namespaces/default/pods", f"{CORE}/namespaces/default/persistentvolumeclaims"
SETS, STORAGE = f"{APPS}/namespaces/default/statefulsets", "/apis/storage.k8s.io/v1"


@pytest.fixture(scope="module")
def server(lab: Lab, free_ports: Callable[[], int]) -> Server:
    at = lab.directory
    authority = Authority.load((at / "ca.crt").read_bytes(), (at / "ca.key").read_bytes())
    pair = authority.issue_leaf(Leaf(f"system:node:{NODE}", ("system:nodes",)), now=datetime.now(UTC))
    lab.write("node.crt", pair.cert_pem)
    lab.write("node.key", pair.key_pem)
    found = lab.start(free_ports(), "--enable-admission-plugins=NodeRestriction")
    manage(lab, found, free_ports())
    schedule(lab, found, free_ports())
    prepare(lab, found, NODE)
    return found


@asynccontextmanager
async def node(bed: Bed, lab: Lab, server: Server) -> AsyncIterator[tuple[Runtime, Driver]]:
    """Kubelet and driver, until the block ends; pods stay."""
    config = kubeconfig.load(str(lab.kubeconfig(server, "node")))
    quick = settings(bed, stats_fresh=0.2, status_every=0.3)
    async with (
        Runtime(bed.endpoint) as runtime,
        Client(config) as client,
        driver(lab, server, NODE, bed.at / "volumes") as found,
        Plugin(found.store, NODE, bed.at / "kubelet").served(),
    ):
        await runtime.greet()
        kubelet = asyncio.create_task(Kubelet(quick, runtime, client, NODE).run())
        try:
            yield runtime, found
        finally:
            if kubelet.done():
                kubelet.result()
            kubelet.cancel()
            await asyncio.gather(kubelet, return_exceptions=True)


def stateful() -> dict[str, Any]:
    mounts = [{"name": "data", "mountPath": "/data"}]
    container = {"name": "c", "image": "busybox:1.36", "command": SLEEP, "volumeMounts": mounts}
    pod = {
        "terminationGracePeriodSeconds": 1, "automountServiceAccountToken": False, "containers": [container],
        "securityContext": {"runAsUser": 1000, "fsGroup": 2000},
    }  # fmt: skip
    size = {"requests": {"storage": "1Mi"}}
    wanted = {"accessModes": ["ReadWriteOnce"], "resources": size}
    return {
        "metadata": {"name": "db"},
        "spec": {
            "replicas": 1, "serviceName": "db", "selector": {"matchLabels": {"app": "db"}},
            "template": {"metadata": {"labels": {"app": "db"}}, "spec": pod},
            "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": wanted}],
        },
    }  # fmt: skip


async def execute(runtime: Runtime, pod: Any, command: str) -> str:
    identity = pod["status"]["containerStatuses"][0]["containerID"].partition("://")[2]
    _code, output = await runtime.execute(identity, ("sh", "-c", command), 10)
    return output.decode().strip()


async def gone(server: Server, path: str) -> None:
    async with asyncio.timeout(40):
        while (await asyncio.to_thread(server.ask, "GET", path))[0] != 404:
            await asyncio.sleep(0.1)


async def test_a_statefulset_keeps_its_data_until_its_claim_goes(bed: Bed, lab: Lab, server: Server) -> None:
    async with node(bed, lab, server) as (runtime, found):
        await until(server, f"{STORAGE}/csinodes/{NODE}", lambda one: one["spec"]["drivers"])
        make(server, SETS, stateful())
        first = await until(server, f"{PODS}/db-0", running)
        wrote = await execute(runtime, first, "echo kept > /data/file && stat -c %g /data && cat /data/file")
        claim = await until(server, f"{CLAIMS}/data-db-0", lambda one: one["status"]["phase"] == "Bound")
        name = claim["spec"]["volumeName"]

        server.ask("DELETE", f"{PODS}/db-0")
        uid = first["metadata"]["uid"]
        again = await until(
            server, f"{PODS}/db-0", lambda one: one["metadata"]["uid"] != uid and running(one)
        )
        read = await execute(runtime, again, "cat /data/file")

        size = {"spec": {"resources": {"requests": {"storage": "2Mi"}}}}
        assert server.ask("PATCH", f"{CLAIMS}/data-db-0", size, form="merge-patch+json")[0] == 200
        await until(
            server, f"{CLAIMS}/data-db-0", lambda one: one["status"]["capacity"] == {"storage": "2Mi"}
        )
        kept = (bed.at / "volumes" / name / "data/file").read_text()

    # Killed, both of them; the pod's end is theirs to clean up all the same.
    async with node(bed, lab, server) as (_runtime, found):
        server.ask("DELETE", f"{CLAIMS}/data-db-0")
        server.ask("DELETE", f"{SETS}/db")
        await gone(server, f"{PODS}/db-0")
        await gone(server, f"{CORE}/persistentvolumes/{name}")
        assert found.directories() == set()
        assert str(bed.at / "volumes") not in Path("/proc/self/mountinfo").read_text()

    assert (claim["spec"]["storageClassName"], wrote) == ("local", "2000\nkept")
    assert (read, kept) == ("kept", "kept\n")
    await clean(bed)
