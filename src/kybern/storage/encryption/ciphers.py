"""The ways to encrypt a value, byte for byte as upstream's API server does, so that each reads what the other wrote.

Upstream: ``apiserver/pkg/storage/value/encrypt``. Each takes ``place``, the key in etcd, where a value must not be moved
to another place without notice.
"""

import os
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM


class CannotDecrypt(Exception):
    """A value that none of the keys opens. The message tells what was tried, and nothing of the value."""


class Way(Protocol):
    """One key of one provider."""

    def seal(self, plain: bytes, place: bytes) -> bytes: ...

    def open(self, sealed: bytes, place: bytes) -> bytes:
        """Raises ValueError."""
        ...


class Cbc:
    """AES-CBC with PKCS #7 padding; the initialization vector first. It notices no change of what it encrypted."""

    sizes = (16, 24, 32)
    _BLOCK = 16

    def __init__(self, key: bytes) -> None:
        self._algorithm = algorithms.AES(key)

    def seal(self, plain: bytes, place: bytes) -> bytes:
        vector = os.urandom(self._BLOCK)
        missing = self._BLOCK - len(plain) % self._BLOCK
        seal = Cipher(self._algorithm, modes.CBC(vector)).encryptor()
        return vector + seal.update(plain + bytes((missing,)) * missing) + seal.finalize()

    def open(self, sealed: bytes, place: bytes) -> bytes:
        if len(sealed) < 2 * self._BLOCK or len(sealed) % self._BLOCK:
            raise ValueError("it is no whole number of blocks")
        opening = Cipher(self._algorithm, modes.CBC(sealed[: self._BLOCK])).decryptor()
        padded = opening.update(sealed[self._BLOCK :]) + opening.finalize()
        missing = padded[-1]
        if not 0 < missing <= self._BLOCK or padded[-missing:] != bytes((missing,)) * missing:
            raise ValueError("its padding is wrong")
        return padded[:-missing]


class Gcm:
    """AES-GCM with a random nonce, which comes first; the place is authenticated with the value.

    A key is good for some 2^32 writes, since its nonces are random: it has to be rotated.
    """

    sizes = (16, 24, 32)
    _NONCE, _TAG = 12, 16

    def __init__(self, key: bytes) -> None:
        self._aead = AESGCM(key)

    def seal(self, plain: bytes, place: bytes) -> bytes:
        nonce = os.urandom(self._NONCE)
        return nonce + self._aead.encrypt(nonce, plain, place)

    def open(self, sealed: bytes, place: bytes) -> bytes:
        if len(sealed) < self._NONCE + self._TAG:
            raise ValueError("it is too short")
        try:
            return self._aead.decrypt(sealed[: self._NONCE], sealed[self._NONCE :], place)
        except InvalidTag as problem:
            raise ValueError("its tag does not fit") from problem


class Secretbox:
    """XSalsa20-Poly1305; the nonce of 24 bytes first."""

    sizes = (32,)

    def __init__(self, key: bytes) -> None:
        # Imported here: it is the only one that needs numpy.
        from kybern.storage.encryption import salsa  # noqa: PLC0415

        self._key = key
        self._salsa = salsa

    def seal(self, plain: bytes, place: bytes) -> bytes:
        nonce = os.urandom(self._salsa.NONCE)
        return nonce + self._salsa.seal(self._key, nonce, plain)

    def open(self, sealed: bytes, place: bytes) -> bytes:
        size = self._salsa.NONCE
        if len(sealed) < size + self._salsa.TAG:
            raise ValueError("it is too short")
        return self._salsa.open_sealed(self._key, sealed[:size], sealed[size:])


# Providers by their name in the configuration, which is their name in the prefix of a value, too.
PROVIDERS: dict[str, type[Cbc | Gcm | Secretbox]] = {"aescbc": Cbc, "aesgcm": Gcm, "secretbox": Secretbox}
