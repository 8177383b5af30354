"""The role kubeconfig: who gets which, where each points to, and the operator's own."""

from pathlib import Path

import pytest
import yaml

from kybern.machines.topology import Cluster, Machine
from roles import pki
from roles.cluster import BALANCER_PORT
from roles.kubeconfig import kubeconfigs
from tests.roles.harness import FakeMachine, apply, plan
from tests.roles.small import finished

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def test_a_master_gets_the_kubeconfigs_of_its_daemons_and_a_worker_only_those_of_a_node(
    cluster: Cluster, worker: Machine
) -> None:
    held, node = FakeMachine("m1"), FakeMachine(worker.name)

    assert apply(kubeconfigs, cluster, cluster.masters[0], held) == [
        "kubeconfig | Of the daemons",
        "kubeconfig | Of the operator",
    ]
    apply(kubeconfigs, cluster, worker, node)

    names = {"kubelet", "kube-proxy", "policies", "local-volumes"}
    assert {path for path in node.tree if path.endswith(".conf")} == paths(names)
    assert {path for path in held.tree if path.endswith(".conf")} == paths(
        {*names, "controller-manager", "scheduler", "dns", "metrics"}
    )
    assert {found.mode for path, found in held.tree.items() if path.endswith(".conf")} == {"600"}
    assert held.tree["/etc/kubernetes/scheduler.conf"].user == "kube-scheduler"
    assert plan(kubeconfigs, cluster, cluster.masters[0], held) == []


def paths(names: set[str]) -> set[str]:
    return {f"/etc/kubernetes/{name}.conf" for name in names}


def test_a_daemon_asks_the_nearest_api_server_and_the_operator_the_cluster_s_address(
    cluster: Cluster, worker: Machine, single: Cluster, state: Path
) -> None:
    near = [conf(cluster, worker), conf(cluster, cluster.masters[0]), conf(single, single.masters[0])]

    assert near == [
        "https://127.0.0.1:6443",
        f"https://127.0.0.1:{BALANCER_PORT}",
        "https://127.0.0.1:6443",
    ]
    assert server((state / "test/admin.conf").read_bytes()) == "https://10.1.0.10:6443"
    assert (state / "test/admin.conf").stat().st_mode & 0o777 == 0o600


def conf(cluster: Cluster, machine: Machine) -> str:
    fake = FakeMachine(machine.name)
    apply(kubeconfigs, cluster, machine, fake)
    return server(fake.contents["/etc/kubernetes/kubelet.conf"])


def server(content: bytes) -> str:
    return str(yaml.safe_load(content)["clusters"][0]["cluster"]["server"])


def test_the_operator_s_kubeconfig_is_made_again_when_it_is_lost(cluster: Cluster, state: Path) -> None:
    machine = cluster.masters[0]
    fake = finished(kubeconfigs, cluster, machine)
    (state / "test/admin.conf").unlink()

    assert apply(kubeconfigs, cluster, machine, fake) == ["kubeconfig | Of the operator"]
    assert fake.commands == []


def test_any_master_writes_the_operator_s_kubeconfig_and_a_worker_does_not(
    cluster: Cluster, worker: Machine, state: Path
) -> None:
    assert plan(kubeconfigs, cluster, worker) == ["kubeconfig | Of the daemons"]
    apply(kubeconfigs, cluster, cluster.masters[1], FakeMachine("m2"))

    assert (state / "test/admin.conf").exists()
    assert "kubeconfig | Of the operator" not in plan(kubeconfigs, cluster, cluster.masters[2])


def test_a_renewed_certificate_reaches_the_kubeconfig(cluster: Cluster, worker: Machine, state: Path) -> None:
    fake = finished(kubeconfigs, cluster, worker)
    for file in (state / "test/pki").rglob("*kubelet*"):
        file.unlink()
    pki.certificates.cache_clear()

    assert apply(kubeconfigs, cluster, worker, fake) == ["kubeconfig | Of the daemons"]
