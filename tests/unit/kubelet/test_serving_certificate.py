"""The serving certificate that the cluster signs: what is asked for, when again, and that nothing is served before."""

import asyncio
import base64
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from kybern.api.certificates_v1 import CertificateSigningRequest, CertificateSigningRequestStatus
from kybern.kubelet import certificate_metrics
from kybern.kubelet.bootstrap import Wanted, pause, request_of, store
from kybern.kubelet.serving_certificate import ServingCertificate, covers, wanted
from kybern.machinery.errors import Forbidden
from kybern.machinery.struct import replace

FOUND = wanted("n1", ("n1", "10.0.0.5", "fd00::5", "n1"))
assert FOUND is not None
ASKED: Wanted = FOUND


class Signer:
    """Signs at once, for so many hours of which one is over; or refuses."""

    def __init__(self, hours: float = 10.0, *, refuses: bool = False) -> None:
        self.hours = hours
        self.refuses = refuses
        self.requests: list[CertificateSigningRequest] = []

    async def create(self, made: CertificateSigningRequest) -> CertificateSigningRequest:
        if self.refuses:
            raise Forbidden("not you")
        self.requests.append(made)
        csr = x509.load_pem_x509_csr(base64.b64decode(made.spec.request))
        key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
        built: Any = (
            x509.CertificateBuilder()
            .subject_name(csr.subject).issuer_name(csr.subject).public_key(csr.public_key()).serial_number(1)
            .not_valid_before(now - timedelta(hours=1)).not_valid_after(now + timedelta(hours=self.hours - 1))
        )  # fmt: skip
        for one in csr.extensions:
            built = built.add_extension(one.value, one.critical)
        built = built.sign(key, hashes.SHA256())
        pem = built.public_bytes(serialization.Encoding.PEM)
        return replace(
            made, status=CertificateSigningRequestStatus(certificate=base64.b64encode(pem).decode())
        )


def asking(signer: Signer, directory: Path) -> ServingCertificate:
    client: Any = signer
    return ServingCertificate(client, lambda: ASKED, directory)


def test_it_is_for_the_names_and_addresses_of_the_node() -> None:
    csr = x509.load_pem_x509_csr(request_of(ASKED)[0])

    names = csr.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["n1"]
    assert [str(one) for one in names.get_values_for_type(x509.IPAddress)] == ["10.0.0.5", "fd00::5"]
    assert csr.subject.rfc4514_string() == "CN=system:node:n1,O=system:nodes"


async def test_it_is_asked_for_once_and_kept(tmp_path: Path) -> None:
    signer = Signer()
    found = asking(signer, tmp_path)
    assert not found.there.is_set()

    assert await found.look(ASKED)
    assert await asking(signer, tmp_path).look(ASKED)

    (request,) = signer.requests
    assert (request.spec.signer_name, request.spec.usages) == (
        "kubernetes.io/kubelet-serving", ("digital signature", "server auth"),
    )  # fmt: skip
    assert found.there.is_set()
    assert found.path.name == "kubelet-server-current.pem"
    assert found.path.is_symlink()
    assert found.path.stat().st_mode & 0o777 == 0o600
    assert b"PRIVATE KEY" in found.path.read_bytes()


async def test_another_is_asked_for_before_it_ends(tmp_path: Path) -> None:
    signer = Signer(hours=1.05)
    found = asking(signer, tmp_path)

    await found.look(ASKED)
    await found.look(ASKED)

    assert len(signer.requests) == 2


async def test_nothing_is_there_while_it_is_refused(tmp_path: Path) -> None:
    found = asking(Signer(refuses=True), tmp_path)

    assert not await found.look(ASKED)

    assert not found.there.is_set()
    assert not found.path.exists()


