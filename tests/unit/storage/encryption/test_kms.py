"""Values under keys of a key management service: sealed as upstream seals them, learned once, and turned with the key."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from kybern._proto import kms_pb2 as pb
from kybern.storage.encryption.configuration import parse
from kybern.storage.encryption.kms import DERIVED, Kms, KmsSetting, ServiceFailed, State, read
from kybern.storage.encryption.plugin import REMEMBERED_WELL, WRITES_FOR, Plugin, Unwell
from kybern.storage.encryption.values import Values
from tests import kms_plugin
from tests.unit.storage.encryption.test_configuration import document, entry

PLACE = b"/registry/secrets/default/a"
SEED, SOURCE = bytes(range(32)), b"sealed seed"
PREFIX = b"k8s:enc:kms:v2:vault:"


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def kms(clock: Clock | None = None, key: str = "first") -> Kms:
    found = Kms(KmsSetting("vault", "unix:///socket"), clock=clock or Clock())
    found.use(State(SEED, key, SOURCE, {"a.example.org": b"1"}, 1100.0))
    return found


def derived(seed: bytes, info: bytes) -> bytes:
    """The first block of HKDF-Expand with SHA-256 (RFC 5869, section 2.3), worked out here."""
    found = hmac.HMAC(seed, hashes.SHA256())
    found.update(info + b"\x01")
    return found.finalize()


def upstreams(seed: bytes, plain: bytes, **changes: Any) -> bytes:
    """As upstream's server seals: 32 bytes of info, a nonce of 12, and AES-GCM under the derived key."""
    info, nonce = bytes(range(100, 132)), bytes(12)
    data = info + nonce + AESGCM(derived(seed, info)).encrypt(nonce, plain, PLACE)
    fields: dict[str, Any] = {
        "encryptedData": data, "keyID": "first", "encryptedDEKSource": SOURCE,
        "annotations": {"a.example.org": b"1"}, "encryptedDEKSourceType": 1,
    }  # fmt: skip
    sealed: bytes = pb.EncryptedObject(**fields | changes).SerializeToString()
    return sealed


def test_a_value_is_sealed_as_upstream_reads_it() -> None:
    sealed = kms().seal(b"precious", PLACE)
    found = read(sealed)

    assert (found.keyID, found.encryptedDEKSource, dict(found.annotations)) == (
        "first", SOURCE, {"a.example.org": b"1"},
    )  # fmt: skip
    assert found.encryptedDEKSourceType == DERIVED == 1
    info, nonce, rest = found.encryptedData[:32], found.encryptedData[32:44], found.encryptedData[44:]
    assert AESGCM(derived(SEED, info)).decrypt(nonce, rest, PLACE) == b"precious"


def test_what_upstream_sealed_is_opened_and_belongs_to_its_place() -> None:
    way = kms()

    assert way.opened(upstreams(SEED, b"theirs"), PLACE) == (b"theirs", False)
    with pytest.raises(ValueError, match="tag"):
        way.open(upstreams(SEED, b"theirs"), PLACE + b"b")


async def test_a_value_of_another_seed_is_learned_once() -> None:
    asked: list[Any] = []

    async def decrypt(found: Any) -> bytes:
        asked.append(found)
        return bytes(32)

    way = kms()
    way.decrypt = decrypt
    sealed = upstreams(bytes(32), b"old", keyID="zero", encryptedDEKSource=b"other")
    with pytest.raises(ValueError, match="its key was not asked for"):
        way.open(sealed, PLACE)
    for _ in range(2):
        await way.learn(sealed)

    assert way.opened(sealed, PLACE) == (b"old", True)
    assert [(one.keyID, one.encryptedDEKSource) for one in asked] == [("zero", b"other")]


async def test_a_key_itself_may_be_what_is_sealed() -> None:
    key = bytes(range(1, 33))

    async def decrypt(_found: Any) -> bytes:
        return key

    way = kms()
    way.decrypt = decrypt
    data = bytes(12) + AESGCM(key).encrypt(bytes(12), b"older", PLACE)
    sealed = upstreams(SEED, b"", encryptedData=data, encryptedDEKSourceType=0)
    await way.learn(sealed)

    assert way.opened(sealed, PLACE) == (b"older", True)


async def test_a_seed_that_is_too_short_is_refused() -> None:
    async def decrypt(_found: Any) -> bytes:
        return bytes(31)

    way = Kms(KmsSetting("vault", "unix:///socket"), decrypt)
    with pytest.raises(ServiceFailed, match="invalid seed length 31"):
        await way.learn(upstreams(SEED, b""))


