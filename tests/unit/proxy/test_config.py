"""Flags and the configuration file of kube-proxy."""

from pathlib import Path

import pytest

from kybern.cli.proxy import FLAGS
from kybern.daemon.run import Fatal
from kybern.proxy.config import Config, read

HEAD = "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n"


def config_of(path: Path, text: str, *flags: str) -> Config:
    path.write_text(HEAD + text)
    return read(FLAGS.read(["--config", str(path), *flags]), "host-1")


def test_the_file_is_read_and_flags_win_over_it(tmp_path: Path) -> None:
    text = "clusterCIDR: 10.0.0.0/8\nclientConnection: {kubeconfig: /a}\niptables: {syncPeriod: 1m30s, minSyncPeriod: 0s}\n"

    found = config_of(tmp_path / "c", text, "--kubeconfig=/b")

    assert (found.kubeconfig, found.cluster_cidr, found.sync_period, found.min_sync_period) == (
        "/b",
        "10.0.0.0/8",
        90,
        0,
    )
    assert found.node == "host-1"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("iptables: {masqueradAll: true}", 'unknown field "iptables.masqueradAll"'),
        ("iptables: {syncPeriod: soon}", 'iptables.syncPeriod: "soon" is no duration'),
        ("clusterCIDR: 10.0.0.0/8", "no API server is named"),
        ("clientConnection: {kubeconfig: /a}", "the pods' network is not known"),
        ("mode: ipvs", 'cannot use proxy mode "ipvs"'),
        ("- x", "it is not YAML"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(Fatal, match=said.replace(".", r"\.")):
        config_of(tmp_path / "c", text)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(Fatal, match="No such file"):
        read(FLAGS.read(["--config", str(tmp_path / "none")]), "host-1")