@pytest.mark.parametrize(
    ("left", "seconds"),
    [
        pytest.param(90.0, 90.0, id="lives-for-minutes"),
        pytest.param(1e6, 600.0, id="lives-for-a-year"),
        pytest.param(-1e6, 600.0, id="due-as-it-comes"),
    ],
)
def test_it_is_looked_at_again_before_it_is_due_and_never_without_end(left: float, seconds: float) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)

    assert pause(now + timedelta(seconds=left), now) == seconds


class Waited(Signer):
    """Tells when it is asked the second time."""

    def __init__(self, hours: float) -> None:
        super().__init__(hours)
        self.again = asyncio.Event()

    async def create(self, made: CertificateSigningRequest) -> CertificateSigningRequest:
        signed = await super().create(made)
        if len(self.requests) > 1:
            self.again.set()
        return signed


async def test_one_that_lives_for_minutes_is_replaced_while_it_lives(tmp_path: Path) -> None:
    """A look every ten minutes came too late."""
    # What is signed is an hour old already: nine tenths of its life are over in two seconds.
    signer = Waited(hours=(1 + 2 / 3600) / 0.9)
    found = asking(signer, tmp_path)
    found._part = 0.9

    running = asyncio.create_task(found.run())
    async with asyncio.timeout(20):
        await signer.again.wait()
    running.cancel()

    assert x509.load_pem_x509_certificate(found.path.read_bytes())


async def test_a_node_that_got_another_address_asks_for_another_one(tmp_path: Path) -> None:
    """Also when it got it while the kubelet was away; who is named more often than needed asks for nothing."""
    signer = Signer()
    await asking(signer, tmp_path).look(ASKED)
    moved, fewer = wanted("n1", ("n1", "10.0.0.6")), wanted("n1", ("n1", "10.0.0.5"))
    assert moved is not None
    assert fewer is not None

    assert await asking(signer, tmp_path).look(fewer)
    assert len(signer.requests) == 1
    assert await asking(signer, tmp_path).look(moved)
    assert len(signer.requests) == 2
    assert covers((tmp_path / "kubelet-server-current.pem").read_bytes(), moved)


async def test_an_address_that_comes_while_it_rests_is_not_waited_for_until_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kybern.kubelet.serving_certificate._NAMES_EVERY", 0.01)
    addresses: list[str] = []
    signer = Waited(10.0)
    client: Any = signer
    found = ServingCertificate(client, lambda: wanted("n1", ("n1", *addresses)), tmp_path)

    running = asyncio.create_task(found.run())
    await asyncio.sleep(0.05)
    assert signer.requests == [], "a cloud has not said yet which they are"
    addresses.append("10.0.0.5")
    async with asyncio.timeout(20):
        await found.there.wait()
    addresses.append("10.0.0.6")
    async with asyncio.timeout(20):
        await signer.again.wait()
    running.cancel()
    await asyncio.wait({running})


async def test_one_that_nobody_can_read_is_replaced(tmp_path: Path) -> None:
    signer = Signer()
    store(tmp_path, b"half a cert", b"", "server")

    assert await asking(signer, tmp_path).look(ASKED)

    assert len(signer.requests) == 1


async def test_what_becomes_of_it_is_counted(tmp_path: Path) -> None:
    errors = certificate_metrics.SERVER_ERRORS._value.get()
    rotations = certificate_metrics.SERVER_ROTATION._sum.get()

    await asking(Signer(refuses=True), tmp_path).look(ASKED)
    await asking(Signer(hours=1.05), tmp_path).look(ASKED)
    await asking(Signer(), tmp_path).look(ASKED)

    assert certificate_metrics.SERVER_ERRORS._value.get() == errors + 1
    assert certificate_metrics.SERVER_ROTATION._sum.get() - rotations > 3500, "it was an hour old"
    assert certificate_metrics.SERVER_ENDS.at is not None
    now = certificate_metrics.SERVER_ENDS.at - timedelta(seconds=90.9)
    assert certificate_metrics.left(certificate_metrics.SERVER_ENDS.at, lambda: now) == 90
    assert certificate_metrics.left(now, lambda: now + timedelta(seconds=1.5)) == -1
