"""Groups of the API that other servers answer for: an API server in front of a small one of the test's own."""

import base64
import http.client
import json
import os
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from kybern.auth.x509 import Authority
from tests.protocol.apiserver_bed import Lab, Server
from tests.protocol.backends import ADDRESS, OTHER, Handler, Serving, backend, network
from tests.protocol.conftest import Etcd, etcd_binary, free_port
from tests.protocol.test_apiserver_proxy import Answer

pytestmark = [
    pytest.mark.etcd,
    pytest.mark.netfilter,
    pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("ip"), reason="needs root and iproute2"),
]
GROUP, VERSION = "wardle.example.com", "v1alpha1"
BASE = f"/apis/{GROUP}/{VERSION}"
APISERVICES = "/apis/apiregistration.k8s.io/v1/apiservices"
NAME = f"{VERSION}.{GROUP}"
FLUNDERS = f"{BASE}/namespaces/default/flunders"
AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
RESOURCES = [
    {
        "name": "flunders",
        "singularName": "flunder",
        "namespaced": True,
        "kind": "Flunder",
        "verbs": ["create", "get", "list", "watch"],
        "shortNames": ["fl"],
    },
    {"name": "flunders/status", "singularName": "", "namespaced": True, "kind": "Flunder", "verbs": ["get"]},
]
OPERATIONS = {
    "get": {
        "consumes": ["*/*"],
        "description": "list objects of kind Flunder",
        "operationId": "listWardle",
        "produces": ["application/json"],
        "responses": {"200": {"description": "OK", "schema": {"$ref": "#/definitions/com.example.Flunder"}}},
        "schemes": ["https"],
        "tags": ["wardle"],
        "x-kubernetes-action": "list",
        "x-kubernetes-group-version-kind": {"group": GROUP, "kind": "Flunder", "version": VERSION},
    },
    "parameters": [
        {"$ref": "#/parameters/pretty-1"},
        {"in": "path", "name": "namespace", "required": True, "type": "string"},
    ],
}
DEFINITIONS = {
    "com.example.Flunder": {
        "type": "object",
        "properties": {"metadata": {"$ref": "#/definitions/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"}},
        "x-kubernetes-group-version-kind": [{"group": GROUP, "version": VERSION, "kind": "Flunder"}],
    },
    "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta": {"type": "object", "description": "another one"},
    "com.example.Unrelated": {"type": "object"},
}


class Wardle(Handler):
    """A server of one kind, which believes front proxies only."""

    flunders: dict[str, Any]

    def answer(self) -> None:
        path, _, query = self.path.partition("?")
        subject = dict(pair[0] for pair in self.connection.getpeercert()["subject"])
        if subject["commonName"] != "front-proxy-client":
            self.send(b"{}", 401)
        elif path == BASE and self.server.broken.is_set():
            self.send(b"{}", 500)
        elif path == FLUNDERS:
            self.collection(query)
        elif path.startswith(FLUNDERS):
            self.one(path.rpartition("/")[2])
        elif path in self.documents():
            self.send(json.dumps(self.documents()[path]).encode())
        elif path == f"{BASE}/who":
            groups = self.headers.get_all("X-Remote-Group")
            self.send(json.dumps({"groups": groups, "fields": dict(self.headers.items())}).encode())
        elif path == f"{BASE}/upgrade":
            self.on_upgrade()
        else:
            self.send(b"{}", 404)

    def documents(self) -> dict[str, Any]:
        return {
            BASE: {"kind": "APIResourceList", "groupVersion": f"{GROUP}/{VERSION}", "resources": RESOURCES},
            "/openapi/v2": {
                "paths": {
                    FLUNDERS: {"get": ["odd"]} if self.server.odd.is_set() else OPERATIONS,
                    "/apis/other/v1/": {},
                },
                "definitions": DEFINITIONS,
                "parameters": {
                    "pretty-1": {"in": "query", "name": "pretty", "type": "string", "uniqueItems": True}
                },
            },
            f"/openapi/v3{BASE}": {"openapi": "3.0.0", "info": {"title": "wardle"}, "paths": {}},
        }

    def collection(self, query: str) -> None:
        if self.command == "POST":
            raw = json.loads(self.body())
            self.flunders[raw["metadata"]["name"]] = raw
            self.send(json.dumps(raw).encode(), 201)
        elif "watch=" in query:
            self.watch()
        else:
            items = list(self.flunders.values())
            listed = {
                "apiVersion": f"{GROUP}/{VERSION}",
                "kind": "FlunderList",
                "metadata": {},
                "items": items,
            }
            self.send(json.dumps(listed).encode())

    def one(self, name: str) -> None:
        found = self.flunders.get(name)
        self.send(json.dumps(found or {"kind": "Status"}).encode(), 200 if found else 404)

    def watch(self) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for name in ("first", "second"):
            line = json.dumps({"type": "ADDED", "object": {"metadata": {"name": name}}}).encode() + b"\n"
            self.wfile.write(b"%x\r\n%b\r\n" % (len(line), line))
            self.wfile.flush()
            if name == "first":
                self.server.gate.wait(10)
        self.wfile.write(b"0\r\n\r\n")


