"""The topology's ``cloud``: that the machines run on libvirt, and how the masters reach it.

cloud: libvirt                          # containers of this host's: its libvirt is reached by a socket that only reads
cloud:
  region: home
  hypervisors: {rack-1: "qemu+tls://rack-1.example/system?pkipath=/etc/kubernetes/cloud"}
"""

import re

import yaml

from kybern.machines.fields import Fields, Place, matching
from kybern.machines.topology import Cloud, Cluster

SOCKETS = "/srv/libvirt"
"""Where masters that are containers see the sockets of their host's libvirt."""
RELAY = "/run/kybern-libvirt/libvirt-sock-ro"
"""Where the daemon's user, whom the host does not know, reaches the one that only reads (see roles.cloud)."""
LOCAL = Cloud((("local", f"lxc+unix:///system?socket={RELAY}"),))
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
_NAMED = "a name of letters, digits, dots and dashes, at most 63 long"
_URI = re.compile(r"[a-z0-9+]+://\S*")


def cloud_of(top: Fields) -> Cloud | None:
    """Raises TopologyError with its line."""
    found = top.node("cloud")
    if found is None:
        return None
    if not isinstance(found, yaml.MappingNode):
        value = top.required("cloud")
        if value.text not in ("libvirt", "none"):
            raise value.at.error(
                f'"{value.text}" is not one of libvirt, none, and no mapping with "hypervisors"'
            )
        return LOCAL if value.text == "libvirt" else None
    fields = top.within(found, "cloud", ("hypervisors", "region"))
    node = fields.node("hypervisors")
    if not isinstance(node, yaml.MappingNode) or not node.value:
        raise fields.at.error('cloud: "hypervisors" must be a mapping of names to URIs of libvirt\'s')
    names = tuple(key.value for key, _ in node.value)
    named = top.within(node, "hypervisors", names)
    if strange := next((name for name in names if not _NAME.fullmatch(name)), ""):
        raise named.at.error(f'hypervisor "{strange}" is not {_NAMED}')
    uri = "a URI of libvirt's, such as qemu+tls://HOST/system"
    return Cloud(
        tuple((name, named.required(name).parse(matching(_URI), uri)) for name in names),
        fields.parse("region", matching(_NAME), _NAMED, ""),
    )


def check_cloud(cluster: Cluster, at: Place) -> None:
    """What libvirt knows of these machines is enough."""
    if cluster.cloud is None:
        return
    if cluster.cloud == LOCAL and cluster.driver != "lxc":
        raise at.error(
            f'masters of driver "{cluster.driver}" cannot see their host; name "hypervisors" in "cloud"'
        )
    if cluster.ipv6 is not None:
        raise at.error('libvirt knows one address of each machine: leave out "cloud" or "ipv6"')
