"""Signatures of cluster-info: whose, and that they are right."""

import hashlib
import hmac
import json
from base64 import b64encode, urlsafe_b64decode
from typing import Any

import pytest

from kybern.api.core_v1 import ConfigMap, Secret
from kybern.api.meta_v1 import ObjectMeta
from kybern.controllers import bootstrap_signer
from kybern.loop.controller import Again, Key, Patch
from kybern.loop.settings import Settings
from tests.unit.controllers.making import every, only, view

CONTENT = "apiVersion: v1\nkind: Config\n"


def token(identity: str = "abcdef", name: str = "", **data: str) -> Secret:
    plain = {
        "token-id": identity,
        "token-secret": "0123456789abcdef",
        "usage-bootstrap-signing": "true",
        **{key.replace("_", "-"): value for key, value in data.items()},
    }
    return Secret(
        metadata=ObjectMeta(name=name or f"bootstrap-token-{identity}", namespace="kube-system"),
        type="bootstrap.kubernetes.io/token",
        data={key: b64encode(value.encode()).decode() for key, value in plain.items()},
    )


def info(**data: str) -> ConfigMap:
    metadata = ObjectMeta(name="cluster-info", namespace="kube-public")
    return ConfigMap(metadata=metadata, data={"kubeconfig": CONTENT, **data})


def actions(found: ConfigMap, *secrets: Secret) -> list[Any]:
    controller = bootstrap_signer.controller(Settings())
    state = controller.observe(view(controller, found, *secrets), Key("kube-public", "cluster-info"))
    assert state is not None
    return every(controller.diff(state))


def unpadded(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


def test_a_token_signs_what_is_published() -> None:
    (patch,) = actions(info(), token())
    head, empty, mark = patch.new.data["jws-kubeconfig-abcdef"].split(".")
    body = b64encode(CONTENT.encode(), b"-_").rstrip(b"=")

    assert json.loads(unpadded(head)) == {"alg": "HS256", "kid": "abcdef"}
    assert empty == ""
    # The key is padded to 32 bytes, which the hash makes no difference of.
    key = b"0123456789abcdef".ljust(32, b"\0")
    assert unpadded(mark) == hmac.digest(key, head.encode() + b"." + body, hashlib.sha256)
    assert actions(patch.new, token()) == []


@pytest.mark.parametrize(
    "unfit",
    [
        token(name="bootstrap-token-other0"),
        token(usage_bootstrap_signing="false"),
        token(token_secret=""),
        token(expiration="2020-01-01T00:00:00Z"),
    ],
)
def test_a_token_that_may_not_sign_does_not(unfit: Secret) -> None:
    assert actions(info(), unfit) == []


def test_signatures_of_tokens_that_are_gone_go() -> None:
    (patch,) = actions(info(**{"jws-kubeconfig-gone00": "x", "other": "stays"}))

    assert patch.new.data == {"kubeconfig": CONTENT, "other": "stays"}


def test_it_looks_again_when_a_token_expires() -> None:
    found = actions(info(), token(expiration="2026-01-01T12:00:30Z"))

    assert (len(only(found, Patch)), only(found, Again)) == (1, [Again(30.0)])
