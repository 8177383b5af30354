"""kube-apiserver as a process: flags, TLS, etcd, kubectl; what it does without etcd, and several of them at once."""

import asyncio
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from kybern.apiserver.own_lease import name_of
from kybern.client.connections import Connections
from tests.protocol.apiserver_bed import Lab, Server

pytestmark = pytest.mark.etcd


@pytest.fixture(scope="module")
def server(lab: Lab, free_ports: Any) -> Server:
    return lab.start(free_ports(), "--advertise-address=192.0.2.1")


def config_map(name: str, **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"


def test_what_every_cluster_has_is_there(server: Server) -> None:
    names = {item["metadata"]["name"] for item in server.ask("GET", "/api/v1/namespaces")[1]["items"]}
    service = server.ask("GET", "/api/v1/namespaces/default/services/kubernetes")[1]

    assert names >= {"default", "kube-system", "kube-public", "kube-node-lease"}
    assert service["spec"]["clusterIP"] == "10.96.0.1"
    assert server.ask("GET", "/apis/rbac.authorization.k8s.io/v1/clusterroles/cluster-admin")[0] == 200
    assert server.ask("GET", "/version")[1]["major"] == "1"


def test_an_object_lives_from_create_to_delete(server: Server) -> None:
    made = server.ask("POST", CONFIG_MAPS, config_map("life", a="1"))
    read = server.ask("GET", f"{CONFIG_MAPS}/life")
    changed = server.ask("PUT", f"{CONFIG_MAPS}/life", {**made[1], "data": {"a": "2"}})
    late = server.ask("PUT", f"{CONFIG_MAPS}/life", {**made[1], "data": {"a": "3"}})
    gone = server.ask("DELETE", f"{CONFIG_MAPS}/life")

    assert (made[0], read, changed[0], late[0]) == (201, (200, made[1]), 200, 409)
    assert gone[1]["status"] == "Success"
    assert server.ask("GET", f"{CONFIG_MAPS}/life")[0] == 404


def test_each_server_says_by_a_lease_that_it_is_there(server: Server) -> None:
    lease = f"/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/{name_of(socket.gethostname())}"
    server.wait(lease)

    found = server.ask("GET", lease)[1]
    assert found["metadata"]["labels"]["apiserver.kubernetes.io/identity"] == "kube-apiserver"
    assert found["spec"]["leaseDurationSeconds"] == 3600
    metrics = server.ask("GET", "/metrics")[1]
    assert 'kubernetes_feature_enabled{name="APIServerIdentity",stage="BETA"} 1.0' in metrics


def test_what_the_server_is_can_be_read_by_who_may(server: Server) -> None:
    code, status = server.ask("GET", "/statusz")
    flags = server.ask("GET", "/flagz")[1]
    server.ask("GET", "/readyz")
    slis = server.ask("GET", "/metrics/slis")[1]
    paths = set(server.ask("GET", "/")[1]["paths"])

    assert (code, status.splitlines()[1]) == (200, "kube-apiserver statusz")
    assert "authorization-mode=[Node,RBAC]" in flags.splitlines()
    assert 'kubernetes_healthcheck{name="etcd",type="readyz"} 1.0' not in slis
    assert 'kubernetes_healthcheck{name="informer-sync",type="readyz"} 1.0' in slis
    assert paths >= {
        "/apis/",
        "/flagz",
        "/metrics/slis",
        "/openapi/v2",
        "/openapi/v3",
        "/openapi/v3/",
        "/statusz",
    }
    served = {path: server.ask("GET", path)[0] for path in sorted(paths)}
    assert {path for path, code in served.items() if code != 200} <= {"/openid/v1/jwks"}
    for path in ("/statusz", "/flagz", "/metrics/slis", "/metrics"):
        assert server.ask("GET", path, identity="nobody")[0] == 403
    assert server.ask("POST", "/flagz", {})[0] == 405


def test_who_has_no_right_is_told_so(server: Server) -> None:
    status, answer = server.ask("GET", CONFIG_MAPS, identity="nobody")

    assert status == 403
    assert 'User "nobody" cannot list resource "configmaps"' in answer["message"]


async def test_watchers_see_each_change_as_it_happens(server: Server) -> None:
    seen: list[tuple[str, str]] = []

    async with aiohttp.ClientSession(connector=Connections(ssl=server.context())) as session:
        parameters = {"watch": "1", "fieldSelector": "metadata.name=watched", "timeoutSeconds": "10"}
        async with session.get(server.url + CONFIG_MAPS, params=parameters) as answer:
            await asyncio.to_thread(server.ask, "POST", CONFIG_MAPS, config_map("watched"))
            await asyncio.to_thread(server.ask, "DELETE", f"{CONFIG_MAPS}/watched")
            async for line in answer.content:
                event = json.loads(line)
                seen.append((event["type"], event["object"]["metadata"]["name"]))
                if len(seen) == 2:
                    break

    assert seen == [("ADDED", "watched"), ("DELETED", "watched")]


async def test_watchers_may_ask_for_messages_of_a_websocket(server: Server) -> None:
    """As programs in browsers do: one message for each event, and an end when the time is over."""
    async with aiohttp.ClientSession(connector=Connections(ssl=server.context())) as session:
        parameters = {"watch": "1", "fieldSelector": "metadata.name=spoken", "timeoutSeconds": "4"}
        big = config_map("spoken") | {"data": {"big": "x" * 70_000}}
        await asyncio.to_thread(server.ask, "POST", CONFIG_MAPS, config_map("spoken"))
        async with session.ws_connect(server.url + CONFIG_MAPS, params=parameters, max_msg_size=0) as socket:
            first = json.loads(await socket.receive_str())
            await asyncio.to_thread(server.ask, "PUT", f"{CONFIG_MAPS}/spoken", big)
            await asyncio.to_thread(server.ask, "DELETE", f"{CONFIG_MAPS}/spoken")
            rest = [json.loads(message.data) async for message in socket]
        ended = socket.close_code
        async with session.ws_connect(
            server.url + CONFIG_MAPS, params=parameters | {"timeoutSeconds": "60"}
        ) as left:
            await left.close()

    assert [(one["type"], one["object"]["metadata"]["name"]) for one in (first, *rest)] == [
        ("ADDED", "spoken"),
        ("MODIFIED", "spoken"),
        ("DELETED", "spoken"),
    ]
    assert len(rest[0]["object"]["data"]["big"]) == 70_000
    assert ended == 1000


def test_two_servers_are_one_api(lab: Lab, server: Server, free_ports: Any) -> None:
    other = lab.start(free_ports(), "--advertise-address=192.0.2.2")
    server.ask("POST", CONFIG_MAPS, config_map("shared"))

    names = {item["metadata"]["name"] for item in other.ask("GET", CONFIG_MAPS)[1]["items"]}
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline and _addresses(server) != ["192.0.2.1", "192.0.2.2"]:
        time.sleep(0.2)
    both = _addresses(server)
    other.process.terminate()
    code = other.process.wait(10)

    assert "shared" in names
    assert both == ["192.0.2.1", "192.0.2.2"]
    assert code == 0
    assert _addresses(server) == ["192.0.2.1"]


def test_endpoints_and_slices_of_the_api_name_the_same_servers_and_ports(server: Server) -> None:
    slices = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"
    deadline = time.monotonic() + 15
    while not (subsets := _subsets(server)) and time.monotonic() < deadline:
        time.sleep(0.2)
    ports = {port["name"]: port["port"] for subset in subsets for port in subset["ports"]}

    items = server.ask("GET", f"{slices}?labelSelector=kubernetes.io%2Fservice-name%3Dkubernetes")[1]["items"]

    assert {address for one in items for each in one["endpoints"] for address in each["addresses"]} == set(
        _addresses(server)
    )
    assert [{port["name"]: port["port"] for port in one["ports"]} for one in items] == [ports]
    assert {one["addressType"] for one in items} == {"IPv4"}
    assert all(each["conditions"]["ready"] for one in items for each in one["endpoints"])


def _subsets(server: Server) -> list[dict[str, Any]]:
    _, found = server.ask("GET", "/api/v1/namespaces/default/endpoints/kubernetes")
    subsets: list[dict[str, Any]] = found.get("subsets", [])
    return subsets


def _addresses(server: Server) -> list[str]:
    return [address["ip"] for subset in _subsets(server) for address in subset["addresses"]]


def test_without_etcd_writes_fail_soon_and_cached_reads_go_on(server: Server, etcd: Any) -> None:
    server.ask("POST", CONFIG_MAPS, config_map("before"))
    server.ask("GET", CONFIG_MAPS)
    etcd.stop()
    try:
        began = time.monotonic()
        write = server.ask("POST", CONFIG_MAPS, config_map("during"))
        consistent = server.ask("GET", CONFIG_MAPS)
        took = time.monotonic() - began
        cached = server.ask("GET", CONFIG_MAPS + "?resourceVersion=0")
        live = server.ask("GET", "/livez/etcd")
    finally:
        etcd.start()

    assert (write[0], consistent[0], cached[0], live[0]) == (503, 503, 200, 500)
    assert write[1]["message"].startswith("etcdserver:")
    assert took < 10
    assert "before" in {item["metadata"]["name"] for item in cached[1]["items"]}
    server.wait("/livez/etcd")
    assert server.ask("POST", CONFIG_MAPS, config_map("after"))[0] == 201
    assert "after" in {item["metadata"]["name"] for item in server.ask("GET", CONFIG_MAPS)[1]["items"]}


@pytest.mark.kubectl
def test_kubectl_works(server: Server, tmp_path: Path) -> None:
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("no kubectl")
    command = [
        kubectl, f"--server={server.url}", f"--certificate-authority={server.directory}/ca.crt",
        f"--client-certificate={server.directory}/admin.crt", f"--client-key={server.directory}/admin.key",
    ]  # fmt: skip

    def run(*arguments: str) -> str:
        environment = {**os.environ, "HOME": str(tmp_path), "KUBECONFIG": ""}
        done = subprocess.run(
            [*command, *arguments], capture_output=True, text=True, timeout=30, env=environment, check=False
        )
        return done.stdout + done.stderr

    assert run("create", "deployment", "web", "--image=nginx") == "deployment.apps/web created\n"
    assert run("scale", "deployment", "web", "--replicas=3") == "deployment.apps/web scaled\n"
    assert run("get", "deployment", "web").splitlines()[0].split() == [
        "NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE",
    ]  # fmt: skip
    assert "0/3" in run("get", "deployment", "web")
    assert run("delete", "deployment", "web").startswith('deployment.apps "web" deleted')
    assert "spec" in run("explain", "pod")


def test_a_flag_that_nobody_knows_is_named() -> None:
    program = [sys.executable, "-c", "from kybern.cli.apiserver import main; main()"]
    done = subprocess.run(
        [*program, "--no-such-flag=1"], capture_output=True, text=True, timeout=20, check=False
    )

    assert done.returncode == 2
    assert done.stderr == "kube-apiserver: unknown flag: --no-such-flag\n"


def test_a_file_that_is_not_there_is_named(lab: Lab, free_ports: Any) -> None:
    program = [sys.executable, "-c", "from kybern.cli.apiserver import main; main()"]
    flags = lab.flags(free_ports(), "--tls-cert-file=/no/such/file")
    done = subprocess.run([*program, *flags], capture_output=True, text=True, timeout=20, check=False)

    assert done.returncode == 1
    assert "/no/such/file" in done.stderr.splitlines()[-1]
