"""Trust anchors in the volumes of a kubelet that is a node of a real API server, with no more rights than a node has."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from kybern.auth.x509 import Authority
from kybern.client import kubeconfig
from kybern.client.rest import Client
from kybern.kubelet.cri import Runtime
from kybern.kubelet.daemon import Kubelet
from tests.protocol.apiserver_bed import Lab, Server
from tests.protocol.containerd_bed import NODE, SLEEP, Bed, clean, settings
from tests.protocol.test_kubelet_apiserver import CORE, PODS, make, running, until

pytestmark = [pytest.mark.containerd, pytest.mark.etcd, pytest.mark.timeout(240)]

GATES = {"ClusterTrustBundle": True, "ClusterTrustBundleProjection": True}
BUNDLES = "/apis/certificates.k8s.io/v1beta1/clustertrustbundles"
NOW = datetime.now(UTC)
ONE, TWO, THREE = (Authority.create(name, NOW).cert_pem.decode() for name in ("one", "two", "three"))
SIGNER = "example.com/s"


@pytest.fixture(scope="module")
def server(lab: Lab, free_ports: Callable[[], int]) -> Server:
    lab.add_node(NODE)
    found = lab.start(
        free_ports(),
        "--enable-admission-plugins=NodeRestriction",
        f"--feature-gates={','.join(f'{gate}=true' for gate in GATES)}",
        "--runtime-config=certificates.k8s.io/v1beta1=true",
    )
    make(found, f"{CORE}/namespaces/default/serviceaccounts", {"metadata": {"name": "default"}})
    return found


@asynccontextmanager
async def kubelet(bed: Bed, lab: Lab, server: Server, gates: dict[str, bool]) -> AsyncIterator[None]:
    config = kubeconfig.load(str(lab.kubeconfig(server, "node")))
    quick = settings(bed, gates=gates, status_every=0.3)
    async with Runtime(bed.endpoint) as runtime, Client(config) as client:
        await runtime.greet()
        task = asyncio.create_task(Kubelet(quick, runtime, client, NODE).run())
        try:
            await until(server, f"{CORE}/nodes/{NODE}", lambda found: found["status"].get("conditions"))
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def bundle(server: Server, name: str, text: str, signer: str = SIGNER, **labels: str) -> None:
    spec = {"trustBundle": text} | ({"signerName": signer} if signer else {})
    make(server, BUNDLES, {"metadata": {"name": name, "labels": labels}, "spec": spec})


def pod(server: Server, name: str, *sources: dict[str, Any]) -> None:
    mounts = [{"name": "v", "mountPath": "/v"}]
    container = {"name": "c", "image": "busybox:1.36", "command": SLEEP, "volumeMounts": mounts}
    spec = {
        "nodeName": NODE, "terminationGracePeriodSeconds": 1, "automountServiceAccountToken": False,
        "containers": [container],
        "volumes": [{"name": "v", "projected": {"sources": [{"clusterTrustBundle": one} for one in sources]}}],
    }  # fmt: skip
    make(server, PODS, {"metadata": {"name": name}, "spec": spec})


async def seen(server: Server, bed: Bed, name: str, file: str, parts: set[str], seconds: float = 60) -> str:
    """What a file of the pod's volume says, once it says no other certificates than these."""
    found = await until(server, f"{PODS}/{name}", running, seconds)
    uid = str(found["metadata"]["uid"])
    path = Path(bed.at) / "kubelet/pods" / uid / "volumes/kubernetes.io~projected/v" / file
    async with asyncio.timeout(seconds):
        while certificates(text := path.read_text()) != parts:
            await asyncio.sleep(0.2)
    return text


def certificates(text: str) -> set[str]:
    mark = "-----END CERTIFICATE-----\n"
    return {f"{part}{mark}" for part in text.split(mark) if part}


async def refused(server: Server, name: str, why: str) -> None:
    await until(
        server,
        f"{CORE}/namespaces/default/events?fieldSelector=involvedObject.name={name},reason=FailedMount",
        lambda found: any(why in one["message"] for one in found["items"]),
        60,
    )


async def test_pods_have_the_anchors_of_today(bed: Bed, lab: Lab, server: Server) -> None:
    bundle(server, "example.com:s:a", ONE + "a word\n" + TWO, stage="live")
    bundle(server, "example.com:s:b", TWO, stage="live")
    bundle(server, "example.com:s:c", THREE, stage="dead")
    bundle(server, "plain", THREE, signer="")
    live = {"signerName": SIGNER, "labelSelector": {"matchLabels": {"stage": "live"}}, "path": "live.pem"}
    async with kubelet(bed, lab, server, GATES):
        pod(
            server,
            "trusts",
            live,
            {"name": "plain", "path": "dir/plain.pem"},
            {"name": "later", "optional": True, "path": "later.pem"},
            {"signerName": SIGNER, "optional": True, "path": "none.pem"},
        )
        pod(server, "waits", {"name": "missing", "path": "p"})
        first = await seen(server, bed, "trusts", "live.pem", {ONE, TWO})
        await seen(server, bed, "trusts", "dir/plain.pem", {THREE})
        await seen(server, bed, "trusts", "later.pem", set())
        await seen(server, bed, "trusts", "none.pem", set())
        await refused(server, "waits", 'clustertrustbundle.certificates.k8s.io "missing" not found')

        bundle(server, "later", ONE, signer="")
        bundle(server, "missing", TWO, signer="")
        code, stored = server.ask("GET", f"{BUNDLES}/example.com:s:a")
        assert code == 200
        stored["spec"]["trustBundle"] = THREE
        assert server.ask("PUT", f"{BUNDLES}/example.com:s:a", stored)[0] == 200

        await seen(server, bed, "trusts", "live.pem", {TWO, THREE}, 120)
        await seen(server, bed, "trusts", "later.pem", {ONE}, 120)
        await seen(server, bed, "waits", "p", {TWO}, 120)
        for name in ("trusts", "waits"):
            server.ask("DELETE", f"{PODS}/{name}")
        await until(server, PODS, lambda found: not found["items"])

    assert first.count("BEGIN CERTIFICATE") == 2
    await clean(bed)


async def test_a_kubelet_without_the_gate_says_so(bed: Bed, lab: Lab, server: Server) -> None:
    async with kubelet(bed, lab, server, {}):
        pod(server, "lacks", {"name": "plain", "path": "p"})

        await refused(
            server,
            "lacks",
            "ClusterTrustBundle projection is not supported: the kubelet's feature gate "
            "ClusterTrustBundleProjection is off",
        )

        server.ask("DELETE", f"{PODS}/lacks")
        await until(server, PODS, lambda found: not found["items"])
    await clean(bed)
