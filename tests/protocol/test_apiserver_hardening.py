"""Flags that hardening guides ask of an API server: ciphers, the longest a request takes, plugins with settings."""

import socket
import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import yaml

from kybern.auth.x509 import Authority
from tests.protocol import webhook_server
from tests.protocol.apiserver_bed import Lab, Server
from tests.protocol.webhook_place import VALIDATING, Place, config_map
from tests.protocol.webhook_server import Review, allow

pytestmark = pytest.mark.etcd

LIMIT = {
    "apiVersion": "eventratelimit.admission.k8s.io/v1alpha1",
    "kind": "Configuration",
    "limits": [{"type": "Namespace", "qps": 1, "burst": 2}],
}
STRONG, WEAK = "ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-AES128-GCM-SHA256"


@pytest.fixture(scope="module")
def lab(etcd: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    found = Lab(tmp_path_factory.mktemp("hard"), etcd)
    hooks = Authority.create("hooks", datetime.now(UTC))
    pair = hooks.issue("hook", ips=("127.0.0.1",), dns=("hook.default.svc",), server=True, client=False)
    for name, content in {
        "hooks-ca.crt": hooks.cert_pem,
        "hook.crt": pair.cert_pem,
        "hook.key": pair.key_pem,
    }.items():
        found.write(name, content)
    yield found
    found.stop()


@pytest.fixture(scope="module")
def server(lab: Lab, free_ports: Any) -> Server:
    plugins = [{"name": "EventRateLimit", "path": "limits.yaml"}]
    settings = {
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "AdmissionConfiguration",
        "plugins": plugins,
    }
    lab.write("limits.yaml", yaml.safe_dump(LIMIT).encode())
    lab.write("admission.yaml", yaml.safe_dump(settings).encode())
    return lab.start(
        free_ports(),
        "--endpoint-reconciler-type=none",
        "--request-timeout=8s",
        "--tls-cipher-suites=TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
        "--enable-admission-plugins=AlwaysPullImages,DenyServiceExternalIPs,EventRateLimit",
        f"--admission-control-config-file={lab.directory}/admission.yaml",
    )


def shakes_hands(server: Server, cipher: str) -> str:
    """The cipher of TLS 1.2 that a client which takes only this one gets; "" when it gets none."""
    context = server.context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(f"{cipher}:{cipher.replace('ECDSA', 'RSA')}")
    try:
        with (
            socket.create_connection(("127.0.0.1", server.port), timeout=5) as plain,
            context.wrap_socket(plain, server_hostname="127.0.0.1") as secure,
        ):
            return (secure.cipher() or ("",))[0]
    except ssl.SSLError:
        return ""


def test_only_the_named_ciphers_are_accepted(server: Server) -> None:
    assert shakes_hands(server, STRONG).endswith("AES256-GCM-SHA384")
    assert shakes_hands(server, WEAK) == ""


def test_a_request_that_takes_too_long_is_a_timeout(lab: Lab, server: Server) -> None:
    hooks = webhook_server.start(lab.directory, "hook")
    place, free = Place(server, hooks), threading.Event()

    def slow(review: Review) -> Review:
        free.wait(20)
        return allow(review)

    try:
        place.configure(VALIDATING, place.hook("/slow", slow, timeoutSeconds=20))

        code, answer = place.create(config_map("a"), "?timeout=1s")

        assert (code, answer["reason"]) == (504, "Timeout")
        assert answer["message"] == "Timeout: request did not complete within the allotted timeout"
        assert place.server.ask("GET", place.path("configmaps/a"))[0] == 404
        assert place.create(config_map("b"))[0] == 504  # by the server's own limit
    finally:
        free.set()
        for path in place.made:
            server.ask("DELETE", path)
        hooks.stop()


def test_a_watch_is_not_ended_by_it(server: Server) -> None:
    code, _ = server.ask("GET", "/api/v1/namespaces?watch=1&timeoutSeconds=9&resourceVersion=0")

    assert code == 200


def test_a_time_that_is_none_is_refused(server: Server) -> None:
    code, answer = server.ask("GET", "/api/v1/namespaces?timeout=soon")

    assert (code, answer["reason"]) == (400, "BadRequest")


def event(name: str) -> dict[str, Any]:
    about = {"kind": "Pod", "namespace": "default", "name": "p"}
    metadata = {"name": name, "namespace": "default"}
    return {"metadata": metadata, "involvedObject": about, "reason": "R", "type": "Normal"}


def test_events_are_limited_by_the_file_s_limits(server: Server) -> None:
    codes = [server.ask("POST", "/api/v1/namespaces/default/events", event(f"e{at}"))[0] for at in range(6)]

    assert codes[:2] == [201, 201]
    assert 429 in codes


def test_services_and_pods_are_judged_by_the_other_two(server: Server) -> None:
    spec = {"ports": [{"port": 80}], "externalIPs": ["192.0.2.9"]}
    code, answer = server.ask(
        "POST", "/api/v1/namespaces/default/services", {"metadata": {"name": "s"}, "spec": spec}
    )
    assert (code, answer["message"]) == (
        403,
        'services "s" is forbidden: Use of external IPs is denied by admission control',
    )
    server.ask("POST", "/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": "default"}})
    containers = [{"name": "c", "image": "busybox:1.36", "imagePullPolicy": "Never"}]
    code, pod = server.ask(
        "POST",
        "/api/v1/namespaces/default/pods",
        {"metadata": {"name": "p"}, "spec": {"containers": containers}},
    )
    assert (code, pod["spec"]["containers"][0]["imagePullPolicy"]) == (201, "Always")
