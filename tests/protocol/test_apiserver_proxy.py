"""pods/proxy, services/proxy and nodes/proxy of a running API server, with real servers behind it."""

import concurrent.futures
import http.client
import json
import os
import shutil
import socket
import ssl
import struct
import subprocess
import urllib.parse
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest

from kybern.client.connections import Connections
from kybern.daemon import spdy
from tests.protocol.apiserver_bed import Lab, Server
from tests.protocol.backends import ADDRESS, OTHER, Handler, Serving, backend, network
from tests.protocol.conftest import Etcd, etcd_binary, free_port

pytestmark = [
    pytest.mark.etcd,
    pytest.mark.netfilter,
    pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("ip"), reason="needs root and iproute2"),
]
PODS, SERVICES = "/api/v1/namespaces/default/pods", "/api/v1/namespaces/default/services"
METHODS = ("DELETE", "GET", "OPTIONS", "PATCH", "POST", "PUT")


@dataclass
class Answer:
    code: int
    fields: http.client.HTTPMessage
    body: bytes

    @property
    def seen(self) -> Any:
        return json.loads(self.body)


@dataclass
class World:
    """An API server, and behind it a plain server and one with TLS, which are one pod, and a kubelet."""

    server: Server
    plain: Serving
    secure: Serving
    kubelet: Serving

    def connection(self, identity: str = "admin") -> http.client.HTTPSConnection:
        context = self.server.context(identity)
        return http.client.HTTPSConnection("127.0.0.1", self.server.port, timeout=10, context=context)

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        fields: Mapping[str, str] | None = None,
        identity: str = "admin",
    ) -> Answer:
        connection = self.connection(identity)
        try:
            connection.request(method, path, body, dict(fields or {}))
            found = connection.getresponse()
            return Answer(found.status, found.headers, found.read())
        finally:
            connection.close()

    def put(self, path: str, raw: Any) -> None:
        code, answer = self.server.ask("POST", path, raw)
        assert code == 201, answer
        if "status" in raw:
            code, answer = self.server.ask(
                "PUT", f"{path}/{raw['metadata']['name']}/status", answer | {"status": raw["status"]}
            )
            assert code == 200, answer


def pod(name: str, address: str, *ports: int) -> dict[str, Any]:
    container = {"name": "c", "image": "i", "ports": [{"containerPort": port} for port in ports]}
    return {
        "metadata": {"name": name},
        "spec": {"containers": [container], "automountServiceAccountToken": False},
        "status": {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}]},
    }


def endpoint(address: str, name: str, **more: Any) -> dict[str, Any]:
    return {
        "addresses": [address],
        "targetRef": {"kind": "Pod", "namespace": "default", "name": name},
        "conditions": {"ready": True},
        **more,
    }


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    binary = etcd_binary()
    if not binary:
        pytest.skip("no etcd of at least 3.5: run scripts/fetch-etcd, or set KYBERN_ETCD")
    directory = tmp_path_factory.mktemp("proxy")
    with network():
        etcd = Etcd(binary, directory, free_port(), free_port())
        etcd.start()
        lab = Lab(directory, etcd)
        try:
            with (
                backend("plain") as plain,
                backend("secure", pair=directory / "server") as secure,
                backend("kubelet", "127.0.0.1", directory / "server", Kubelet) as kubelet,
            ):
                kubelet.context.load_verify_locations(directory / "ca.crt")
                kubelet.context.verify_mode = ssl.CERT_REQUIRED
                keys = (
                    f"--kubelet-client-certificate={directory}/nobody.crt",
                    f"--kubelet-client-key={directory}/nobody.key",
                )
                found = World(lab.start(free_port(), *keys), plain, secure, kubelet)
                fill(found)
                yield found
        finally:
            for process in lab.started:
                process.terminate()
                process.wait(10)
            etcd.stop()


class Kubelet(Handler):
    def on_who(self) -> None:
        subject = dict(pair[0] for pair in self.connection.getpeercert()["subject"])
        self.send(json.dumps(subject).encode())

    def answer(self) -> None:
        if self.path.startswith("/exec/"):
            self.server.asked.append(self.path)
            self.execute()
        else:
            super().answer()

    def execute(self) -> None:
        """A command that says its input again, louder, until the input ends."""
        self.send_response(101)
        for name, value in (("Connection", "Upgrade"), ("Upgrade", "SPDY/3.1")):
            self.send_header(name, value)
        self.send_header("X-Stream-Protocol-Version", self.headers["X-Stream-Protocol-Version"])
        self.end_headers()
        self.wfile.flush()
        self.close_connection = True
        numbers, unpack = {}, zlib.decompressobj()
        while head := self.rfile.read(8):
            first, second = struct.unpack(">II", head)
            body = self.rfile.read(second & 0xFFFFFF)
            if first >> 31:
                (number,) = struct.unpack(">I", body[:4])
                numbers[unpack.decompress(body[10:])[22:].decode()] = number
                continue
            assert first == numbers["stdin"]
            self.wfile.write(spdy.data(numbers["stdout"], body.upper()))
            if second >> 24:
                self.wfile.write(spdy.data(numbers["error"], b'{"status":"Success"}', last=True))
                for name in numbers.keys() & {"stdout", "stderr"}:
                    self.wfile.write(spdy.data(numbers[name], b"", last=True))
            self.wfile.flush()


