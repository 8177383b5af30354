"""What a pod calls itself and whom it asks for names: hostname, resolv.conf, /etc/hosts. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass

from kybern.api.core_v1 import Pod

_LONGEST_NAME = 64
"""Characters of a host name in the kernel."""
_MOST_SERVERS, _MOST_SEARCHES, _MOST_CHARACTERS = 3, 32, 2048
_HOSTS_HEAD = "# Kubernetes-managed hosts file."
_HOSTS_HEAD_OF_NODE = "# Kubernetes-managed hosts file (host network)."

_NO_CLUSTER_DNS = (
    'kubelet does not have ClusterDNS IP configured and cannot create Pod using "ClusterFirst" policy. '
    'Falling back to "Default" policy.'
)


@dataclass(frozen=True, slots=True)
class Resolver:
    """The three parts of a resolv.conf."""

    servers: tuple[str, ...] = ()
    searches: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


def read_resolv_conf(text: str) -> Resolver:
    servers: list[str] = []
    searches: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    for line in text.splitlines():
        words = line.split("#")[0].split(";")[0].split()
        match words:
            case ["nameserver", server, *_]:
                servers.append(server)
            case ["search" | "domain", *rest]:
                searches = tuple(name.rstrip(".") if name != "." else name for name in rest)
            case ["options", *rest]:
                options = tuple(rest)
            case _:
                continue
    return Resolver(tuple(servers), searches, options)


type Told = tuple[tuple[str, str], ...]
"""Reasons and texts of events."""


def resolver_of(
    pod: Pod, of_node: Resolver, cluster_servers: tuple[str, ...], domain: str
) -> tuple[Resolver, Told]:
    """What the pod's resolv.conf says, and what is to be told: no cluster's DNS where it was wanted, or too many names."""
    policy = pod.spec.dns_policy or "ClusterFirst"
    if policy == "ClusterFirst" and pod.spec.host_network:
        policy = "Default"
    if policy == "ClusterFirstWithHostNet":
        policy = "ClusterFirst"
    told: Told = ()
    base = Resolver() if policy == "None" else of_node
    if policy == "ClusterFirst" and cluster_servers:
        namespace = pod.metadata.namespace
        own = (f"{namespace}.svc.{domain}", f"svc.{domain}", domain) if domain else ()
        searches = tuple(dict.fromkeys((*own, *of_node.searches)))
        options = dict.fromkeys(("ndots:5", *of_node.options))
        base = Resolver(cluster_servers, searches, tuple(options))
    elif policy == "ClusterFirst":
        told = (("MissingClusterDNS", _NO_CLUSTER_DNS),)
    resolver, beyond = _limited(_configured(pod, base))
    return resolver, (*told, *(("DNSConfigForming", text) for text in beyond))


def _configured(pod: Pod, base: Resolver) -> Resolver:
    """The pod's own dnsConfig on top."""
    config = pod.spec.dns_config
    if config is None:
        return base
    options = {option.partition(":")[0]: option for option in base.options}
    for option in config.options:
        options[option.name] = f"{option.name}:{option.value}" if option.value else option.name
    return Resolver(
        tuple(dict.fromkeys((*base.servers, *config.nameservers))),
        tuple(dict.fromkeys((*base.searches, *config.searches))),
        tuple(options.values()),
    )


def _limited(found: Resolver) -> tuple[Resolver, tuple[str, ...]]:
    """What resolvers take, and what is to be told of the rest."""
    servers, searches = found.servers[:_MOST_SERVERS], found.searches[:_MOST_SEARCHES]
    while searches and len(" ".join(searches)) > _MOST_CHARACTERS:
        searches = searches[:-1]
    told = []
    if servers != found.servers:
        told.append(
            "Nameserver limits were exceeded, some nameservers have been omitted, the applied nameserver line is: "
            + " ".join(servers)
        )
    if searches != found.searches:
        told.append(
            "Search Line limits were exceeded, some search paths have been omitted, the applied search line is: "
            + " ".join(searches)
        )
    return Resolver(servers, searches, found.options), tuple(told)


def hostname_of(pod: Pod, domain: str, node: str) -> tuple[str, str]:
    """The pod's host name (at most 63 characters) and the domain in which others find it, if it has a subdomain."""
    spec = pod.spec
    if spec.hostname_override:
        return spec.hostname_override, ""
    if spec.host_network:
        return node, ""
    name = (spec.hostname or pod.metadata.name)[:63].rstrip("-.")
    below = f"{spec.subdomain}.{pod.metadata.namespace}.svc.{domain}" if spec.subdomain else ""
    return name, below


class TooLong(ValueError):
    """The kernel takes no such name."""


def kernel_hostname(pod: Pod, domain: str, node: str) -> str:
    """What ``hostname`` prints inside. Raises TooLong."""
    name, below = hostname_of(pod, domain, node)
    if not below or not pod.spec.set_hostname_as_fqdn:
        return name
    full = f"{name}.{below}"
    if len(full) > _LONGEST_NAME:
        raise TooLong(
            f"failed to construct FQDN from pod hostname and cluster domain, FQDN {full} is too long "
            f"({_LONGEST_NAME} is the max, {len(full)} characters requested)"
        )
    return full


def hosts_file(pod: Pod, ips: Iterable[str], name: tuple[str, str], of_node: str) -> str:
    """The content of /etc/hosts: the node's own for pods in its network, else made."""
    aliases = "".join(f"{alias.ip}\t{chr(9).join(alias.hostnames)}\n" for alias in pod.spec.host_aliases)
    tail = f"\n# Entries added by HostAliases.\n{aliases}" if aliases else ""
    if pod.spec.host_network:
        return f"{_HOSTS_HEAD_OF_NODE}\n{of_node}{tail}"
    hostname, below = name
    lines = [
        _HOSTS_HEAD,
        "127.0.0.1\tlocalhost",
        "::1\tlocalhost ip6-localhost ip6-loopback",
        "fe00::0\tip6-localnet",
        "fe00::0\tip6-mcastprefix",
        "fe00::1\tip6-allnodes",
        "fe00::2\tip6-allrouters",
    ]
    lines += [f"{ip}\t{hostname}.{below}\t{hostname}" if below else f"{ip}\t{hostname}" for ip in ips]
    return "\n".join(lines) + "\n" + tail