@dataclass
class World:
    server: Server
    lab: Lab
    wardle: Serving
    authorities: dict[str, bytes]
    flags: tuple[str, ...]
    more: list[str] = field(default_factory=list)

    def ask(self, method: str, path: str, body: Any = None, identity: str = "admin", **fields: str) -> Answer:
        context = self.server.context(identity)
        connection = http.client.HTTPSConnection("127.0.0.1", self.server.port, timeout=10, context=context)
        try:
            data = json.dumps(body) if body is not None else None
            given = {
                "Content-Type": "application/json",
                **{k.replace("_", "-"): v for k, v in fields.items()},
            }
            connection.request(method, path, data, given)
            found = connection.getresponse()
            return Answer(found.status, found.headers, found.read())
        finally:
            connection.close()

    def condition(self, name: str = NAME) -> dict[str, str]:
        found = self.ask("GET", f"{APISERVICES}/{name}").seen
        return next(iter((found.get("status") or {}).get("conditions") or ()), {})

    def until(self, holds: Callable[[], Any], wanted: Any = True, seconds: float = 30) -> None:
        deadline, found = time.monotonic() + seconds, None
        while time.monotonic() < deadline:
            found = holds()
            if found == wanted:
                return
            time.sleep(0.05)
        raise AssertionError(f"{found!r} is not {wanted!r}")

    def becomes(self, reason: str, name: str = NAME) -> dict[str, str]:
        self.until(lambda: self.condition(name).get("reason"), reason)
        return self.condition(name)

    def make(self, path: str, raw: Any) -> None:
        found = self.ask("POST", path, raw)
        assert found.code == 201, found.body

    def change(self, path: str, patch: Any) -> None:
        found = self.ask("PATCH", path, patch, Content_Type="application/merge-patch+json")
        assert found.code == 200, found.body


