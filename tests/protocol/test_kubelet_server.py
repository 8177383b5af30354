"""What the kubelet's own port answers, and to whom."""

import asyncio
import re
import ssl
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from kybern.api.authentication_v1 import TokenReview
from kybern.api.authorization_v1 import SubjectAccessReview
from kybern.client.connections import Connections
from tests.protocol.containerd_bed import KINDS, SLEEP, Api, Bed, clean, one_node, running
from tests.simulation.api import Resource

pytestmark = [pytest.mark.containerd, pytest.mark.timeout(180)]

INSECURE = ssl._create_unverified_context()


class Reviewing(Api):
    """Knows one token, and which subresources of the node its owner may read."""

    def __init__(self, *may: str) -> None:
        super().__init__(*KINDS, TokenReview, SubjectAccessReview)
        self.may = may
        self.asked: list[str] = []
        self.allows = self._reviewed

    def _post(self, resource: Resource, key: tuple[str, str, str], sub: str, body: Any) -> Any:
        if resource.kind == "TokenReview":
            known = body["spec"]["token"] == "good"
            return body | {"status": {"authenticated": known, "user": {"username": "scraper"}}}
        return super()._post(resource, key, sub, body)

    def _reviewed(self, review: Any) -> bool:
        name = review["spec"]["resourceAttributes"]["subresource"]
        self.asked.append(name)
        return name in self.may


class Client:
    def __init__(self, session: aiohttp.ClientSession, port: int) -> None:
        self._session = session
        self._base = f"https://127.0.0.1:{port}"

    async def get(self, path: str, token: str = "") -> tuple[int, str]:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        async with self._session.get(f"{self._base}{path}", ssl=INSECURE, headers=headers) as answer:
            return answer.status, await answer.text()

    async def json(self, path: str) -> Any:
        async with self._session.get(f"{self._base}{path}", ssl=INSECURE) as answer:
            assert answer.status == 200, await answer.text()
            return await answer.json()


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(connector=Connections()) as found:
        yield found


def value(page: str, name: str, labels: str) -> float:
    """Of the first sample whose labels are like that."""
    found = re.search(rf"^{name}{{.*{labels}.*}} (\S+)", page, re.MULTILINE)
    assert found is not None, f"no {name} with {labels}"
    return float(found[1])


def look_at_counts(cadvisor: str) -> None:
    """What the kernel counts of a container that has a fifth of a CPU and wants more."""
    one, its_pod = 'container="c".*pod="busy"', 'container="".*interface="eth0".*pod="busy"'
    assert value(cadvisor, "container_spec_cpu_quota", one) == 20000
    assert value(cadvisor, "container_spec_memory_limit_bytes", one) == 0
    assert value(cadvisor, "container_cpu_cfs_throttled_periods_total", one) > 0
    assert value(cadvisor, "container_cpu_user_seconds_total", one) > 0
    assert value(cadvisor, "container_memory_failures_total", f'{one}.*scope="container"') > 0
    assert value(cadvisor, "container_file_descriptors", one) > 0
    assert value(cadvisor, "container_processes", one) == 1
    assert value(cadvisor, "container_network_receive_packets_total", its_pod) > 0


