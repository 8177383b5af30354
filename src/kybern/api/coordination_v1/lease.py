"""Lease: who holds something, and since when; heartbeats and elections."""

from kybern.api.rules.tables import dig, simple, text
from kybern.machinery.kind import Column, Kind

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
    storage_version_hash="gqkMMb/YqFM=",
)
