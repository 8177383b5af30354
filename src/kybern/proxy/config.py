"""What kube-proxy is told: upstream's flags and its KubeProxyConfiguration file, as one frozen record.

An unknown key is an error that names it (design decision 1). A flag on the command line wins over the file. Keys of
upstream's file for parts that do not exist here (ELSEWHERE) are read past, so that its default file works.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from ipaddress import ip_network
from pathlib import Path
from typing import Any

from kybern.daemon import config_file
from kybern.daemon.flags import Values, duration
from kybern.daemon.run import Fatal
from kybern.proxy.families import version_of
from kybern.proxy.ipvs.plan import Options
from kybern.proxy.ipvs.servers import SCHEDULERS
from kybern.proxy.rules import PRIMARY
from kybern.proxy.tunables import FlowTable

API_VERSION = "kubeproxy.config.k8s.io/v1alpha1"
IPTABLES, IPVS, NFTABLES = MODES = ("iptables", "ipvs", "nftables")
ELSEWHERE = ("winkernel", "detectLocal")  # settings of parts that do not exist here
_BUFFERS = "logging.options."  # how upstream's process writes its logs


@dataclass(frozen=True, slots=True)
class Config:
    """Times in seconds. ``node`` is the name of the Node that this proxy serves.

    ``cluster_cidr`` may be one of IPv4, one of IPv6, or both with a comma.
    """

    kubeconfig: str
    node: str
    cluster_cidr: str
    mode: str = IPTABLES
    masquerade_all: bool = False
    node_port_addresses: tuple[str, ...] = ()
    sync_period: float = 30.0
    min_sync_period: float = 1.0
    healthz: str = "0.0.0.0:10256"
    metrics: str = "127.0.0.1:10249"
    ipvs: Options = field(default_factory=Options)
    localhost_node_ports: bool = True
    flows: FlowTable = field(default_factory=FlowTable)

    def pod_network(self, version: int) -> str:
        """The pods' network of a version of IP; "" when there is none."""
        return next((one for one in self.cluster_cidr.split(",") if version_of(one) == version), "")

    @property
    def versions(self) -> tuple[int, ...]:
        """Of IP: those that are served."""
        return tuple(one for one in (4, 6) if self.pod_network(one))


# Where each key of the file goes; nested ones with a dot.
KEYS = {
    "apiVersion": "",
    "kind": "",
    "mode": "mode",
    "hostnameOverride": "node",
    "clusterCIDR": "cluster_cidr",
    "nodePortAddresses": "node_port_addresses",
    "healthzBindAddress": "healthz",
    "metricsBindAddress": "metrics",
    "clientConnection.kubeconfig": "kubeconfig",
    "clientConnection.acceptContentTypes": "",
    "clientConnection.contentType": "",
    "clientConnection.qps": "",
    "clientConnection.burst": "",
    "iptables.masqueradeAll": "masquerade_all",
    "iptables.masqueradeBit": "",
    "iptables.localhostNodePorts": "localhost_node_ports",
    "iptables.syncPeriod": "sync_period",
    "iptables.minSyncPeriod": "min_sync_period",
    "ipvs.syncPeriod": "sync_period",
    "ipvs.minSyncPeriod": "min_sync_period",
    "ipvs.scheduler": "scheduler",
    "ipvs.strictARP": "strict_arp",
    "ipvs.excludeCIDRs": "excluded",
    "ipvs.tcpTimeout": "tcp_timeout",
    "ipvs.tcpFinTimeout": "tcp_fin_timeout",
    "ipvs.udpTimeout": "udp_timeout",
    "nftables.masqueradeAll": "masquerade_all",
    "nftables.masqueradeBit": "",
    "nftables.syncPeriod": "sync_period",
    "nftables.minSyncPeriod": "min_sync_period",
    "conntrack.maxPerCore": "max_per_core",
    "conntrack.min": "minimum",
    "conntrack.tcpEstablishedTimeout": "tcp_established",
    "conntrack.tcpCloseWaitTimeout": "tcp_close_wait",
    "conntrack.tcpBeLiberal": "tcp_be_liberal",
    "conntrack.udpTimeout": "udp",
    "conntrack.udpStreamTimeout": "udp_stream",
    "bindAddress": "",
    "bindAddressHardFail": "",
    "enableProfiling": "",
    "oomScoreAdj": "",
    "configSyncPeriod": "",
    "detectLocalMode": "",
    "featureGates": "",
    "showHiddenMetricsForVersion": "",
    "windowsRunAsService": "",
    "logging.flushFrequency": "",
    "logging.format": "",
    "logging.verbosity": "",
}
# Where 0 says that the default counts, as upstream's file of defaults has it (SetDefaults_KubeProxyConfiguration).
_UNSET = frozenset(f"{mode}.syncPeriod" for mode in MODES) | {
    "iptables.minSyncPeriod",
    "nftables.minSyncPeriod",
}
# Where only some values can be had: those, and what to do about another. Logs begin before the file is read.
_ONLY: Mapping[str, tuple[tuple[object, ...], str]] = {
    "logging.format": (("text",), "give it as --logging-format"),
    "logging.verbosity": ((0,), "give it as --v"),
    "detectLocalMode": (("ClusterCIDR",), "pods are told by clusterCIDR; leave it out"),
    "iptables.masqueradeBit": ((14,), "packets are marked with bit 14; leave it out"),
    "nftables.masqueradeBit": ((14,), "packets are marked with bit 14; leave it out"),
}
_SHARED = (IPVS, "iptables.masqueradeAll")  # has none of its own
FLAGS = {
    "kubeconfig": "kubeconfig",
    "hostname-override": "node",
    "cluster-cidr": "cluster_cidr",
    "proxy-mode": "mode",
    "masquerade-all": "masquerade_all",
    "nodeport-addresses": "node_port_addresses",
    "iptables-sync-period": "sync_period",
    "iptables-min-sync-period": "min_sync_period",
    "ipvs-sync-period": "sync_period",
    "ipvs-min-sync-period": "min_sync_period",
    "ipvs-scheduler": "scheduler",
    "ipvs-strict-arp": "strict_arp",
    "ipvs-exclude-cidrs": "excluded",
    "ipvs-tcp-timeout": "tcp_timeout",
    "ipvs-tcpfin-timeout": "tcp_fin_timeout",
    "ipvs-udp-timeout": "udp_timeout",
    "iptables-localhost-nodeports": "localhost_node_ports",
    "conntrack-max-per-core": "max_per_core",
    "conntrack-min": "minimum",
    "conntrack-tcp-timeout-established": "tcp_established",
    "conntrack-tcp-timeout-close-wait": "tcp_close_wait",
    "conntrack-tcp-be-liberal": "tcp_be_liberal",
    "conntrack-udp-timeout": "udp",
    "conntrack-udp-timeout-stream": "udp_stream",
    "healthz-bind-address": "healthz",
    "metrics-bind-address": "metrics",
}


