"""What a Service is given when it is written, and gives back when it goes.

Addresses and ports are taken before the Service is stored, and given back when that fails: a crash in between leaves
one taken too many, never one given twice.
"""

import contextlib
from dataclasses import dataclass, field

from kybern.apiserver.engine import Call, Outcome
from kybern.apiserver.services import addresses, ports
from kybern.apiserver.services.addresses import Addresses
from kybern.apiserver.services.ports import Ports
from kybern.machinery.causes import invalid
from kybern.machinery.errors import Cause, InternalError, Invalid
from kybern.machinery.kind import Raw

HEADLESS = "None"
_WITH_PORTS = ("NodePort", "LoadBalancer")


@dataclass(slots=True)
class _Held:
    """What one write took, and what it will give back."""

    taken: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    ports: list[int] = field(default_factory=list)
    left_ports: list[int] = field(default_factory=list)


def addresses_of(raw: Raw | None) -> list[str]:
    spec = (raw or {}).get("spec") or {}
    if spec.get("type") == "ExternalName":
        return []
    return [ip for ip in spec.get("clusterIPs") or () if ip and ip != HEADLESS]


def ports_of(raw: Raw | None) -> list[int]:
    spec = (raw or {}).get("spec") or {}
    found = [port["nodePort"] for port in spec.get("ports") or () if port.get("nodePort")]
    if spec.get("healthCheckNodePort"):
        found.append(spec["healthCheckNodePort"])
    return list(dict.fromkeys(found))


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
        spec = new["spec"]
        if spec.get("type") != "ExternalName":
            self._families(call, spec)
            await self._give_addresses(call, spec, addresses_of(old), held)
        await self._give_ports(call, spec, ports_of(old), held)
        held.left = [ip for ip in addresses_of(old) if ip not in addresses_of(new)]
        held.left_ports = [port for port in ports_of(old) if port not in ports_of(new)]

    def _families(self, call: Call, spec: Raw) -> None:
        """Families and their policy, as the cluster's ranges allow."""
        known = [addresses.family(network) for network in self._addresses.networks]
        given = list(spec.get("ipFamilies") or ())
        many = [key for key in ("clusterIPs", "ipFamilies") if len(spec.get(key) or ()) > 1]
        policy = spec.get("ipFamilyPolicy") or ("RequireDualStack" if many else "SingleStack")
        causes: list[Cause] = []
        if policy == "SingleStack":
            text = "must be RequireDualStack or PreferDualStack when multiple '{}' are specified"
            causes += [invalid("spec.ipFamilyPolicy", policy, text.format(key)) for key in many]
        for at, one in enumerate(given):
            if one not in known:
                text = "not configured on this cluster"
                causes.append(invalid(f"spec.ipFamilies[{at}]", one, text))
        if policy == "RequireDualStack" and len(known) < 2:
            text = "this cluster is not configured for dual-stack services"
            causes.append(invalid("spec.ipFamilyPolicy", policy, text))
        if causes:
            raise Invalid.of("", "Service", call.name, causes)
        families = given or _said_by_addresses(spec) or known[:1]
        if policy != "SingleStack":
            families += [one for one in known if one not in families]
        spec["ipFamilyPolicy"], spec["ipFamilies"] = policy, families

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

    async def _give_ports(self, call: Call, spec: Raw, before: list[int], held: _Held) -> None:
        wants = spec.get("type") in _WITH_PORTS and not (
            spec["type"] == "LoadBalancer" and spec.get("allocateLoadBalancerNodePorts") is False
        )
        listed = spec.get("ports") or []
        named: list[int] = []
        for at, port in enumerate(listed):
            number = port.get("nodePort")
            if number and number not in before and number not in named:
                self._check_range(call, number, f"spec.ports[{at}].nodePort")
                named.append(number)
        open_ports = [port for port in listed if not port.get("nodePort")] if wants else []
        checks = _wants_health_check(spec) and not spec.get("healthCheckNodePort")
        # TCP and UDP of one port number share a node port when neither has one.
        groups = list(dict.fromkeys(port.get("port") for port in open_ports))
        try:
            given = await self._ports.take(named, len(groups) + int(checks), dry_run=call.options.dry_run)
        except ports.Taken as taken:
            at = next(at for at, port in enumerate(listed) if port.get("nodePort") == taken.port)
            cause = invalid(f"spec.ports[{at}].nodePort", taken.port, "provided port is already allocated")
            raise Invalid.of("", "Service", call.name, [cause]) from taken
        except ports.Exhausted as exhausted:
            raise InternalError(
                "Internal error occurred: failed to allocate a nodePort: range is full"
            ) from exhausted
        held.ports = [*named, *given]
        if checks:
            spec["healthCheckNodePort"] = given.pop()
        chosen = dict(zip(groups, given, strict=True))
        for port in open_ports:
            port["nodePort"] = chosen[port.get("port")]

    def _check_range(self, call: Call, number: int, path: str) -> None:
        if not self._ports.holds(number):
            text = f"provided port is not in the valid range. The range of valid ports is {self._ports.range}"
            raise Invalid.of("", "Service", call.name, [invalid(path, number, text)])


def _said_by_addresses(spec: Raw) -> list[str]:
    asked = spec.get("clusterIPs") or ([spec["clusterIP"]] if spec.get("clusterIP") else [])
    with contextlib.suppress(ValueError):
        return ["IPv6" if ":" in ip else "IPv4" for ip in asked if ip != HEADLESS]
    return []


def _wants_health_check(spec: Raw) -> bool:
    return spec.get("type") == "LoadBalancer" and spec.get("externalTrafficPolicy") == "Local"
