"""The key that speakers know each other by: a Secret that the leader of the controllers makes when there is none."""

import base64
from collections.abc import Iterable

from kybern.api.core_v1 import Secret
from kybern.api.meta_v1 import ObjectMeta
from kybern.client.verbs import Verbs
from kybern.machinery.errors import AlreadyExists

NAMESPACE, NAME, FIELD = "kube-system", "kybern-speakers", "key"
_SHORTEST = 32  # bytes


def key_of(secrets: Iterable[Secret]) -> bytes:
    """The key; empty while there is none."""
    for secret in secrets:
        if (secret.metadata.namespace, secret.metadata.name) == (NAMESPACE, NAME):
            return decoded(secret)
    return b""


def decoded(secret: Secret) -> bytes:
    """Empty for a Secret that somebody wrote and that holds no key."""
    try:
        key = base64.b64decode(secret.data.get(FIELD, ""), validate=True)
    except ValueError:
        return b""
    return key if len(key) >= _SHORTEST else b""


async def ensure(client: Verbs, random: bytes) -> None:
    """Have the Secret there; ``random`` is the key, should it be the first. Raises ApiError."""
    told = base64.b64encode(random).decode()
    made = Secret(metadata=ObjectMeta(namespace=NAMESPACE, name=NAME), type="Opaque", data={FIELD: told})
    try:
        await client.create(made)
    except AlreadyExists:
        return
