"""Encryption at rest, by what lies in etcd: sealed as upstream seals it, read whoever sealed it, and keys exchanged."""

import base64
import http.client
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tests.protocol.apiserver_bed import Lab, Server
from tests.protocol.test_dropin_etcd import Etcd

pytestmark = pytest.mark.etcd

SECRETS = "/api/v1/namespaces/default/secrets"
KEYS = {"one": bytes(range(32)), "two": bytes(range(1, 33))}


def configuration(*providers: dict[str, Any], resources: tuple[str, ...] = ("secrets",)) -> bytes:
    return json.dumps(
        {
            "apiVersion": "apiserver.config.k8s.io/v1",
            "kind": "EncryptionConfiguration",
            "resources": [{"resources": list(resources), "providers": list(providers)}],
        }
    ).encode()


def sealing(provider: str, *names: str) -> dict[str, Any]:
    keys = [{"name": name, "secret": base64.b64encode(KEYS[name]).decode()} for name in names]
    return {provider: {"keys": keys}}


class Sealed:
    """A server whose secrets are encrypted, and etcd without it."""

    def __init__(self, lab: Lab, server: Server, kept: Etcd, file: Path) -> None:
        self.server, self.kept, self.file = server, kept, file
        self.root = f"/{lab.directory.name}"

    def key(self, name: str) -> str:
        return f"{self.root}/secrets/default/{name}"

    def raw(self, name: str) -> bytes:
        return self.kept.get(self.key(name))

    def make(self, name: str) -> None:
        code, _ = self.server.ask("POST", SECRETS, secret(name))
        assert code == 201

    def configure(self, content: bytes) -> None:
        """Exchange the file as a deploy does, and wait until it is in force."""
        before = self.metrics()
        beside = self.file.with_name("beside")
        beside.write_bytes(content)
        beside.rename(self.file)
        until = time.monotonic() + 20
        while self.metrics() == before:
            assert time.monotonic() < until, "the file was not read again"
            time.sleep(0.05)

    def metrics(self) -> list[str]:
        _, text = self.server.ask("GET", "/metrics")
        name = "apiserver_encryption_config_controller_automatic_reloads_total{"
        return [line for line in str(text).splitlines() if line.startswith(name)]


def secret(name: str, text: str = "precious", **more: Any) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "default"}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"a": text}, **more}


@pytest.fixture(scope="module")
def sealed(lab: Lab, etcd: Any, free_ports: Callable[[], int]) -> Iterator[Sealed]:
    file = lab.directory / "encryption.json"
    file.write_bytes(configuration(sealing("aesgcm", "one"), {"identity": {}}))
    kept = Etcd(etcd.endpoint)
    more = (f"--encryption-provider-config={file}", "--encryption-provider-config-automatic-reload=true")
    yield Sealed(lab, lab.start(free_ports(), *more), kept, file)
    kept.channel.close()


@pytest.fixture(autouse=True)
def first_key(sealed: Sealed) -> None:
    content = configuration(sealing("aesgcm", "one"), {"identity": {}})
    if sealed.file.read_bytes() != content:
        sealed.configure(content)


def read(sealed: Sealed, name: str) -> str:
    code, found = sealed.server.ask("GET", f"{SECRETS}/{name}")
    assert code == 200, found
    return base64.b64decode(found["data"]["a"]).decode()


def test_a_secret_is_sealed_in_etcd_and_other_kinds_are_not(sealed: Sealed) -> None:
    sealed.make("sealed")
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "open"}, "data": {"a": "public"}}
    assert sealed.server.ask("POST", "/api/v1/namespaces/default/configmaps", body)[0] == 201

    raw = sealed.raw("sealed")
    mark = b"k8s:enc:aesgcm:v1:one:"
    assert raw.startswith(mark)
    nonce, rest = raw[len(mark) :][:12], raw[len(mark) + 12 :]
    plain = json.loads(AESGCM(KEYS["one"]).decrypt(nonce, rest, sealed.key("sealed").encode()))
    assert base64.b64decode(plain["data"]["a"]) == b"precious"
    assert b"public" in sealed.kept.get(f"{sealed.root}/configmaps/default/open")
    assert read(sealed, "sealed") == "precious"


def test_what_another_server_sealed_or_left_plain_is_read_and_watched(sealed: Sealed) -> None:
    metadata = {
        "name": "other",
        "namespace": "default",
        "uid": "u",
        "creationTimestamp": "2026-01-01T00:00:00Z",
    }
    value = json.dumps(
        {
            "kind": "Secret",
            "apiVersion": "v1",
            "metadata": metadata,
            "data": {"a": "b3RoZXI="},
            "type": "Opaque",
        }
    ).encode()
    nonce = bytes(12)
    body = AESGCM(KEYS["one"]).encrypt(nonce, value, sealed.key("other").encode())
    sealed.kept.put(sealed.key("other"), b"k8s:enc:aesgcm:v1:one:" + nonce + body)
    sealed.kept.put(sealed.key("plain"), value.replace(b'"other"', b'"plain"'))

    assert read(sealed, "other") == "other"
    assert read(sealed, "plain") == "other"
    _, listed = sealed.server.ask("GET", SECRETS)
    assert {"other", "plain"} <= {one["metadata"]["name"] for one in listed["items"]}


