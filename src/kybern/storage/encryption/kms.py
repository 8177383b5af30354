"""Values under keys that a key management service keeps (KEP-3299, KMS v2), byte for byte as upstream writes them.

The service seals one seed, which is kept in memory; each value has a key of its own, derived of the seed by HKDF with 32
random bytes, and is sealed by AES-GCM with a random nonce under that key. In etcd lies an ``EncryptedObject``: random bytes,
nonce and sealed value, beside the seed as the service sealed it. So the service is asked once a seed, not once a value.

Sealing and opening do no I/O. A seed that is not known yet has to be ``learn``ed before a value under it can be opened.
Upstream: ``apiserver/pkg/storage/value/encrypt/envelope/kmsv2`` and ``.../encrypt/aes/aes_extended_nonce.go``.
"""

import hashlib
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from kybern._proto import kms_pb2 as pb
from kybern.machinery.names import dns1123_subdomain
from kybern.storage.store import Unavailable

SEED = 32
_INFO, _NONCE, _TAG = 32, 12, 16
_LONGEST_KEY_ID, _LONGEST_SOURCE, _LONGEST_ANNOTATIONS = 1024, 1024, 32 * 1024
_KEPT = 24 * 3600.0
"""Seconds after which a seed that nobody used is forgotten."""
DERIVED = pb.HKDF_SHA256_XNONCE_AES_GCM_SEED


class ServiceFailed(Unavailable):
    """The service did not do what a value needs; later it may."""


@dataclass(frozen=True, slots=True)
class KmsSetting:
    """``timeout`` in seconds, of each call."""

    name: str
    endpoint: str
    timeout: float = 3.0


@dataclass(frozen=True, slots=True)
class State:
    """What values are sealed with: a seed, as it is and as the service sealed it. Good for writes until ``expires``."""

    seed: bytes = field(repr=False)
    key_id: str
    source: bytes
    annotations: Mapping[str, bytes]
    expires: float


@dataclass(slots=True)
class _Kept:
    secret: bytes = field(repr=False)
    used: float


def key_id_problem(key_id: str) -> str:
    """Why a key cannot be called so; empty when it can."""
    if not key_id:
        return "keyID is empty"
    size = len(key_id.encode())
    return (
        f"keyID is {size} bytes, which exceeds the max size of {_LONGEST_KEY_ID}"
        if size > _LONGEST_KEY_ID
        else ""
    )


def key_hash(key_id: str) -> str:
    """How a key is named in messages and metrics."""
    return f"sha256:{hashlib.sha256(key_id.encode()).hexdigest()}" if key_id else ""


def source_problem(source: bytes, annotations: Mapping[str, bytes]) -> str:
    """What is wrong with a sealed seed, beside its key."""
    if not source:
        return "failed to validate encrypted DEK source: encrypted DEK source is empty"
    if len(source) > _LONGEST_SOURCE:
        return (
            f"failed to validate encrypted DEK source: encrypted DEK source is {len(source)} bytes, which exceeds the "
            f"max size of {_LONGEST_SOURCE}"
        )
    for key in annotations:
        if "." not in key or list(dns1123_subdomain(key)):
            return f'failed to validate annotations: "{key}" is no fully qualified domain name'
    total = sum(len(key.encode()) + len(value) for key, value in annotations.items())
    if total > _LONGEST_ANNOTATIONS:
        return (
            f"failed to validate annotations: total size of annotations is {total}, which exceeds the max size of "
            f"{_LONGEST_ANNOTATIONS}"
        )
    return ""


def read(sealed: bytes) -> Any:
    """The EncryptedObject. Raises ValueError for what is none."""
    try:
        found = pb.EncryptedObject.FromString(sealed)
    except DecodeError as problem:
        raise ValueError("it is no EncryptedObject") from problem
    if found.encryptedDEKSourceType not in (pb.AES_GCM_KEY, DERIVED):
        raise ValueError(f"unknown encryptedDEKSourceType: {found.encryptedDEKSourceType}")
    if not found.encryptedData:
        raise ValueError("encrypted data is empty")
    if wrong := source_problem(found.encryptedDEKSource, found.annotations):
        raise ValueError(wrong)
    if wrong := key_id_problem(found.keyID):
        raise ValueError(f"failed to validate key id: {wrong}")
    return found


def _place(kind: int, source: bytes, key_id: str, annotations: Mapping[str, bytes]) -> bytes:
    """Under what a seed is kept: all that the service would be asked with. Lengths come first."""
    found = hashlib.sha256(kind.to_bytes(4))
    parts = [source, key_id.encode()]
    for key in sorted(annotations):
        parts += [key.encode(), annotations[key]]
    for part in parts:
        found.update(len(part).to_bytes(8))
        found.update(part)
    return found.digest()


