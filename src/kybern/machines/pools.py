"""The topology's ``load_balancer``: pools of addresses, written as a list (one pool, "default") or as lists by name.

load_balancer: {pools: [192.168.7.100-192.168.7.119, "fd00:7::/120"]}
load_balancer:
  pools:
    default: [192.168.7.100-192.168.7.119]
    quiet: [192.168.8.0/28]
"""

import yaml

from kybern.machinery.pools import DEFAULT, BadPool, Range, parse_range, pools
from kybern.machines.fields import Fields, Place
from kybern.machines.topology import Cluster

type Pools = tuple[tuple[str, tuple[str, ...]], ...]


def balancer_pools(top: Fields) -> Pools:
    """By name, in the file's order; nothing where the topology has none. Raises TopologyError with its line."""
    found = top.node("load_balancer")
    if found is None:
        return ()
    fields = top.within(found, "load_balancer", ("pools",))
    node = fields.node("pools")
    if isinstance(node, yaml.MappingNode):
        names = tuple(key.value for key, _ in node.value)
        named = top.within(node, "pools", names)
        written = {name: tuple(_text(named, one) for one in named.items(name)) for name in names}
    else:
        written = {DEFAULT: tuple(_text(fields, one) for one in fields.items("pools"))}
    try:
        pools(written)
    except BadPool as problem:
        raise fields.at.error(f"load_balancer: {problem}") from problem
    return tuple(written.items())


def _text(fields: Fields, node: yaml.Node) -> str:
    if not isinstance(node, yaml.ScalarNode):
        raise fields.at.error('a range is one text such as "10.0.0.5-10.0.0.9"')
    return str(node.value)


def check_pools(cluster: Cluster, at: Place) -> None:
    """No address of a pool is somebody else's."""
    taken: list[tuple[str, Range]] = [
        (name, parse_range(str(address)))
        for name, address in (
            *((machine.name, machine.address) for machine in cluster.machines),
            ("gateway", cluster.gateway),
            *((("vip", cluster.vip),) if cluster.vip else ()),
        )
    ]
    taken += [
        (name, Range(cidr[0], cidr[-1]))
        for name, cidr in (("pods", cluster.pod_cidr), ("services", cluster.service_cidr))
    ]
    for pool, texts in cluster.load_balancer:
        for text in texts:
            one = parse_range(text)
            if one.first.version == 4 and cluster.has_no_ipv4:
                raise at.error(f'"{text}" of pool "{pool}" is of IPv4, which this cluster does not have')
            if clash := next((name for name, other in taken if one.overlaps(other)), ""):
                raise at.error(f'"{text}" of pool "{pool}" has an address of {clash}; choose others')
