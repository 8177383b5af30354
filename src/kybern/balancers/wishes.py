"""What a service says about the addresses it is to have, read into a record. Pure.

spec.loadBalancerClass     none, kybern.io/load-balancer, or kybern.io/load-balancer-POOL: ours; others are others'
kybern.io/pool             annotation: the pool that the addresses are to be of
spec.loadBalancerIP        the address it asks for
kybern.io/addresses        annotation: the same for two, one of each version of IP
kybern.io/share-address    annotation: services of a namespace with the same value may have the same address
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from ipaddress import ip_address

from kybern.api.core_v1 import Service
from kybern.machinery.pools import Address

CLASS = "kybern.io/load-balancer"
POOL = "kybern.io/pool"
ADDRESSES = "kybern.io/addresses"
SHARE = "kybern.io/share-address"
LOAD_BALANCER = "LoadBalancer"

VERSIONS = {"IPv4": 4, "IPv6": 6}

type Port = tuple[str, int]  # protocol and number


@dataclass(frozen=True, slots=True)
class Wish:
    """``versions`` of IP in the service's order. ``needs_all``: one of them alone will not do."""

    key: tuple[str, str]
    versions: tuple[int, ...]
    needs_all: bool = True
    pool: str = ""
    asked: tuple[Address, ...] = ()
    share: str = ""
    ports: frozenset[Port] = frozenset()
    is_local: bool = False
    selector: frozenset[tuple[str, str]] = field(default=frozenset())

    def asked_of(self, version: int) -> Address | None:
        return next((one for one in self.asked if one.version == version), None)

    def may_share(self, other: "Wish") -> bool:
        """Whether one address may lead to both.

        Their ports tell them apart. A service that wants only the announcing node's endpoints shares with those that
        have the same endpoints: for others, there may be no node that has both.
        """
        return (
            bool(self.share)
            and (self.share, self.key[0]) == (other.share, other.key[0])
            and not self.ports & other.ports
            and (not (self.is_local or other.is_local) or self._same_endpoints(other))
        )

    def _same_endpoints(self, other: "Wish") -> bool:
        return self.is_local == other.is_local and bool(self.selector) and self.selector == other.selector


class BadWish(ValueError):
    """What the service says cannot be understood; the message is for its event."""


def is_ours(service: Service) -> bool:
    """Whether the service is one to be given addresses by us."""
    name = service.spec.load_balancer_class
    return (
        service.spec.type == LOAD_BALANCER
        and service.metadata.deletion_timestamp is None
        and (name in ("", CLASS) or name.startswith(f"{CLASS}-"))
    )


def wish(service: Service) -> Wish:
    """Raises BadWish for an address or annotation that is none."""
    spec, annotations = service.spec, service.metadata.annotations
    families = spec.ip_families or ("IPv4",)
    return Wish(
        key=(service.metadata.namespace, service.metadata.name),
        versions=tuple(VERSIONS[one] for one in families if one in VERSIONS),
        needs_all=spec.ip_family_policy != "PreferDualStack",
        pool=annotations.get(POOL) or spec.load_balancer_class.removeprefix(CLASS).removeprefix("-"),
        asked=_asked(annotations.get(ADDRESSES) or spec.load_balancer_ip),
        share=annotations.get(SHARE, ""),
        ports=frozenset((port.protocol or "TCP", port.port or 0) for port in spec.ports),
        is_local=spec.external_traffic_policy == "Local",
        selector=frozenset(spec.selector.items()),
    )


def _asked(text: str) -> tuple[Address, ...]:
    try:
        found = tuple(ip_address(part.strip()) for part in text.split(",") if part.strip())
    except ValueError as problem:
        raise BadWish(f"cannot read the address that is asked for: {problem}") from problem
    if len({one.version for one in found}) < len(found):
        raise BadWish(f'cannot give two addresses of one version of IP: "{text}"; ask for one of each')
    return found


def held(service: Service) -> tuple[Address, ...]:
    """The addresses that its status says; a text that is none counts as nothing."""
    balancer = service.status.load_balancer
    return tuple(_addresses(one.ip for one in balancer.ingress) if balancer else ())


def _addresses(texts: Iterable[str]) -> Iterator[Address]:
    for text in texts:
        try:
            yield ip_address(text)
        except ValueError:
            continue