def certificates(directory: Path) -> dict[str, bytes]:
    """Of front proxies, and of the server behind: each has an authority of its own."""
    now = datetime.now(UTC)
    proxies, servers = Authority.create("front-proxy-ca", now), Authority.create("wardle", now)
    name = "api.default.svc"
    # A name of two lines, the second of which looks like a field.
    odd = Authority.load((directory / "ca.crt").read_bytes(), (directory / "ca.key").read_bytes())
    issued = {
        "liar": odd.issue("liar\r\nX-Remote-Group: staff", ("system:masters",), now=now),
        "front": proxies.issue("front-proxy-client"),
        "stranger": proxies.issue("somebody-else"),
        "wardle": servers.issue(name, dns=(name,), server=True, client=False),
    }
    (directory / "front-ca.crt").write_bytes(proxies.cert_pem)
    for each, pair in issued.items():
        (directory / f"{each}.crt").write_bytes(pair.cert_pem)
        (directory / f"{each}.key").write_bytes(pair.key_pem)
    return {"proxies": proxies.cert_pem, "servers": servers.cert_pem}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    binary = etcd_binary()
    if not binary:
        pytest.skip("no etcd of at least 3.5: run scripts/fetch-etcd, or set KYBERN_ETCD")
    directory = tmp_path_factory.mktemp("aggregation")
    with ExitStack() as undo:
        undo.enter_context(network())
        etcd = Etcd(binary, directory, free_port(), free_port())
        etcd.start()
        undo.callback(etcd.stop)
        lab = Lab(directory, etcd)
        authorities = certificates(directory)
        handler = type("One", (Wardle,), {"flunders": {}})
        wardle = undo.enter_context(backend("wardle", pair=directory / "wardle", handler=handler))
        wardle.context.load_verify_locations(directory / "front-ca.crt")
        wardle.context.verify_mode = ssl.CERT_REQUIRED
        flags = (
            f"--proxy-client-cert-file={directory}/front.crt",
            f"--proxy-client-key-file={directory}/front.key",
            f"--requestheader-client-ca-file={directory}/front-ca.crt",
            "--requestheader-allowed-names=front-proxy-client",
            "--requestheader-username-headers=X-Remote-User",
            "--requestheader-group-headers=X-Remote-Group",
            "--requestheader-extra-headers-prefix=X-Remote-Extra-",
            f"--cert-dir={directory}",
        )
        undo.callback(stop, lab)
        found = World(lab.start(free_port(), *flags), lab, wardle, authorities, flags)
        fill(found)
        yield found


def stop(lab: Lab) -> None:
    for process in lab.started:
        process.terminate()
        process.wait(10)


def slice_of(name: str, address: str, port: int, **conditions: bool) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "labels": {"kubernetes.io/service-name": name}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [address], "conditions": {"ready": True, **conditions}}],
        "ports": [{"name": "", "port": port, "protocol": "TCP"}],
    }


SLICES = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"
SERVICES = "/api/v1/namespaces/default/services"


def api_service(world: World, group: str = GROUP, service: str = "api", **more: Any) -> dict[str, Any]:
    trust = more or {"caBundle": base64.b64encode(world.authorities["servers"]).decode()}
    return {
        "metadata": {"name": f"{VERSION}.{group}"},
        "spec": {
            "group": group,
            "version": VERSION,
            "groupPriorityMinimum": 2000,
            "versionPriority": 200,
            "service": {"name": service, "namespace": "default", "port": 443},
            **trust,
        },
    }


def fill(world: World) -> None:
    world.make(SERVICES, {"metadata": {"name": "api"}, "spec": {"ports": [{"port": 443}]}})
    world.make(SLICES, slice_of("api", ADDRESS, world.wardle.server_port))
    world.make(APISERVICES, api_service(world))
    world.becomes("Passed")


def test_objects_go_to_the_other_server_and_come_back(world: World) -> None:
    raw = {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": "Flunder",
        "metadata": {"name": "one"},
        "spec": {"a": 1},
    }
    made = world.ask("POST", f"{FLUNDERS}?fieldManager=x", raw)
    assert (made.code, made.seen) == (201, raw)
    assert world.ask("GET", f"{FLUNDERS}/one").seen == raw
    assert world.ask("GET", FLUNDERS).seen["items"] == [raw]
    assert world.ask("GET", f"{FLUNDERS}/two").code == 404


