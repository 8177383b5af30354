"""The check against an API server and machines that are made up: what it leaves behind, and when all is well."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from io import StringIO
from ipaddress import IPv4Address, IPv4Network, ip_network
from typing import Any, override

import pytest
from rich.console import Console

from kybern.cli.net import as_json, show
from kybern.client.verbs import Verbs
from kybern.machinery.errors import AlreadyExists, InternalError, NotFound, ServiceUnavailable
from kybern.machines.topology import Cluster, Machine, SecondFamily
from kybern.reach.machines import Machines
from kybern.reach.probes import Way
from kybern.reach.run import Check

ALL = frozenset({"etcd", "control-plane", "worker"})
CLUSTER = Cluster(
    "c",
    IPv4Network("192.0.2.0/24"),
    IPv4Address("192.0.2.254"),
    None,
    (Machine("one", IPv4Address("192.0.2.1"), ALL), Machine("two", IPv4Address("192.0.2.2"), ALL)),
)


def _come_true(made: dict[str, Any], number: int) -> None:
    """What kubelets and the server would add."""
    if made["kind"] == "Pod":
        made["status"] = {
            "phase": "Running",
            "podIP": f"10.244.0.{number}",
            "podIPs": [{"ip": f"10.244.0.{number}"}, {"ip": f"fd00:244::{number}"}],
            "containerStatuses": [{"name": "c", "containerID": "containerd://abc"}],
        }
    if made["kind"] == "Service":
        made["spec"]["clusterIP"] = f"10.96.0.{number}"
        made["spec"]["clusterIPs"] = [made["spec"]["clusterIP"], f"fd00:96::{number}"]


@dataclass
class Api(Verbs):
    """Runs every pod at once. ``broken`` is a path that answers with an error.

    ``shaky``: nobody answers the first time that something is asked, although it was done.
    """

    broken: str = ""
    shaky: bool = False
    asked: list[tuple[str, str]] = field(default_factory=list)
    made: dict[str, dict[str, Any]] = field(default_factory=dict)

    @override
    async def request(
        self, method: str, path: str, body: Any = None, timeout: float = 1, **_more: Any
    ) -> bytes:
        path = path.partition("?")[0]
        self.asked.append((method, path))
        answer = self._answer(method, path, body)
        if self.shaky and self.asked.count((method, path)) == 1:
            raise ServiceUnavailable("cannot reach it: connection reset by peer")
        return answer

    def _answer(self, method: str, path: str, body: Any) -> bytes:
        if self.broken and path.endswith(self.broken) and method == "POST":
            raise InternalError("broken")
        if method == "POST":
            made = json.loads(body)
            if f"{path}/{made['metadata']['name']}" in self.made:
                raise AlreadyExists("it is there")
            _come_true(made, len(self.made))
            self.made[f"{path}/{made['metadata']['name']}"] = made
        if method == "GET" and path.endswith("/kube-dns"):
            raise NotFound("no such service")
        items = [one for at, one in self.made.items() if at.rpartition("/")[0] == path]
        if path == "/api/v1/nodes":
            items = [{"metadata": {"name": one.name}} for one in CLUSTER.machines]
        if path.endswith("/serviceaccounts"):
            items = [{"metadata": {"name": "default"}}]
        return json.dumps({"items": items, "metadata": {"resourceVersion": "1"}}).encode()

    @override
    @asynccontextmanager
    async def stream(self, path: str, **_more: Any) -> AsyncIterator[AsyncIterator[bytes]]:
        async def nothing() -> AsyncIterator[bytes]:
            await asyncio.Event().wait()
            yield b""

        yield nothing()


@dataclass(frozen=True)
class Shells(Machines):
    """Every script is answered by ``said``; None never answers."""

    said: str | None = ""

    @override
    async def run(self, node: str, script: str, seconds: float) -> str:
        if self.said is None:
            await asyncio.Event().wait()
        return self.said or ""


def check(api: Api, said: str | None = "") -> Check:
    return Check(api, Shells(CLUSTER, said), "ns", [], lambda _name, _text: None)


async def test_a_cluster_of_two_families_is_checked_in_both() -> None:
    dual = replace(
        CLUSTER,
        ipv6=SecondFamily(
            *map(ip_network, ("fd00:42::/64", "fd00:244::/56", "fd00:96::/112"))  # type: ignore[arg-type]  # of IPv6
        ),
    )
    api = Api()
    # Both nodes are asked by one shell: what one says of the other's number is of no use to it.
    said = "\n".join(f"== {number} 0 {'one' if number % 8 < 4 else 'two'}" for number in range(16))

    report = await Check(api, Shells(dual, said), "ns", [], lambda _name, _text: None).run()

    assert not report.failed, report.failed
    assert len(report.results) == 2 * 2 * 2 * 4
    found = {(one.probe.version, one.probe.way): one.probe.at for one in report.results}
    assert found[6, Way.NODE] == "fd00:42::2"
    assert found[6, Way.POD].startswith("fd00:244::")
    assert found[6, Way.SERVICE].startswith("fd00:96::")
    shown = Console(file=StringIO(), width=200)
    show(dual, report, shown)
    text = shown.file.getvalue()  # type: ignore[attr-defined]  # the file that it was made with
    assert [text.count(f"IPv{version}") for version in (4, 6)] == [4, 4], "a row for each pair and family"
    assert {one["family"] for one in as_json(dual, report)["ways"]} == {"IPv4", "IPv6"}


def removed(api: Api) -> bool:
    return api.asked[-2:] == [("DELETE", "/api/v1/namespaces/ns/pods"), ("DELETE", "/api/v1/namespaces/ns")]


async def test_pods_go_after_a_check_of_which_nothing_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kybern.reach.run.SETTLE", 0)
    api = Api()

    report = await check(api).run()

    assert len(report.failed) == len(report.results) == 2 * 2 * 4
    # Nobody answered by SSH, which is what is told of every way.
    assert {one.hop for found in report.findings.values() for one in found} == {"machine"}
    assert removed(api)


async def test_pods_go_when_the_api_server_fails_half_way() -> None:
    api = Api(broken="/services")

    with pytest.raises(ExceptionGroup, match="unhandled errors"):
        await check(api).run()

    assert removed(api)


async def test_pods_go_when_the_check_is_interrupted() -> None:
    api = Api()
    running = asyncio.create_task(check(api, None).run())
    while not any(path.endswith("/services") and method == "GET" for method, path in api.asked):
        await asyncio.sleep(0)

    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running

    assert removed(api)


async def test_an_api_server_that_is_moving_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kybern.reach.run.PAUSE", 0.0)
    api = Api(shaky=True)
    said = "\n".join(f"== {number} 0 {'one' if number % 8 < 4 else 'two'}" for number in range(8))

    report = await check(api, said).run()

    assert not report.failed
    assert api.asked[-1] == ("DELETE", "/api/v1/namespaces/ns")
    assert sum(path.endswith("/pods") and method == "POST" for method, path in api.asked) > 4


async def test_a_way_that_answers_is_well() -> None:
    api = Api()
    said = "\n".join(f"== {number} 0 {'one' if number < 4 else 'two'}" for number in range(8))

    report = await check(api, said).run()

    assert not report.failed
    assert report.findings == {}
    assert removed(api)
