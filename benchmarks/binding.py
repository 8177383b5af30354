"""What kube-scheduler binds in a second on a real API server and etcd, each a process of its own, and what it costs both.

All pods wait before the scheduler starts. A quarter of them would rather be away from their like (preferred anti-affinity
by node), a quarter is to be spread over zones. ``KYBERN_BINDING_NODES`` and ``_PODS`` name other sizes, several by commas.
"""

import asyncio
import itertools
import os
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import uvloop

from benchmarks.measure import Benchmark, Row, cpu_seconds
from benchmarks.server import CannotMeasure, Load, Server, load, process, server

NODES = tuple(int(one) for one in os.environ.get("KYBERN_BINDING_NODES", "1000,5000").split(","))
PODS = tuple(int(one) for one in os.environ.get("KYBERN_BINDING_PODS", "2000,10000").split(","))
ZONES, APPS = 3, 20
PATIENCE = 900.0  # seconds until the last pod is bound
EVERY = 0.5  # seconds between two looks
MAKERS = 16


def node(number: int) -> bytes:
    name = f"n{number}"
    labels = {"kubernetes.io/hostname": name, "topology.kubernetes.io/zone": f"z{number % ZONES}"}
    ready = {"type": "Ready", "status": "True"}
    room = {"cpu": "16", "memory": "64Gi", "pods": "110"}
    status = {"capacity": room, "allocatable": room, "conditions": [ready]}
    raw = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}, "status": status}
    return msgspec.json.encode(raw)


def pod(number: int) -> bytes:
    app = {"app": f"a{number % APPS}"}
    requests = {"cpu": "100m", "memory": "128Mi"}
    spec: dict[str, Any] = {
        "containers": [{"name": "c", "image": "busybox", "resources": {"requests": requests}}]
    }
    like = {"labelSelector": {"matchLabels": app}}
    if number % 4 == 0:
        term = {"weight": 10, "podAffinityTerm": {"topologyKey": "kubernetes.io/hostname", **like}}
        spec["affinity"] = {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [term]}}
    elif number % 4 == 1:
        zone = {
            "topologyKey": "topology.kubernetes.io/zone",
            "maxSkew": 1,
            "whenUnsatisfiable": "DoNotSchedule",
        }
        spec["topologySpreadConstraints"] = [{**zone, **like}]
    metadata = {"name": f"p{number}", "namespace": "default", "labels": app}
    return msgspec.json.encode({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})


async def make(load: Load, path: str, bodies: Iterator[bytes]) -> None:
    async def maker() -> None:
        for body in bodies:
            await load.ask("POST", path, body)

    await asyncio.gather(*(maker() for _ in range(MAKERS)))


async def prepare(server: Server, nodes: int, pods: int) -> None:
    async with load(server) as user:
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
        await user.ask("POST", "/api/v1/namespaces/default/serviceaccounts", msgspec.json.encode(account))
        await make(user, "/api/v1/nodes", (node(number) for number in range(nodes)))
        # Nobody sees to taints here: admission's, for a node that is not known to be ready, has to go.
        for number in range(nodes):
            untainted = b'{"spec":{"taints":null}}'
            await user.ask("PATCH", f"/api/v1/nodes/n{number}", untainted, "application/merge-patch+json")
        await make(user, "/api/v1/namespaces/default/pods", (pod(number) for number in range(pods)))


def kubeconfig(server: Server) -> Path:
    at = server.directory
    files = {"client-certificate": f"{at}/admin.crt", "client-key": f"{at}/admin.key"}
    raw = {
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": server.url, "certificate-authority": f"{at}/ca.crt"}}],
        "users": [{"name": "u", "user": files}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
    }  # fmt: skip
    path = at / "kubeconfig"
    path.write_bytes(msgspec.json.encode(raw))
    return path


@dataclass(frozen=True, slots=True)
class Look:
    """How many were bound at a moment, and what the two daemons had spent by then, in seconds."""

    at: float
    bound: int
    scheduler: float
    server: float


async def follow(server: Server, scheduler: int, pods: int) -> list[Look]:
    """From the first binding, when the scheduler has started, to the last. A watch tells of every pod that gets a node."""
    seen: list[Look] = []
    count = 0

    def look() -> None:
        found = Look(time.monotonic(), count, cpu_seconds(scheduler), cpu_seconds(server.pid))
        seen.append(found)

    async with load(server) as user, asyncio.timeout(PATIENCE):
        path = f"{server.url}/api/v1/pods?watch=1&fieldSelector=spec.nodeName%21%3D"
        async with user.session.get(path, timeout=aiohttp.ClientTimeout(total=None)) as news:
            async for chunk in news.content.iter_any():
                count += chunk.count(b'{"type":"ADDED"')
                if count and (not seen or time.monotonic() - seen[-1].at > EVERY or count >= pods):
                    look()
                if count >= pods:
                    return seen
    raise CannotMeasure(f"only {count} of {pods} pods were bound")


def curve(seen: list[Look]) -> Iterator[tuple[int, float]]:
    """Pods per second over each quarter of the pods, as far as looks tell them apart."""
    before, total = seen[0], seen[-1].bound
    for quarter in range(1, 5):
        at = next(one for one in seen if one.bound >= total * quarter / 4)
        if at is not before:
            yield quarter, (at.bound - before.bound) / (at.at - before.at)
        before = at


def rows() -> Iterable[Row]:
    for nodes, pods in itertools.zip_longest(NODES, PODS, fillvalue=PODS[-1]):
        with server() as one:
            uvloop.run(prepare(one, nodes, pods))
            command = [
                str(Path(sys.executable).parent / "kube-scheduler"), f"--kubeconfig={kubeconfig(one)}",
                "--leader-elect=false", "--secure-port=0",
            ]  # fmt: skip
            with process(command, one.directory / "scheduler.log") as scheduler:
                seen = uvloop.run(follow(one, scheduler.pid, pods))
        size, first, last = f"{nodes:,} nodes, {pods:,} pods", seen[0], seen[-1]
        done = last.bound - first.bound
        yield Row(f"bound, {size}", done / (last.at - first.at), "pods/s", count=pods)
        yield Row(f"scheduler, {size}", (last.scheduler - first.scheduler) * 1000 / done, count=pods)
        yield Row(f"API server, {size}", (last.server - first.server) * 1000 / done, count=pods)
        for quarter, rate in curve(seen):
            yield Row(f"bound in quarter {quarter}, {size}", rate, "pods/s", count=pods // 4)


BENCHMARKS = (Benchmark("binding", rows),)