def test_it_is_told_for_whom_we_speak_and_nobody_else_can(world: World) -> None:
    given = {
        "X_Remote_User": "root",
        "X_Remote_Group": "system:masters",
        "X_Remote_Extra_A": "b",
        "X_Other": "c",
    }
    seen = world.ask("GET", f"{BASE}/who", **given).seen
    assert seen["groups"] == ["system:masters", "system:authenticated"]
    fields = {name.lower(): value for name, value in seen["fields"].items()}
    assert (fields["x-remote-user"], fields["x-other"]) == ("admin", "c")
    assert "x-remote-extra-a" not in fields
    assert fields["x-remote-extra-authentication.kubernetes.io%2fcredential-id"].startswith("X509SHA256=")


@pytest.mark.parametrize("fields", [{}, {"Connection": "Upgrade", "Upgrade": "echo"}])
def test_a_name_of_two_lines_is_not_passed_on(world: World, fields: dict[str, str]) -> None:
    found = world.ask("GET", f"{BASE}/who", identity="liar", **fields)
    assert found.code == 503
    assert found.body.startswith(b"error trying to reach service")


def test_who_may_not_is_refused_here(world: World) -> None:
    found = world.ask("GET", FLUNDERS, identity="nobody")
    assert found.code == 403
    text = (
        f'flunders.{GROUP} is forbidden: User "nobody" cannot list resource "flunders" in API group "{GROUP}"'
    )
    assert found.seen["message"].startswith(text)


def test_impersonated_users_are_the_ones_we_speak_for(world: World) -> None:
    world.make(
        "/apis/rbac.authorization.k8s.io/v1/clusterroles",
        {
            "metadata": {"name": "wardle"},
            "rules": [
                {"apiGroups": [GROUP], "resources": ["*"], "verbs": ["*"]},
                {"nonResourceURLs": ["*"], "verbs": ["*"]},
            ],
        },
    )
    world.make(
        "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
        {
            "metadata": {"name": "wardle"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "wardle"},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "jane"}],
        },
    )
    world.until(lambda: world.ask("GET", f"{BASE}/who", Impersonate_User="jane").code, 200)
    seen = world.ask("GET", f"{BASE}/who", Impersonate_User="jane").seen
    assert seen["fields"]["X-Remote-User"] == "jane"
    assert "Impersonate-User" not in seen["fields"]


def test_a_watch_comes_as_it_is_made(world: World) -> None:
    world.wardle.gate.clear()
    context = world.server.context()
    connection = http.client.HTTPSConnection("127.0.0.1", world.server.port, timeout=10, context=context)
    connection.request("GET", f"{FLUNDERS}?watch=1")
    found = connection.getresponse()
    assert json.loads(found.readline())["object"]["metadata"]["name"] == "first"
    world.wardle.gate.set()
    assert json.loads(found.readline())["object"]["metadata"]["name"] == "second"
    connection.close()


def test_another_protocol_is_passed_on(world: World) -> None:
    plain = socket.create_connection(("127.0.0.1", world.server.port), 10)
    with world.server.context().wrap_socket(plain, server_hostname="127.0.0.1") as raw:
        raw.sendall(
            f"GET {BASE}/upgrade HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n".encode()
        )
        stream = raw.makefile("rwb")
        assert b"101" in b"".join(iter(stream.readline, b"\r\n"))
        stream.write(b"word\n")
        stream.flush()
        assert stream.readline() == b"WORD\n"


def test_legacy_discovery_lists_it_by_its_priority(world: World) -> None:
    names = [group["name"] for group in world.ask("GET", "/apis").seen["groups"]]
    assert names[0] == "apiregistration.k8s.io"
    assert names.index("flowcontrol.apiserver.k8s.io") < names.index(GROUP)
    group = world.ask("GET", f"/apis/{GROUP}").seen
    assert group["preferredVersion"] == {"groupVersion": f"{GROUP}/{VERSION}", "version": VERSION}
    assert world.ask("GET", BASE).seen["resources"] == RESOURCES


def discovered(world: World, group: str = GROUP) -> dict[str, Any]:
    found = world.ask("GET", "/apis", Accept=AGGREGATED).seen
    return next((item["versions"][0] for item in found["items"] if item["metadata"]["name"] == group), {})