def _derived(seed: bytes, info: bytes) -> AESGCM:
    return AESGCM(HKDFExpand(SHA256(), 32, info).derive(seed))


async def _nobody(_found: Any) -> bytes:
    raise ServiceFailed("the key management service is not connected")


def _unnoticed(_what: str, _key_id: str) -> None:
    return


@dataclass(slots=True, eq=False)
class Kms:
    """The way of one service. ``decrypt`` opens a seed by asking it; ``noticed`` is told of each use of a key."""

    setting: KmsSetting
    decrypt: Callable[[Any], Awaitable[bytes]] = _nobody
    noticed: Callable[[str, str], None] = _unnoticed
    clock: Callable[[], float] = time.monotonic
    _state: State | None = field(default=None, init=False)
    _seeds: dict[bytes, _Kept] = field(default_factory=dict, init=False)

    @property
    def state(self) -> State | None:
        return self._state

    @property
    def known(self) -> int:
        """How many seeds are in memory."""
        return len(self._seeds)

    def use(self, state: State) -> None:
        """From now on seal with this one."""
        self._state = state
        self._keep(_place(DERIVED, state.source, state.key_id, state.annotations), state.seed)

    def seal(self, plain: bytes, place: bytes) -> bytes:
        """Raises ServiceFailed while there is nothing to seal with."""
        state = self._state
        if state is None:
            raise ServiceFailed("got unexpected nil transformer")
        if self.clock() > state.expires:
            raise ServiceFailed(f'encryptedDEKSource with keyID hash "{key_hash(state.key_id)}" expired')
        info, nonce = os.urandom(_INFO), os.urandom(_NONCE)
        data = info + nonce + _derived(state.seed, info).encrypt(nonce, plain, place)
        self.noticed("to_storage", state.key_id)
        sealed: bytes = pb.EncryptedObject(
            encryptedData=data,
            keyID=state.key_id,
            encryptedDEKSource=state.source,
            annotations=state.annotations,
            encryptedDEKSourceType=DERIVED,
        ).SerializeToString()
        return sealed

    def open(self, sealed: bytes, place: bytes) -> bytes:
        """Raises ValueError, also for a seed that is not known."""
        return self.opened(sealed, place)[0]

    def opened(self, sealed: bytes, place: bytes) -> tuple[bytes, bool]:
        """The value, and whether it is under another key than values are written with now. Raises ValueError."""
        found = read(sealed)
        kept = self._seeds.get(self._at(found))
        if kept is None:
            raise ValueError("its key was not asked for")
        kept.used = self.clock()
        plain = _plain(found, kept.secret, place)
        self.noticed("from_storage", found.keyID)
        state = self._state
        stale = state is not None and (found.keyID != state.key_id or found.encryptedDEKSourceType != DERIVED)
        return plain, stale

    async def learn(self, sealed: bytes) -> None:
        """Ask the service for the seed of a value. Raises ServiceFailed, and ValueError for what is no such value."""
        found = read(sealed)
        place = self._at(found)
        if place in self._seeds:
            return
        secret = await self.decrypt(found)
        sizes = (16, 24, 32)
        if found.encryptedDEKSourceType == DERIVED and len(secret) < SEED:
            raise ServiceFailed(f"invalid seed length {len(secret)} used for key generation")
        if found.encryptedDEKSourceType != DERIVED and len(secret) not in sizes:
            raise ServiceFailed(f"crypto/aes: invalid key size {len(secret)}")
        self._keep(place, secret)

    @staticmethod
    def _at(found: Any) -> bytes:
        return _place(found.encryptedDEKSourceType, found.encryptedDEKSource, found.keyID, found.annotations)

    def _keep(self, place: bytes, secret: bytes) -> None:
        now = self.clock()
        for old in [at for at, kept in self._seeds.items() if kept.used + _KEPT < now]:
            del self._seeds[old]
        self._seeds[place] = _Kept(secret, now)


def _plain(found: Any, secret: bytes, place: bytes) -> bytes:
    data: bytes = found.encryptedData
    if found.encryptedDEKSourceType == DERIVED:
        if len(data) < _INFO:
            raise ValueError("the stored data was shorter than the required size")
        way, data = _derived(secret, data[:_INFO]), data[_INFO:]
    else:
        way = AESGCM(secret)
    if len(data) < _NONCE + _TAG:
        raise ValueError("it is too short")
    try:
        return way.decrypt(data[:_NONCE], data[_NONCE:], place)
    except InvalidTag as problem:
        raise ValueError("its tag does not fit") from problem
