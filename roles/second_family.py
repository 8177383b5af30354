"""IPv6 on a machine: its address of the second family, if the cluster has two, and forwarding between its pods.

Needs system, firewall. Leaves the address on the link that bears the machine's IPv4 address; where machines have IPv6 alone,
they have theirs already. What the daemons are told of the families stands in their own roles, the rules for IPv6 in
``roles/firewall.py``. A cluster keeps the families that it has: Services and pods bear their addresses.
"""

from pyinfra.api import deploy

from kybern.machines.topology import Cluster, Machine
from roles.operations import bundle, units
from roles.templates import render
from roles.tree import File, Service

UNIT = "kybern-ipv6.service"
SCRIPT = "/etc/kybern/ipv6"


@deploy("second family")
def second_family(cluster: Cluster, machine: Machine) -> None:
    if cluster.ipv6 is not None or cluster.has_no_ipv4:
        service = unit(cluster, machine)
        bundle(name="Address", files=service.files)
        units(name="In force", services=[service])


def unit(cluster: Cluster, machine: Machine) -> Service:
    given = f"{cluster.address6(machine)}/{cluster.ipv6.network.prefixlen}" if cluster.ipv6 else ""
    address = given.partition("/")[0] or str(machine.address)
    script = render("second_family/ipv6", machine=machine, given=given)
    text = render("second_family/kybern-ipv6.service", machine=machine, script=SCRIPT)
    return Service(
        UNIT,
        (File(f"/etc/systemd/system/{UNIT}", text), File(SCRIPT, script, mode="755")),
        alive=f"ip -o -6 address show | grep -qF ' {address}/' && [ $(sysctl -n net.ipv6.conf.all.forwarding) = 1 ]",
    )