def test_aggregated_discovery_has_its_resources(world: World) -> None:
    world.until(lambda: discovered(world).get("freshness"), "Current")
    (found,) = discovered(world)["resources"]
    assert (found["resource"], found["scope"], found["shortNames"]) == ("flunders", "Namespaced", ["fl"])
    assert found["responseKind"] == {"group": GROUP, "version": VERSION, "kind": "Flunder"}
    assert found["subresources"][0]["subresource"] == "status"


def test_openapi_has_its_documents(world: World) -> None:
    key = BASE[1:]
    world.until(lambda: key in world.ask("GET", "/openapi/v3").seen["paths"])
    url = world.ask("GET", "/openapi/v3").seen["paths"][key]["serverRelativeURL"]
    assert world.ask("GET", url).seen["info"] == {"title": "wardle"}
    whole = world.ask("GET", "/openapi/v2").seen
    assert FLUNDERS in whole["paths"]
    assert "/apis/other/v1/" not in whole["paths"]
    assert "com.example.Unrelated" not in whole["definitions"]
    meta = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
    own = whole["definitions"]["com.example.Flunder"]["properties"]["metadata"]["$ref"]
    assert own == f"#/definitions/{meta}_v2"
    assert whole["definitions"][f"{meta}_v2"]["description"] == "another one"
    assert whole["definitions"][meta]["description"] != "another one"


@pytest.mark.parametrize(
    ("path", "media"),
    [
        ("/apis", "application/vnd.kubernetes.protobuf;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"),
        ("/apis", "application/vnd.kubernetes.protobuf"),
        ("/openapi/v2", "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"),
    ],
)
def test_clients_that_want_protobuf_are_told_of_it_too(world: World, path: str, media: str) -> None:
    world.until(lambda: GROUP.encode() in world.ask("GET", path, Accept=media).body)
    assert (
        world.ask("GET", path, Accept=media).fields["Content-Type"].partition(";")[0]
        == media.partition(";")[0]
    )


