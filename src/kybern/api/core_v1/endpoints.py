"""Endpoints: the addresses behind a service, in the old form; slices replace it."""

from collections.abc import Iterator

from kybern.api.rules import addresses
from kybern.api.rules.tables import NONE, first, simple
from kybern.machinery.kind import Column, Kind, Raw, Rules


def _addresses(raw: Raw) -> str:
    found: list[str] = []
    for subset in raw.get("subsets") or ():
        addresses = [address.get("ip", "") for address in subset.get("addresses") or ()]
        ports = subset.get("ports")
        if ports is None:
            found += addresses
            continue
        found += [_joined(address, port["port"]) for port in ports for address in addresses]
    return first(found, 3) if found else NONE


def _joined(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _default(raw: Raw) -> None:
    for subset in raw.get("subsets") or ():
        for port in subset.get("ports") or ():
            if not port.get("protocol"):
                port["protocol"] = "TCP"


def _warnings(_new: Raw, _old: Raw | None) -> Iterator[str]:
    yield "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"


KIND = Kind(
    group="",
    version="v1",
    kind="Endpoints",
    plural="endpoints",
    namespaced=True,
    schema="io.k8s.api.core.v1.Endpoints",
    singular="endpoints",
    short_names=("ep",),
    storage="services/endpoints",
    table=simple((Column("Endpoints"),), lambda raw: [_addresses(raw)]),
    rules=Rules(default=_default, validate=addresses.endpoints, warnings=_warnings),
    allow_create_on_update=True,
    storage_version_hash="fWeeMqaN/OA=",
)
