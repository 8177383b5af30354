"""Which keys encrypt the cluster's secrets in etcd, as the file that API servers read. Pure: the operator's side keeps it.

The file is an EncryptionConfiguration, and is all that is known of a rotation: keys are numbered, so that the one with the
highest number is the newest, and where that stands tells how far a rotation has come. ``identity`` stays last, so that
what was written before there were keys is read; first, it means that nothing is encrypted yet (or any more).

A key management service has its keys to itself: then a "key" is a number and the service's endpoint. A rotation under the
same service is a way to have every secret sealed by the key that the service uses now.
"""

import base64
import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from kybern.machines.errors import MachineError

FILE = "encryption.yaml"
PROVIDERS = ("aesgcm", "aescbc", "secretbox")
KMS = "kms"
NONE = "none"
IDENTITY = "identity"
RESOURCE = "secrets"
KEY_BYTES = 32
_NAME = re.compile(r"key-([0-9]+)")


@dataclass(frozen=True, slots=True)
class Key:
    """One key: whose it is, its name, and its secret in base64, or the service that has it. That of identity has neither."""

    provider: str
    name: str = ""
    secret: str = field(default="", repr=False)
    endpoint: str = ""

    @property
    def number(self) -> int:
        found = _NAME.fullmatch(self.name)
        return int(found[1]) if found else 0

    @property
    def prefix(self) -> str:
        """How values that it sealed begin; those of identity begin with anything else."""
        if self.provider == IDENTITY:
            return ""
        version = "v2" if self.provider == KMS else "v1"
        return f"k8s:enc:{self.provider}:{version}:{self.name}:"


PLAIN = Key(IDENTITY)
type Order = tuple[Key, ...]
"""All keys of a file: the first seals, each opens."""


def new_key(
    provider: str, known: Order, random: Callable[[int], bytes] = os.urandom, endpoint: str = ""
) -> Key:
    """``endpoint`` is that of the key management service, for a provider that has one."""
    number = 1 + max((key.number for key in known), default=0)
    if provider == KMS:
        return Key(provider, f"key-{number}", endpoint=endpoint)
    return Key(provider, f"key-{number}", base64.b64encode(random(KEY_BYTES)).decode())


def content(order: Order) -> bytes:
    """The file. JSON, which is YAML."""
    document = {
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "EncryptionConfiguration",
        "resources": [{"resources": [RESOURCE], "providers": [_provider(key) for key in order]}],
    }
    return (json.dumps(document, indent=2) + "\n").encode()


def _provider(key: Key) -> dict[str, Any]:
    if key.provider == IDENTITY:
        return {IDENTITY: {}}
    if key.provider == KMS:
        return {KMS: {"apiVersion": "v2", "name": key.name, "endpoint": key.endpoint}}
    return {key.provider: {"keys": [{"name": key.name, "secret": key.secret}]}}


def order(text: bytes) -> Order:
    """The keys of a file that ``content`` made. Raises MachineError for another: it has to be rotated by hand."""
    if not text:
        return ()
    try:
        (entry,) = json.loads(text)["resources"]
        found = tuple(_key(provider) for provider in entry["providers"])
    except (ValueError, KeyError, TypeError, AttributeError):
        found = ()
    if content(found) != text:
        raise MachineError(
            f"cannot read the keys of {FILE} in the state directory: it is not as Kybern wrote it; "
            "put it back, or rotate its keys by hand"
        )
    return found


def _key(provider: dict[str, Any]) -> Key:
    ((name, settings),) = provider.items()
    if name == IDENTITY:
        return PLAIN
    if name == KMS:
        return Key(name, settings["name"], endpoint=settings["endpoint"])
    (key,) = settings["keys"]
    return Key(name, key["name"], key["secret"])


def first(provider: str, *, used: bool, endpoint: str = "") -> Order:
    """What a cluster begins with; nothing for ``none``.

    One that is ``used`` already has API servers that know no key: they get one that they can read by, and a rotation
    has them write by it when all of them have it.
    """
    if provider == NONE:
        return ()
    key = new_key(provider, (), endpoint=endpoint)
    return (PLAIN, key) if used else (key, PLAIN)
