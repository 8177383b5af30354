"""Ports of services whose traffic has to stay on this node, while their endpoints are all on others. Pure.

Upstream counts them as such in any of its modes (serviceNoLocalEndpointsTotalInternal and -External of its proxiers): a port
without any endpoint is not one of them, since nobody would answer elsewhere.
"""

from collections import Counter
from collections.abc import Iterable, Iterator

from kybern.proxy.families import family_of
from kybern.proxy.model import ServicePort, preferred, usable

POLICIES = ("internal", "external")


def policies(port: ServicePort) -> Iterator[str]:
    """Of POLICIES, those for which a packet to this port is dropped here."""
    if not (port.internal_local or port.external_local):
        return
    if any(usable(one for one in port.endpoints if one.local)) or not preferred(port.endpoints):
        return
    if port.internal_local:
        yield "internal"
    if port.external_local:
        yield "external"


class Stranded:
    """How many there are, by family's title and policy."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()

    def move(self, before: Iterable[ServicePort], now: Iterable[ServicePort]) -> None:
        """A service has other ports than before."""
        self.counts.subtract(_found(before))
        self.counts.update(_found(now))


def _found(ports: Iterable[ServicePort]) -> Iterator[tuple[str, str]]:
    for port in ports:
        for policy in policies(port):
            yield family_of(port.cluster_ip).title, policy
