"""EndpointSlice: some of the addresses behind a service."""

from collections.abc import Iterator
from typing import Any

from kybern.api.rules import addresses
from kybern.api.rules.emptylists import null_when_empty
from kybern.api.rules.tables import UNSET, dig, first, simple
from kybern.machinery.kind import Column, Kind, Raw, Rules, wish_changed


def _port(port: Raw) -> str:
    if port.get("port") is not None:
        return str(port["port"])
    return port.get("name") or "*"


def _cells(raw: Raw) -> list[Any]:
    ports = [_port(port) for port in raw.get("ports") or ()]
    addresses = [
        address for endpoint in raw.get("endpoints") or () for address in endpoint.get("addresses") or ()
    ]
    return [raw.get("addressType", ""), first(ports, 3) or UNSET, first(addresses, 3) or UNSET]


def _default(raw: Raw) -> None:
    for endpoint in raw.get("endpoints") or ():
        endpoint.setdefault("conditions", {})
    for port in raw.get("ports") or ():
        port.setdefault("name", "")
        if not port.get("protocol"):
            port["protocol"] = "TCP"
    raw.setdefault("endpoints", None)
    raw.setdefault("ports", None)


def _warnings(new: Raw, old: Raw | None) -> Iterator[str]:
    if new.get("addressType") == "FQDN" and old is None:
        yield "spec.addressType: FQDN endpoints are deprecated"


def _generation(new: Raw, old: Raw) -> bool:
    """Labels count, too: they say to which service a slice belongs."""
    labels = [dig(raw, "metadata", "labels") or {} for raw in (new, old)]
    return labels[0] != labels[1] or wish_changed(new, old)


KIND = Kind(
    group="discovery.k8s.io",
    version="v1",
    kind="EndpointSlice",
    plural="endpointslices",
    namespaced=True,
    schema="io.k8s.api.discovery.v1.EndpointSlice",
    singular="endpointslice",
    storage="endpointslices",
    table=simple((Column("AddressType"), Column("Ports"), Column("Endpoints")), _cells),
    rules=Rules(
        default=_default,
        forget=null_when_empty("endpoints", "ports"),
        validate=addresses.endpoint_slice,
        warnings=_warnings,
    ),
    storage_version_hash="qgS0xkrxYAI=",
    generation=_generation,
)
