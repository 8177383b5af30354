"""An issuer's keys (JSON Web Key Sets, RFC 7517), and signatures under them (JSON Web Algorithms, RFC 7518).

The algorithms are those that upstream allows: RSA with PKCS #1 or PSS, and ECDSA on the curve that the algorithm names.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from kybern.auth.jose import decode

_HASHES: Mapping[str, hashes.HashAlgorithm] = {
    "256": hashes.SHA256(),
    "384": hashes.SHA384(),
    "512": hashes.SHA512(),
}
_CURVES: Mapping[str, ec.EllipticCurve] = {
    "P-256": ec.SECP256R1(),
    "P-384": ec.SECP384R1(),
    "P-521": ec.SECP521R1(),
}
_CURVE_OF: Mapping[str, str] = {"ES256": "secp256r1", "ES384": "secp384r1", "ES512": "secp521r1"}
ALGORITHMS = tuple(sorted(f"{family}{bits}" for family in ("ES", "PS", "RS") for bits in _HASHES))


class BadKeys(Exception):
    """What was given for a key set is none."""


@dataclass(frozen=True, slots=True)
class Key:
    """A public key under the name that its issuer gave it; the name may be empty."""

    id: str
    public: rsa.RSAPublicKey | ec.EllipticCurvePublicKey

    def verifies(self, algorithm: str, signature: bytes, data: bytes) -> bool:
        """Whether this key made the signature; never by an algorithm that is not for keys of its sort."""
        digest = _HASHES[algorithm[2:]]
        try:
            if isinstance(self.public, rsa.RSAPublicKey):
                scheme = _scheme(algorithm, digest)
                if scheme is None:
                    return False
                self.public.verify(signature, data, scheme, digest)
                return True
            size = (self.public.curve.key_size + 7) // 8
            if self.public.curve.name != _CURVE_OF.get(algorithm) or len(signature) != 2 * size:
                return False
            r, s = int.from_bytes(signature[:size]), int.from_bytes(signature[size:])
            self.public.verify(encode_dss_signature(r, s), data, ec.ECDSA(digest))
        except InvalidSignature:
            return False
        return True


def _scheme(algorithm: str, digest: hashes.HashAlgorithm) -> padding.AsymmetricPadding | None:
    if algorithm.startswith("RS"):
        return padding.PKCS1v15()
    if algorithm.startswith("PS"):
        return padding.PSS(padding.MGF1(digest), padding.PSS.AUTO)
    return None


def key_set(body: bytes) -> tuple[Key, ...]:
    """The keys of a set; those of other sorts, which sign nothing that is accepted, are left out. Raises BadKeys."""
    try:
        found = msgspec.json.decode(body)
    except msgspec.DecodeError as problem:
        raise BadKeys(f"the key set is not JSON: {problem}") from problem
    raw = found.get("keys") if isinstance(found, Mapping) else None
    if not isinstance(raw, list):
        raise BadKeys("the key set has no keys")
    return tuple(_keys(one for one in raw if isinstance(one, Mapping)))


def _keys(found: Iterable[Mapping[str, Any]]) -> Iterator[Key]:
    for one in found:
        try:
            public = _public(one)
        except (KeyError, TypeError, ValueError) as problem:
            raise BadKeys(f'the key "{one.get("kid", "")}" cannot be read: {problem}') from problem
        if public is not None:
            yield Key(str(one.get("kid") or ""), public)


def _public(one: Mapping[str, Any]) -> rsa.RSAPublicKey | ec.EllipticCurvePublicKey | None:
    if one.get("kty") == "RSA":
        return rsa.RSAPublicNumbers(_number(one["e"]), _number(one["n"])).public_key()
    if one.get("kty") == "EC" and one.get("crv") in _CURVES:
        curve = _CURVES[one["crv"]]
        return ec.EllipticCurvePublicNumbers(_number(one["x"]), _number(one["y"]), curve).public_key()
    return None


def _number(text: str) -> int:
    return int.from_bytes(decode(text))
