"""What else the node needs for virtual servers: its addresses, the device of services, and settings of the kernel.

The device is only there to make services' addresses the node's own, so that IPVS sees what is sent to them. It is never up;
nothing goes through it.
"""

import json
from collections.abc import Iterable
from ipaddress import ip_address

from kybern.netfilter.programs import run
from kybern.proxy.ipvs.plan import Options

DEVICE = "kube-ipvs0"


def own_addresses(told: str) -> tuple[str, ...]:
    """Of ``ip -json address show``: the node's addresses that others can call, without those of services. Pure."""
    found = []
    for device in json.loads(told):
        if device.get("ifname") != DEVICE:
            found += [one["local"] for one in device.get("addr_info", ()) if "local" in one]
    parsed = ((one, ip_address(one)) for one in found)
    return tuple(sorted(one for one, ip in parsed if not (ip.is_loopback or ip.is_link_local)))


def bound_addresses(told: str) -> frozenset[str] | None:
    """Of the same: those on the device of services; None where it is not there. Pure."""
    for device in json.loads(told):
        if device.get("ifname") == DEVICE:
            infos = (one for one in device.get("addr_info", ()) if "local" in one)
            return frozenset(one["local"] for one in infos if not ip_address(one["local"]).is_link_local)
    return None


def addressing(bind: Iterable[str], unbind: Iterable[str]) -> str:
    """Input for ``ip -batch`` that puts addresses on the device and takes others off. Pure."""
    lines = [f"address delete {_whole(ip)} dev {DEVICE}\n" for ip in sorted(unbind)]
    lines += [f"address replace {_whole(ip)} dev {DEVICE}\n" for ip in sorted(bind)]
    return "".join(lines)


def _whole(ip: str) -> str:
    return f"{ip}/{128 if ':' in ip else 32}"


def settings(options: Options) -> dict[str, str]:
    """Settings of the kernel as they have to be (upstream's NewProxier). Pure.

    Flows are known to conntrack, so that they can be masqueraded. What is sent to a real server that is gone is given to
    another one. With strict ARP the node does not answer for addresses on a device that nobody can reach.
    """
    wanted = {
        "net/ipv4/ip_forward": "1",
        "net/ipv4/vs/conntrack": "1",
        "net/ipv4/vs/expire_nodest_conn": "1",
        "net/ipv4/vs/expire_quiescent_template": "1",
    }
    if options.strict_arp:
        wanted |= {"net/ipv4/conf/all/arp_ignore": "1", "net/ipv4/conf/all/arp_announce": "2"}
    return wanted


async def addresses() -> str:
    """What ``ip`` tells of all addresses. Raises CannotApply."""
    return await run("ip", "-json", "address", "show")


async def make_device() -> None:
    await run("ip", "link", "add", DEVICE, "type", "dummy")


async def remove_device() -> None:
    await run("ip", "link", "delete", DEVICE)
