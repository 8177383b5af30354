"""The topology's ``hypervisors``: the hosts that virtual machines are made on, by name, and what each of them has.

hypervisors: {rack-1: qemu+ssh://root@rack-1.example/system, rack-2: qemu+tls://rack-2.example/system}
bridge: br0                             # of each of them, all on one network with the machines' addresses
pool: default                           # of each of them, where volumes are files; as shown

Names are the zones of nodes, as those of ``cloud`` are: where both are there, both have the same ones.
"""

import re

from kybern.machines.clouds import HYPERVISOR, NAMED, hypervisors_in
from kybern.machines.fields import Fields, Place, matching
from kybern.machines.topology import Cluster

BRIDGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,14}")
BRIDGED = "the name of a bridge, such as br0"
POOL = "default"
_URI = re.compile(r"qemu(\+[a-z0-9]+)?://\S*")


def hypervisors_of(top: Fields) -> tuple[tuple[str, str], ...]:
    """Raises TopologyError with its line."""
    if top.node("hypervisors") is None:
        return ()
    return hypervisors_in(top, "the topology")


def bridge_of(top: Fields) -> str:
    """Empty where the topology has none. Raises TopologyError with its line."""
    return top.parse("bridge", matching(BRIDGE), BRIDGED, "")


def pool_of(top: Fields) -> str:
    """Raises TopologyError with its line."""
    return top.parse("pool", matching(HYPERVISOR), NAMED, POOL)


def named_hypervisor(fields: Fields) -> str:
    """The one that a machine's fields name, or none."""
    return fields.parse("hypervisor", matching(HYPERVISOR), NAMED, "")


def check_hypervisors(cluster: Cluster, at: Place, machines: dict[str, Place]) -> None:
    """All that hypervisors need is there, and nothing that only they need without them."""
    _check_names(cluster, machines)
    if cluster.hypervisors:
        _check_needs(cluster, at)
        _check_uris(cluster, at)
        return
    for key, said in (("bridge", bool(cluster.bridge)), ("pool", cluster.pool != POOL)):
        if said:
            raise at.error(f'"{key}" is of "hypervisors", which are not there; add them, or leave it out')


def _check_names(cluster: Cluster, machines: dict[str, Place]) -> None:
    known = dict(cluster.hypervisors)
    for machine in cluster.machines:
        if machine.hypervisor and machine.hypervisor not in known:
            has = ", ".join(known) or "none; add them"
            raise machines[machine.name].error(
                f'there is no hypervisor "{machine.hypervisor}" for {machine.name}; "hypervisors" has {has}'
            )


def _check_needs(cluster: Cluster, at: Place) -> None:
    known = dict(cluster.hypervisors)
    if cluster.driver != "qemu":
        raise at.error(
            f'"hypervisors" are for virtual machines, and this topology has "driver: {cluster.driver}"; '
            'say "driver: qemu", or leave them out'
        )
    if not cluster.bridge:
        raise at.error(
            '"hypervisors" need "bridge", the name of a bridge that each of them has; add it '
            "(docs/how-to/hypervisors.md)"
        )
    if cluster.cloud is not None and (zones := dict(cluster.cloud.hypervisors).keys()) != known.keys():
        raise at.error(
            f'"cloud" has the hypervisors {", ".join(sorted(zones))}, and "hypervisors" has '
            f"{', '.join(sorted(known))}; name the same in both"
        )


def _check_uris(cluster: Cluster, at: Place) -> None:
    names: dict[str, str] = {}
    for name, uri in cluster.hypervisors:
        if not _URI.fullmatch(uri):
            raise at.error(
                f'hypervisor {name}: "{uri}" is no URI of virtual machines; '
                "write qemu+ssh://USER@HOST/system, qemu+tls://HOST/system or qemu:///system"
            )
        if uri in names:
            raise at.error(f"hypervisors {names[uri]} and {name} are the same, {uri}; remove one of the two")
        names[uri] = name
