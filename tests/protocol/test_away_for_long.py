"""No API server for an hour: pods run on, end, fail and are run again, and all of it is told when one is back.

``make test-away``; ``KYBERN_AWAY_MINUTES`` makes it less. Five minutes show the same, but for tokens that expire meanwhile.
"""

import asyncio
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from kybern.kubelet.cri import Runtime
from tests.protocol.apiserver_bed import Lab, Server
from tests.protocol.away_bed import AWAY, MINUTES, RESTART, SINGLE, STATIC, Node, calm, work
from tests.protocol.containerd_bed import NODE, Bed, needed
from tests.protocol.controllers_bed import APPS, BATCH, CORE, manage
from tests.protocol.kubelet_process import Cost, identity, running_kubelet
from tests.protocol.test_kubelet_apiserver import make, running, until

pytestmark = [
    pytest.mark.away, pytest.mark.containerd, pytest.mark.etcd, pytest.mark.timeout(int(AWAY) + 900),
]  # fmt: skip

PODS = f"{CORE}/namespaces/default/pods"
DEPLOYMENTS, JOBS = f"{APPS}/namespaces/default/deployments", f"{BATCH}/namespaces/default/jobs"
LEASE = f"/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/{NODE}"
# What a kubelet may grow by while it keeps what it has to tell.
GROWS = 10.0


@pytest.fixture(scope="module")
def bed() -> Iterator[Bed]:
    """Its network namespaces are its own, so that it can be there beside another one for an hour."""
    found = Bed(Path(tempfile.mkdtemp(prefix="kb-")), needed(), own_namespaces=True)
    found.start()
    yield found
    found.stop()


@pytest.fixture(scope="module")
def server(lab: Lab, free_ports: Callable[[], int]) -> Server:
    identity(lab)
    at = lab.directory
    asks = (
        f"--kubelet-client-certificate={at}/admin.crt", f"--kubelet-client-key={at}/admin.key",
        "--kubelet-preferred-address-types=InternalIP",
    )  # fmt: skip
    found = lab.start(free_ports(), "--enable-admission-plugins=NodeRestriction", *asks)
    manage(lab, found, free_ports())
    return found


async def of_app(server: Server, label: str) -> list[Any]:
    _code, found = await asyncio.to_thread(server.ask, "GET", f"{PODS}?labelSelector={label}")
    return list(found["items"])


async def prepared(server: Server) -> dict[str, Any]:
    """Every pod as it is when it runs, by its name."""
    await until(server, f"{CORE}/namespaces/default/serviceaccounts/default", bool)
    await until(server, f"{CORE}/namespaces/default/configmaps/kube-root-ca.crt", bool)
    make(server, DEPLOYMENTS, calm())
    make(server, JOBS, work())
    for name, wanted in SINGLE.items():
        make(server, PODS, {"metadata": {"name": name}, "spec": wanted})
    await until(
        server, f"{DEPLOYMENTS}/calm", lambda found: found["status"].get("readyReplicas") == 3, seconds=90
    )
    await until(server, f"{JOBS}/work", lambda found: found["status"].get("ready") == 1)
    for name in SINGLE:
        await until(server, f"{PODS}/{name}", lambda pod: pod["status"].get("containerStatuses"))
    return {pod["metadata"]["name"]: pod for pod in (await of_app(server, ""))}


async def without_one(node: Node, before: dict[str, Any], static: Path) -> list[Cost]:
    """The time without an API server: each minute the node is looked at."""
    begun, found = time.monotonic(), [node.kubelet.cost()]
    still = {
        f"{name}/c": [pod["status"]["containerStatuses"][0]["containerID"].partition("://")[2]]
        for name, pod in before.items()
        if name.startswith("calm") or name == "writes"
    }
    (static / "static.yaml").write_text(STATIC)
    while (left := begun + AWAY - time.monotonic()) > 0:
        await asyncio.sleep(min(left, 60.0))
        seen = await node.running()
        assert {name: ids for name, ids in seen.items() if name in still} == still, "they run on"
        assert all(len(ids) == 1 for ids in seen.values()), seen
        found.append(node.kubelet.cost())
        starts = {name: node.starts(before[name]) for name in RESTART}
        print(f"{time.monotonic() - begun:5.0f} s: {found[-1]}, starts {starts}", flush=True)  # noqa: T201
    assert f"meanwhile-{NODE}/c" in seen, "what lies on the node runs"
    return found


@dataclass(frozen=True)
class Counts:
    """Of one pod: what its container wrote at each start, and what the API server knows of it."""

    starts: int
    restarts: int
    events: int

    @property
    def of_status(self) -> bool:
        return self.restarts + 1 == self.starts

    @property
    def of_events(self) -> bool:
        # One is under way all the time, and is dropped when nobody took it for an hour.
        return self.starts - 1 <= self.events <= self.starts


async def counted(
    server: Server, node: Node, before: dict[str, Any], agree: Callable[[Counts], bool]
) -> None:
    """The API server knows what the containers themselves say, as soon as all of it is written."""
    for name in RESTART:
        async with asyncio.timeout(90):
            while not agree(found := await _counts(server, node, before[name])):
                await asyncio.sleep(0.5)
        print(f"{name}: {found}", flush=True)  # noqa: T201