def read(values: Values, hostname: str) -> Config:
    """The settings of a command line and of the file that it names. Raises Fatal with one line for the operator."""
    found: dict[str, Any] = {"node": hostname}
    mode = values["proxy-mode"] if values.given("proxy-mode") else ""
    if values["config"]:
        found |= _file(Path(values["config"]), mode)
    found["mode"] = mode or found.get("mode") or IPTABLES
    found |= {name: values[flag] for flag, name in FLAGS.items() if _counts(flag, values, found["mode"])}
    if found["mode"] not in MODES:
        raise Fatal(
            f'cannot use proxy mode "{found["mode"]}": this version has {", ".join(MODES)}; leave it out or name one'
        )
    if found.get("sync_period", 1) <= 0:
        raise Fatal(
            f"cannot look at the rules every {found['sync_period']:.0f} s: give a period of more than 0, or leave it out"
        )
    found["ipvs"] = _options(found)
    found["flows"] = FlowTable(**_taken(FlowTable, found))
    if not found.get("kubeconfig"):
        raise Fatal(
            "cannot start: no API server is named; give --kubeconfig, or clientConnection.kubeconfig in --config"
        )
    if not found.get("cluster_cidr"):
        raise Fatal(
            "cannot start: the pods' network is not known; give --cluster-cidr, or clusterCIDR in --config"
        )
    if found["mode"] == NFTABLES and not found.get("node_port_addresses"):
        found["node_port_addresses"] = (PRIMARY,)  # as upstream's default in this mode
    return Config(**found)


def _counts(flag: str, values: Values, mode: str) -> bool:
    """Whether a flag is given, and of the mode that is used. Those of iptables are nftables', too."""
    of = flag.partition("-")[0]
    return flag != "proxy-mode" and values.given(flag) and (of not in MODES or (of == IPVS) == (mode == IPVS))


def _options(found: dict[str, Any]) -> Options:
    """Takes what is ipvs' out of what was found."""
    options = Options(**_taken(Options, found))
    if options.scheduler not in SCHEDULERS:
        raise Fatal(
            f'cannot use the scheduler "{options.scheduler}" for ipvs: there are {", ".join(SCHEDULERS)}'
        )
    for one in options.excluded:
        try:
            ip_network(one, strict=False)
        except ValueError as problem:
            raise Fatal(
                f'cannot leave "{one}" to others: it is no network; change ipvs.excludeCIDRs'
            ) from problem
    return options


def _taken(kind: type[Options | FlowTable], found: dict[str, Any]) -> dict[str, Any]:
    names = [one.name for one in fields(kind)]
    return {name: found.pop(name) for name in names if found.get(name) is not None}


def _file(path: Path, mode: str) -> dict[str, Any]:
    content = config_file.content(path, API_VERSION, "KubeProxyConfiguration")
    found = {}
    mode = mode or content.get("mode") or IPTABLES
    for key, value in _flat(content, ""):
        if key in KEYS and key.partition(".")[0] in {*MODES} - {mode} and (mode, key) != _SHARED:
            continue  # settings of a mode that is not used
        if key not in KEYS:
            if value in (None, "", {}, []) or key.partition(".")[0] in ELSEWHERE or key.startswith(_BUFFERS):
                continue
            raise Fatal(f'cannot read --config {path}: unknown field "{key}"')
        if key in _ONLY and value not in (None, "", *_ONLY[key][0]):
            raise Fatal(f"cannot take {key} {value} from --config {path}: {_ONLY[key][1]}")
        if KEYS[key] and value not in (None, ""):
            made = _value(path, key, value)
            if made != 0 or key not in _UNSET:
                found[KEYS[key]] = made
    return found


def _flat(content: Mapping[str, Any], before: str) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for key, value in content.items():
        if isinstance(value, Mapping) and value:
            found += _flat(value, f"{before}{key}.")
        else:
            found.append((f"{before}{key}", value))
    return found


def _value(path: Path, key: str, value: Any) -> Any:
    if key.endswith(("Period", "Timeout")):
        try:
            return duration(str(value))
        except ValueError as problem:
            raise Fatal(f"cannot read --config {path}: {key}: {problem}") from problem
    return tuple(value) if isinstance(value, list) else value
