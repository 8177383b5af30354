"""What a node takes to run pods: containerd, our kubelet, the API server and etcd, each a process of its own.

Pods are bound by the benchmark, so a time counts from when the kubelet can know of a pod to when everybody does: what is
read off a watch. Their image is there. A service account's token and certificates are mounted into each, as in a cluster.
"""

import asyncio
import contextlib
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import uvloop

from benchmarks.measure import Benchmark, Row, cpu_seconds
from benchmarks.memory import kubeconfig
from benchmarks.server import CannotMeasure, Load, Server, free_port, load, process, server
from kybern.auth.x509 import Authority, Leaf
from kybern.machines import oci
from tests.protocol.containerd_bed import NODE, Bed, programs

ALONE, MANY, RESTING = 9, 110, 50
SETTLES, MEASURED, PATIENCE = 15.0, 60.0, 180.0
PODS = "/api/v1/namespaces/default/pods"

type Seen = dict[str, dict[str, Any]]


@contextlib.contextmanager
def runtime() -> Iterator[Bed]:
    found = programs()
    if found is None or os.geteuid() != 0:
        raise CannotMeasure("containerd is missing, or we are not root: run scripts/fetch-containerd")
    bed = Bed(Path(tempfile.mkdtemp(prefix="kb-")), found)
    try:
        bed.start()
        yield bed
    finally:
        bed.stop()


def identity(api: Server) -> Path:
    """The kubeconfig of the node: no more rights than a node has."""
    at = api.directory
    authority = Authority.load((at / "ca.crt").read_bytes(), (at / "ca.key").read_bytes())
    pair = authority.issue_leaf(Leaf(f"system:node:{NODE}", ("system:nodes",)), now=datetime.now(UTC))
    (at / "node.crt").write_bytes(pair.cert_pem)
    (at / "node.key").write_bytes(pair.key_pem)
    path = at / "node.kubeconfig"
    path.write_text(kubeconfig(api).read_text().replace("admin.", "node."))
    return path


def command(api: Server, bed: Bed) -> list[str]:
    code = "from kybern.cli.kubelet import main; main()"
    return [
        sys.executable, "-c", code, f"--kubeconfig={identity(api)}", f"--hostname-override={NODE}",
        "--node-ip=127.0.0.1", f"--root-dir={bed.at}/kubelet", f"--cert-dir={bed.at}/pki",
        f"--container-runtime-endpoint={bed.endpoint}", "--address=127.0.0.1", f"--port={free_port()}",
        f"--healthz-port={free_port()}", f"--client-ca-file={api.directory}/ca.crt",
        f"--cgroup-root={bed.cgroup}", f"--pod-logs-dir={bed.at}/logs", "--fail-swap-on=false",
        f"--container-logs-dir={bed.at}/containers", "--cluster-dns=10.96.0.10",
        "--cluster-domain=cluster.local", "--eviction-hard=memory.available<1Mi",
        "--rotate-certificates=false", "--make-iptables-util-chains=false",
    ]  # fmt: skip


class Node:
    """The pods of the one node, as a watch shows them."""

    def __init__(self, clients: Load) -> None:
        self._clients = clients
        self.pods: Seen = {}
        self._told = asyncio.Condition()

    async def follow(self) -> None:
        """Until cancelled."""
        url = f"{self._clients.server.url}{PODS}?watch=true&resourceVersion=0"
        # A line of a watch is an object, and those are longer than what is read at once by default.
        patience = aiohttp.ClientTimeout(total=None)
        async with self._clients.session.get(url, timeout=patience, read_bufsize=2**20) as answer:
            async for line in answer.content:
                event = msgspec.json.decode(line)
                name = event["object"]["metadata"]["name"]
                async with self._told:
                    if event["type"] == "DELETED":
                        self.pods.pop(name, None)
                    else:
                        self.pods[name] = event["object"]
                    self._told.notify_all()

    async def until(self, check: Callable[[Seen], bool]) -> None:
        try:
            async with asyncio.timeout(PATIENCE), self._told:
                await self._told.wait_for(lambda: check(self.pods))
        except TimeoutError as problem:
            phases = [pod["status"].get("phase") for pod in self.pods.values()]
            raise CannotMeasure(f"not there within {PATIENCE:.0f} s: {phases}") from problem

    async def make(self, name: str) -> None:
        body = {
            "metadata": {"name": name},
            "spec": {
                "nodeName": NODE, "terminationGracePeriodSeconds": 1,
                "containers": [{"name": "c", "image": oci.PAUSE, "imagePullPolicy": "IfNotPresent"}],
            },
        }  # fmt: skip
        await self._clients.ask("POST", PODS, msgspec.json.encode(body))

    async def all(self, names: Iterable[str]) -> float:
        """Seconds until all of these are Ready that are made at once."""
        wanted, begun = tuple(names), time.perf_counter()
        await asyncio.gather(*map(self.make, wanted))
        await self.until(lambda pods: all(name in pods and ready(pods[name]) for name in wanted))
        return time.perf_counter() - begun

    async def none(self) -> float:
        """Seconds until all pods are gone that are deleted at once."""
        begun = time.perf_counter()
        await asyncio.gather(*(self._clients.ask("DELETE", f"{PODS}/{name}") for name in list(self.pods)))
        await self.until(lambda pods: not pods)
        return time.perf_counter() - begun


