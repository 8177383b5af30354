"""The ConfigMap by which aggregated servers know this one: whose certificates to trust for clients and front proxies.

Servers of one cluster may have different authorities while they are replaced: each adds its own, and takes away only what
has expired.
"""

import asyncio
import contextlib
import logging
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from kybern.apiserver.local import Local
from kybern.daemon.flags import Values
from kybern.machinery.errors import AlreadyExists, ApiError
from kybern.storage.cache import Stale
from kybern.storage.store import Unavailable

log = logging.getLogger(__name__)

NAMESPACE, NAME = "kube-system", "extension-apiserver-authentication"
_CLIENTS, _PROXIES = "client-ca-file", "requestheader-client-ca-file"
_LISTS = (
    "requestheader-allowed-names",
    "requestheader-extra-headers-prefix",
    "requestheader-group-headers",
    "requestheader-uid-headers",
    "requestheader-username-headers",
)
_EVERY_SECONDS = 60.0


def own(values: Values) -> dict[str, str]:
    """What this server's flags say."""
    found: dict[str, str] = {}
    if values[_CLIENTS]:
        found[_CLIENTS] = Path(values[_CLIENTS]).read_text()
    if values[_PROXIES]:
        found[_PROXIES] = Path(values[_PROXIES]).read_text()
        found |= {key: msgspec.json.encode(list(values[key])).decode() for key in _LISTS}
    return found


def merged(there: Mapping[str, str], wanted: Mapping[str, str], now: datetime) -> dict[str, str]:
    """What is there with what this server wants. Pure."""
    found = dict(there)
    for key, value in wanted.items():
        before = there.get(key, "")
        if key in _LISTS:
            found[key] = msgspec.json.encode(_together(_list(before), _list(value))).decode()
        else:
            found[key] = "".join(_together(_valid(before, now), _valid(value, now)))
    return found


def _together(first: Iterable[str], second: Iterable[str]) -> list[str]:
    return list(dict.fromkeys((*first, *second)))


def _list(text: str) -> Sequence[str]:
    try:
        return msgspec.json.decode(text or "[]", type=list[str])
    except msgspec.DecodeError:
        return []


def _valid(text: str, now: datetime) -> list[str]:
    try:
        found = x509.load_pem_x509_certificates(text.encode()) if text.strip() else []
    except ValueError:
        return []
    return [one.public_bytes(Encoding.PEM).decode() for one in found if one.not_valid_after_utc > now]


class Authentication:
    def __init__(self, local: Local, values: Values) -> None:
        self._local = local
        self._values = values

    async def run(self) -> None:
        while True:
            try:
                await self._write(own(self._values))
            except (ApiError, Unavailable, Stale, OSError) as problem:
                log.warning("Cannot keep the ConfigMap %s/%s: %s", NAMESPACE, NAME, problem)
            await asyncio.sleep(_EVERY_SECONDS)

    async def _write(self, wanted: Mapping[str, str]) -> None:
        there = await self._local.get("", "configmaps", NAMESPACE, NAME)
        data = merged((there or {}).get("data") or {}, wanted, datetime.now(UTC))
        if there is None:
            raw = {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": NAME, "namespace": NAMESPACE},
                "data": data,
            }
            with contextlib.suppress(AlreadyExists):
                await self._local.create("", "configmaps", raw)
        elif data != there.get("data"):
            await self._local.update("", "configmaps", {**there, "data": data})
