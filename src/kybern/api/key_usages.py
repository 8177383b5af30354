"""What a certificate's key is good for: the words of certificates.k8s.io, and what they are in a certificate (RFC 5280)."""

from collections.abc import Iterable, Mapping

KEY: Mapping[str, str] = {
    "signing": "digital_signature",
    "digital signature": "digital_signature",
    "content commitment": "content_commitment",
    "key encipherment": "key_encipherment",
    "key agreement": "key_agreement",
    "data encipherment": "data_encipherment",
    "cert sign": "key_cert_sign",
    "crl sign": "crl_sign",
    "encipher only": "encipher_only",
    "decipher only": "decipher_only",
}
"""Bits of the key usage."""

EXTENDED: Mapping[str, str] = {
    "any": "2.5.29.37.0",
    "server auth": "1.3.6.1.5.5.7.3.1",
    "client auth": "1.3.6.1.5.5.7.3.2",
    "code signing": "1.3.6.1.5.5.7.3.3",
    "email protection": "1.3.6.1.5.5.7.3.4",
    "s/mime": "1.3.6.1.5.5.7.3.4",
    "ipsec end system": "1.3.6.1.5.5.7.3.5",
    "ipsec tunnel": "1.3.6.1.5.5.7.3.6",
    "ipsec user": "1.3.6.1.5.5.7.3.7",
    "timestamping": "1.3.6.1.5.5.7.3.8",
    "ocsp signing": "1.3.6.1.5.5.7.3.9",
    "microsoft sgc": "1.3.6.1.4.1.311.10.3.3",
    "netscape sgc": "2.16.840.1.113730.4.1",
}
"""Object identifiers of the extended key usage, in the order in which they stand in a certificate."""

KNOWN = tuple(sorted({*KEY, *EXTENDED}))


def bits(usages: Iterable[str]) -> frozenset[str]:
    """The bits that are asked for. Raises ValueError for words that nobody knows."""
    asked = tuple(usages)
    if strange := [one for one in asked if one not in KEY and one not in EXTENDED]:
        shown = " ".join(f'"{one}"' for one in strange)
        raise ValueError(f"unrecognized usage values: [{shown}]")
    return frozenset(KEY[one] for one in asked if one in KEY)


def extended(usages: Iterable[str]) -> tuple[str, ...]:
    """The identifiers that are asked for, each once."""
    asked = frozenset(usages)
    return tuple(dict.fromkeys(number for one, number in EXTENDED.items() if one in asked))
