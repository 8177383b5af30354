"""From a question to its answer, as the Kubernetes DNS specification and RFC 1034, 2308 have it. Pure.

``None`` means that the question is not ours: it goes to other name servers. Ours are all names in the cluster's domain,
and those reverse names that belong to a service or endpoint. A name that is not there is NXDOMAIN, a name without
records of the type asked for is NODATA; both bear the zone's SOA, by which resolvers know how long to remember that.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

from kybern.dns.records import AAAA, ANY, CNAME, NS, SOA, SRV, TXT, A, Record, address_record
from kybern.dns.zone import Zone

SCHEMA_VERSION = "1.1.0"
NOERROR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED = 0, 2, 3, 4, 5
DEPTH = 8  # names followed from one CNAME to the next


@dataclass(frozen=True, slots=True)
class Answer:
    """``chase`` is the name outside of the zone that a CNAME ends at: its records belong behind ours."""

    rcode: int = NOERROR
    records: tuple[Record, ...] = ()
    authority: tuple[Record, ...] = ()
    additional: tuple[Record, ...] = ()
    chase: str = ""


@dataclass(frozen=True, slots=True)
class Settings:
    """``ttl`` in seconds, for answers with records and without. ``own`` are the addresses of ns.dns.DOMAIN."""

    ttl: int = 30
    negative_ttl: int = 5
    own: tuple[str, ...] = ()
    pods: bool = True


def answer(zone: Zone, settings: Settings, name: str, kind: int) -> Answer | None:
    """``name`` in lower case, without the dot at its end."""
    if not zone.has(name):
        found = _of(zone.find(name), kind)
        return Answer(records=found) if found else None
    there, records = _look(zone, settings, name)
    if not there:
        return _nothing(zone, settings, NXDOMAIN)
    chosen = _of(records, kind)
    if not chosen:
        pointers = _of(records, CNAME)
        return _follow(zone, settings, pointers, kind) if pointers else _nothing(zone, settings, NOERROR)
    return Answer(records=chosen, additional=_targets(zone, settings, chosen))


def _of(records: Iterable[Record], kind: int) -> tuple[Record, ...]:
    return tuple(sorted(record for record in records if kind in (record.type, ANY)))


def _follow(zone: Zone, settings: Settings, pointers: tuple[Record, ...], kind: int) -> Answer:
    """A CNAME and what it points at: here, or outside. A circle ends after DEPTH names with what was found."""
    found = list(pointers[:1])
    for _ in range(DEPTH):
        target = found[-1].value
        if not target.endswith(f".{zone.domain}"):
            return Answer(records=tuple(found), chase=target)
        there, records = _look(zone, settings, target)
        if chosen := _of(records, kind):
            return Answer(records=(*found, *chosen))
        further = _of(records, CNAME)
        if not further:
            missing = _nothing(zone, settings, NOERROR if there else NXDOMAIN)
            return Answer(missing.rcode, tuple(found), missing.authority)
        found.append(further[0])
    return Answer(SERVFAIL)


def _nothing(zone: Zone, settings: Settings, rcode: int) -> Answer:
    return Answer(rcode, authority=(soa(zone, settings),))


def soa(zone: Zone, settings: Settings) -> Record:
    """Its last number is how long a negative answer holds. The serial stays: nobody transfers this zone."""
    times = f"1 7200 1800 86400 {settings.negative_ttl}"
    return Record(zone.domain, SOA, f"ns.dns.{zone.domain} hostmaster.{zone.domain} {times}")


def _targets(zone: Zone, settings: Settings, records: Iterable[Record]) -> tuple[Record, ...]:
    """The addresses of what SRV and NS records name, which spares the client a question each."""
    names = {record.value.split()[-1] for record in records if record.type in (SRV, NS)}
    found = (one for name in names for one in _look(zone, settings, name)[1] if one.type in (A, AAAA))
    return tuple(sorted(set(found)))


def _look(zone: Zone, settings: Settings, name: str) -> tuple[bool, tuple[Record, ...]]:
    """Whether a name of the zone exists, and its records."""
    if name == zone.domain:
        return True, (soa(zone, settings), Record(name, NS, f"ns.dns.{name}"))
    found: tuple[bool, tuple[Record, ...]] = (False, ())
    match name[: -len(zone.domain) - 1].split("."):
        case ["dns-version"]:
            found = True, (Record(name, TXT, SCHEMA_VERSION),)
        case ["svc"] | ["pod"] | ["dns"]:
            found = True, ()
        case ["ns", "dns"]:
            found = True, tuple(address_record(name, one) for one in settings.own)
        case [namespace, "svc"] | [namespace, "pod"]:
            found = namespace in zone.namespaces, ()
        case [address, namespace, "pod"]:
            found = _pod(zone, settings, name, (address, namespace))
        case [*_, "svc"]:
            found = zone.exists(name), zone.find(name)
    return found


def _pod(
    zone: Zone, settings: Settings, name: str, asked: tuple[str, str]
) -> tuple[bool, tuple[Record, ...]]:
    """A pod's name says its address (specification, 2.6): no pod is looked for, only its namespace."""
    address = undashed(asked[0])
    if not settings.pods or asked[1] not in zone.namespaces or address is None:
        return False, ()
    return True, (address_record(name, str(address)),)


def undashed(label: str) -> IPv4Address | IPv6Address | None:
    """The address that a label such as 10-1-2-3 or 2001-db8--1 stands for."""
    for sign in (".", ":"):
        try:
            return ip_address(label.replace("-", sign))
        except ValueError:
            continue
    return None
