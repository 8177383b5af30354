"""Sign the config map kube-public/cluster-info with every bootstrap token that may sign.

Reads ConfigMap, Secret. Writes ConfigMap. A machine that joins with nothing but a token reads cluster-info without proof
of who answers; a signature made with its own token (a JWS with the content left out, RFC 7515 appendix F) is that proof.
"""

import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

import msgspec

from kybern.api.core_v1 import ConfigMap, Secret
from kybern.auth import bootstrap_token
from kybern.auth.jose import encode
from kybern.loop.controller import Action, Again, Controller, Key, Patch, View
from kybern.loop.settings import Settings
from kybern.machinery.struct import replace

INFO = Key("kube-public", "cluster-info")
CONTENT = "kubeconfig"
PREFIX = "jws-kubeconfig-"


@dataclass(frozen=True, slots=True)
class State:
    info: ConfigMap
    secrets: tuple[Secret, ...]
    now: datetime


def observe(view: View, key: Key) -> State | None:
    info = view.get(ConfigMap, *key) if key == INFO else None
    if info is None:
        return None
    secrets = view.list(Secret, bootstrap_token.NAMESPACE)
    return State(info, tuple(one for one in secrets if one.type == bootstrap_token.TYPE), view.now)


def signing(secret: Secret, now: datetime) -> tuple[str, str] | None:
    """Id and secret of a token that may sign now."""
    data = secret.data
    identity, shared = bootstrap_token.text(data, "token-id"), bootstrap_token.text(data, "token-secret")
    left = bootstrap_token.seconds_left(data, now.timestamp())
    fits = (
        bool(identity and shared)
        and secret.metadata.name == f"bootstrap-token-{identity}"
        and (left is None or left > 0)
        and bootstrap_token.text(data, "usage-bootstrap-signing") == "true"
    )
    return (identity, shared) if fits else None


def signature(content: str, identity: str, shared: str) -> str:
    """A JWS in compact form, HS256, without its content."""
    header = encode(msgspec.json.encode({"alg": "HS256", "kid": identity}))
    signed = f"{header}.{encode(content.encode())}"
    return f"{header}..{encode(hmac.digest(shared.encode(), signed.encode(), hashlib.sha256))}"


def diff(state: State) -> Iterable[Action]:
    data = state.info.data
    if CONTENT not in data:
        return
    tokens = filter(None, (signing(secret, state.now) for secret in state.secrets))
    signatures = {
        f"{PREFIX}{identity}": signature(data[CONTENT], identity, shared) for identity, shared in tokens
    }
    others = {key: value for key, value in data.items() if not key.startswith(PREFIX)}
    wanted = {**others, **signatures}
    if wanted != data:
        yield Patch(state.info, replace(state.info, data=wanted))
    times = [
        left
        for secret in state.secrets
        if (left := bootstrap_token.seconds_left(secret.data, state.now.timestamp())) is not None and left > 0
    ]
    if times:
        yield Again(min(times))


def token(secret: Secret, _view: View) -> Iterable[Key]:
    if secret.type == bootstrap_token.TYPE and secret.metadata.namespace == bootstrap_token.NAMESPACE:
        yield INFO


def controller(_settings: Settings) -> Controller[State]:
    return Controller(
        "bootstrap-signer-controller",
        ConfigMap,
        observe,
        diff,
        watches=((Secret, token),),
        component="bootstrap-signer",
        workers=1,
    )
