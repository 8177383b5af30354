"""What kube-proxy is told: upstream's flags and its KubeProxyConfiguration file, as one frozen record.

An unknown key is an error that names it (design decision 1). A flag on the command line wins over the file. Keys of
upstream's file for parts that do not exist here (ELSEWHERE) are read past, so that its default file works.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kybern.daemon import config_file
from kybern.daemon.flags import Values, duration
from kybern.daemon.run import Fatal

API_VERSION = "kubeproxy.config.k8s.io/v1alpha1"
MODES = ("", "iptables")
ELSEWHERE = ("ipvs", "nftables", "winkernel", "detectLocal")  # settings of parts that do not exist here


@dataclass(frozen=True, slots=True)
class Config:
    """Times in seconds. ``node`` is the name of the Node that this proxy serves."""

    kubeconfig: str
    node: str
    cluster_cidr: str
    masquerade_all: bool = False
    node_port_addresses: tuple[str, ...] = ()
    sync_period: float = 30.0
    min_sync_period: float = 1.0
    healthz: str = "0.0.0.0:10256"
    metrics: str = "127.0.0.1:10249"


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
    "iptables.localhostNodePorts": "",
    "iptables.syncPeriod": "sync_period",
    "iptables.minSyncPeriod": "min_sync_period",
    "conntrack.maxPerCore": "",
    "conntrack.min": "",
    "conntrack.tcpEstablishedTimeout": "",
    "conntrack.tcpCloseWaitTimeout": "",
    "bindAddress": "",
    "bindAddressHardFail": "",
    "enableProfiling": "",
    "oomScoreAdj": "",
    "configSyncPeriod": "",
    "detectLocalMode": "",
    "featureGates": "",
    "showHiddenMetricsForVersion": "",
}
FLAGS = {
    "kubeconfig": "kubeconfig",
    "hostname-override": "node",
    "cluster-cidr": "cluster_cidr",
    "proxy-mode": "mode",
    "masquerade-all": "masquerade_all",
    "nodeport-addresses": "node_port_addresses",
    "iptables-sync-period": "sync_period",
    "iptables-min-sync-period": "min_sync_period",
    "healthz-bind-address": "healthz",
    "metrics-bind-address": "metrics",
}


def read(values: Values, hostname: str) -> Config:
    """The settings of a command line and of the file that it names. Raises Fatal with one line for the operator."""
    found: dict[str, Any] = {"node": hostname}
    if values["config"]:
        found |= _file(Path(values["config"]))
    found |= {field: values[flag] for flag, field in FLAGS.items() if values.given(flag)}
    mode = found.pop("mode", "")
    if mode not in MODES:
        raise Fatal(
            f'cannot use proxy mode "{mode}": this version has iptables only; leave it out or name that'
        )
    if not found.get("kubeconfig"):
        raise Fatal(
            "cannot start: no API server is named; give --kubeconfig, or clientConnection.kubeconfig in --config"
        )
    if not found.get("cluster_cidr"):
        raise Fatal(
            "cannot start: the pods' network is not known; give --cluster-cidr, or clusterCIDR in --config"
        )
    return Config(**found)


def _file(path: Path) -> dict[str, Any]:
    content = config_file.content(path, API_VERSION, "KubeProxyConfiguration")
    found = {}
    for key, value in _flat(content, ""):
        if key not in KEYS:
            if value in (None, "", {}, []) or key.partition(".")[0] in ELSEWHERE:
                continue
            raise Fatal(f'cannot read --config {path}: unknown field "{key}"')
        if KEYS[key] and value not in (None, ""):
            found[KEYS[key]] = _value(path, key, value)
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
    if key.endswith("Period"):
        try:
            return duration(str(value))
        except ValueError as problem:
            raise Fatal(f"cannot read --config {path}: {key}: {problem}") from problem
    return tuple(value) if isinstance(value, list) else value
