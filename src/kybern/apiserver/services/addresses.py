"""Cluster IPs, each given to one Service by the IPAddress object of its name.

Making that object is one conditional write, so any number of API servers can give out addresses at the same time, and
no two give the same. Addresses nobody asked for come from the upper part of the range at random; the lower part is left
to those who choose their own, as upstream does.
"""

import contextlib
import ipaddress
import random
from collections.abc import Container, Iterable, Iterator, Sequence

from kybern.apiserver.local import Local
from kybern.machinery.errors import AlreadyExists, NotFound
from kybern.machinery.kind import Raw

GROUP, PLURAL, RANGES = "networking.k8s.io", "ipaddresses", "servicecidrs"
MANAGER = "ipallocator.k8s.io"
_TRIES = 64

type Network = ipaddress.IPv4Network | ipaddress.IPv6Network
type Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Exhausted(Exception):
    """No address of the range is free."""


class Taken(Exception):
    """The address has an owner already."""


class OutOfRange(Exception):
    """The address is of no range of this cluster; or ``network`` has it for itself, as its first or broadcast address."""

    def __init__(self, network: Network | None = None) -> None:
        super().__init__(str(network))
        self.network = network


def family(network: Network) -> str:
    return f"IPv{network.version}"


def static_share(network: Network) -> int:
    """How many addresses at the start of a range are not given out by chance: between 16 and 256, a sixteenth."""
    size = min(network.num_addresses - 2, 1 << 16)
    return min(max(16, size // 16), 256) if size > 16 else 0


class Addresses:
    """The ranges of one cluster: those that it began with, and those of ServiceCIDRs (KEP-1880)."""

    def __init__(self, local: Local, networks: Sequence[Network]) -> None:
        self.networks = tuple(networks)
        self._local = local

    async def ranges(self) -> list[Network]:
        """Whatever addresses are given out of now."""
        listed = await self._local.engine.lookup.list(GROUP, RANGES)
        return list(dict.fromkeys([*self.networks, *further(listed, {one.version for one in self.networks})]))

    async def take(self, address: str, namespace: str, name: str, *, dry_run: bool = False) -> None:
        """Give a certain address to a Service. Raises Taken, OutOfRange."""
        parsed = ipaddress.ip_address(address)
        around = [network for network in await self.ranges() if parsed in network]
        if all(parsed in (network.network_address, _last(network)) for network in around):
            raise OutOfRange(around[0] if around else None)
        if dry_run:
            if await self._local.get(GROUP, PLURAL, "", str(parsed)) is not None:
                raise Taken(address)
            return
        try:
            await self._local.create(GROUP, PLURAL, _object(parsed, namespace, name))
        except AlreadyExists as exists:
            raise Taken(address) from exists

    async def take_any(self, wanted: str, namespace: str, name: str, *, dry_run: bool = False) -> str:
        """Give some free address of a family to a Service. Raises Exhausted.

        The cache may not know yet what others have just taken: those that turn out so are remembered, until none is left.
        """
        taken = {found["metadata"]["name"] for found in await self._local.engine.lookup.list(GROUP, PLURAL)}
        ranges = [network for network in await self.ranges() if family(network) == wanted]
        for network in ranges:
            while candidates := _candidates(network, taken):
                for candidate in candidates:
                    try:
                        await self.take(candidate, namespace, name, dry_run=dry_run)
                    except (Taken, OutOfRange):  # the latter when its ServiceCIDR has begun to go meanwhile
                        taken.add(candidate)
                        continue
                    return candidate
        raise Exhausted(", ".join(map(str, ranges)))

    async def retake(self, address: str, namespace: str, name: str) -> None:
        """Have it that an address is this Service's, whatever the object of its name says. Raises Taken, OutOfRange."""
        canonical = str(ipaddress.ip_address(address))
        if await self._local.get(GROUP, PLURAL, "", canonical) is not None:
            with contextlib.suppress(NotFound):
                await self._local.delete(GROUP, PLURAL, "", canonical)
        await self.take(canonical, namespace, name)

    async def release(self, address: str, namespace: str, name: str) -> None:
        """Take an address back, if it is this Service's."""
        canonical = str(ipaddress.ip_address(address))
        found = await self._local.get(GROUP, PLURAL, "", canonical)
        if found is None or _owner(found) != (namespace, name):
            return
        try:
            await self._local.delete(GROUP, PLURAL, "", canonical)
        except NotFound:
            return


def further(listed: Iterable[Raw], versions: Container[int]) -> Iterator[Network]:
    """The ranges of ServiceCIDRs that are ready and do not go, of versions of IP that the cluster has.

    One that nobody has judged yet is ready, since a cluster may run without its controller.
    """
    for each in listed:
        conditions = (each.get("status") or {}).get("conditions") or ()
        judged = [one.get("status") for one in conditions if one.get("type") == "Ready"]
        if each["metadata"].get("deletionTimestamp") or judged[:1] not in ([], ["True"]):
            continue
        for text in (each.get("spec") or {}).get("cidrs") or ():
            network = ipaddress.ip_network(text, strict=False)
            if network.version in versions:
                yield network


def _last(network: Network) -> Address | None:
    """An IPv4 range's broadcast address is not given out."""
    return network.broadcast_address if network.version == 4 else None


def _candidates(network: Network, taken: set[str]) -> list[str]:
    """Free addresses to try: by chance first, in order when the range is nearly full."""
    size = network.num_addresses - (2 if network.version == 4 else 1)
    start = static_share(network)
    found: list[str] = []
    chance = random.SystemRandom()
    if size > start:
        found = [str(network[1 + start + chance.randrange(size - start)]) for _ in range(_TRIES)]
    free = [address for address in dict.fromkeys(found) if address not in taken]
    if free:
        return free
    orders = (*range(start, min(size, 1 << 16)), *range(min(start, size)))
    return [address for at in orders if (address := str(network[1 + at])) not in taken][:_TRIES]


def _owner(found: Raw) -> tuple[str, str]:
    parent = (found.get("spec") or {}).get("parentRef") or {}
    return parent.get("namespace", ""), parent.get("name", "")


def _object(address: Address, namespace: str, name: str) -> Raw:
    labels = {
        "ipaddress.kubernetes.io/ip-family": f"IPv{address.version}",
        "ipaddress.kubernetes.io/managed-by": MANAGER,
    }
    parent = {"group": "", "resource": "services", "namespace": namespace, "name": name}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "IPAddress",
        "metadata": {"name": str(address), "labels": labels},
        "spec": {"parentRef": parent},
    }