def fill(world: World) -> None:
    plain, secure = world.plain.server_port, world.secure.server_port
    world.server.ask("POST", "/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": "default"}})
    world.put(PODS, pod("one", ADDRESS, plain, secure))
    on_node = pod("on-node", ADDRESS)
    on_node["spec"]["nodeName"] = "n"
    world.put(PODS, on_node)
    world.put(PODS, pod("away", OTHER, free_port()))
    world.put(PODS, pod("inside", "127.0.0.1", 80))
    world.put(PODS, pod("waiting", "127.0.0.1", 80) | {"status": {"phase": "Pending"}})
    ports = [
        {"name": "plain", "port": 80, "targetPort": plain},
        {"name": "secure", "port": 443, "targetPort": secure},
    ]
    for name in ("web", "none", "made-up"):
        world.put(SERVICES, {"metadata": {"name": name}, "spec": {"ports": ports, "selector": {"a": "b"}}})
    numbers = [
        {"name": "plain", "port": plain, "protocol": "TCP"},
        {"name": "secure", "port": secure, "protocol": "TCP"},
    ]
    ready = endpoint(ADDRESS, "one")
    unready = endpoint(OTHER, "away", conditions={"ready": False})
    for name, endpoints in {
        "web": [ready, unready],
        "none": [unready],
        "made-up": [endpoint(OTHER, "one")],
    }.items():
        world.put(
            "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices",
            {
                "metadata": {"name": name, "labels": {"kubernetes.io/service-name": name}},
                "addressType": "IPv4",
                "endpoints": endpoints,
                "ports": numbers,
            },
        )
    world.put(
        "/api/v1/nodes",
        {
            "metadata": {"name": "n"},
            "status": {
                "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
                "daemonEndpoints": {"kubeletEndpoint": {"Port": world.kubelet.server_port}},
            },
        },
    )


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("where", [f"{PODS}/one", f"{SERVICES}/web:plain"])
def test_every_method_goes_to_the_backend_with_path_query_and_body(
    world: World, method: str, where: str
) -> None:
    body = None if method in ("GET", "OPTIONS") else b"some text"
    found = world.ask(method, f"{where}/proxy/some/path/with/{method}?a=b%20c&a=d", body, {"X-Own": "mine"})

    assert found.code == 200
    seen = found.seen
    assert (seen["method"], seen["path"]) == (method, f"/some/path/with/{method}?a=b%20c&a=d")
    assert seen["body"] == (body or b"").decode()
    assert seen["headers"]["x-own"] == "mine"


def test_head_gets_the_fields_without_a_body(world: World) -> None:
    found = world.ask("HEAD", f"{PODS}/one/proxy/some/path")
    assert (found.code, found.body) == (200, b"")
    assert found.fields["Content-Type"] == "application/json"


