"""Which credentials of a pod's imagePullSecrets fit an image. Pure."""

import base64
import binascii
import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from kybern.api.core_v1 import Secret
from kybern.kubelet.images.names import matches, registry_of


class Source(NamedTuple):
    """Whose credentials they are: of a Secret, or of a program that was asked for a ServiceAccount."""

    kind: str
    namespace: str
    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class Login:
    """Credentials for one registry; they do not show in ``repr``. Without a source they are the node's own."""

    server: str
    username: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)
    source: Source | None = None


def logins(secrets: tuple[Secret, ...], image: str) -> tuple[Login, ...]:
    """All that fit, the longest match first."""
    wanted = registry_of(image)
    found = [login for secret in secrets for login in _of_secret(secret) if matches(login.server, wanted)]
    return tuple(sorted(found, key=lambda login: len(login.server), reverse=True))


def _of_secret(secret: Secret) -> Iterator[Login]:
    for key, nested in ((".dockerconfigjson", True), (".dockercfg", False)):
        if key not in secret.data:
            continue
        try:
            raw = json.loads(base64.b64decode(secret.data[key]))
            entries = (raw.get("auths") or {}) if nested else raw
            for server, entry in entries.items():
                meta = secret.metadata
                source = Source("Secret", meta.namespace, meta.name, meta.uid)
                yield replace(_login(server, entry), source=source)
        except (ValueError, AttributeError, binascii.Error):
            # A broken secret is as good as none: the pull itself will tell.
            continue


def _login(server: str, entry: dict[str, Any]) -> Login:
    username, password = entry.get("username") or "", entry.get("password") or ""
    if entry.get("auth"):
        username, _, password = base64.b64decode(entry["auth"]).decode().partition(":")
    return Login(server, username, password.rstrip("\0"), entry.get("identitytoken") or "")
