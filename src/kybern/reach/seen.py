"""What is to be seen on a node of the way that packets take: the script that looks, and its output as a record. Pure.

Everything is read, nothing changed. Sections begin with ``== NAME``; one whose program is missing is empty, which says
nothing about what it would have shown.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any

SYSCTLS = (
    "net.ipv4.ip_forward",
    "net.ipv6.conf.all.forwarding",
    "net.bridge.bridge-nf-call-iptables",
    "net.bridge.bridge-nf-call-ip6tables",
)
UNITS = ("kubelet", "kube-proxy", "kybern-pod-network", "kybern-firewall", "kybern-policies", "kybern-dns")
VXLAN = "kybern-vxlan"
_COUNTED = re.compile(r"^\[(\d+):\d+\] (-A .*-j (?:DROP|REJECT).*)$")
_POLICY = re.compile(r"^:(\S+) DROP \[(\d+):\d+\]$")
_NFT = re.compile(r"^(.*)counter packets (\d+) bytes \d+ (.*\b(?:drop|reject)\b.*)$")
_IPTABLES = tuple(
    f"table {family} {name}" for family in ("ip", "ip6") for name in ("filter", "nat", "mangle", "raw")
)

type Route = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Seen:
    """One look at a node. Links by name, routes by the address asked for, ``drops`` packets by the rule that took them.

    ``peers`` are the numbers of the links that the containers' pods hang on. ``answered`` is false for a node that could
    not be looked at: then nothing else says anything.
    """

    answered: bool = True
    links: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    addresses: Mapping[str, str] = field(default_factory=dict)
    sysctls: Mapping[str, str] = field(default_factory=dict)
    routes: Mapping[str, Route] = field(default_factory=dict)
    neighbours: Mapping[str, str] = field(default_factory=dict)
    tunnels: frozenset[str] = frozenset()
    iptables: str = ""
    ip6tables: str = ""
    nft: str = ""
    drops: Mapping[str, int] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
    peers: Mapping[str, int] = field(default_factory=dict)


def rules(seen: Seen, version: int) -> str:
    """What iptables has for a version of IP."""
    return seen.iptables if version == 4 else seen.ip6tables


def script(addresses: Iterable[str], containers: Iterable[str]) -> str:
    """A look at a node: the ways to ``addresses``, and on which links the pods of ``containers`` hang."""
    ways = sorted({str(ip_address(one)) for one in addresses if one})
    lines = [
        "echo '== links'; ip -j -d link show",
        "echo '== addresses'; ip -j addr show",
        *(f"echo '== sysctl {key}'; cat /proc/sys/{key.replace('.', '/')}" for key in SYSCTLS),
        *(f"echo '== route {one}'; ip -j route get {one}" for one in ways),
        "echo '== neighbours'; ip -j neigh show",
        f"echo '== tunnels'; bridge -j fdb show dev {VXLAN}",
        "echo '== iptables'; iptables-save -c",
        "echo '== ip6tables'; ip6tables-save -c",
        "echo '== nft'; nft list ruleset",
        *(f"echo '== unit {one}'; systemctl is-active {one}.service" for one in UNITS),
        *(
            f"echo '== peer {one}'; timeout 5 ctr -n k8s.io tasks exec --exec-id look-$$-{number} {one} "
            # The script comes by the standard input, which ctr would read.
            "cat /sys/class/net/eth0/iflink </dev/null"
            for number, one in enumerate(sorted(set(containers) - {""}))
        ),
    ]
    return "exec 2>/dev/null\n" + "\n".join(lines) + "\necho '== end'\n"


def read(said: str) -> Seen:
    """What the script printed."""
    parts = _sections(said)
    links = {one["ifname"]: one for one in _json(parts.get("links", ""))}
    iptables, ip6tables, nft = (parts.get(name, "") for name in ("iptables", "ip6tables", "nft"))
    return Seen(
        answered="end" in parts,
        links=links,
        addresses={
            address["local"]: one["ifname"]
            for one in _json(parts.get("addresses", ""))
            for address in one.get("addr_info", ())
            if "local" in address
        },
        sysctls={key: text.strip() for key, text in _named(parts, "sysctl")},
        routes={key: (_json(text) or [{}])[0] for key, text in _named(parts, "route")},
        neighbours={
            one["dst"]: " ".join(one.get("state", ()))
            for one in _json(parts.get("neighbours", ""))
            if "dst" in one
        },
        tunnels=frozenset(one["dst"] for one in _json(parts.get("tunnels", "")) if "dst" in one),
        iptables=iptables,
        ip6tables=ip6tables,
        nft=nft,
        drops=drops(iptables, nft, ip6tables),
        units={key: text.strip() for key, text in _named(parts, "unit")},
        peers={key: int(text) for key, text in _named(parts, "peer") if text.strip().isdigit()},
    )


def drops(iptables: str, nft: str, ip6tables: str = "") -> dict[str, int]:
    """Packets by each rule, or chain's policy, that lets none through."""
    found = _chain_drops("iptables", iptables) | _chain_drops("ip6tables", ip6tables)
    table = chain = ""
    for line in map(str.strip, nft.splitlines()):
        if line.startswith("table "):
            table = line.removesuffix(" {")
        elif line.startswith("chain "):
            chain = line.removesuffix(" {")
        elif table not in _IPTABLES and (rule := _NFT.match(line)):
            name = f"nft {table}, {chain}: {rule[1]}{rule[3]}".strip()
            found[name] = found.get(name, 0) + int(rule[2])
    return found


def _chain_drops(program: str, saved: str) -> dict[str, int]:
    found: dict[str, int] = {}
    for line in saved.splitlines():
        if rule := _COUNTED.match(line):
            found[f"{program} {rule[2]}"] = int(rule[1])
        elif policy := _POLICY.match(line):
            found[f"{program} policy of chain {policy[1]}, DROP"] = int(policy[2])
    return found


def _sections(said: str) -> dict[str, str]:
    parts: dict[str, list[str]] = {}
    current: list[str] = []
    for line in said.splitlines():
        if line.startswith("== "):
            current = parts.setdefault(line[3:], [])
        else:
            current.append(line)
    return {name: "\n".join(lines) for name, lines in parts.items()}


def _named(parts: Mapping[str, str], kind: str) -> Iterable[tuple[str, str]]:
    return ((name[len(kind) + 1 :], text) for name, text in parts.items() if name.startswith(f"{kind} "))


def _json(text: str) -> list[dict[str, Any]]:
    try:
        found = json.loads(text or "[]")
    except json.JSONDecodeError:
        return []
    return [one for one in found if one]
