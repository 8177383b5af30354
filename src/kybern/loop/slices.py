"""What whoever writes EndpointSlices must agree on: labels, and names that do not repeat; pure."""

import hashlib
from collections.abc import Callable, Container, Iterable
from typing import Any

from kybern.api.discovery_v1 import EndpointSlice

SERVICE = "kubernetes.io/service-name"
MANAGED_BY = "endpointslice.kubernetes.io/managed-by"

_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"


def by_service(manager: str) -> Callable[[EndpointSlice], Iterable[str]]:
    """Index: the slices of one manager by ``NAMESPACE/SERVICE``."""

    def index(one: EndpointSlice) -> Iterable[str]:
        if one.metadata.labels.get(MANAGED_BY) == manager and SERVICE in one.metadata.labels:
            yield f"{one.metadata.namespace}/{one.metadata.labels[SERVICE]}"

    return index


def fresh_name(owner: Any, taken: Container[str]) -> str:
    """The owner's name and five letters, which no slice of ``taken`` has."""
    return next(name for number in range(10000) if (name := _name(owner, number)) not in taken)


def _name(owner: Any, number: int) -> str:
    digest = hashlib.sha256(f"{owner.metadata.uid}/{number}".encode()).digest()
    return f"{owner.metadata.name}-{''.join(_ALPHABET[byte % len(_ALPHABET)] for byte in digest[:5])}"
