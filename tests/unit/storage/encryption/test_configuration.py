"""An EncryptionConfiguration is read as upstream reads it, and what cannot be used is named without its secret."""

import base64
import json
from typing import Any

import pytest

from kybern.storage.encryption.configuration import IDENTITY, Invalid, parse

SECRET = base64.b64encode(b"0123456789abcdef0123456789abcdef").decode()


def key(name: str = "one", secret: str = SECRET) -> dict[str, str]:
    return {"name": name, "secret": secret}


KMS = {"apiVersion": "v2", "name": "a", "endpoint": "unix:///s"}


def document(*entries: dict[str, Any], **more: Any) -> bytes:
    found = {"apiVersion": "apiserver.config.k8s.io/v1", "kind": "EncryptionConfiguration"}
    return json.dumps(found | {"resources": entries} | more).encode()


def entry(*resources: str, providers: Any = None) -> dict[str, Any]:
    return {"resources": list(resources), "providers": providers or [{"aesgcm": {"keys": [key()]}}]}


def prefixes(text: bytes, group: str, resource: str) -> list[bytes]:
    return [step.prefix for step in parse(text).rule(group, resource)]


def test_keys_and_providers_keep_their_order() -> None:
    providers = [
        {"secretbox": {"keys": [key("a"), key("b")]}},
        {"aescbc": {"keys": [key("c")]}},
        {"identity": {}},
    ]

    assert prefixes(document(entry("secrets", providers=providers)), "", "secrets") == [
        b"k8s:enc:secretbox:v1:a:",
        b"k8s:enc:secretbox:v1:b:",
        b"k8s:enc:aescbc:v1:c:",
        b"",
    ]


@pytest.mark.parametrize(
    ("named", "group", "resource", "covered"),
    [
        ("secrets", "", "secrets", True),
        ("secrets", "", "configmaps", False),
        ("secrets", "example.com", "secrets", False),
        ("deployments.apps", "apps", "deployments", True),
        ("*.", "", "configmaps", True),
        ("*.", "apps", "deployments", False),
        ("*.apps", "apps", "deployments", True),
        ("*.apps", "", "pods", False),
        ("*.*", "", "pods", True),
        ("*.*", "example.com", "widgets", True),
    ],
)
def test_which_resource_a_name_covers(named: str, group: str, resource: str, *, covered: bool) -> None:
    assert bool(parse(document(entry(named))).rule(group, resource)) == covered


def test_the_nearest_name_counts_and_an_earlier_wildcard_masks() -> None:
    clear: list[dict[str, Any]] = [{"identity": {}}]
    before = document(entry("secrets", providers=clear), entry("*.*"))
    after = document(entry("*.*"), entry("secrets", providers=clear))

    assert parse(before).rule("", "secrets") == (IDENTITY,)
    assert prefixes(after, "", "secrets") == [b"k8s:enc:aesgcm:v1:one:"]


def test_a_resource_in_two_entries_has_all_their_providers() -> None:
    text = document(entry("secrets"), entry("secrets", providers=[{"identity": {}}]))

    assert prefixes(text, "", "secrets") == [b"k8s:enc:aesgcm:v1:one:", b""]


def provider(**settings: Any) -> bytes:
    return document(entry("secrets", providers=[settings]))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "it is empty"),
        (b"\xff", "it is not YAML"),
        (b"secret: [" + SECRET.encode(), "it is not YAML"),
        (b"kind: Pod", "it is not a EncryptionConfiguration of apiserver.config.k8s.io/v1"),
        (document(), "resources: at least one is required"),
        (document(entry("secrets"), more=1), "more: unknown field; known: apiVersion, kind, resources"),
        (document(entry()), "resources[0].resources: at least one resource is required"),
        (document(entry("*")), "use '*.' for all resources of the core group"),
        (document(entry("Secrets")), "should not contain capital letters"),
        (document(entry("secrets", "secrets")), "cannot be specified multiple times"),
        (document(entry("secrets", "*.")), "overlapping resources"),
        (document(entry("deployments.apps", "*.apps")), "overlapping resources"),
        (document(entry("secrets", "*.*")), "overlapping resources"),
        (document(entry("*.events.k8s.io")), "use 'events'"),
        (document(entry("*.extensions")), "the group has been removed"),
        (document(entry("secrets.*")), "across groups is not supported"),
        (document(entry("serviceipallocations")), "do not have REST API/s"),
        (document({"resources": ["secrets"]}), "resources[0].providers: at least one is required"),
        (
            provider(kms={"name": "a", "endpoint": "unix:///s"}),
            "providers[0].kms.apiVersion: KMSv1 is deprecated and will only receive security updates going forward.",
        ),
        (provider(kms=KMS | {"name": ""}), "kms.name: name is a mandatory field for a provider"),
        (provider(kms=KMS | {"name": "a:b"}), "kms.name: invalid KMS provider name a:b, must not contain ':'"),
        (provider(kms=KMS | {"endpoint": ""}), "kms.endpoint: endpoint is a mandatory field for a kms"),
        (
            provider(kms=KMS | {"endpoint": "tcp://x"}),
            'kms.endpoint: unsupported scheme "tcp" for KMS provider, only unix is supported',
        ),
        (provider(kms=KMS | {"timeout": "0s"}), "kms.timeout: timeout should be a positive value"),
        (provider(kms=KMS | {"timeout": "soon"}), "kms.timeout: timeout should be a positive value"),
        (provider(kms=KMS | {"cachesize": 10}), "kms.cachesize: cachesize is not supported in v2"),
        (provider(kms=KMS | {"apiVersion": "v3"}), "kms.apiVersion: unsupported apiVersion"),
        (provider(kms=KMS | {"socket": "x"}), "kms.socket: unknown field"),
        (
            document(entry("secrets", providers=[{"kms": KMS}, {"kms": KMS}])),
            "providers[1].kms.name: duplicate KMS provider name a, names must be unique",
        ),
        (provider(rot13={}), 'unknown provider "rot13"'),
        (provider(identity={}, aesgcm={}), "one provider is required"),
        (provider(aesgcm={}), "aesgcm.keys: at least one is required"),
        (provider(aesgcm=None), "at least one key is required"),
        (provider(aesgcm={"keys": [{"secret": SECRET}]}), "keys[0].name: name is a mandatory field"),
        (provider(aesgcm={"keys": [{"name": "a"}]}), "keys[0].secret: secret is a mandatory field"),
        (provider(aesgcm={"keys": [key(secret="%")]}), "secrets must be base64 encoded"),
        (provider(aesgcm={"keys": [key(secret="YWJj")]}), "it is 3 bytes long, and has to be 16 or 24 or 32"),
        (provider(secretbox={"keys": [key(secret=SECRET[:24] )]}), "it is 18 bytes long, and has to be 32"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_named(text: bytes, message: str) -> None:
    with pytest.raises(Invalid) as refused:
        parse(text)
    assert message in str(refused.value)
    assert SECRET not in str(refused.value)


def test_a_configuration_shows_no_key() -> None:
    assert "0123456789abcdef" not in repr(parse(document(entry("secrets"))))
