"""Lease: who holds something, and since when; heartbeats and elections."""

from collections.abc import Iterator

from kybern.api.rules.causes import at_least_zero, invalid
from kybern.api.rules.tables import dig, simple, text
from kybern.machinery.errors import Cause
from kybern.machinery.kind import Column, Kind, Raw, Rules


def _default(raw: Raw) -> None:
    raw.setdefault("spec", {})


def _without_coordination(raw: Raw) -> None:
    """Fields of coordinated leader election, which is off in v1.36 by default."""
    for key in ("strategy", "preferredHolder"):
        raw["spec"].pop(key, None)


def _validate(new: Raw, _old: Raw | None) -> Iterator[Cause]:
    spec = new.get("spec") or {}
    seconds = spec.get("leaseDurationSeconds")
    if seconds is not None and seconds <= 0:
        yield invalid("spec.leaseDurationSeconds", seconds, "must be greater than 0")
    yield from at_least_zero("spec.leaseTransitions", spec.get("leaseTransitions"))


KIND = Kind(
    group="coordination.k8s.io",
    version="v1",
    kind="Lease",
    plural="leases",
    namespaced=True,
    schema="io.k8s.api.coordination.v1.Lease",
    singular="lease",
    storage="leases",
    table=simple((Column("Holder"),), lambda raw: [text(dig(raw, "spec", "holderIdentity"))]),
    rules=Rules(
        default=_default,
        on_create=_without_coordination,
        on_update=lambda new, _old: _without_coordination(new),
        validate=_validate,
    ),
    allow_create_on_update=True,
    allow_unconditional_update=False,
    storage_version_hash="gqkMMb/YqFM=",
)