@pytest.mark.kubectl
def test_kubectl_finds_and_reads_it(world: World, tmp_path: Path) -> None:
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("no kubectl")
    world.until(lambda: discovered(world).get("freshness"), "Current")
    at = world.lab.directory
    done = subprocess.run(
        [
            kubectl, f"--server={world.server.url}", f"--certificate-authority={at}/ca.crt", f"--client-key={at}/admin.key",
            f"--client-certificate={at}/admin.crt", f"--cache-dir={tmp_path}", "get", "fl", "-o", "name",
        ],
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_an_openapi_document_that_makes_no_sense_spoils_nothing(world: World) -> None:
    world.wardle.odd.set()
    try:
        # A change makes it ask again.
        world.change(f"{APISERVICES}/{NAME}", {"spec": {"versionPriority": 202}})
        world.until(lambda: FLUNDERS not in world.ask("GET", "/openapi/v2").seen["paths"])
        world.until(lambda: discovered(world)["freshness"], "Current")
    finally:
        world.wardle.odd.clear()
    world.change(f"{APISERVICES}/{NAME}", {"spec": {"versionPriority": 203}})
    world.until(lambda: FLUNDERS in world.ask("GET", "/openapi/v2").seen["paths"])


REASONS = {
    "ServiceNotFound": ("gone", 'service/gone in "default" is not present'),
    "ServicePortError": ("wrong", 'service/wrong in "default" is not listening on port 443'),
    "EndpointsNotFound": ("alone", 'cannot find endpointslices for service/alone in "default"'),
    "MissingEndpoints": (
        "unready",
        'endpointslices for service/unready in "default" have no addresses with port name ""',
    ),
}


@pytest.mark.parametrize("reason", REASONS)
def test_what_is_missing_is_said_in_upstreams_words(world: World, reason: str) -> None:
    service, message = REASONS[reason]
    if service != "gone":
        port = 444 if service == "wrong" else 443
        world.make(SERVICES, {"metadata": {"name": service}, "spec": {"ports": [{"port": port}]}})
    if service == "unready":
        world.make(SLICES, slice_of("unready", OTHER, 1, ready=False))
    group = f"{service}.example.com"
    world.make(APISERVICES, api_service(world, group, service, insecureSkipTLSVerify=True))
    found = world.becomes(reason, f"{VERSION}.{group}")
    assert (found["status"], found["message"]) == ("False", message)
    refused = world.ask("GET", f"/apis/{group}/{VERSION}/things")
    assert (refused.code, refused.body) == (503, b"service unavailable\n")
    assert refused.fields["Content-Type"].startswith("text/plain")
    world.until(lambda: discovered(world, group).get("freshness"), "Stale")
    metrics = world.ask("GET", "/metrics").body.decode()
    name = f"{VERSION}.{group}"
    assert f'aggregator_unavailable_apiservice{{name="{name}"}} 1.0' in metrics
    assert f'aggregator_unavailable_apiservice{{name="{NAME}"}} 0.0' in metrics


def test_a_server_that_fails_is_unavailable_until_it_answers_again(world: World) -> None:
    world.until(lambda: discovered(world).get("freshness"), "Current")
    world.wardle.broken.set()
    try:
        world.change(f"{APISERVICES}/{NAME}", {"spec": {"versionPriority": 201}})
        found = world.becomes("FailedDiscoveryCheck")
        url = f"https://{ADDRESS}:{world.wardle.server_port}{BASE}"
        assert found["message"] == f"failing or missing response from {url}: bad status from {url}: 500"
        assert world.ask("GET", FLUNDERS).code == 503
        world.until(lambda: discovered(world).get("freshness"), "Stale")
        assert discovered(world)["resources"], "what was known stays"
    finally:
        world.wardle.broken.clear()
    assert world.becomes("Passed")["status"] == "True"
    world.until(lambda: discovered(world).get("freshness"), "Current")
    assert world.ask("GET", FLUNDERS).code == 200


def test_a_server_that_does_not_listen_is_unavailable(world: World) -> None:
    world.make(SERVICES, {"metadata": {"name": "deaf"}, "spec": {"ports": [{"port": 443}]}})
    world.make(SLICES, slice_of("deaf", OTHER, 1))
    world.make(APISERVICES, api_service(world, "deaf.example.com", "deaf", insecureSkipTLSVerify=True))
    found = world.becomes("FailedDiscoveryCheck", f"{VERSION}.deaf.example.com")
    assert found["message"].endswith(f"dial tcp {OTHER}:1: connect: connection refused")


def test_a_certificate_of_an_unknown_authority_is_not_trusted(world: World) -> None:
    wrong = base64.b64encode(world.authorities["proxies"]).decode()
    other = "distrusted.example.com"
    world.make(APISERVICES, api_service(world, other, caBundle=wrong))
    # The server answers for one group only: that is enough to be asked, with any certificate.
    world.becomes("FailedDiscoveryCheck", f"{VERSION}.{other}")
    world.change(f"{APISERVICES}/{NAME}", {"spec": {"caBundle": wrong}})
    try:
        world.until(lambda: world.ask("GET", FLUNDERS).code, 503)
        text = world.ask("GET", FLUNDERS).body.decode()
        assert text.startswith("error trying to reach service: tls: failed to verify certificate")
    finally:
        right = base64.b64encode(world.authorities["servers"]).decode()
        world.change(f"{APISERVICES}/{NAME}", {"spec": {"caBundle": right}})
    world.until(lambda: world.ask("GET", FLUNDERS).code, 200)


def test_without_its_apiservice_the_group_is_gone(world: World) -> None:
    group = "short.example.com"
    world.make(APISERVICES, api_service(world, group, "gone", insecureSkipTLSVerify=True))
    world.until(lambda: world.ask("GET", f"/apis/{group}").code, 200)
    assert world.ask("DELETE", f"{APISERVICES}/{VERSION}.{group}").code == 200
    world.until(lambda: world.ask("GET", f"/apis/{group}").code, 404)
    assert world.ask("GET", f"/apis/{group}/{VERSION}/things").code == 404


def test_every_own_group_version_has_an_apiservice(world: World) -> None:
    found = {item["metadata"]["name"]: item for item in world.ask("GET", APISERVICES).seen["items"]}
    served = {
        f"{v['version']}.{g['name']}" for g in world.ask("GET", "/apis").seen["groups"] for v in g["versions"]
    }
    assert served - found.keys() == {"v1.apiregistration.k8s.io"}
    apps = found["v1.apps"]
    assert apps["metadata"]["labels"] == {"kube-aggregator.kubernetes.io/automanaged": "onstart"}
    assert apps["spec"] == {
        "group": "apps",
        "version": "v1",
        "groupPriorityMinimum": 17800,
        "versionPriority": 15,
    }
    assert apps["status"]["conditions"][0]["reason"] == "Local"
    assert found["v1."]["spec"] == {"version": "v1", "groupPriorityMinimum": 18000, "versionPriority": 1}


def test_custom_kinds_have_one_as_long_as_they_are_served(world: World) -> None:
    schema = {"openAPIV3Schema": {"type": "object"}}
    version = {"name": "v1", "served": True, "storage": True, "schema": schema}
    names = {"plural": "things", "singular": "thing", "kind": "Thing", "listKind": "ThingList"}
    group, path = "own.example.com", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    spec = {"group": group, "scope": "Namespaced", "names": names, "versions": [version]}
    world.make(path, {"metadata": {"name": f"things.{group}"}, "spec": spec})
    world.becomes("Local", f"v1.{group}")
    found = world.ask("GET", f"{APISERVICES}/v1.{group}").seen
    assert found["metadata"]["labels"] == {"kube-aggregator.kubernetes.io/automanaged": "true"}
    assert (found["spec"]["groupPriorityMinimum"], found["spec"]["versionPriority"]) == (1000, 100)
    assert world.ask("DELETE", f"{APISERVICES}/v1.{group}").code == 200
    world.becomes("Local", f"v1.{group}")
    assert world.ask("DELETE", f"{path}/things.{group}").code == 200
    world.until(lambda: world.ask("GET", f"{APISERVICES}/v1.{group}").code, 404)


def test_the_authentication_of_aggregated_servers_is_published(world: World) -> None:
    path = "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication"
    world.until(lambda: world.ask("GET", path).code, 200)
    data = world.ask("GET", path).seen["data"]
    assert data["client-ca-file"].strip() == (world.lab.directory / "ca.crt").read_text().strip()
    assert data["requestheader-client-ca-file"].strip() == world.authorities["proxies"].decode().strip()
    assert json.loads(data["requestheader-allowed-names"]) == ["front-proxy-client"]
    assert json.loads(data["requestheader-username-headers"]) == ["X-Remote-User"]
    assert json.loads(data["requestheader-extra-headers-prefix"]) == ["X-Remote-Extra-"]


def who(world: World, identity: str, **fields: str) -> Answer:
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    return world.ask("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", body, identity, **fields)


def test_front_proxies_speak_for_users_to_us_too(world: World) -> None:
    found = who(world, "front", X_Remote_User="jane", X_Remote_Group="staff", X_Remote_Extra_Scopes="a").seen
    info = found["status"]["userInfo"]
    assert (info["username"], info["groups"]) == ("jane", ["staff", "system:authenticated"])
    assert info["extra"]["scopes"] == ["a"]
    assert who(world, "stranger", X_Remote_User="jane").code == 401
