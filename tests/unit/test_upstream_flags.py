"""Every flag of upstream's daemons is taken here: it acts, has no effect and says so, or is refused with a reason.

``tests/data/upstream_flags.json`` has the names in v1.36, by daemon, deprecated ones among them.
"""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from kybern.apiserver.config import FLAGS as APISERVER
from kybern.cli.controller_flags import flags as controller_flags
from kybern.cli.proxy import FLAGS as PROXY
from kybern.cli.scheduler import FLAGS as SCHEDULER
from kybern.daemon.flags import BadFlag, Flags
from kybern.kubelet.flags import FLAGS as KUBELET

NAMES: Mapping[str, list[str]] = json.loads(
    (Path(__file__).parents[1] / "data/upstream_flags.json").read_text()
)
OURS: Mapping[str, Flags] = {
    one.name: one for one in (APISERVER, controller_flags(), SCHEDULER, KUBELET, PROXY)
}


@pytest.mark.parametrize("daemon", NAMES)
def test_every_flag_of_upstream_is_known_and_told_of(daemon: str) -> None:
    known = {flag.name: flag for flag in OURS[daemon]}

    assert [name for name in NAMES[daemon] if name not in known] == []
    assert all(known[name].help for name in NAMES[daemon])


@pytest.mark.parametrize("daemon", NAMES)
def test_the_defaults_of_what_is_not_here_can_be_given(daemon: str) -> None:
    empty = OURS[daemon].read([])
    shown = OURS[daemon].shown(empty)
    given = [f"--{flag.name}={shown[flag.name].strip('[]')}" for flag in OURS[daemon] if flag.fixed]

    read = OURS[daemon].read(given)

    assert {name: read[name] for name in empty} == {name: empty[name] for name in empty}


@pytest.mark.parametrize(
    ("daemon", "flag", "why"),
    [
        (
            "kube-apiserver",
            "--egress-selector-config-file=/e.yaml",
            "nodes and webhooks are dialled directly",
        ),
        ("kube-apiserver", "--etcd-servers-overrides=/events#http://e:2379", "in the etcd of --etcd-servers"),
        ("kube-apiserver", "--emulated-version=1.35", "no version but 1.36 is emulated"),
        ("kube-apiserver", "--storage-backend=etcd2", "there is no other storage"),
        ("kube-apiserver", "--tls-sni-cert-key=a,b", "one certificate is served"),
        ("kubelet", "--keep-terminated-pod-volumes", "volumes go with their pods"),
        ("kube-proxy", "--detect-local-mode=NodeCIDR", "pods are told by --cluster-cidr"),
        ("kube-proxy", "--iptables-masquerade-bit=13", "packets are marked with bit 14"),
        (
            "kube-proxy",
            "--feature-gates=NFTablesProxyMode=false",
            "cannot set feature gate NFTablesProxyMode",
        ),
    ],
)
def test_what_is_not_done_is_refused_with_the_reason(daemon: str, flag: str, why: str) -> None:
    with pytest.raises(BadFlag, match=why):
        OURS[daemon].read([flag])


@pytest.mark.parametrize(
    ("daemon", "flag"),
    [
        ("kube-apiserver", "--goaway-chance=0.001"),
        ("kube-apiserver", "--watch-cache-sizes=pods#1000"),
        ("kube-proxy", "--kube-api-qps=50"),
        ("kube-proxy", "--detect-local-mode=ClusterCIDR"),
        ("kubelet", "--housekeeping-interval=20s"),
    ],
)
def test_what_tunes_parts_that_are_not_here_is_taken(daemon: str, flag: str) -> None:
    name, _, text = flag.partition("=")
    assert OURS[daemon].read([flag]).text(name) == text