def ready(pod: dict[str, Any]) -> bool:
    found = {c["type"]: c["status"] for c in pod["status"].get("conditions", ())}
    return pod["status"].get("phase") == "Running" and found.get("Ready") == "True"


def proportional_mebibytes(pid: int) -> float:
    """Memory of a process, with its share of what several hold (PSS)."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    raise CannotMeasure(f"process {pid} has no memory any more")


async def prepared(clients: Load) -> None:
    """What the control loops would make, and the node."""
    space = "/api/v1/namespaces/default"
    for path, name in ((f"{space}/serviceaccounts", "default"), (f"{space}/configmaps", "kube-root-ca.crt")):
        body = {"metadata": {"name": name}, **({"data": {"ca.crt": "x" * 1000}} if "config" in path else {})}
        await clients.ask("POST", path, msgspec.json.encode(body))
    ends = time.monotonic() + PATIENCE
    while time.monotonic() < ends:
        with contextlib.suppress(CannotMeasure):
            found = msgspec.json.decode(await clients.ask("GET", f"/api/v1/nodes/{NODE}"))
            states = {c["type"]: c["status"] for c in found["status"].get("conditions", ())}
            if states.get("Ready") == "True":
                return
        await asyncio.sleep(0.2)
    raise CannotMeasure(f"the node is not Ready within {PATIENCE:.0f} s")


async def measure(api: Server, kubelet: int) -> AsyncIterator[Row]:
    async with load(api) as clients:
        await prepared(clients)
        node = Node(clients)
        following = asyncio.create_task(node.follow())
        try:
            took = [await node.all([f"alone-{number}"]) for number in range(ALONE)]
            yield Row("one pod, bound to Ready", statistics.median(took), "s", count=ALONE)
            await node.none()
            await node.all(f"rest-{number}" for number in range(RESTING))
            await asyncio.sleep(SETTLES)
            before = cpu_seconds(kubelet)
            await asyncio.sleep(MEASURED)
            spent = (cpu_seconds(kubelet) - before) * 100 / MEASURED
            yield Row(f"kubelet at rest, {RESTING} pods: of a core", spent, "%")
            yield Row(
                f"kubelet at rest, {RESTING} pods: memory (PSS)", proportional_mebibytes(kubelet), "MiB"
            )
            await node.none()
            before = cpu_seconds(kubelet)
            yield Row(f"{MANY} pods at once, to Ready", await node.all(f"m-{n}" for n in range(MANY)), "s")
            yield Row("the same: kubelet, for each", (cpu_seconds(kubelet) - before) * 1000 / MANY)
            before = cpu_seconds(kubelet)
            yield Row(f"{MANY} pods deleted at once, to gone", await node.none(), "s")
            yield Row("the same: kubelet, for each", (cpu_seconds(kubelet) - before) * 1000 / MANY)
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)


def rows() -> Iterable[Row]:
    async def collected(api: Server, started: "subprocess.Popen[bytes]") -> list[Row]:
        return [row async for row in measure(api, started.pid)]

    if not shutil.which("ip"):
        raise CannotMeasure("the network of pods needs ip (iproute2)")
    with server() as api, runtime() as bed, process(command(api, bed), api.directory / "kubelet.log") as one:
        yield from uvloop.run(collected(api, one))


BENCHMARKS = (Benchmark("pods", rows),)
