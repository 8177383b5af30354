"""Encryption at rest by a key management service: a real plugin on a socket, and what lies in a real etcd."""

import base64
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kybern.apiserver.reloads import digest
from kybern.machines import encryption
from kybern.machines.encryption import KMS, PLAIN, new_key
from kybern.storage.encryption.kms import read
from tests.kms_plugin import Plugin
from tests.protocol.apiserver_bed import Lab, Server
from tests.protocol.review_bed import metric
from tests.protocol.test_apiserver_encryption import SECRETS, configuration, sealing, secret
from tests.protocol.test_dropin_etcd import Etcd

pytestmark = pytest.mark.etcd

MARK = b"k8s:enc:kms:v2:vault:"
RELOADS = "apiserver_encryption_config_controller_automatic_reloads_total{"


def service(plugin: Plugin, name: str = "vault") -> dict[str, Any]:
    return {"kms": {"apiVersion": "v2", "name": name, "endpoint": plugin.endpoint, "timeout": "2s"}}


class Place:
    """A server whose secrets are under a plugin's keys, and etcd without it."""

    def __init__(self, lab: Lab, etcd: Any, port: int, plugin: Plugin) -> None:
        self.lab, self.plugin = lab, plugin
        self.file = lab.directory / "kms.json"
        self.usual = configuration(service(plugin), {"identity": {}})
        self.file.write_bytes(self.usual)
        self.flags = (
            f"--encryption-provider-config={self.file}",
            "--encryption-provider-config-automatic-reload=true",
        )
        self.server = lab.start(port, *self.flags)
        self.kept = Etcd(etcd.endpoint)
        self.root = f"/{lab.directory.name}"

    def raw(self, name: str) -> bytes:
        return self.kept.get(f"{self.root}/secrets/default/{name}")

    def make(self, name: str) -> None:
        code, found = self.server.ask("POST", SECRETS, secret(name))
        assert code == 201, found

    def wait_for(self, holds: Callable[[], bool]) -> None:
        until = time.monotonic() + 120
        while not holds():
            assert time.monotonic() < until, self.server.log()
            time.sleep(0.1)

    def put(self, content: bytes) -> None:
        """Exchange the file."""
        beside = self.file.with_name("kms.beside")
        beside.write_bytes(content)
        beside.rename(self.file)

    def write(self, content: bytes) -> None:
        """Exchange the file, and wait until the server has taken it over."""
        self.put(content)
        in_force = f'hash="{digest(content)}"}} 1'
        self.wait_for(lambda: in_force in str(self.server.ask("GET", "/metrics")[1]))

    def refused(self, content: bytes) -> None:
        """Exchange the file, and wait until the server has refused it."""
        before = self.refusals()
        self.put(content)
        self.wait_for(lambda: self.refusals() != before)

    def refusals(self) -> list[str]:
        """The line of the metric that counts them."""
        _, text = self.server.ask("GET", "/metrics")
        lines = str(text).splitlines()
        return [line for line in lines if line.startswith(RELOADS) and 'status="failure"' in line]


@pytest.fixture(scope="module")
def plugin(lab: Lab) -> Iterator[Plugin]:
    found = Plugin(lab.directory / "kms.sock").start()
    yield found
    found.stop()


@pytest.fixture(scope="module")
def place(lab: Lab, etcd: Any, free_ports: Callable[[], int], plugin: Plugin) -> Iterator[Place]:
    found = Place(lab, etcd, free_ports(), plugin)
    yield found
    found.kept.channel.close()


def read_by(server: Server, name: str) -> str:
    code, found = server.ask("GET", f"{SECRETS}/{name}")
    assert code == 200, found
    return base64.b64decode(found["data"]["a"]).decode()


def test_a_secret_lies_in_etcd_under_the_plugins_key(place: Place) -> None:
    place.make("sealed")

    raw = place.raw("sealed")
    assert raw.startswith(MARK)
    assert b"precious" not in raw
    found = read(raw[len(MARK) :])
    assert found.keyID == place.plugin.vault.current
    assert dict(found.annotations) == {"version.example.org": b"1"}
    assert len(place.plugin.vault.open(found.keyID, found.encryptedDEKSource)) == 32
    assert read_by(place.server, "sealed") == "precious"


