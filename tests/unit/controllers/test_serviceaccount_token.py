"""Secrets that hold tokens of service accounts: filled, and gone with the account."""

from base64 import b64decode, b64encode
from typing import Any

import msgspec
import pytest

from kybern.api.core_v1 import ObjectReference, Secret, ServiceAccount
from kybern.api.meta_v1 import ObjectMeta
from kybern.auth.tokens import payload
from kybern.auth.x509 import signing_key
from kybern.controllers import serviceaccount_token
from kybern.controllers.serviceaccount_token import NAME, TYPE, UID, account_of
from kybern.loop.controller import Delete, Key, Patch
from kybern.loop.settings import Settings
from kybern.machinery.struct import Object
from tests.unit.controllers.making import NOW, only, view

SETTINGS = Settings(root_ca="CA", token_key=signing_key().key_pem.decode())
CONTROLLER = serviceaccount_token.controller(SETTINGS)


def account(uid: str = "u", *secrets: str) -> ServiceAccount:
    listed = tuple(ObjectReference(name=name) for name in secrets)
    return ServiceAccount(metadata=ObjectMeta(name="robot", namespace="a", uid=uid), secrets=listed)


def secret(uid: str = "", data: Any = None, kind: str = TYPE, **metadata: Any) -> Secret:
    annotations = {NAME: "robot", **({UID: uid} if uid else {})}
    return Secret(
        metadata=ObjectMeta(name="key", namespace="a", annotations=annotations, **metadata),
        type=kind,
        data=data or {},
    )


def done(*objects: Object, key: str = "robot", live: Any = None) -> list[Any]:
    seen = view(CONTROLLER, *objects, live=lambda _question: live)
    state = CONTROLLER.observe(seen, Key("a", key))
    return list(CONTROLLER.diff(state)) if state is not None else []


def test_a_secret_is_filled() -> None:
    (patch,) = only(done(account(), secret(data={"mine": "eA=="})), Patch)
    found = {key: b64decode(value).decode() for key, value in patch.new.data.items()}

    assert (found["ca.crt"], found["namespace"], found["mine"]) == ("CA", "a", "x")
    assert msgspec.json.decode(payload(found["token"])) == {
        "iss": "kubernetes/serviceaccount",
        "kubernetes.io/serviceaccount/namespace": "a",
        "kubernetes.io/serviceaccount/secret.name": "key",
        "kubernetes.io/serviceaccount/service-account.name": "robot",
        "kubernetes.io/serviceaccount/service-account.uid": "u",
        "sub": "system:serviceaccount:a:robot",
    }
    assert patch.new.metadata.annotations == {NAME: "robot", UID: "u"}
    assert done(account(), patch.new) == []


def test_a_token_that_is_there_stays_and_the_authority_is_kept_true() -> None:
    old = {"token": b64encode(b"t").decode(), "ca.crt": b64encode(b"old").decode(), "namespace": "YQ=="}
    (patch,) = only(done(account(), secret(data=old)), Patch)

    assert patch.new.data == {**old, "ca.crt": b64encode(b"CA").decode()}


@pytest.mark.parametrize("live", [None, account("another")])
def test_a_secret_goes_with_its_account(live: ServiceAccount | None) -> None:
    old = secret(uid="u")

    assert done(old, live=live) == [Delete(old)]


def test_an_account_that_the_cache_does_not_know_yet_counts() -> None:
    assert [type(action) for action in done(secret(uid="u"), live=account())] == [Patch]


@pytest.mark.parametrize("other", [secret(kind="Opaque"), secret(deletion_timestamp=NOW)])
def test_other_secrets_are_left_alone(other: Secret) -> None:
    assert done(account(), other) == []


def test_a_secret_that_went_is_not_listed_any_more() -> None:
    (patch,) = done(account("u", "key", "other"), key="robot/key")

    assert [one.name for one in patch.new.secrets] == ["other"]
    assert done(account("u", "key"), key="robot/key", live=secret()) == []
    assert done(account("u", "other"), key="robot/key") == []


def test_a_secret_wakes_its_account() -> None:
    there, went = view(CONTROLLER, secret()), view(CONTROLLER)

    assert [*account_of(secret(), there), *account_of(secret(), went)] == [
        Key("a", "robot"),
        Key("a", "robot/key"),
    ]
    assert list(account_of(secret(kind="Opaque"), there)) == []
