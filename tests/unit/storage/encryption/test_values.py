"""What is sealed, by which key, and what a value is called that none opens."""

import json
import logging

import pytest

from kybern.storage.encryption.configuration import Configuration, parse
from kybern.storage.encryption.values import Values
from tests.unit.storage.encryption.test_configuration import document, entry, key

RESOURCES = {
    "configmaps": ("", "configmaps"),
    "secrets": ("", "secrets"),
    "deployments": ("apps", "deployments"),
    "services/specs": ("", "services"),
    "services/endpoints": ("", "endpoints"),
}
SECRET, MAP = b"/registry/secrets/default/a", b"/registry/configmaps/default/a"


def values(*names: str, keys: tuple[str, ...] = ("one",), identity: bool = True) -> Values:
    providers = [{"aesgcm": {"keys": [key(name) for name in keys]}}]
    providers += [{"identity": {}}] if identity else []
    return Values(parse(document(entry(*names, providers=providers))), RESOURCES, "/registry")


def test_a_secret_is_sealed_and_opens_and_others_are_as_they_are() -> None:
    found = values("secrets")
    sealed = found.written(SECRET, b"precious")

    assert sealed.startswith(b"k8s:enc:aesgcm:v1:one:")
    assert b"precious" not in sealed
    assert found.read(SECRET, sealed) == (b"precious", False)
    assert found.written(MAP, b"public") == b"public"
    assert found.read(MAP, b"public") == (b"public", False)


@pytest.mark.parametrize(
    ("name", "place", "sealed"),
    [
        ("services", "services/specs/default/a", True),
        ("services", "services/endpoints/default/a", False),
        ("endpoints", "services/endpoints/default/a", True),
        ("*.", "services/specs/default/a", True),
        ("*.", "deployments/default/a", False),
        ("*.apps", "deployments/default/a", True),
        ("widgets.example.com", "example.com/widgets/default/a", True),
        ("widgets.example.com", "example.com/gadgets/default/a", False),
        ("widgets.example.com", "example.com/widgets/a", True),
        ("*.*", "example.com/gadgets/a", True),
        ("*.*", "masterleases/10.0.0.1", True),
        ("*.", "ranges/servicenodeports", True),
        ("*.apps", "ranges/servicenodeports", False),
    ],
)
def test_which_keys_of_etcd_a_name_covers(name: str, place: str, *, sealed: bool) -> None:
    found, at = values(name), f"/registry/{place}".encode()

    for _ in range(2):  # the second time it is remembered
        assert found.written(at, b"v").startswith(b"k8s:enc:") == sealed
        assert found.read(at, found.written(at, b"v"))[0] == b"v"


def test_what_is_no_object_is_left_alone() -> None:
    assert values("*.*").written(b"compact_rev_key", b"5") == b"5"


def test_another_root() -> None:
    one = parse(document(entry("secrets")))
    found = Values(one, RESOURCES, "/other")

    assert found.written(b"/other/secrets/a/b", b"v").startswith(b"k8s:enc:")
    assert found.written(b"/registry/secrets/a/b", b"v") == b"v"


def test_what_another_key_than_the_first_sealed_is_stale() -> None:
    old, both, turned = (
        values("secrets"),
        values("secrets", keys=("two", "one")),
        values("secrets", keys=("one", "two")),
    )
    sealed = old.written(SECRET, b"v")

    assert both.read(SECRET, sealed) == (b"v", True)
    assert turned.read(SECRET, sealed) == (b"v", False)
    assert both.read(SECRET, b"plain") == (b"plain", True)


def test_what_no_key_opens_is_empty_and_told(caplog: pytest.LogCaptureFixture) -> None:
    sealed = values("secrets").written(SECRET, b"precious")

    with caplog.at_level(logging.WARNING):
        assert values("secrets", keys=("two",)).read(SECRET, sealed) == (b"", False)
        assert values("configmaps").read(SECRET, sealed) == (b"", False)
        assert values("secrets", identity=False).read(SECRET, b"plain") == (b"", False)
    assert "no key of the configuration is aesgcm:v1:one" in caplog.text
    assert "its resource is not in the configuration" in caplog.text
    assert "identity is none of its providers" in caplog.text
    assert "precious" not in caplog.text


def test_identity_first_leaves_plain_and_still_opens() -> None:
    sealed = values("secrets").written(SECRET, b"v")
    providers = [{"identity": {}}, {"aesgcm": {"keys": [key()]}}]
    found = Values(parse(document(entry("secrets", providers=providers))), RESOURCES, "/registry")

    assert found.written(SECRET, b"v") == b"v"
    assert found.read(SECRET, sealed) == (b"v", True)


def test_two_keys_of_one_name_are_both_tried() -> None:
    other = "MTIzNDU2Nzg5MGFiY2RlZjEyMzQ1Njc4OTBhYmNkZWY="
    sealed = values("secrets").written(SECRET, b"v")
    providers = [{"aesgcm": {"keys": [key("one", other)]}}, {"aesgcm": {"keys": [key("one")]}}]
    found = Values(parse(document(entry("secrets", providers=providers))), RESOURCES, "/registry")

    assert found.read(SECRET, sealed) == (b"v", True)


def test_a_new_configuration_counts_at_once() -> None:
    found = values("secrets")
    found.use(values("configmaps").configuration)

    assert found.written(SECRET, b"v") == b"v"
    assert found.written(MAP, b"v") != b"v"


def test_an_empty_configuration_changes_nothing() -> None:
    found = Values(Configuration(), RESOURCES, "/registry")

    assert found.read(SECRET, json.dumps({}).encode()) == (b"{}", False)
