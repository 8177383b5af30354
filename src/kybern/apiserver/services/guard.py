"""What a Service is given when it is written, and gives back when it goes.

Addresses and ports are taken before the Service is stored, and given back when that fails: a crash in between leaves
one taken too many, never one given twice.
"""

from dataclasses import dataclass, field

from kybern.apiserver.engine import Call, Outcome
from kybern.apiserver.services import addresses, families, nodeports, ports
from kybern.apiserver.services.addresses import Addresses
from kybern.apiserver.services.discrepancies import HEADLESS, addresses_of, ports_of
from kybern.apiserver.services.ports import Ports
from kybern.machinery.causes import invalid
from kybern.machinery.errors import ApiError, InternalError, Invalid
from kybern.machinery.kind import Raw


@dataclass(slots=True)
class _Held:
    """What one write took, and what it will give back."""

    taken: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    ports: list[int] = field(default_factory=list)
    left_ports: list[int] = field(default_factory=list)


class ServiceGuard:
    """See ``engine.Guard``."""

    def __init__(self, addresses_: Addresses, ports_: Ports) -> None:
        self._addresses = addresses_
        self._ports = ports_

    async def prepare(self, call: Call, new: Raw | None, old: Raw | None) -> Outcome:
        held = _Held()
        namespace, name, dry = call.namespace, call.name, call.options.dry_run

        async def back(ips: list[str], numbers: list[int]) -> None:
            if dry:
                return
            for ip in ips:
                await self._addresses.release(ip, namespace, name)
            await self._ports.release(numbers)

        try:
            if new is not None:
                await self._give(call, new, old, held)
            else:
                held.left, held.left_ports = addresses_of(old), ports_of(old)
        except BaseException:
            await back(held.taken, held.ports)
            raise
        return Outcome(
            lambda: back(held.left, held.left_ports),
            lambda: back(held.taken, held.ports),
        )

    async def _give(self, call: Call, new: Raw, old: Raw | None, held: _Held) -> None:
        if call.subresource == "status":
            return
        spec, was = new["spec"], None if old is None else old.get("spec") or {}
        known = [addresses.family(network) for network in self._addresses.networks]
        if causes := families.settle(spec, was, known):
            raise Invalid.of("", "Service", call.name, causes)
        if spec.get("type") != "ExternalName":
            await self._give_addresses(call, spec, addresses_of(old), held)
        await self._give_ports(call, spec, was, held)
        held.left = [ip for ip in addresses_of(old) if ip not in addresses_of(new)]
        held.left_ports = [port for port in ports_of(old) if port not in ports_of(new)]

    async def _give_addresses(self, call: Call, spec: Raw, held_before: list[str], held: _Held) -> None:
        if spec.get("clusterIP") == HEADLESS or HEADLESS in (spec.get("clusterIPs") or ()):
            spec["clusterIP"], spec["clusterIPs"] = HEADLESS, [HEADLESS]
            return
        asked = list(spec.get("clusterIPs") or ())
        if not asked and spec.get("clusterIP"):
            asked = [spec["clusterIP"]]
        found: list[str] = []
        for at, family in enumerate(spec["ipFamilies"]):
            wanted = asked[at] if at < len(asked) else ""
            if wanted and wanted in held_before:
                found.append(wanted)
                continue
            given = await self._give_address(call, family, wanted, asked)
            held.taken.append(given)
            found.append(given)
        spec["clusterIP"], spec["clusterIPs"] = found[0], found

    async def _give_address(self, call: Call, family: str, wanted: str, asked: list[str]) -> str:
        dry = call.options.dry_run
        try:
            if wanted:
                await self._addresses.take(wanted, call.namespace, call.name, dry_run=dry)
                return wanted
            return await self._addresses.take_any(family, call.namespace, call.name, dry_run=dry)
        except addresses.Taken:
            text = f"failed to allocate IP {wanted}: provided IP is already allocated"
        except addresses.OutOfRange as problem:
            why = "the provided network does not match the current range"
            if problem.network:
                why = f"the provided IP ({wanted}) is not in the valid range. The range of valid IPs is {problem.network}"
            text = f"failed to allocate IP {wanted}: {why}"
        except addresses.Exhausted as exhausted:
            raise InternalError(
                "Internal error occurred: failed to allocate a serviceIP: range is full"
            ) from exhausted
        raise Invalid.of("", "Service", call.name, [invalid("spec.clusterIPs", asked, text)])

    async def _give_ports(self, call: Call, spec: Raw, was: Raw | None, held: _Held) -> None:
        wanted = nodeports.wanted(spec, was)
        for number, at in wanted.chosen:
            if not self._ports.holds(number):
                why = f"provided port is not in the valid range. The range of valid ports is {self._ports.range}"
                raise _refused(call, number, at, why)
        chosen = [number for number, _ in wanted.chosen]
        some = len(wanted.open) + int(wanted.health)
        try:
            given = await self._ports.take(chosen, some, dry_run=call.options.dry_run)
        except ports.Taken as taken:
            at = wanted.chosen[taken.at][1]
            raise _refused(call, taken.port, at, "provided port is already allocated") from taken
        except ports.Exhausted as exhausted:
            raise InternalError(
                "Internal error occurred: failed to allocate a nodePort: range is full"
            ) from exhausted
        held.ports = [*chosen, *given]
        if wanted.health:
            spec["healthCheckNodePort"] = given.pop()
        for number, group in zip(given, wanted.open, strict=True):
            for port in group:
                port["nodePort"] = number


def _refused(call: Call, number: int, at: str, why: str) -> ApiError:
    """Upstream tells of a port for health as of a fault of its own."""
    if at == nodeports.HEALTH:
        return InternalError(
            f"Internal error occurred: failed to allocate requested HealthCheck NodePort {number}: {why}"
        )
    return Invalid.of("", "Service", call.name, [invalid(at, number, why)])
