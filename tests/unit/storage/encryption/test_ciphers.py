"""Values are sealed as upstream seals them: checked with published vectors, and with programs that are not ours."""

import subprocess

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given, settings
from hypothesis import strategies as st

from kybern.storage.encryption import salsa
from kybern.storage.encryption.ciphers import PROVIDERS

PLACE = b"/registry/secrets/default/a"
KEY = bytes(range(32))

# Of "Cryptography in NaCl", section 10: key, nonce, text, sealed.
NACL = tuple(
    bytes.fromhex(text)
    for text in (
        "1b27556473e985d462cd51197a9a46c76009549eac6474f206c4ee0844f68389",
        "69696ee955b62b73cd62bda875fc73d68219e0036b7a0b37",
        (
            "be075fc53c81f2d5cf141316ebeb0c7b5228c52a4c62cbd44b66849b64244ffce5ecbaaf33bd751a1ac728d45e6c61296cdc3c0123"
            "3561f41db66cce314adb310e3be8250c46f06dceea3a7fa1348057e2f6556ad6b1318a024a838f21af1fde048977eb48f59ffd4924"
            "ca1c60902e52f0a089bc76897040e082f937763848645e0705"
        ),
        (
            "f3ffc7703f9400e52a7dfb4b3d3305d98e993b9f48681273c29650ba32fc76ce48332ea7164d96a4476fb8c531a1186ac0dfc17c98"
            "dce87b4da7f011ec48c97271d2c20f9b928fe2270d6fb863d51738b48eeee314a7cc8ab932164548e526ae90224368517acfeabd6b"
            "b3732bc0e9da99832b61ca01b6de56244a9e88d5f9b37973f622a43d14a6599b1f654cb45a74e355a5"
        ),
    )
)


def test_secretbox_is_that_of_nacl() -> None:
    key, nonce, text, sealed = NACL

    assert salsa.seal(key, nonce, text) == sealed
    assert salsa.open_sealed(key, nonce, sealed) == text


def test_openssl_reads_what_aescbc_wrote() -> None:
    sealed = PROVIDERS["aescbc"](KEY).seal(b"some text", PLACE)

    command = ["openssl", "enc", "-d", "-aes-256-cbc", "-K", KEY.hex(), "-iv", sealed[:16].hex()]
    opened = subprocess.run(command, input=sealed[16:], capture_output=True, check=True, timeout=20)
    assert opened.stdout == b"some text"


def test_aesgcm_has_its_nonce_first_and_authenticates_the_place() -> None:
    sealed = PROVIDERS["aesgcm"](KEY).seal(b"some text", PLACE)

    assert AESGCM(KEY).decrypt(sealed[:12], sealed[12:], PLACE) == b"some text"
    with pytest.raises(ValueError, match="tag"):
        PROVIDERS["aesgcm"](KEY).open(sealed, PLACE + b"b")


@pytest.mark.parametrize("provider", PROVIDERS)
@given(text=st.binary(max_size=300))
@settings(max_examples=40, deadline=None)
def test_what_was_sealed_opens(provider: str, text: bytes) -> None:
    way = PROVIDERS[provider](KEY)

    assert way.open(way.seal(text, PLACE), PLACE) == text


@pytest.mark.parametrize("provider", PROVIDERS)
def test_two_seals_of_one_text_differ(provider: str) -> None:
    way = PROVIDERS[provider](KEY)

    assert way.seal(b"text", PLACE) != way.seal(b"text", PLACE)


@pytest.mark.parametrize("provider", ["aesgcm", "secretbox"])
@given(at=st.integers(0, 60), bit=st.integers(0, 7))
@settings(max_examples=40, deadline=None)
def test_a_changed_bit_is_noticed(provider: str, at: int, bit: int) -> None:
    way = PROVIDERS[provider](KEY)
    sealed = bytearray(way.seal(b"a text of some length, longer than the rest", PLACE))
    sealed[at % len(sealed)] ^= 1 << bit

    with pytest.raises(ValueError, match="tag"):
        way.open(bytes(sealed), PLACE)


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("sealed", [b"", b"short", bytes(17)])
def test_what_is_too_short_is_refused(provider: str, sealed: bytes) -> None:
    with pytest.raises(ValueError, match=r"too short|blocks"):
        PROVIDERS[provider](KEY).open(sealed, PLACE)


@pytest.mark.parametrize("sealed", [bytes(32), bytes(48)])
def test_a_wrong_padding_is_refused(sealed: bytes) -> None:
    with pytest.raises(ValueError, match="padding"):
        PROVIDERS["aescbc"](KEY).open(sealed, PLACE)
