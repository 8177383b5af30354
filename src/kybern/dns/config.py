"""What kybern-dns is told: flags and a DNSConfiguration file, as one frozen record.

    apiVersion: dns.kybern.io/v1alpha1
    kind: DNSConfiguration
    upstreams: [192.0.2.1, "192.0.2.2:5353"]
    stubDomains:
      corp.example: [192.0.2.9]

With ``clusterServers`` the daemon is a cache (on each node, docs/adr/0024): it keeps no zone and needs no API server, but
asks those servers for the cluster's names and for reverse names, and the upstreams for all others.

An unknown key is an error that names it; a flag on the command line wins over the file. Without upstreams those of
``resolvConf`` are asked. A name server that is this daemon itself is never asked: a question would go round for ever.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from kybern.daemon import config_file
from kybern.daemon.flags import Values
from kybern.daemon.run import Fatal
from kybern.dns.answer import Settings
from kybern.dns.upstream import DEFAULT_PORT, Server

API_VERSION = "dns.kybern.io/v1alpha1"
KIND = "DNSConfiguration"
# A cache cannot know which addresses are the cluster's; its name servers pass on what is not theirs.
REVERSE = ("in-addr.arpa", "ip6.arpa")
_ANY = ("0.0.0.0", "::")  # compared with, not listened on


@dataclass(frozen=True, slots=True)
class Config:
    """Times in seconds. ``service`` is NAMESPACE/NAME of the Service whose endpoints are kept; empty keeps none."""

    kubeconfig: str
    domain: str = "cluster.local"
    addresses: tuple[str, ...] = ("0.0.0.0",)  # as upstream's do
    port: int = DEFAULT_PORT
    health: str = "0.0.0.0:9153"
    answers: Settings = field(default_factory=Settings)
    upstreams: tuple[Server, ...] = ()
    stubs: Mapping[str, tuple[Server, ...]] = field(default_factory=dict)
    cache_seconds: int = 300
    node: str = ""
    service: str = ""
    advertise: str = ""
    cluster_servers: tuple[Server, ...] = ()
    stale_seconds: int = 0


# Keys of the file, and the flags of the same meaning.
KEYS = {
    "kubeconfig": "kubeconfig",
    "clusterDomain": "cluster-domain",
    "bindAddresses": "bind-address",
    "port": "port",
    "healthBindAddress": "health-bind-address",
    "clusterDNS": "cluster-dns",
    "ttlSeconds": "ttl",
    "negativeTTLSeconds": "negative-ttl",
    "cacheSeconds": "cache-seconds",
    "staleSeconds": "stale-seconds",
    "clusterServers": "cluster-servers",
    "podRecords": "pod-records",
    "upstreams": "upstreams",
    "resolvConf": "resolv-conf",
    "nodeName": "node-name",
    "service": "service",
    "advertiseAddress": "advertise-address",
}


def read(values: Values) -> Config:
    """The settings of a command line and of the file that it names. Raises Fatal with one line for the operator."""
    found = dict(values)
    content = config_file.content(Path(values["config"]), API_VERSION, KIND) if values["config"] else {}
    for key, value in content.items():
        if key in KEYS:
            if not values.given(KEYS[key]):
                found[KEYS[key]] = tuple(value) if isinstance(value, list) else value
        elif key not in ("apiVersion", "kind", "stubDomains"):
            raise Fatal(f'cannot read --config {values["config"]}: unknown field "{key}"')
    if not found["kubeconfig"] and not found["cluster-servers"]:
        raise Fatal("cannot start: no API server is named; give --kubeconfig, or kubeconfig in --config")
    if found["cluster-servers"] and (found["kubeconfig"] or found["service"]):
        raise Fatal(
            "cannot start: --cluster-servers makes a cache, which has no use for --kubeconfig and --service"
        )
    return _made(found, content.get("stubDomains") or {})


def _made(found: Mapping[str, Any], stubs: Mapping[str, Any]) -> Config:
    addresses, own = tuple(found["bind-address"]), tuple(found["cluster-dns"])
    listed = servers(found["upstreams"]) or resolvers(_content(found["resolv-conf"]))
    ours = frozenset((*addresses, *own, found["advertise-address"]))
    domain = found["cluster-domain"].strip(".").lower()
    cluster = others(servers(found["cluster-servers"]), ours, found["port"])
    return Config(
        kubeconfig=found["kubeconfig"],
        domain=domain,
        addresses=addresses,
        port=found["port"],
        health=found["health-bind-address"],
        answers=Settings(found["ttl"], found["negative-ttl"], own, found["pod-records"]),
        upstreams=others(listed, ours, found["port"]),
        stubs=dict.fromkeys((domain, *REVERSE) if cluster else (), cluster)
        | {
            name.strip(".").lower(): others(_of_stub(name, several), ours, found["port"])
            for name, several in stubs.items()
        },
        cache_seconds=found["cache-seconds"],
        node=found["node-name"],
        service=found["service"],
        advertise=found["advertise-address"],
        cluster_servers=cluster,
        stale_seconds=found["stale-seconds"],
    )


def _of_stub(name: str, several: Any) -> tuple[Server, ...]:
    if not isinstance(several, list) or not several:
        raise Fatal(f'cannot ask for "{name}": stubDomains names no server for it; give a list of addresses')
    return servers(several)


def _content(path: str) -> str:
    try:
        return Path(path).read_text()
    except FileNotFoundError:
        return ""  # a machine without name servers: names of the cluster are answered all the same
    except OSError as problem:
        raise Fatal(f"cannot read --resolv-conf {path}: {problem.strerror}") from problem


def servers(texts: Iterable[str]) -> tuple[Server, ...]:
    """Name servers by address, or ADDRESS:PORT, or [ADDRESS]:PORT. Raises Fatal."""
    return tuple(_server(str(text)) for text in texts)


def _server(text: str) -> Server:
    try:
        return Server(str(ip_address(text)))
    except ValueError:
        address, _, port = text.rpartition(":")
    try:
        return Server(str(ip_address(address.strip("[]"))), int(port))
    except ValueError:
        raise Fatal(
            f'cannot use name server "{text}": give an address, or an address and a port, such as 192.0.2.1:53'
        ) from None


def resolvers(text: str) -> tuple[Server, ...]:
    """The name servers of a resolv.conf; what is no address there is left out, as resolvers do."""
    found = []
    for line in text.splitlines():
        words = line.split()
        if len(words) > 1 and words[0] == "nameserver":
            try:
                found.append(Server(str(ip_address(words[1].partition("%")[0]))))
            except ValueError:
                continue
    return tuple(dict.fromkeys(found))


def others(listed: Iterable[Server], ours: frozenset[str], port: int) -> tuple[Server, ...]:
    """Those that are not this daemon: bound to every address, it is at each loopback address, too."""
    everywhere = any(address in _ANY for address in ours)

    def is_us(server: Server) -> bool:
        looped = everywhere and ip_address(server.address) in (ip_address("127.0.0.1"), ip_address("::1"))
        return server.port == port and (server.address in ours or looped)

    return tuple(server for server in listed if not is_us(server))
