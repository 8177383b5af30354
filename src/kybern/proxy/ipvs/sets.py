"""The sets of addresses and ports that the few chains ask: names, types, and how they are read and written. Pure.

Names and types are upstream's (pkg/proxy/ipvs/ipset.go), so ``ipset list KUBE-CLUSTER-IP`` shows what operators expect. A
set of IPv6 has "KUBE-6-" in front and is cut to the 31 characters that the kernel takes.
"""

from collections.abc import Iterable, Mapping

CLUSTER_IP = "KUBE-CLUSTER-IP"
EXTERNAL_IP, EXTERNAL_IP_LOCAL = "KUBE-EXTERNAL-IP", "KUBE-EXTERNAL-IP-LOCAL"
BALANCER, BALANCER_LOCAL = "KUBE-LOAD-BALANCER", "KUBE-LOAD-BALANCER-LOCAL"
GUARDED = "KUBE-LOAD-BALANCER-FW"
SOURCE_IP, SOURCE_CIDR = "KUBE-LOAD-BALANCER-SOURCE-IP", "KUBE-LOAD-BALANCER-SOURCE-CIDR"
LOOP_BACK = "KUBE-LOOP-BACK"
HEALTH_PORT = "KUBE-HEALTH-CHECK-NODE-PORT"
IPS = "KUBE-IPVS-IPS"  # every address that is on the device of services
_PAIR, _TRIPLE, _PORTS = "hash:ip,port", "hash:ip,port,ip", "bitmap:port"

TYPES = {
    LOOP_BACK: _TRIPLE,
    CLUSTER_IP: _PAIR,
    EXTERNAL_IP: _PAIR,
    EXTERNAL_IP_LOCAL: _PAIR,
    BALANCER: _PAIR,
    BALANCER_LOCAL: _PAIR,
    GUARDED: _PAIR,
    SOURCE_IP: _TRIPLE,
    SOURCE_CIDR: "hash:ip,port,net",
    "KUBE-NODE-PORT-TCP": _PORTS,
    "KUBE-NODE-PORT-LOCAL-TCP": _PORTS,
    "KUBE-NODE-PORT-UDP": _PORTS,
    "KUBE-NODE-PORT-LOCAL-UDP": _PORTS,
    "KUBE-NODE-PORT-SCTP-HASH": _PAIR,
    "KUBE-NODE-PORT-LOCAL-SCTP-HASH": _PAIR,
    HEALTH_PORT: _PORTS,
    IPS: "hash:ip",
}
_LONGEST = 31

type Entry = tuple[str, str]
"""A set, by its name without a version of IP, and a member as ``ipset save`` prints it."""


def node_ports(protocol: str, *, local: bool) -> str:
    """The set of a protocol's node ports."""
    where = "LOCAL-" if local else ""
    return f"KUBE-NODE-PORT-{where}{protocol}" + ("-HASH" if protocol == "SCTP" else "")


def full_name(name: str, version: int) -> str:
    return name if version == 4 else f"KUBE-6-{name.removeprefix('KUBE-')}"[:_LONGEST]


def names(version: int) -> frozenset[str]:
    return frozenset(full_name(name, version) for name in TYPES)


def creation(version: int, present: Iterable[str]) -> str:
    """Input for ``ipset restore`` that makes the sets that are not there."""
    family = "inet" if version == 4 else "inet6"
    there, lines = set(present), []
    for name, kind in TYPES.items():
        if (full := full_name(name, version)) not in there:
            limits = "range 0-65535" if kind == _PORTS else f"family {family} hashsize 1024 maxelem 65536"
            lines.append(f"create {full} {kind} {limits}\n")
    return "".join(lines)


def update(version: int, come: Iterable[Entry], go: Iterable[Entry]) -> str:
    """Input for ``ipset restore`` that takes members out and puts others in."""
    lines = [f"del {full_name(name, version)} {member}\n" for name, member in sorted(go)]
    lines += [f"add {full_name(name, version)} {member}\n" for name, member in sorted(come)]
    return "".join(lines)


def saved(text: str) -> dict[str, set[str]]:
    """The sets that ``ipset save`` prints, and their members."""
    found: dict[str, set[str]] = {}
    for line in text.splitlines():
        verb, _, rest = line.partition(" ")
        name, _, what = rest.partition(" ")
        if verb == "create":
            found[name] = set()
        elif verb == "add":
            found[name].add(what.partition(" ")[0])
    return found


def entries(found: Mapping[str, set[str]], version: int) -> set[Entry]:
    """Those of our sets of a version of IP."""
    return {(name, member) for name in TYPES for member in found.get(full_name(name, version), ())}


def removal(present: Iterable[str]) -> str:
    """Input for ``ipset restore`` that takes our sets away. No rule may name them any more."""
    ours = names(4) | names(6)
    return "".join(f"destroy {name}\n" for name in sorted(ours.intersection(present)))
