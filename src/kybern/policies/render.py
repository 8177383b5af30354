"""How rules and sets are written in nftables. Pure.

A packet that belongs to a known connection passes. Another one goes through the chain of the pod that sends it and through
that of the pod that receives it, found by address in a map; a chain hands back what it allows and drops the rest. A pod
without policies is in no map. What a pod sends to itself, and neighbour discovery, is nobody's business. What a node says
to its own pods, and they to it, is never looked at: ``forward`` is hooked, and of what goes out only that which others sent.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from ipaddress import IPv4Address, IPv6Address

from kybern.policies.records import DIRECTIONS, EGRESS, INGRESS, Network
from kybern.policies.rules import Blocks, Peers, Ranges, Rule

FORWARD = "forward"
HOOK = "type filter hook forward priority 0 ; policy accept ;"
# Where kube-proxy uses ipvs, packets to services go in to the node, and out again.
OUTPUT = "output"
OUTPUT_HOOK = "type filter hook output priority 0 ; policy accept ;"
_NEIGHBOURS = "nd-router-solicit, nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert, nd-redirect"
WHOLE = "*"
LONGEST = 120  # bytes of a comment; the kernel takes 128


@dataclass(frozen=True, slots=True)
class Family:
    """``name`` as in rules, ``address`` the type of an address."""

    name: str
    version: int
    address: str


FAMILIES = (Family("ip", 4, "ipv4_addr"), Family("ip6", 6, "ipv6_addr"))


def family_of(address: str) -> Family:
    return FAMILIES[":" in address]


def maps(family: Family) -> dict[str, str]:
    """Sets and maps that are always there: where a pod's chains are, this node's own pods, and each as its own peer."""
    found = {f"{way}-{family.name}": f"map {{ type {family.address} : verdict ; }}" for way in DIRECTIONS}
    found[f"local-{family.name}"] = f"set {{ type {family.address} ; }}"
    found[f"self-{family.name}"] = f"set {{ type {family.address} . {family.address} ; }}"
    return found


def forward(families: Iterable[Family]) -> tuple[str, ...]:
    """The chain that the kernel calls for what is sent on."""
    names = [family.name for family in families]
    return (
        "ct state established,related accept",
        f"icmpv6 type {{ {_NEIGHBOURS} }} accept",
        *(f"{name} saddr . {name} daddr @self-{name} accept" for name in names),
        *(f"{name} saddr vmap @{EGRESS}-{name}" for name in names),
        f"jump {starting(EGRESS)}",
        *(f"{name} daddr vmap @{INGRESS}-{name}" for name in names),
        f"jump {starting(INGRESS)}",
    )


def output(families: Iterable[Family]) -> tuple[str, ...]:
    """The chain that it calls for what leaves as if this node had sent it."""
    return ("ct state established,related accept", "fib saddr type local accept", *forward(families)[1:])


def starting(direction: str) -> str:
    """The chain for pods whose address nobody has told yet."""
    return f"{direction}-starting"


def unknown(direction: str, networks: Iterable[Network]) -> tuple[str, ...]:
    """Drops what has an address of this node's pods that is no known pod's."""
    rules = []
    for network in networks:
        name = family_of(str(network)).name
        end = f"{name} {_pod_side(direction)}"
        rules.append(f"{end} {network} {end} != @local-{name} drop")
    return tuple(rules)


def chain_name(direction: str, rules: tuple[Rule, ...]) -> str:
    return f"{direction}-{_digest(repr(rules))}"


@lru_cache(8192)
def set_name(peers: Peers, family: Family) -> str:
    return f"peers-{_digest(repr(peers))}-{family.name}"


def declaration(peers: Peers, family: Family) -> str:
    port = " . inet_service" if peers.port else ""
    return f'set {{ type {family.address}{port} ; comment "{_told(peers)}" ; }}'


def chain(direction: str, rules: Iterable[Rule], families: tuple[Family, ...]) -> tuple[str, ...]:
    """What a pod's chain holds."""
    return (*(line for rule in rules for line in _lines(rule, direction, families)), "drop")


def _lines(rule: Rule, direction: str, families: tuple[Family, ...]) -> Iterator[str]:
    end = f' return comment "{rule.policy[:LONGEST]}"'
    ports = _ports(rule.protocol, rule.ports)
    if rule.peers is None and not rule.blocks:
        yield f"{ports}{end}".strip()
        return
    for family in families:
        peer = f"{family.name} {_peer_side(direction)}"
        conditions = []
        if rule.blocks:
            if not (within := _within(rule.blocks, family)):
                continue
            # All addresses of a version: nft writes no test for a network without a prefix.
            conditions.append(f"meta nfproto ipv{family.version}" if within == WHOLE else f"{peer} {within}")
        if rule.peers is not None:
            key = f"{peer} . {rule.peers.protocol} dport" if rule.peers.port else peer
            conditions.append(f"{key} @{set_name(rule.peers, family)}")
        yield " ".join([*conditions, *([ports] if ports else [])]) + end


def _within(blocks: Blocks, family: Family) -> str:
    """A test of an address, written behind it; "" when no block is of this family."""
    made = IPv4Address if family.version == 4 else IPv6Address
    ranges = dict(blocks).get(family.version, ())
    if ranges == ((0, 2 ** (32 if family.version == 4 else 128) - 1),):
        return WHOLE
    texts = [str(made(first)) if first == last else f"{made(first)}-{made(last)}" for first, last in ranges]
    return f"{{ {', '.join(texts)} }}" if texts else ""


def _ports(protocol: str, ports: Ranges) -> str:
    if not protocol:
        return ""
    if not ports:
        return f"meta l4proto {protocol}"
    texts = [str(first) if first == last else f"{first}-{last}" for first, last in ports]
    return f"{protocol} dport {{ {', '.join(texts)} }}"


def _pod_side(direction: str) -> str:
    return "saddr" if direction == EGRESS else "daddr"


def _peer_side(direction: str) -> str:
    return "daddr" if direction == EGRESS else "saddr"


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:16]


def _told(peers: Peers) -> str:
    selected = peers.selected
    where = (
        f"in {selected.namespace}"
        if selected.namespace
        else f"in namespaces {str(selected.namespaces) or '*'}"
    )
    port = f", port {peers.port}" if peers.port else ""
    return f"{str(selected.pods) or '*'} {where}{port}".replace('"', "")[:LONGEST]
