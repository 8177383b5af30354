"""What the policies' daemon sees of a real API server, with its own user's rights only, and what it watches when."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import yaml

from kybern.api.core_v1 import Node
from kybern.api.networking_v1 import NetworkPolicy
from kybern.client import kubeconfig
from kybern.client.rest import Client
from kybern.policies.follow import State, attend, follow
from kybern.policies.table import Table
from roles.network_policies import objects
from tests.protocol.apiserver_bed import Lab, Server
from tests.unit.policies.worlds import a_pod, a_policy

POLICIES = "/apis/networking.k8s.io/v1/namespaces/x/networkpolicies"
PODS = "/api/v1/namespaces/x/pods"


@pytest.fixture(scope="module")
def server(lab: Lab, free_ports: Callable[[], int]) -> Server:
    found = lab.start(free_ports())
    for one in objects():
        made = yaml.safe_load(one.file.content)
        ask(found, "POST", one.place.rpartition("/")[0], made)
    ask(found, "POST", "/api/v1/namespaces", {"metadata": {"name": "x"}})
    ask(found, "POST", "/api/v1/namespaces/x/serviceaccounts", {"metadata": {"name": "default"}})
    ask(found, "POST", "/api/v1/nodes", {"metadata": {"name": "n1"}, "spec": {"podCIDR": "10.1.0.0/24"}})
    run_pod(found, "a", {"app": "a"}, "10.1.0.2")
    run_pod(found, "b", {"app": "b"}, "10.1.9.2", node="n9")
    run_pod(found, "host", {"app": "b"}, "10.0.0.9", host=True)
    return found


@asynccontextmanager
async def watching(lab: Lab, server: Server) -> AsyncIterator[State]:
    """What the daemon does but for writing rules."""
    state = State("n1")
    async with (
        Client(kubeconfig.load(lab.kubeconfig(server, "policies"))) as client,
        asyncio.TaskGroup() as tasks,
    ):
        running = (
            tasks.create_task(follow(client, NetworkPolicy, state)),
            tasks.create_task(follow(client, Node, state, "metadata.name=n1")),
            tasks.create_task(attend(client, state)),
        )
        try:
            yield state
        finally:
            for one in running:
                one.cancel()


async def _until(state: State, holds: Callable[[], Any]) -> None:
    async with asyncio.timeout(20):
        while True:
            if state.model is not None:
                state.model.settle()
            if holds():
                return
            state.changed.clear()
            await state.changed.wait()


def ask(server: Server, method: str, path: str, body: Any = None, form: str = "json") -> Any:
    code, found = server.ask(method, path, body, form=form)
    assert code in (200, 201), found
    return found


def run_pod(server: Server, name: str, labels: dict[str, str], ip: str, **other: Any) -> None:
    raw = a_pod("x", name, labels, (ip,), **other)
    spec = {**raw["spec"], "containers": [{"name": "c", "image": "i"}], "nodeName": other.get("node", "n1")}
    ask(server, "POST", PODS, {**raw, "spec": spec, "status": {}})
    status = {"status": {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}]}}
    ask(server, "PATCH", f"{PODS}/{name}/status", status, "merge-patch+json")


def peers(table: Table) -> set[str]:
    return {key for name, held in table.elements.items() if name.startswith("peers-") for key in held}


async def test_pods_are_watched_while_there_are_policies_and_followed_to_their_end(
    lab: Lab, server: Server
) -> None:
    def call(*arguments: Any) -> Any:
        return asyncio.to_thread(ask, server, *arguments)

    async with watching(lab, server) as state:
        await _until(state, lambda: state.is_complete and state.networks)
        assert state.model is None

        rules = [{"from": [{"podSelector": {"matchLabels": {"app": "b"}}}]}]
        policy = a_policy("x", "p", {"matchLabels": {"app": "a"}}, rules)
        await call("POST", POLICIES, policy)
        await _until(state, lambda: state.is_complete and state.model and state.model.is_needed)
        assert state.model is not None
        table = state.model.table
        assert set(table.elements["ingress-ip"]) == {"10.1.0.2"}
        assert peers(table) == {"10.1.9.2"}, "one on the host's network is no peer"

        labels = {"metadata": {"labels": {"app": "other"}}}
        await call("PATCH", f"{PODS}/b", labels, "merge-patch+json")
        await _until(state, lambda: peers(table) == set())
        await call("PATCH", f"{PODS}/b", {"metadata": {"labels": {"app": "b"}}}, "merge-patch+json")
        await _until(state, lambda: peers(table) == {"10.1.9.2"})
        ended = {"status": {"phase": "Succeeded"}}
        await call("PATCH", f"{PODS}/b/status", ended, "merge-patch+json")
        await _until(state, lambda: peers(table) == set())

        await call("DELETE", f"{POLICIES}/p")
        await _until(state, lambda: state.model is None and state.is_complete)
