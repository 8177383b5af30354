"""Whether the address of the API is free, and near. Pure."""

from kybern.machines.preflight.record import Looked, Outcome, failure, passed
from kybern.machines.topology import Cluster

KEEPALIVED = "keepalived.service"


def asked(cluster: Cluster) -> str:
    """Says near when it is on a network of the machine, here when it is its own, and the MAC of who answers."""
    vip = cluster.vip
    return (
        f"ip -o route get {vip} 2>/dev/null | head -n 1 | grep -q ' via ' || echo near; "
        f"ip -o address show | grep -qF ' {vip}/' && echo here; "
        f"ping -c 1 -W 1 {vip} >/dev/null 2>&1; "
        f"ip neighbour show {vip} nud reachable 2>/dev/null | grep -o 'lladdr [0-9a-f:]*' | cut -d' ' -f2; true"
    )


def virtual_address(looked: Looked) -> Outcome:
    vip = looked.cluster.vip
    if vip is None or not looked.machine.is_master:
        return passed("holds no address for others")
    found = looked.facts.lines("vip")
    if "near" not in found:
        return failure(f"{vip} is on none of its networks", "take a vip of the masters' own network")
    ours = [facts for facts in looked.everybody.values() if KEEPALIVED in facts.ours]
    holders = [line for line in found if line not in ("near", "here")]
    if ours:
        return passed(f"{vip} is this cluster's already")
    if "here" in found:
        return failure(f"{vip} is an address of its own", "take a vip that is nobody's")
    if holders:
        return failure(f"{vip} is in use by {holders[0]}", "take a vip that is nobody's")
    return passed(f"{vip} is free")
