"""The topology's ``families``: which of IPv4 and IPv6 pods and services have, in their order, such as [IPv6, IPv4].

The first is that of a Service that does not say which it wants, of ``kubernetes`` and of the cluster's DNS. Machines'
own matters (etcd, the balancers in front of the masters, SSH) go by the family of their network in any case.
"""

import yaml

from kybern.machines.fields import Fields, Place
from kybern.machines.topology import IPV4, IPV6, Cluster, Network


def families_of(top: Fields, machines: Network) -> tuple[str, ...]:
    """None where the topology says nothing of it. ``machines`` is their network. Raises TopologyError."""
    node, six = top.node("families"), top.node("ipv6")
    if node is None:
        return ()
    place = Place(top.at.file, node.start_mark.line + 1)
    found: list[str] = []
    for one in top.items("families"):
        if not isinstance(one, yaml.ScalarNode) or one.value not in {IPV4, IPV6} or one.value in found:
            raise place.error(
                f'"families" is a list of {IPV4} and {IPV6}, each once, and the first one first'
            )
        found.append(one.value)
    if machines.version == 6:
        if found != [IPV6]:
            raise place.error(
                f'the machines\' network {machines} is of IPv6, and so are pods and services: leave out "families"'
            )
        return (IPV6,)
    if IPV6 in found and six is None:
        raise place.error(f'{IPV6} needs networks: add "ipv6" with network, pods and services')
    if IPV6 not in found and six is not None:
        raise place.error(
            f'"families" has no {IPV6}, and "ipv6" has networks of it; leave out one of the two'
        )
    return tuple(found)


def check_families(cluster: Cluster, at: Place) -> None:
    """What knows pods by IPv4 where machines have that is left out where pods have none."""
    if IPV4 in cluster.ip_families or cluster.has_no_ipv4:
        return
    for key, has in (
        ("ingress", cluster.ingress),
        ("load_balancer", bool(cluster.load_balancer)),
        ("node_local_dns", cluster.node_local_dns),
    ):
        if has:
            raise at.error(
                f'"{key}" reaches pods by IPv4, which "families" leaves out; leave out "{key}", or add {IPV4}'
            )
