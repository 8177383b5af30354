"""Flags and the configuration file of kube-proxy."""

from pathlib import Path

import pytest

from kybern.cli.proxy import FLAGS
from kybern.daemon.run import Fatal
from kybern.proxy.config import MODES, Config, read
from kybern.proxy.ipvs.plan import Options
from kybern.proxy.tunables import FlowTable

HEAD = "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n"


def config_of(path: Path, text: str, *flags: str) -> Config:
    path.write_text(HEAD + text)
    return read(FLAGS.read(["--config", str(path), *flags]), "host-1")


def test_the_file_is_read_and_flags_win_over_it(tmp_path: Path) -> None:
    text = "clusterCIDR: 10.0.0.0/8\nclientConnection: {kubeconfig: /a}\niptables: {syncPeriod: 1m30s, minSyncPeriod: 2s}\n"

    found = config_of(tmp_path / "c", text, "--kubeconfig=/b")

    assert (found.kubeconfig, found.cluster_cidr, found.sync_period, found.min_sync_period) == (
        "/b",
        "10.0.0.0/8",
        90,
        2,
    )
    assert found.node == "host-1"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("iptables: {masqueradAll: true}", 'unknown field "iptables.masqueradAll"'),
        ("iptables: {syncPeriod: soon}", 'iptables.syncPeriod: "soon" is no duration'),
        ("clusterCIDR: 10.0.0.0/8", "no API server is named"),
        ("clientConnection: {kubeconfig: /a}", "the pods' network is not known"),
        ("mode: userspace", 'cannot use proxy mode "userspace"'),
        ("mode: ipvs\nipvs: {scheduler: best}", 'cannot use the scheduler "best" for ipvs'),
        ("mode: ipvs\nipvs: {excludeCIDRs: [here]}", 'cannot leave "here" to others'),
        ("mode: ipvs\nipvs: {tcpTimeout: soon}", 'ipvs.tcpTimeout: "soon" is no duration'),
        ("mode: nftables\nnftables: {syncperiod: 1s}", 'unknown field "nftables.syncperiod"'),
        ("logging: {format: json}", "cannot take logging.format json"),
        ("logging: {verbosity: 4}", "cannot take logging.verbosity 4"),
        ("detectLocalMode: NodeCIDR", "cannot take detectLocalMode NodeCIDR"),
        ("iptables: {masqueradeBit: 15}", "cannot take iptables.masqueradeBit 15"),
        ("- x", "it is not YAML"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(Fatal, match=said.replace(".", r"\.")):
        config_of(tmp_path / "c", text)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(Fatal, match="No such file"):
        read(FLAGS.read(["--config", str(tmp_path / "none")]), "host-1")


# What kubeadm v1.36 writes: every field, most of them with the value that stands for the default.
WRITTEN_OUT = """
bindAddress: 0.0.0.0
bindAddressHardFail: false
clientConnection: {acceptContentTypes: "", burst: 0, contentType: "", kubeconfig: /a, qps: 0}
clusterCIDR: 10.0.0.0/8
configSyncPeriod: 0s
conntrack:
  maxPerCore: null
  min: null
  tcpBeLiberal: false
  tcpCloseWaitTimeout: null
  tcpEstablishedTimeout: null
  udpStreamTimeout: 0s
  udpTimeout: 0s
detectLocal: {bridgeInterface: "", interfaceNamePrefix: ""}
detectLocalMode: ""
enableProfiling: false
healthzBindAddress: ""
hostnameOverride: ""
iptables: {localhostNodePorts: null, masqueradeAll: false, masqueradeBit: null, minSyncPeriod: 0s, syncPeriod: 0s}
ipvs:
  excludeCIDRs: null
  minSyncPeriod: 0s
  scheduler: ""
  strictARP: false
  syncPeriod: 0s
  tcpFinTimeout: 0s
  tcpTimeout: 0s
  udpTimeout: 0s
logging:
  flushFrequency: 0
  options: {json: {infoBufferSize: "0"}, text: {infoBufferSize: "0"}}
  verbosity: 0
metricsBindAddress: ""
nftables: {masqueradeAll: false, masqueradeBit: null, minSyncPeriod: 0s, syncPeriod: 0s}
nodePortAddresses: null
oomScoreAdj: null
portRange: ""
showHiddenMetricsForVersion: ""
winkernel: {enableDSR: false, forwardHealthCheckVip: false, networkName: "", rootHnsEndpointName: "", sourceVip: ""}
windowsRunAsService: false
"""


@pytest.mark.parametrize(("mode", "least"), [("iptables", 1), ("ipvs", 0), ("nftables", 1)])
def test_a_file_with_every_field_as_it_is_written_out_gives_the_defaults(
    tmp_path: Path, mode: str, least: float
) -> None:
    found = config_of(tmp_path / "c", f"{WRITTEN_OUT}mode: {mode}\n")

    assert (found.sync_period, found.min_sync_period) == (30, least), "and no loop that never rests"
    assert (found.healthz, found.metrics, found.node) == ("0.0.0.0:10256", "127.0.0.1:10249", "host-1")
    assert found.flows == FlowTable()
    assert found.localhost_node_ports


def test_what_is_so_anyway_may_be_said(tmp_path: Path) -> None:
    text = (
        "detectLocalMode: ClusterCIDR\niptables: {masqueradeBit: 14}\nlogging: {format: text, verbosity: 0}\n"
    )

    assert config_of(tmp_path / "c", NEEDED + text) == config_of(tmp_path / "c", NEEDED)


def test_a_period_of_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Fatal, match="cannot look at the rules every 0 s"):
        config_of(tmp_path / "c", NEEDED, "--iptables-sync-period=0s")


