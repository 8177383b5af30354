"""Keys that sign and verify service account tokens, and the documents that publish them (JWKS, OpenID configuration).

RSA keys speak RS256, elliptic ones ES256, ES384 or ES512 by curve. A key is named as upstream names it: the SHA-256 of
its public DER, URL-safe base64 without padding. So tokens stay good when one server is exchanged for another.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from kybern.auth.jose import encode

type Private = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
type Public = rsa.RSAPublicKey | ec.EllipticCurvePublicKey


@dataclass(frozen=True, slots=True)
class _Curve:
    algorithm: str
    name: str
    size: int
    digest: hashes.HashAlgorithm


_CURVES: Mapping[str, _Curve] = {
    "secp256r1": _Curve("ES256", "P-256", 32, hashes.SHA256()),
    "secp384r1": _Curve("ES384", "P-384", 48, hashes.SHA384()),
    "secp521r1": _Curve("ES512", "P-521", 66, hashes.SHA512()),
}


@dataclass(frozen=True, slots=True)
class VerifyingKey:
    """A public key under its name."""

    public: Public
    id: str

    @classmethod
    def of(cls, public: Public) -> Self:
        der = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        return cls(public, encode(hashlib.sha256(der).digest()))

    @property
    def algorithm(self) -> str:
        if isinstance(self.public, rsa.RSAPublicKey):
            return "RS256"
        return _CURVES[self.public.curve.name].algorithm

    def verifies(self, signature: bytes, data: bytes) -> bool:
        try:
            self._verify(signature, data)
        except InvalidSignature:
            return False
        return True

    def _verify(self, signature: bytes, data: bytes) -> None:
        if isinstance(self.public, rsa.RSAPublicKey):
            self.public.verify(signature, data, padding.PKCS1v15(), hashes.SHA256())
            return
        curve = _CURVES[self.public.curve.name]
        if len(signature) != 2 * curve.size:
            raise InvalidSignature
        r, s = signature[: curve.size], signature[curve.size :]
        der = encode_dss_signature(int.from_bytes(r), int.from_bytes(s))
        self.public.verify(der, data, ec.ECDSA(curve.digest))

    def jwk(self) -> dict[str, str]:
        """The key as one of a JSON Web Key Set."""
        found = {"use": "sig", "kty": "RSA", "kid": self.id, "alg": self.algorithm}
        if isinstance(self.public, rsa.RSAPublicKey):
            numbers = self.public.public_numbers()
            return {**found, "n": encode(_bytes(numbers.n)), "e": encode(_bytes(numbers.e))}
        curve = _CURVES[self.public.curve.name]
        point = self.public.public_numbers()
        x, y = point.x.to_bytes(curve.size), point.y.to_bytes(curve.size)
        return {**found, "kty": "EC", "crv": curve.name, "x": encode(x), "y": encode(y)}


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key, and the public half that verifies what it signs."""

    private: Private
    verifying: VerifyingKey

    @classmethod
    def load(cls, pem: bytes) -> Self:
        """Raises ValueError when there is no RSA or elliptic private key in the PEM."""
        private = serialization.load_pem_private_key(pem, password=None)
        if not isinstance(private, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
            raise ValueError("cannot sign tokens with a key that is neither RSA nor ECDSA")  # noqa: TRY004  # bad data
        return cls(private, VerifyingKey.of(_checked(private.public_key())))

    def sign(self, data: bytes) -> bytes:
        if isinstance(self.private, rsa.RSAPrivateKey):
            return self.private.sign(data, padding.PKCS1v15(), hashes.SHA256())
        curve = _CURVES[self.private.curve.name]
        r, s = decode_dss_signature(self.private.sign(data, ec.ECDSA(curve.digest)))
        return r.to_bytes(curve.size) + s.to_bytes(curve.size)


def load_verifying(pem: bytes) -> list[VerifyingKey]:
    """All keys of a file: public ones, and the public halves of private ones. Raises ValueError when there is none."""
    found = [VerifyingKey.of(_public(block)) for block in _blocks(pem)]
    if not found:
        raise ValueError("data does not contain any valid RSA or ECDSA public keys")
    return found


def _public(block: bytes) -> Public:
    if b"PRIVATE KEY" in block:
        return SigningKey.load(block).verifying.public
    if b"CERTIFICATE" in block:
        from cryptography import x509  # noqa: PLC0415  # certificates as key files are rare

        return _checked(x509.load_pem_x509_certificate(block).public_key())
    return _checked(serialization.load_pem_public_key(block))


def _checked(key: Any) -> Public:
    if isinstance(key, rsa.RSAPublicKey):
        return key
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in _CURVES:
        return key
    raise ValueError("cannot verify tokens with a key that is neither RSA nor ECDSA on a NIST curve")


def _blocks(pem: bytes) -> Iterable[bytes]:
    """The PEM blocks of a file; the parameters that openssl writes before elliptic keys are left out."""
    start = b"-----BEGIN "
    for part in pem.split(start)[1:]:
        if not part.startswith(b"EC PARAMETERS"):
            yield start + part


def _bytes(number: int) -> bytes:
    return number.to_bytes((number.bit_length() + 7) // 8)


def key_set(keys: Iterable[VerifyingKey]) -> dict[str, Any]:
    """The document at /openid/v1/jwks."""
    return {"keys": [key.jwk() for key in keys]}


def discovery(issuer: str, jwks_uri: str, keys: Iterable[VerifyingKey]) -> dict[str, Any]:
    """The document at /.well-known/openid-configuration."""
    return {
        "issuer": issuer,
        "jwks_uri": jwks_uri,
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": sorted({key.algorithm for key in keys}),
    }
