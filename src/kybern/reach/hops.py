"""What can be wrong at one hop, by what was seen on its node: a sentence, or nothing. Pure.

What was not seen is never held against anything, and neither is what another pod network does in its own way.
"""

from kybern.reach.probes import target, version_of
from kybern.reach.seen import VXLAN, Seen, rules

BRIDGE = "cni0"


def veth(container: str, ip: str, seen: Seen) -> str:
    """The node's end of a pod's link: there, up, and on the bridge (when it is our bridge that joins pods)."""
    index = seen.peers.get(container)
    if index is None or not ip:
        return ""
    link = next((one for one in seen.links.values() if one.get("ifindex") == index), None)
    if link is None:
        return f"pod {ip}: its veth's end on the node (link {index}) is gone; delete the pod"
    name = link["ifname"]
    if "UP" not in link.get("flags", ()):
        return f"veth {name} of pod {ip} is down"
    if BRIDGE in seen.links and link.get("master") != BRIDGE:
        return f"veth {name} of pod {ip} is not on the bridge {BRIDGE}"
    return ""


def way(seen: Seen, to: str, node: str, outer: str, *, local: bool) -> str:
    """Whether packets for ``to`` leave where they should: to the bridge, to the other node, or through the tunnel.

    ``node`` is the other node's address of the packet's family, ``outer`` the one at which its tunnel ends.
    """
    if to not in seen.routes:
        return ""
    route = seen.routes[to]
    if not route:
        return f"there is no route to {to}"
    device, gateway = route.get("dev", ""), route.get("gateway", "")
    if device == VXLAN:
        return tunnel(seen, gateway, outer or node)
    if not node or to == node:
        return neighbour(seen, gateway or to)
    # Of another pod network nothing is known: its ways are its own.
    return plain(seen, to, node, local=local) if BRIDGE in seen.links else ""


def plain(seen: Seen, to: str, node: str, *, local: bool) -> str:
    """A pod's address: on the bridge here, or behind the other node."""
    device, gateway = seen.routes[to].get("dev", ""), seen.routes[to].get("gateway", "")
    if local:
        return "" if device == BRIDGE else f"the route to {to} leads to {device}, not to {BRIDGE}"
    if gateway == node:
        return neighbour(seen, node)
    shown = f"through {gateway}" if gateway else f"to {device}"
    return f"the route to {to} leads {shown}, not through {node}; is kybern-pod-network running?"


def tunnel(seen: Seen, gateway: str, node: str) -> str:
    if "UP" not in seen.links.get(VXLAN, {}).get("flags", ()):
        return f"the device {VXLAN} is missing or down"
    if gateway not in seen.neighbours:
        return f"{VXLAN} does not know the hardware address of {gateway}"
    return "" if node in seen.tunnels else f"{VXLAN} has no entry that leads to {node}"


def neighbour(seen: Seen, address: str) -> str:
    failed = seen.neighbours.get(address, "") in ("FAILED", "INCOMPLETE")
    return f"{address} does not answer on the link (neighbour {seen.neighbours[address]})" if failed else ""


def dropped(before: Seen, after: Seen) -> str:
    """Rules that dropped packets while the probe was tried once more."""
    grown = {
        rule: count - before.drops.get(rule, 0) for rule, count in after.drops.items() if before.answered
    }
    found = [f"{rule} ({count} packets)" for rule, count in sorted(grown.items()) if count > 0]
    return f"packets were dropped meanwhile by {'; '.join(found)}" if found else ""


def served(seen: Seen, ip: str, port: int, protocol: str, behind: tuple[tuple[str, int], ...]) -> str:
    """Whether kube-proxy's rules know a service and the endpoints behind it, in the form of either backend."""
    chains = rules(seen, version_of(ip))
    if not chains + seen.nft:
        return ""
    in_iptables = any(
        f"-d {ip}/{128 if ':' in ip else 32} " in line
        and f"--dport {port} " in line
        and f"-p {protocol} " in line
        for line in chains.splitlines()
    )
    if not in_iptables and f"{ip} . {protocol} . {port} " not in seen.nft:
        state = seen.units.get("kube-proxy", "")
        return f"kube-proxy has no rule for {target(ip, port)}/{protocol} (its unit is {state or 'unknown'})"
    missing = [
        target(one, at)
        for one, at in behind
        if one and f"--to-destination {target(one, at)}" not in chains and f"{one} . {at}" not in seen.nft
    ]
    return (
        f"kube-proxy's rules for {target(ip, port)} lack the endpoint {', '.join(missing)}" if missing else ""
    )