def test_many_values_cost_one_seed(place: Place) -> None:
    place.make("one")
    before = dict(place.plugin.vault.calls)
    for number in range(5):
        place.make(f"many-{number}")
        assert read_by(place.server, f"many-{number}") == "precious"

    assert {
        key: place.plugin.vault.calls.get(key, 0) - before.get(key, 0) for key in ("Encrypt", "Decrypt")
    } == {
        "Encrypt": 0,
        "Decrypt": 0,
    }
    name = "apiserver_envelope_encryption"
    assert metric(place.server, f"{name}_kms_operations_latency_seconds_count") >= 2
    assert metric(place.server, f"{name}_key_id_hash_total{{apiserver_id_hash") >= 5


def test_another_server_reads_lists_and_watches_it(
    place: Place, lab: Lab, free_ports: Callable[[], int]
) -> None:
    place.make("shared")
    other = lab.start(free_ports(), *place.flags)

    assert read_by(other, "shared") == "precious"
    _, listed = other.ask("GET", SECRETS)
    assert "shared" in {one["metadata"]["name"] for one in listed["items"]}
    place.make("watched")
    place.wait_for(lambda: other.ask("GET", f"{SECRETS}/watched?resourceVersion=0")[0] == 200)
    assert read_by(other, "watched") == "precious"


def test_a_key_that_the_service_turns_is_followed_and_old_values_are_sealed_anew(place: Place) -> None:
    place.make("turned")
    name = f"turned-{place.plugin.vault.calls['Status']}"
    place.plugin.vault.turn(name)

    def followed() -> bool:
        place.server.ask("GET", "/readyz/kms-providers")  # asks for the status, at most every few seconds
        place.server.ask("POST", SECRETS, secret(f"probe-{time.monotonic_ns()}"))
        _, listed = place.server.ask("GET", SECRETS)
        probes = [
            one["metadata"]["name"] for one in listed["items"] if one["metadata"]["name"].startswith("probe")
        ]
        return any(read(place.raw(probe)[len(MARK) :]).keyID == name for probe in probes)

    place.wait_for(followed)
    assert read(place.raw("turned")[len(MARK) :]).keyID != name
    _, found = place.server.ask("GET", f"{SECRETS}/turned")
    assert place.server.ask("PUT", f"{SECRETS}/turned", found)[0] == 200  # nothing changes but the key
    assert read(place.raw("turned")[len(MARK) :]).keyID == name
    assert read_by(place.server, "turned") == "precious"


def test_health_tells_of_a_plugin_that_is_not_well(place: Place) -> None:
    assert place.server.ask("GET", "/readyz/kms-providers") == (200, "ok")
    place.plugin.vault.healthz = "on fire"
    try:
        place.wait_for(lambda: place.server.ask("GET", "/readyz/kms-providers")[0] == 500)
        _, said = place.server.ask("GET", "/readyz/kms-providers")
        assert "kms-provider-0: kmsv2 Provider vault is not healthy" in said
        assert "got unexpected healthz status: on fire" in said
    finally:
        place.plugin.vault.healthz = "ok"
    place.wait_for(lambda: place.server.ask("GET", "/readyz/kms-providers")[0] == 200)


def test_a_server_that_starts_without_its_plugin_waits_for_it(
    place: Place, lab: Lab, free_ports: Callable[[], int], tmp_path: Path
) -> None:
    late = Plugin(tmp_path / "late.sock")
    file = tmp_path / "late.json"
    file.write_bytes(configuration(service(late, "late"), service(place.plugin), {"identity": {}}))
    port = free_ports()
    server = lab.launch(port, f"--encryption-provider-config={file}")
    server.wait("/livez/ping")
    place.wait_for(lambda: "on fire" not in str(server.ask("GET", "/readyz/kms-providers")))
    code, _ = server.ask("POST", SECRETS, secret("too-early"))
    assert code == 500
    late.start()
    try:
        place.wait_for(lambda: server.ask("POST", SECRETS, secret("at-last"))[0] == 201)
        assert place.raw("at-last").startswith(b"k8s:enc:kms:v2:late:")
    finally:
        assert server.ask("DELETE", f"{SECRETS}/at-last")[0] == 200
        late.stop()