@pytest.mark.parametrize("where", [f"{PODS}/one", f"{SERVICES}/web:plain"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_path_without_its_slash_is_redirected(world: World, method: str, where: str) -> None:
    found = world.ask(method, f"{where}/proxy?method={method}")
    assert (found.code, found.fields["Location"]) == (301, f"{where}/proxy/?method={method}")


@pytest.mark.parametrize("method", ["DELETE", "OPTIONS", "PATCH", "POST", "PUT"])
def test_other_methods_are_not_redirected(world: World, method: str) -> None:
    found = world.ask(method, f"{SERVICES}/web:plain/proxy?method={method}")
    assert (found.code, found.seen["method"], found.seen["path"]) == (200, method, f"/?method={method}")


def names(world: World) -> dict[str, str]:
    """All ways to name what is behind, and who must answer."""
    plain, secure = world.plain.server_port, world.secure.server_port
    return {
        f"{PODS}/one": "plain",
        f"{PODS}/one:{plain}": "plain",
        f"{PODS}/http:one:{plain}": "plain",
        f"{PODS}/https:one:{secure}": "secure",
        f"{SERVICES}/web:plain": "plain",
        f"{SERVICES}/web:80": "plain",
        f"{SERVICES}/http:web:plain": "plain",
        f"{SERVICES}/http:web:80": "plain",
        f"{SERVICES}/https:web:secure": "secure",
        f"{SERVICES}/https:web:443": "secure",
        f"{SERVICES}/https%3Aweb%3A443": "secure",
    }


def test_twenty_rounds_of_all_names_at_once_are_answered(world: World) -> None:
    wanted = [*names(world).items()] * 20
    with concurrent.futures.ThreadPoolExecutor(8) as workers:
        found = workers.map(lambda one: world.ask("GET", f"{one[0]}/proxy/").seen["name"], wanted)
        assert list(found) == [name for _, name in wanted]


REFUSED = {
    f"{PODS}/gone/proxy/": (404, "NotFound", 'pods "gone" not found'),
    f"{PODS}/inside/proxy/": (400, "BadRequest", "address not allowed"),
    f"{PODS}/waiting/proxy/": (400, "BadRequest", "address not allowed"),
    f"{PODS}/ftp:one:21/proxy/": (400, "BadRequest", 'invalid pod request "ftp:one:21"'),
    f"{SERVICES}/gone/proxy/": (404, "NotFound", 'endpoints "gone" not found'),
    f"{SERVICES}/gone:80/proxy/": (404, "NotFound", 'services "gone" not found'),
    f"{SERVICES}/web:81/proxy/": (503, "ServiceUnavailable", 'no service port 81 found for service "web"'),
    f"{SERVICES}/web/proxy/": (503, "ServiceUnavailable", 'no endpoints available for service "web"'),
    f"{SERVICES}/none:plain/proxy/": (
        503,
        "ServiceUnavailable",
        'no endpoints available for service "none:plain"',
    ),
    f"{SERVICES}/made-up:80/proxy/": (
        503,
        "ServiceUnavailable",
        'no endpoints available for service "made-up:80"',
    ),
    "/api/v1/nodes/gone/proxy/": (404, "NotFound", 'nodes "gone" not found'),
    "/api/v1/nodes/n:80/proxy/": (400, "BadRequest", "address not allowed"),
}


@pytest.mark.parametrize("path", REFUSED)
def test_what_cannot_be_reached_is_refused_in_upstreams_words(world: World, path: str) -> None:
    found = world.ask("GET", path)
    assert (found.code, found.seen["reason"], found.seen["message"]) == REFUSED[path]


def test_a_backend_that_does_not_listen_is_a_status(world: World) -> None:
    found = world.ask("GET", f"{PODS}/one:1/proxy/")
    text = f"error trying to reach service: dial tcp {ADDRESS}:1: connect: connection refused"
    assert (found.code, found.seen["message"]) == (503, text)


def test_the_backends_status_and_fields_come_through_but_for_hops(world: World) -> None:
    found = world.ask("GET", f"{PODS}/one/proxy/refused")
    assert (found.code, found.body) == (418, b"no tea")
    assert found.fields["Set-Cookie"] == "a=b"
    assert "X-Hop" not in found.fields
    assert "Access-Control-Allow-Origin" not in found.fields


def test_the_backend_sees_who_asked_by_which_path_and_no_credentials(world: World) -> None:
    given = {
        "Authorization": "Bearer x", "X-Remote-User": "root", "Impersonate-User": "admin",
        "Impersonate-Group": "system:masters",
        "Connection": "X-Mine", "X-Mine": "1", "Te": "trailers", "X-Forwarded-For": "203.0.113.9", "Host": "example:1",
    }  # fmt: skip
    seen = world.ask("GET", f"{PODS}/one/proxy/a/../b/?c", fields=given).seen
    headers = seen["headers"]
    assert seen["path"] == "/b/?c"
    assert headers["x-forwarded-for"] == "203.0.113.9, 127.0.0.1"
    assert headers["x-forwarded-uri"].startswith(f"{PODS}/one/proxy/")
    assert headers["host"] == "example:1"
    assert not {"authorization", "x-remote-user", "impersonate-user", "x-mine", "te"} & headers.keys()


def test_links_and_redirects_lead_through_the_proxy(world: World) -> None:
    base = f"{SERVICES}/web:plain/proxy"
    page = world.ask("GET", f"{base}/page.html")
    assert page.body == (
        b'<html><!-- <a href="/no"> --><a href="'
        + base.encode()
        + b'/there?x=1">\xe4</a><a href="near">&amp;</a></html>'
    )
    assert int(page.fields["Content-Length"]) == len(page.body)
    moved = world.ask("GET", f"{base}/moved")
    assert (moved.code, moved.fields["Location"]) == (302, f"{base}/elsewhere/")


def test_an_answer_comes_as_it_is_made(world: World) -> None:
    world.plain.gate.clear()
    connection = world.connection()
    connection.request("GET", f"{PODS}/one/proxy/slowly")
    found = connection.getresponse()
    assert found.readline() == b"first\n"
    world.plain.gate.set()
    assert found.read() == b"second\n"
    connection.close()


def test_a_client_that_goes_away_ends_the_request_behind(world: World) -> None:
    world.plain.left.clear()
    connection = world.connection()
    connection.request("GET", f"{PODS}/one/proxy/silent")
    found = connection.getresponse()
    found.close()
    connection.close()
    assert world.plain.left.wait(10)


def test_an_answer_that_breaks_off_is_not_taken_for_whole(world: World) -> None:
    with pytest.raises(http.client.IncompleteRead):
        world.ask("GET", f"{PODS}/one/proxy/broken")


def test_a_body_of_any_length_is_passed_as_it_comes(world: World) -> None:
    parts = [b"x" * 100_000] * 50
    found = world.ask("PUT", f"{PODS}/one/proxy/big", iter(parts))
    assert len(found.seen["body"]) == 5_000_000


@pytest.mark.parametrize("where", ["pods/one", "services/https:web:secure"])
def test_another_protocol_is_passed_on_both_ways(world: World, where: str) -> None:
    with world.server.context().wrap_socket(
        socket.create_connection(("127.0.0.1", world.server.port), 10), server_hostname="127.0.0.1"
    ) as raw:
        path = f"/api/v1/namespaces/default/{where}/proxy/upgrade"
        raw.sendall(
            f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\nX-Own: 7\r\n\r\n".encode()
        )
        stream = raw.makefile("rwb")
        head = b"".join(iter(stream.readline, b"\r\n"))
        assert head.startswith(b"HTTP/1.1 101")
        assert b"X-Seen: 7" in head
        for word in (b"one\n", b"two\n"):
            stream.write(word)
            stream.flush()
            assert stream.readline() == word.upper()


def test_an_upgrade_that_the_backend_ignores_is_an_error(world: World) -> None:
    fields = {"Connection": "Upgrade", "Upgrade": "echo"}
    found = world.ask("GET", f"{PODS}/one/proxy/other", fields=fields)
    assert (found.code, found.seen["message"]) == (500, "invalid upgrade response: status code 200")


def test_a_nodes_kubelet_is_asked_with_the_servers_certificate(world: World) -> None:
    assert world.ask("GET", "/api/v1/nodes/n/proxy/who").seen == {"commonName": "nobody"}
    named = f"/api/v1/nodes/n:{world.kubelet.server_port}/proxy/who"
    assert world.ask("GET", named).seen == {"commonName": "nobody"}


async def test_a_websocket_of_v5_reaches_the_kubelet_as_spdy(world: World) -> None:
    url = f"{world.server.url}{PODS}/on-node/exec?container=c&command=cat&stdin=true&stdout=true"
    got: dict[int, bytes] = {}
    async with (
        aiohttp.ClientSession(connector=Connections()) as session,
        session.ws_connect(url, ssl=world.server.context(), protocols=("v5.channel.k8s.io",)) as socket,
    ):
        assert socket.protocol == "v5.channel.k8s.io"
        await socket.send_bytes(b"\0word")
        await socket.send_bytes(b"\xff\0")
        async for message in socket:
            got[message.data[0]] = got.get(message.data[0], b"") + message.data[1:]
    assert got == {1: b"WORD", 3: b'{"status":"Success"}'}
    assert world.kubelet.asked[-1] == "/exec/default/on-node/c?input=1&output=1&command=cat"


@pytest.mark.kubectl
def test_kubectl_hands_a_commands_input_over_to_its_end(world: World) -> None:
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("no kubectl")
    at = world.server.directory
    done = subprocess.run(
        [
            kubectl, f"--server={world.server.url}", f"--certificate-authority={at}/ca.crt",
            f"--client-certificate={at}/admin.crt", f"--client-key={at}/admin.key", "exec", "-i", "on-node", "--", "cat",
        ],
        input=b"word", capture_output=True, timeout=30, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, b"WORD"), done.stderr


VERBS = {"GET": "get", "HEAD": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


@pytest.mark.parametrize("method", VERBS)
def test_each_method_needs_its_verb_on_the_subresource(world: World, method: str) -> None:
    found = world.ask(method, f"{PODS}/one/proxy/", identity="nobody")
    assert found.code == 403
    if method != "HEAD":
        text = f'pods "one" is forbidden: User "nobody" cannot {VERBS[method]} resource "pods/proxy" in API group ""'
        assert found.seen["message"].startswith(text)


def test_kubectl_proxies_paths_that_need_quoting(world: World) -> None:
    path = urllib.parse.quote("/ä b/[c]")
    assert urllib.parse.unquote(world.ask("GET", f"{PODS}/one/proxy{path}").seen["path"]) == "/ä b/[c]"
