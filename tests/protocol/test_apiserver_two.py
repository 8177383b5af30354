"""Two API servers on one etcd, written to at once: no lost update, whole watches, unique numbers, exact quotas.

Each server counts, caches and allocates on its own, so what they agree on must be settled by etcd alone.
"""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest

from kybern.client.connections import Connections
from tests.protocol.apiserver_bed import Lab, Server

pytestmark = pytest.mark.etcd
LIMIT = aiohttp.ClientTimeout(total=60)


@dataclass(frozen=True)
class Through:
    """One server, as one of its clients."""

    session: aiohttp.ClientSession
    server: Server

    async def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        async with self.session.request(method, self.server.url + path, json=body, timeout=LIMIT) as answer:
            return answer.status, await answer.json()


@pytest.fixture(scope="module")
def servers(lab: Lab, free_ports: Callable[[], int]) -> tuple[Server, Server]:
    flag = "--endpoint-reconciler-type=none"
    return lab.start(free_ports(), flag), lab.start(free_ports(), flag)


@asynccontextmanager
async def clients(servers: tuple[Server, Server]) -> AsyncIterator[list[Through]]:
    connector = Connections(ssl=servers[0].context(), limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:
        yield [Through(session, server) for server in servers]


async def namespace(through: Through, name: str) -> str:
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    assert (await through.ask("POST", "/api/v1/namespaces", body))[0] == 201
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
    assert (await through.ask("POST", f"/api/v1/namespaces/{name}/serviceaccounts", account))[0] == 201
    return f"/api/v1/namespaces/{name}"


def config_map(name: str, **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


async def count_up(through: Through, path: str, times: int) -> int:
    """Read, add one, write, and again after a conflict; returns how many conflicts there were."""
    conflicts = 0
    for _ in range(times):
        while True:
            _, found = await through.ask("GET", path)
            found["data"]["n"] = str(int(found["data"]["n"]) + 1)
            status, answer = await through.ask("PUT", path, found)
            if status == 200:
                break
            assert (status, answer["reason"]) == (409, "Conflict")
            conflicts += 1
    return conflicts


async def test_no_update_is_lost(servers: tuple[Server, Server]) -> None:
    async with clients(servers) as both:
        at = await namespace(both[0], "two-counts")
        await both[0].ask("POST", f"{at}/configmaps", config_map("count", n="0"))
        path = f"{at}/configmaps/count"
        conflicts = await asyncio.gather(*(count_up(both[k % 2], path, 10) for k in range(6)))
        found = [await each.ask("GET", path) for each in both]

    assert found[0][1]["data"]["n"] == "60"
    assert found[0] == found[1]
    assert sum(conflicts) > 0  # else the writers did not meet, and this shows nothing


async def test_patches_through_both_all_count(servers: tuple[Server, Server]) -> None:
    """A patch has no revision of its own: the server itself tries again after a conflict."""
    async with clients(servers) as both:
        at = await namespace(both[0], "two-patches")
        await both[0].ask("POST", f"{at}/configmaps", config_map("one"))

        async def patch(k: int) -> int:
            url = f"{both[k % 2].server.url}{at}/configmaps/one"
            body = json.dumps({"data": {f"k{k}": str(k)}})
            headers = {"Content-Type": "application/merge-patch+json"}
            async with both[0].session.patch(url, data=body, headers=headers, timeout=LIMIT) as answer:
                return answer.status

        statuses = await asyncio.gather(*map(patch, range(10)))
        found = await both[1].ask("GET", f"{at}/configmaps/one")

    assert Counter(statuses) == {200: 10}
    assert found[1]["data"] == {f"k{k}": str(k) for k in range(10)}


async def watch(through: Through, path: str, since: str, ready: asyncio.Event, last: str) -> list[Any]:
    """Every event up to the one about an object of a name."""
    seen: list[Any] = []
    url = f"{through.server.url}{path}?watch=1&resourceVersion={since}"
    async with through.session.get(url, timeout=LIMIT) as answer:
        ready.set()
        async for line in answer.content:
            event = json.loads(line)
            meta = event["object"]["metadata"]
            seen.append((int(meta["resourceVersion"]), event["type"], meta["name"]))
            if meta["name"] == last:
                break
    return seen


async def test_watches_are_whole_and_in_order_through_both(servers: tuple[Server, Server]) -> None:
    async with clients(servers) as both:
        at = await namespace(both[0], "two-watches")
        path = f"{at}/configmaps"
        since = (await both[0].ask("GET", path))[1]["metadata"]["resourceVersion"]
        ready = [asyncio.Event(), asyncio.Event()]
        watches = [
            asyncio.create_task(watch(each, path, since, ready[k], "last")) for k, each in enumerate(both)
        ]
        await asyncio.gather(*(each.wait() for each in ready))

        async def life(k: int) -> None:
            one, other = both[k % 2], both[(k + 1) % 2]
            _, made = await one.ask("POST", path, config_map(f"c{k}"))
            assert (await other.ask("PUT", f"{path}/c{k}", {**made, "data": {"a": "b"}}))[0] == 200
            assert (await one.ask("DELETE", f"{path}/c{k}"))[0] == 200

        await asyncio.gather(*map(life, range(40)))
        await both[0].ask("POST", path, config_map("last"))
        seen = await asyncio.gather(*watches)

    assert seen[0] == seen[1]
    revisions = [revision for revision, _, _ in seen[0]]
    assert revisions == sorted(set(revisions))
    wanted = {f"c{k}": ["ADDED", "MODIFIED", "DELETED"] for k in range(40)}
    assert {
        name: [kind for _, kind, of in seen[0] if of == name] for name in {name for _, _, name in seen[0]}
    } == {**wanted, "last": ["ADDED"]}


def service(name: str) -> dict[str, Any]:
    spec = {"type": "NodePort", "selector": {"a": "b"}, "ports": [{"port": 80}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}


async def test_addresses_and_node_ports_are_unique(servers: tuple[Server, Server]) -> None:
    async with clients(servers) as both:
        at = await namespace(both[0], "two-services")
        made = await asyncio.gather(
            *(both[k % 2].ask("POST", f"{at}/services", service(f"s{k}")) for k in range(60))
        )

    assert Counter(status for status, _ in made) == {201: 60}
    assert len({each["spec"]["clusterIP"] for _, each in made}) == 60
    assert len({each["spec"]["ports"][0]["nodePort"] for _, each in made}) == 60


async def test_one_address_goes_to_one_service(servers: tuple[Server, Server]) -> None:
    """Both are asked for the same address and port at the same time; they are of the parts never given by chance."""
    async with clients(servers) as both:
        at = await namespace(both[0], "two-same")

        async def wanted(k: int) -> int:
            body = service(f"s{k}")
            body["spec"]["clusterIP"] = "10.96.0.77"
            body["spec"]["ports"][0]["nodePort"] = 30007
            return (await both[k % 2].ask("POST", f"{at}/services", body))[0]

        statuses = await asyncio.gather(*map(wanted, range(10)))
        left = (await both[1].ask("GET", f"{at}/services"))[1]["items"]

    assert Counter(statuses) == {201: 1, 422: 9}
    assert len(left) == 1


async def until(holds: Callable[[], Awaitable[bool]], seconds: float = 60) -> None:
    async with asyncio.timeout(seconds):
        while not await holds():
            await asyncio.sleep(0.1)  # between two looks


async def test_a_quota_is_never_exceeded_and_exact_at_the_end(servers: tuple[Server, Server]) -> None:
    async with clients(servers) as both:
        at = await namespace(both[0], "two-quotas")
        quota = {
            "apiVersion": "v1",
            "kind": "ResourceQuota",
            "metadata": {"name": "q"},
            "spec": {"hard": {"count/configmaps": "12"}},
        }
        _, made = await both[0].ask("POST", f"{at}/resourcequotas", quota)
        # What the controller would do first: without a used figure, no quota counts.
        made["status"] = {"hard": {"count/configmaps": "12"}, "used": {"count/configmaps": "0"}}
        assert (await both[0].ask("PUT", f"{at}/resourcequotas/q/status", made))[0] == 200

        async def both_know() -> bool:
            found = [await each.ask("GET", f"{at}/resourcequotas/q?resourceVersion=0") for each in both]
            return all(status == 200 and "used" in quota.get("status", {}) for status, quota in found)

        await until(both_know)
        answers = await asyncio.gather(
            *(both[k % 2].ask("POST", f"{at}/configmaps", config_map(f"c{k}")) for k in range(30))
        )
        there = (await both[1].ask("GET", f"{at}/configmaps"))[1]["items"]
        used = (await both[0].ask("GET", f"{at}/resourcequotas/q"))[1]["status"]["used"]

    refused = [answer for status, answer in answers if status == 403]
    assert Counter(status for status, _ in answers) == {201: 12, 403: 18}
    assert all("exceeded quota: q, requested: count/configmaps=1" in each["message"] for each in refused)
    assert len(there) == 12
    assert used == {"count/configmaps": "12"}