async def test_what_is_used_is_told(bed: Bed, unused_tcp_port: int, session: aiohttp.ClientSession) -> None:
    client = Client(session, unused_tcp_port)
    async with one_node(bed, port=unused_tcp_port) as node:
        probe = {"exec": {"command": ["true"]}, "periodSeconds": 1}
        await node.add(
            "busy",
            {"name": "c", "command": ["sh", "-c", "dd if=/dev/zero of=/v/x bs=1M count=2; while true; do :; done"],
             "volumeMounts": [{"name": "v", "mountPath": "/v"}], "readinessProbe": probe,
             "resources": {"limits": {"cpu": "200m"}}},
            volumes=[{"name": "v", "emptyDir": {}}],
        )  # fmt: skip
        await node.until("busy", running)
        await client.json("/stats/summary")
        await asyncio.sleep(1.5)

        found = await client.json("/stats/summary")
        _status, resource = await client.get("/metrics/resource")
        _status, cadvisor = await client.get("/metrics/cadvisor")
        _status, probes = await client.get("/metrics/probes")

    assert found["node"]["nodeName"] == "n1"
    (pod,) = found["pods"]
    (container,) = pod["containers"]
    assert 50_000_000 < container["cpu"]["usageNanoCores"] < 400_000_000
    assert container["memory"]["workingSetBytes"] > 0
    assert container["startTime"] > "2026"
    assert pod["volume"][0]["usedBytes"] >= 2 * 1024 * 1024
    assert found["node"]["runtime"]["imageFs"]["capacityBytes"] > 0
    labels = 'container="c",namespace="default",pod="busy"'
    assert f"container_cpu_usage_seconds_total{{{labels}}}" in resource
    assert f"container_memory_working_set_bytes{{{labels}}}" in resource
    assert "resource_scrape_error 0" in resource
    assert 'container_network_receive_bytes_total{container=""' in cadvisor
    look_at_counts(cadvisor)
    assert "pods" in {system["name"] for system in found["node"]["systemContainers"]}
    assert 'probe_type="Readiness"' in probes
    assert 'result="successful"' in probes
    await clean(bed)


async def test_pods_and_configuration_are_told(
    bed: Bed, unused_tcp_port: int, session: aiohttp.ClientSession
) -> None:
    client = Client(session, unused_tcp_port)
    async with one_node(bed, port=unused_tcp_port) as node:
        await node.add("idle", {"name": "c", "command": SLEEP})
        await node.until("idle", running)

        _status, own = await client.get("/metrics")
        configz = await client.json("/configz")
        pods = await client.json("/pods")

    assert "kubelet_running_pods 1.0" in own
    assert any(f"kubelet_cgroup_version {version}.0\n" in own for version in (1, 2))
    assert configz["kubeletconfig"]["containerRuntimeEndpoint"] == bed.endpoint
    assert pods["items"][0]["status"]["phase"] == "Running"
    await clean(bed)


async def test_every_path_asks_for_its_own_right(
    bed: Bed, unused_tcp_port: int, session: aiohttp.ClientSession
) -> None:
    client = Client(session, unused_tcp_port)
    api = Reviewing("metrics", "configz", "stats")
    guarded: dict[str, Any] = {"authorization": "Webhook", "anonymous": False, "port": unused_tcp_port}
    async with one_node(bed, api, **guarded):
        for _try in range(100):
            try:
                await client.get("/healthz")
            except aiohttp.ClientError:
                await asyncio.sleep(0.05)
            else:
                break
        nobody = await client.get("/metrics")
        stranger = await client.get("/metrics", "bad")
        allowed = {
            path: (await client.get(path, "good"))[0]
            for path in (
                "/metrics",
                "/metrics/resource",
                "/stats/summary",
                "/configz",
                "/pods",
                "/healthz",
                "/logs/",
                "/flagz",
                "/statusz",
                "/metrics/slis",
            )
        }
        refused = await client.get("/pods", "good")

    assert nobody == (401, "Unauthorized")
    assert stranger == (401, "Unauthorized")
    assert allowed == {
        "/metrics": 200, "/metrics/resource": 200, "/stats/summary": 200, "/configz": 200,
        "/pods": 403, "/healthz": 403, "/logs/": 403, "/flagz": 200, "/statusz": 403, "/metrics/slis": 200,
    }  # fmt: skip
    assert refused[1] == ("Forbidden (user=scraper, verb=get, resource=nodes, subresource(s)=[pods proxy])\n")
    assert {"metrics", "stats", "configz", "pods", "proxy", "healthz", "log", "statusz"} == set(api.asked)
    await clean(bed)