def test_a_moved_value_is_not_taken_for_another(sealed: Sealed) -> None:
    sealed.make("mine")
    sealed.kept.put(sealed.key("stolen"), sealed.raw("mine"))

    code, found = sealed.server.ask("GET", f"{SECRETS}/stolen")
    assert (code, found["reason"]) == (500, "InternalError")
    assert "precious" not in json.dumps(found)
    _, listed = sealed.server.ask("GET", SECRETS)
    assert "stolen" not in {one["metadata"]["name"] for one in listed["items"]}


def test_keys_are_exchanged_while_the_server_runs(sealed: Sealed) -> None:
    sealed.make("turned")
    sealed.configure(configuration(sealing("aesgcm", "two", "one"), {"identity": {}}))
    assert read(sealed, "turned") == "precious"
    assert sealed.raw("turned").startswith(b"k8s:enc:aesgcm:v1:one:")

    _, found = sealed.server.ask("GET", f"{SECRETS}/turned")
    assert sealed.server.ask("PUT", f"{SECRETS}/turned", found)[0] == 200  # nothing changes but the key
    assert sealed.raw("turned").startswith(b"k8s:enc:aesgcm:v1:two:")

    sealed.configure(configuration(sealing("aesgcm", "two")))
    assert read(sealed, "turned") == "precious"


def test_a_watch_goes_on_while_keys_are_exchanged(sealed: Sealed) -> None:
    sealed.make("watched")
    _, found = sealed.server.ask("GET", f"{SECRETS}/watched")
    version = found["metadata"]["resourceVersion"]
    line = http.client.HTTPSConnection(
        "127.0.0.1", sealed.server.port, timeout=20, context=sealed.server.context()
    )
    line.request("GET", f"{SECRETS}?watch=1&resourceVersion={version}&fieldSelector=metadata.name%3Dwatched")
    events = line.getresponse()

    sealed.configure(configuration(sealing("aesgcm", "one", "two"), {"identity": {}}))
    sealed.configure(configuration(sealing("aesgcm", "two", "one"), {"identity": {}}))
    sealed.server.ask("PATCH", f"{SECRETS}/watched", {}, form="merge-patch+json")
    sealed.configure(configuration(sealing("aesgcm", "two"), {"identity": {}}))
    sealed.server.ask("PATCH", f"{SECRETS}/watched", {"data": {"b": ""}}, form="merge-patch+json")

    seen = [json.loads(events.readline()) for _ in range(2)]
    line.close()
    assert [one["type"] for one in seen] == ["MODIFIED", "MODIFIED"]
    assert [sorted(one["object"]["data"]) for one in seen] == [["a"], ["a", "b"]]


def test_only_the_first_write_without_a_change_is_stored(sealed: Sealed) -> None:
    sealed.make("once")
    sealed.configure(configuration(sealing("secretbox", "two"), sealing("aesgcm", "one"), {"identity": {}}))
    _, found = sealed.server.ask("GET", f"{SECRETS}/once")

    _, first = sealed.server.ask("PUT", f"{SECRETS}/once", found)
    _, second = sealed.server.ask("PUT", f"{SECRETS}/once", first)

    assert sealed.raw("once").startswith(b"k8s:enc:secretbox:v1:two:")
    assert first["metadata"]["resourceVersion"] != found["metadata"]["resourceVersion"]
    assert second["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]


def test_an_empty_patch_seals_anew_too(sealed: Sealed) -> None:
    sealed.make("patched")
    sealed.configure(configuration(sealing("aescbc", "two"), sealing("aesgcm", "one"), {"identity": {}}))

    assert sealed.server.ask("PATCH", f"{SECRETS}/patched", {}, form="merge-patch+json")[0] == 200

    assert sealed.raw("patched").startswith(b"k8s:enc:aescbc:v1:two:")
    assert read(sealed, "patched") == "precious"


def test_a_file_that_cannot_be_used_leaves_the_old_one_in_force(sealed: Sealed) -> None:
    sealed.make("before")
    sealed.configure(b"kind: Nonsense")

    assert read(sealed, "before") == "precious"
    sealed.make("after")
    assert sealed.raw("after").startswith(b"k8s:enc:aesgcm:v1:one:")
    assert any('status="failure"' in line for line in sealed.metrics())


def test_encrypted_objects_are_deleted_and_made_again(sealed: Sealed) -> None:
    sealed.make("gone")
    assert sealed.server.ask("DELETE", f"{SECRETS}/gone")[0] == 200
    assert sealed.server.ask("GET", f"{SECRETS}/gone")[0] == 404
    sealed.make("gone")
    assert sealed.server.ask("POST", SECRETS, secret("gone"))[0] == 409