NEEDED = "clusterCIDR: 10.0.0.0/8\nclientConnection: {kubeconfig: /a}\n"


def test_without_a_mode_it_is_iptables_and_node_ports_are_everywhere(tmp_path: Path) -> None:
    found = config_of(tmp_path / "c", NEEDED)

    assert (found.mode, found.node_port_addresses, found.versions) == ("iptables", (), (4,))


def test_with_nftables_node_ports_are_at_the_node_s_first_address_unless_told_otherwise(
    tmp_path: Path,
) -> None:
    found = config_of(tmp_path / "c", NEEDED + "mode: nftables\n")
    told = config_of(tmp_path / "c", NEEDED + "mode: nftables\nnodePortAddresses: [10.0.0.0/8]\n")

    assert (found.mode, found.node_port_addresses) == ("nftables", ("primary",))
    assert told.node_port_addresses == ("10.0.0.0/8",)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("networks", "versions"),
    [("10.0.0.0/8", (4,)), ("fd00::/64", (6,)), ("fd00::/64,10.0.0.0/8", (4, 6))],
)
def test_every_mode_serves_the_families_that_pods_have(
    tmp_path: Path, mode: str, networks: str, versions: tuple[int, ...]
) -> None:
    text = f"clusterCIDR: {networks}\nclientConnection: {{kubeconfig: /a}}\nmode: {mode}\n"

    assert config_of(tmp_path / "c", text).versions == versions


@pytest.mark.parametrize(("mode", "seconds"), [("iptables", 10), ("nftables", 20)])
def test_the_settings_of_the_mode_count_that_is_used(tmp_path: Path, mode: str, seconds: int) -> None:
    text = NEEDED + "mode: iptables\niptables: {syncPeriod: 10s}\nnftables: {syncPeriod: 20s}\n"

    assert config_of(tmp_path / "c", text, f"--proxy-mode={mode}").sync_period == seconds


def test_two_networks_of_pods_are_two_families(tmp_path: Path) -> None:
    text = NEEDED.replace("10.0.0.0/8", '"10.0.0.0/8,fd00::/64"')

    six = config_of(tmp_path / "c", text)

    assert (six.versions, six.pod_network(4), six.pod_network(6)) == ((4, 6), "10.0.0.0/8", "fd00::/64")


def test_settings_of_ipvs_are_read_and_those_of_other_modes_are_not(tmp_path: Path) -> None:
    text = NEEDED + (
        "mode: ipvs\niptables: {syncPeriod: 10s, masqueradeAll: true}\n"
        "ipvs: {syncPeriod: 20s, scheduler: wlc, strictARP: true, excludeCIDRs: [192.0.2.0/24], tcpTimeout: 5m,"
        " tcpFinTimeout: 30s, udpTimeout: 0s}\n"
    )

    found = config_of(tmp_path / "c", text, "--ipvs-scheduler=sh", "--iptables-min-sync-period=7s")

    assert found.ipvs == Options("sh", True, ("192.0.2.0/24",), 300, 30, 0)
    assert (found.sync_period, found.min_sync_period, found.versions) == (20, 1, (4,))
    assert found.masquerade_all, "ipvs has no setting of its own for that"


def test_flags_of_ipvs_count_in_its_mode_only(tmp_path: Path) -> None:
    told = ["--ipvs-sync-period=9s", "--ipvs-strict-arp"]

    other = config_of(tmp_path / "c", NEEDED, *told)
    found = config_of(tmp_path / "c", NEEDED, *told, "--proxy-mode=ipvs")

    assert (other.sync_period, other.ipvs.strict_arp) == (30, False)
    assert (found.sync_period, found.ipvs.strict_arp) == (9, True)
