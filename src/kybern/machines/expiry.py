"""What the cluster's certificates are and how long they last, read from the state directory. Nothing is made here."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.x509.oid import NameOID

from kybern.auth.x509 import worn
from kybern.machines.certificates import AUTHORITIES, CLUSTER_CA, MASTERS_GROUP, wanted
from kybern.machines.errors import MachineError
from kybern.machines.topology import Cluster


@dataclass(frozen=True, slots=True)
class Kept:
    """One certificate: ``machine`` is empty for the operator's own and for authorities, ``signer`` for the latter."""

    machine: str
    name: str
    signer: str
    subject: str
    until: datetime
    is_worn: bool
    path: Path

    def days(self, now: datetime) -> int:
        """Whole days that are left; negative when it has expired."""
        return (self.until - now).days

    def as_json(self, now: datetime) -> dict[str, str | int | bool]:
        return {
            "machine": self.machine,
            "certificate": self.name,
            "signer": self.signer,
            "subject": self.subject,
            "until": self.until.isoformat(),
            "daysLeft": self.days(now),
            "renewedByNextDeploy": self.is_worn,
        }


def kept(cluster: Cluster, folder: Path, now: datetime) -> tuple[Kept, ...]:
    """The certificates that there are, those that expire first in front. Raises MachineError when there are none."""
    found = tuple(one for one in _all(cluster, folder, now) if one is not None)
    if not found:
        raise MachineError(
            f"there are no certificates in {folder}: has {cluster.name} been deployed from here?"
        )
    return tuple(sorted(found, key=lambda one: (one.until, one.machine, one.name)))


def _all(cluster: Cluster, folder: Path, now: datetime) -> Iterator[Kept | None]:
    for name in AUTHORITIES:
        yield _read(folder / f"{name}.crt", "", name, "", now)
    yield _read(folder / "admin.crt", "", "admin", CLUSTER_CA, now)
    for machine in cluster.machines:
        for one in wanted(cluster, machine):
            place = folder / "machines" / machine.name / f"{one.name}.crt"
            yield _read(place, machine.name, one.name, one.authority, now)


def _read(path: Path, machine: str, name: str, signer: str, now: datetime) -> Kept | None:
    try:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError as problem:
        raise MachineError(
            f"cannot read the certificate {path}: {problem}; delete it, and the next deploy makes it"
        ) from problem
    return Kept(
        machine,
        name,
        signer,
        _subject(certificate),
        certificate.not_valid_after_utc,
        worn(certificate, now),
        path,
    )


def _subject(certificate: x509.Certificate) -> str:
    def values(oid: x509.ObjectIdentifier) -> list[str]:
        return [str(each.value) for each in certificate.subject.get_attributes_for_oid(oid)]

    names, groups = values(NameOID.COMMON_NAME), values(NameOID.ORGANIZATION_NAME)
    shown = " ".join(names) + (f" ({', '.join(groups)})" if groups else "")
    return shown.replace(f"({MASTERS_GROUP})", "(may do everything)")