def test_writes_end_when_nobody_has_vouched_for_the_key() -> None:
    clock = Clock()
    way = kms(clock)
    sealed = way.seal(b"x", PLACE)
    clock.now = 1101.0

    with pytest.raises(ServiceFailed, match="expired"):
        way.seal(b"x", PLACE)
    assert way.open(sealed, PLACE) == b"x"
    with pytest.raises(ServiceFailed, match="got unexpected nil transformer"):
        Kms(KmsSetting("vault", "unix:///socket")).seal(b"x", PLACE)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"encryptedData": b""}, "encrypted data is empty"),
        ({"encryptedDEKSource": b""}, "encrypted DEK source is empty"),
        (
            {"encryptedDEKSource": bytes(1025)},
            "encrypted DEK source is 1025 bytes, which exceeds the max size of 1024",
        ),
        ({"keyID": ""}, "failed to validate key id: keyID is empty"),
        ({"keyID": "k" * 1025}, "keyID is 1025 bytes, which exceeds the max size of 1024"),
        ({"annotations": {"plain": b""}}, "no fully qualified domain name"),
        ({"annotations": {"a.b": bytes(33_000)}}, "total size of annotations is 33003"),
        ({"encryptedDEKSourceType": 7}, "unknown encryptedDEKSourceType: 7"),
    ],
)
def test_what_upstream_would_not_take_is_refused(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        read(upstreams(SEED, b"x", **changes))
    with pytest.raises(ValueError, match="EncryptedObject"):
        read(b"\xff\xff")


@pytest.fixture
async def plugin(tmp_path: Path) -> AsyncIterator[tuple[Plugin, kms_plugin.Plugin, Clock]]:
    clock = Clock()
    there = kms_plugin.Plugin(tmp_path / "s").start()
    found = Plugin(Kms(KmsSetting("vault", there.endpoint), clock=clock), clock=clock)
    await found.start()
    yield found, there, clock
    await found.close()
    there.stop()


type Pair = tuple[Plugin, kms_plugin.Plugin, Clock]


async def test_a_seed_serves_until_the_key_changes(plugin: Pair) -> None:
    found, there, clock = plugin
    first = found.kms.seal(b"x", PLACE)
    for _ in range(3):
        clock.now += REMEMBERED_WELL + 1
        await found.check()
    assert there.vault.calls == {"Status": 4, "Encrypt": 1}

    there.vault.turn("second")
    clock.now += REMEMBERED_WELL + 1
    await found.check()

    assert read(found.kms.seal(b"x", PLACE)).keyID == "second"
    assert found.kms.opened(first, PLACE) == (b"x", True)
    assert "Decrypt" not in there.vault.calls


async def test_another_server_asks_once_for_what_it_does_not_know(plugin: Pair) -> None:
    found, there, _ = plugin
    other = Plugin(Kms(KmsSetting("vault", there.endpoint)))
    await other.start()
    values = [found.kms.seal(text, PLACE) for text in (b"a", b"b")]
    for sealed in values:
        await other.kms.learn(sealed)

    assert [other.kms.opened(sealed, PLACE) for sealed in values] == [(b"a", False), (b"b", False)]
    assert there.vault.calls["Decrypt"] == 1
    await other.close()


async def test_a_plugin_that_is_not_well_lets_writes_go_on_for_a_while(plugin: Pair) -> None:
    found, there, clock = plugin
    there.vault.healthz = "on fire"
    clock.now += WRITES_FOR - 1
    with pytest.raises(
        Unwell, match="kmsv2 Provider vault is not healthy, error: got unexpected healthz status: on fire"
    ):
        await found.check()
    found.kms.seal(b"x", PLACE)  # the key is the same, so the seed goes on

    there.vault.healthz, there.vault.version = "ok", "v3"
    clock.now += REMEMBERED_WELL
    with pytest.raises(Unwell, match="expected KMSv2 API version v2, got v3"):
        await found.check()


async def test_a_service_that_says_no_is_told_with_its_words(plugin: Pair) -> None:
    found, there, _ = plugin
    with pytest.raises(
        ServiceFailed, match="failed to decrypt DEK, error: rpc error: code = NotFound desc = no such key"
    ):
        await found.kms.learn(upstreams(SEED, b"x", keyID="lost"))
    assert there.vault.calls["Decrypt"] == 1


def provider(**kms: Any) -> dict[str, Any]:
    return {"kms": {"apiVersion": "v2", "name": "vault", "endpoint": "unix:///s"} | kms}


async def test_a_value_is_marked_with_the_services_name_and_learned_on_the_way_out(plugin: Pair) -> None:
    found, _, _ = plugin
    configuration = parse(
        document(entry("secrets", providers=[provider(), {"identity": {}}])), lambda _setting: found.kms
    )
    values = Values(configuration, {"secrets": ("", "secrets")}, "/registry")
    sealed = values.written(PLACE, b"precious")
    assert sealed.startswith(PREFIX)
    assert values.asks

    await values.learn(((PLACE, sealed), (PLACE, b"plain"), (PLACE, PREFIX + b"damaged")))
    assert values.read(PLACE, sealed) == (b"precious", False)
    assert values.read(PLACE, b"plain") == (b"plain", True)
    assert values.read(PLACE, PREFIX + b"damaged") == (b"", False)