def test_services_are_exchanged_for_keys_and_back(place: Place, tmp_path: Path) -> None:
    place.make("moved")
    try:
        place.write(configuration(sealing("aesgcm", "one"), service(place.plugin), {"identity": {}}))
        assert read_by(place.server, "moved") == "precious"
        _, found = place.server.ask("GET", f"{SECRETS}/moved")
        assert place.server.ask("PUT", f"{SECRETS}/moved", found)[0] == 200
        assert place.raw("moved").startswith(b"k8s:enc:aesgcm:v1:one:")
        # A service that is not there: what was in force stays.
        place.refused(configuration(service(Plugin(tmp_path / "nobody.sock"), "nobody"), {"identity": {}}))
        assert read_by(place.server, "moved") == "precious"
        place.make("still")
        assert place.raw("still").startswith(b"k8s:enc:aesgcm:v1:one:")
    finally:
        both = configuration(service(place.plugin), sealing("aesgcm", "one"), {"identity": {}})
        place.write(both)
    assert read_by(place.server, "moved") == "precious"


def test_a_file_whose_plugin_comes_late_is_taken_over_as_it_lies_there(place: Place, tmp_path: Path) -> None:
    """Else a rotation whose plugin was down would wait for ever: the file on the masters is as it should be."""
    late = Plugin(tmp_path / "late.sock")
    content = configuration(service(late, "late"), service(place.plugin), {"identity": {}})
    place.refused(content)
    try:
        late.start()
        place.wait_for(lambda: digest(content) in str(place.server.ask("GET", "/metrics")[1]))
        place.make("by-the-late-one")
        assert place.raw("by-the-late-one").startswith(b"k8s:enc:kms:v2:late:")
        code, found = place.server.ask("DELETE", f"{SECRETS}/by-the-late-one")
        assert code == 200, found
    finally:
        place.write(place.usual)
        late.stop()


def test_the_old_api_is_refused_in_upstreams_words(
    lab: Lab, free_ports: Callable[[], int], tmp_path: Path, plugin: Plugin
) -> None:
    file = tmp_path / "old.json"
    old = json.loads(configuration(service(plugin)))
    old["resources"][0]["providers"][0]["kms"]["apiVersion"] = "v1"
    file.write_text(json.dumps(old))

    said = lab.refused(free_ports(), f"--encryption-provider-config={file}")
    assert (
        "KMSv1 is deprecated and will only receive security updates going forward. Use KMSv2 instead." in said
    )


def test_the_files_of_a_rotation_lead_to_the_service_and_on_to_another_number_of_it(place: Place) -> None:
    """What ``kybern certificates rotate-encryption-key`` writes, step by step: by a key of ours, then by the service."""
    ours = new_key("aesgcm", ())
    served = new_key(KMS, (ours,), endpoint=place.plugin.endpoint)
    again = new_key(KMS, (served,), endpoint=place.plugin.endpoint)
    place.write(encryption.content((ours, PLAIN)))
    try:
        place.make("exchanged")
        assert place.raw("exchanged").startswith(ours.prefix.encode())
        for first, others in ((served, (ours,)), (again, (served,))):
            place.write(encryption.content((*others, first, PLAIN)))
            place.write(encryption.content((first, *others, PLAIN)))
            code, found = place.server.ask("PATCH", f"{SECRETS}/exchanged", {}, form="merge-patch+json")
            assert code == 200, found
            assert place.raw("exchanged").startswith(first.prefix.encode())
            place.write(encryption.content((first, PLAIN)))
            assert read_by(place.server, "exchanged") == "precious"
        code, found = place.server.ask("DELETE", f"{SECRETS}/exchanged")
        assert code == 200, found
    finally:
        place.write(place.usual)
