"""The topology's ``cloud``: that the machines run on libvirt, and how the masters reach it.

cloud: libvirt                          # containers of this host's: its libvirt is reached by a socket that only reads
cloud:
  region: home
  hypervisors: {rack-1: "qemu+tls://rack-1.example/system?pkipath=/etc/kubernetes/cloud"}

cloud_volumes: default                  # beside it: volumes of that pool of libvirt's, with the same two forms
cloud_volumes:
  pool: default
  hypervisors: {rack-1: "qemu+tls://rack-1.example/system?pkipath=/etc/kubernetes/cloud-volumes"}
"""

import re

import yaml

from kybern.machines.fields import Fields, Place, matching
from kybern.machines.topology import Cloud, CloudVolumes, Cluster

SOCKETS = "/srv/libvirt"
"""Where masters that are containers see the sockets of their host's libvirt."""
RELAY = "/run/kybern-libvirt/libvirt-sock-ro"
"""Where the daemon's user, whom the host does not know, reaches the one that only reads (see roles.cloud)."""
VOLUMES_RELAY = "/run/kybern-libvirt-volumes/libvirt-sock"
"""The same for the daemon of the volumes, and the socket by which everything may be done."""
LOCAL = Cloud((("local", f"lxc+unix:///system?socket={RELAY}"),))
_LOCAL_VOLUMES = (("local", f"lxc+unix:///system?socket={VOLUMES_RELAY}"),)
HYPERVISOR = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
NAMED = "a name of letters, digits, dots and dashes, at most 63 long"
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
    return Cloud(hypervisors_in(fields, "cloud"), fields.parse("region", matching(HYPERVISOR), NAMED, ""))


def hypervisors_in(fields: Fields, key: str) -> tuple[tuple[str, str], ...]:
    """URIs by name, of the field ``hypervisors``. Raises TopologyError with its line."""
    node = fields.node("hypervisors")
    if not isinstance(node, yaml.MappingNode) or not node.value:
        raise fields.at.error(f'{key}: "hypervisors" must be a mapping of names to URIs of libvirt\'s')
    names = tuple(name.value for name, _ in node.value)
    named = fields.within(node, "hypervisors", names)
    if strange := next((name for name in names if not HYPERVISOR.fullmatch(name)), ""):
        raise named.at.error(f'hypervisor "{strange}" is not {NAMED}')
    uri = "a URI of libvirt's, such as qemu+tls://HOST/system"
    return tuple((name, named.required(name).parse(matching(_URI), uri)) for name in names)


def cloud_volumes_of(top: Fields) -> CloudVolumes | None:
    """Raises TopologyError with its line."""
    found = top.node("cloud_volumes")
    if found is None:
        return None
    if not isinstance(found, yaml.MappingNode):
        pool = top.required("cloud_volumes").parse(matching(HYPERVISOR), NAMED)
        return None if pool == "none" else CloudVolumes(pool, _LOCAL_VOLUMES)
    fields = top.within(found, "cloud_volumes", ("pool", "hypervisors"))
    pool = fields.required("pool").parse(matching(HYPERVISOR), NAMED)
    return CloudVolumes(pool, hypervisors_in(fields, "cloud_volumes"))


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


def check_cloud_volumes(cluster: Cluster, at: Place) -> None:
    """The same hypervisors, by both ways: nodes are labelled by the one, and volumes are bound to labels by the other."""
    if cluster.cloud_volumes is None:
        return
    if cluster.cloud is None:
        raise at.error('"cloud_volumes" needs "cloud", which tells where a node is')
    names, known = dict(cluster.cloud_volumes.hypervisors).keys(), dict(cluster.cloud.hypervisors).keys()
    if names != known:
        raise at.error(
            f'"cloud_volumes" has the hypervisors {", ".join(sorted(names))}, and "cloud" has '
            f"{', '.join(sorted(known))}; name the same in both"
        )