async def _counts(server: Server, node: Node, pod: Any) -> Counts:
    name = pod["metadata"]["name"]
    _code, events = await asyncio.to_thread(server.ask, "GET", f"{CORE}/namespaces/default/events")
    about = [event for event in events["items"] if event["involvedObject"]["name"] == name]
    started = sum(event["count"] for event in about if event["reason"] == "Started")
    _code, now = await asyncio.to_thread(server.ask, "GET", f"{PODS}/{name}")
    return Counts(node.starts(pod), _first(now)["restartCount"], started)


def _first(pod: Any) -> Any:
    return pod["status"]["containerStatuses"][0]


def seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


async def test_pods_live_on_and_all_is_told(
    bed: Bed, lab: Lab, server: Server, free_ports: Callable[[], int], tmp_path: Path
) -> None:
    more = f"--pod-manifest-path={tmp_path}"
    with running_kubelet(bed, lab, server, free_ports, more) as kubelet:
        async with Runtime(bed.endpoint) as runtime:
            await runtime.greet()
            node = Node(bed, runtime, kubelet)
            before = await prepared(server)
            stopped = time.time()
            with lab.without(server):
                costs = await without_one(node, before, tmp_path)
                left = [node.token_lasts(pod) for name, pod in before.items() if name.startswith("calm")]
                written = node.log(before["writes"])
            back = time.time()

            await until(server, LEASE, lambda lease: seconds(lease["spec"]["renewTime"]) > back, 120)
            await until(server, f"{CORE}/nodes/{NODE}", ready, 120)
            took = time.time() - back
            await counted(server, node, before, lambda counts: counts.of_status)
            await the_same_pods(server, before)
            await the_one_that_ended(server, stopped, back)
            await the_log(server, written)
            await until(server, f"{PODS}/meanwhile-{NODE}", running)
            await until(server, f"{JOBS}/work", lambda job: job["status"].get("succeeded") == 3, 300)
            if AWAY > 600:
                assert max(left) < 0, "tokens expire meanwhile"
            report(costs, took, await tokens(node, before))
            await counted(server, node, before, lambda counts: counts.of_events)
            assert costs[-1].memory - costs[0].memory < GROWS
            assert costs[-1].files - costs[0].files < 20
            await cleared(server, node, tmp_path)


def ready(node: Any) -> bool:
    return any(one["type"] == "Ready" and one["status"] == "True" for one in node["status"]["conditions"])


async def the_same_pods(server: Server, before: dict[str, Any]) -> None:
    """Nothing is evicted, doubled or started again."""
    pods = await of_app(server, "app=calm")
    was = {pod["metadata"]["uid"]: _first(pod) for pod in before.values() if pod["metadata"].get("labels")}
    for pod in pods:
        old = was[pod["metadata"]["uid"]]
        assert running(pod)
        assert (_first(pod)["containerID"], _first(pod)["restartCount"]) == (old["containerID"], 0)
    assert len(pods) == 3


async def the_one_that_ended(server: Server, stopped: float, back: float) -> None:
    """With the moment at which it did, which is not the one at which it was told."""
    pod = await until(server, f"{PODS}/ends", lambda pod: pod["status"]["phase"] == "Failed")
    state = _first(pod)["state"]["terminated"]
    assert (state["exitCode"], state["reason"]) == (3, "Error")
    assert int(stopped) <= seconds(state["finishedAt"]) < back


async def the_log(server: Server, written: list[str]) -> None:
    """No line is missing of what was written without an API server."""
    code, text = await asyncio.to_thread(server.ask, "GET", f"{PODS}/writes/log")
    assert code == 200, text
    assert text.splitlines()[: len(written)] == [str(n) for n in range(len(written))]
    assert len(written) > 0.8 * AWAY, "it wrote all the time"


async def tokens(node: Node, before: dict[str, Any]) -> float:
    """Seconds until every volume has a token again that is good."""
    begun = time.monotonic()
    pods = [pod for name, pod in before.items() if name.startswith("calm") or name in RESTART]
    async with asyncio.timeout(180):
        while min(map(node.token_lasts, pods)) < 60:
            await asyncio.sleep(1)
    return time.monotonic() - begun


def report(costs: list[Cost], took: float, renewed: float) -> None:
    first, last = costs[0], costs[-1]
    share = (last.cpu - first.cpu) * 100 / AWAY
    print(  # noqa: T201
        f"{MINUTES:g} minutes away: memory {first.memory:.1f} MiB before, {max(c.memory for c in costs):.1f} at most, "
        f"{last.memory:.1f} at the end; {share:.2f} % of a core; files {first.files} and {last.files}; node Ready "
        f"{took:.1f} s after the API server; tokens good after {renewed:.0f} s more"
    )


async def cleared(server: Server, node: Node, static: Path) -> None:
    (static / "static.yaml").unlink()
    for path in (f"{DEPLOYMENTS}/calm", f"{JOBS}/work", *(f"{PODS}/{name}" for name in SINGLE)):
        await asyncio.to_thread(server.ask, "DELETE", f"{path}?propagationPolicy=Background")
    await until(server, PODS, lambda found: not found["items"], 90)
    async with asyncio.timeout(60):
        while await node.runtime.all():
            await asyncio.sleep(0.5)
