"""The roles of the daemons: what each does to a new machine, that it comes to rest, and what makes it restart."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest
import yaml
from pyinfra.api.exceptions import PyinfraError

from kybern.machines import oci
from kybern.machines.topology import Cluster, Machine
from roles import package as package_role
from roles import pki as pki_role
from roles import runtime as runtime_role
from roles.apiserver import apiserver
from roles.cluster import BALANCER_PORT
from roles.controller_manager import controller_manager
from roles.kube_proxy import kube_proxy
from roles.kubeconfig import kubeconfigs
from roles.kubelet import kubelet, nodes_ready
from roles.package import package
from roles.pod_network import pod_network
from roles.release import Archive, Release
from roles.runtime import runtime
from roles.scheduler import scheduler
from tests.roles.harness import FakeMachine, Run, apply, plan

ROOT = Path(__file__).parents[2]

type Role = Callable[..., Any]


@dataclass(frozen=True)
class Daemon:
    """A role as ``harness`` calls one, its unit, and what it does to a new master."""

    name: str
    role: Role
    unit: str
    operations: tuple[str, ...]
    programs: bool = True


def of_cluster(role: Role) -> Role:
    """A role that asks only for the cluster."""
    return lambda cluster, _machine: role(cluster)


def of_machine(role: Role) -> Role:
    return lambda _cluster, machine: role(machine)


DAEMONS = (
    Daemon(
        "apiserver",
        apiserver,
        "kube-apiserver.service",
        ("apiserver | Unit", "apiserver | Started", "apiserver | Ready"),
    ),
    Daemon(
        "controller manager",
        of_cluster(controller_manager),
        "kube-controller-manager.service",
        ("controller manager | Unit", "controller manager | Running"),
    ),
    Daemon(
        "scheduler",
        of_cluster(scheduler),
        "kube-scheduler.service",
        ("scheduler | Unit", "scheduler | Running"),
    ),
    Daemon(
        "runtime",
        of_cluster(runtime),
        "containerd.service",
        ("runtime | Files", "runtime | Running", "runtime | Images loaded"),
        programs=False,
    ),
    Daemon(
        "kubelet",
        kubelet,
        "kubelet.service",
        ("kubelet | Files", "kubelet | Running", "kubelet | Healthy", "kubelet | Role label"),
    ),
    Daemon("kube-proxy", kube_proxy, "kube-proxy.service", ("kube-proxy | Unit", "kube-proxy | Running")),
    Daemon(
        "pod network",
        of_machine(pod_network),
        "kybern-pod-network.service",
        ("pod network | Unit", "pod network | Running"),
    ),
)
ON_NODES = [
    daemon for daemon in DAEMONS if daemon.unit.startswith(("containerd", "kubelet", "kube-proxy", "kybern"))
]
OURS = [daemon for daemon in DAEMONS if daemon.programs]


def named(daemon: Daemon) -> str:
    return daemon.name


def only_package(_cluster: Cluster, _machine: Machine) -> object:
    return package()


def made(folder: Path, digest: str) -> Release:
    archives = [
        Archive(folder / f"{kind}-{digest}.tar.gz", f"/opt/kybern/{kind}-{digest}")
        for kind in ("dependencies", "package")
    ]
    for archive in archives:
        archive.source.write_bytes(digest.encode())
    return Release(*archives)


@pytest.fixture(autouse=True)
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small files for what takes minutes to make: the release, and the archive of images."""
    monkeypatch.chdir(ROOT)
    images = tmp_path / "images.tar"
    images.write_bytes(b"images")
    monkeypatch.setattr(oci, "bundle", lambda: images)
    use(tmp_path, monkeypatch, "one")


def use(folder: Path, monkeypatch: pytest.MonkeyPatch, digest: str) -> Release:
    found = made(folder, digest)
    monkeypatch.setattr(package_role, "release", lambda _python: found)
    return found


def finished(role: Role, cluster: Cluster, machine: Machine) -> FakeMachine:
    fake = FakeMachine(machine.name)
    apply(role, cluster, machine, fake)
    fake.commands.clear()
    return fake


def restarts(fake: FakeMachine) -> list[str]:
    return [line for line in fake.commands if "restart " in line]


@pytest.mark.parametrize("daemon", DAEMONS, ids=named)
def test_a_new_master_gets_its_daemon(daemon: Daemon, cluster: Cluster) -> None:
    fake = FakeMachine("m1")
    planned = plan(daemon.role, cluster, cluster.masters[0], fake)

    done = apply(daemon.role, cluster, cluster.masters[0], fake)

    assert set(daemon.operations) <= set(planned)
    assert tuple(done) == daemon.operations
    assert daemon.unit in fake.units
    assert restarts(fake) == []


@pytest.mark.parametrize("daemon", DAEMONS, ids=named)
def test_a_finished_master_is_left_alone(daemon: Daemon, cluster: Cluster) -> None:
    fake = finished(daemon.role, cluster, cluster.masters[0])

    assert plan(daemon.role, cluster, cluster.masters[0], fake) == []
    assert apply(daemon.role, cluster, cluster.masters[0], fake) == []
    assert fake.commands == []


@pytest.mark.parametrize("daemon", ON_NODES, ids=named)
def test_a_finished_worker_is_left_alone(daemon: Daemon, cluster: Cluster, worker: Machine) -> None:
    fake = finished(daemon.role, cluster, worker)

    assert daemon.unit in fake.units
    assert plan(daemon.role, cluster, worker, fake) == []


@pytest.mark.parametrize("daemon", DAEMONS, ids=named)
def test_a_daemon_that_stopped_is_started_again(daemon: Daemon, cluster: Cluster) -> None:
    fake = finished(daemon.role, cluster, cluster.masters[0])
    fake.units[daemon.unit] = replace(fake.units[daemon.unit], active=False)

    apply(daemon.role, cluster, cluster.masters[0], fake)

    assert fake.units[daemon.unit].active
    assert restarts(fake) == []


@pytest.mark.parametrize("daemon", OURS, ids=named)
def test_a_new_release_restarts_a_daemon_of_ours_and_runs_its_programs(
    daemon: Daemon, cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = finished(daemon.role, cluster, cluster.masters[0])
    use(tmp_path, monkeypatch, "two")

    apply(daemon.role, cluster, cluster.masters[0], fake)

    assert len(restarts(fake)) == 1
    assert b"ExecStart=/opt/kybern/package-two/bin/" in fake.contents[f"/etc/systemd/system/{daemon.unit}"]
    assert plan(daemon.role, cluster, cluster.masters[0], fake) == []


def test_a_new_release_does_not_touch_containerd(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (daemon,) = [daemon for daemon in DAEMONS if not daemon.programs]
    fake = finished(daemon.role, cluster, cluster.masters[0])
    use(tmp_path, monkeypatch, "two")

    assert plan(daemon.role, cluster, cluster.masters[0], fake) == []


CHANGES = [
    ("apiserver", {"service_cidr": IPv4Network("10.97.0.0/16")}),
    ("controller manager", {"pod_cidr": IPv4Network("10.245.0.0/16")}),
    ("kubelet", {"cluster_domain": "example.local"}),
    ("kube-proxy", {"pod_cidr": IPv4Network("10.245.0.0/16")}),
    ("runtime", {"driver": "qemu"}),
]


@pytest.mark.parametrize(("name", "change"), CHANGES, ids=[name for name, _ in CHANGES])
def test_a_changed_setting_restarts_the_daemon_that_reads_it(
    name: str, change: dict[str, Any], cluster: Cluster
) -> None:
    (daemon,) = [one for one in DAEMONS if one.name == name]
    machine = cluster.masters[0]
    fake = finished(daemon.role, cluster, machine)

    apply(daemon.role, replace(cluster, **change), machine, fake)

    assert len(restarts(fake)) == 1
    assert daemon.unit in restarts(fake)[0]


def test_api_servers_restart_one_at_a_time_and_each_waits_until_it_is_ready(cluster: Cluster) -> None:
    masters = cluster.masters
    fakes = [finished(apiserver, cluster, master) for master in masters]
    run = Run(fakes)
    run.prepare(apiserver, replace(cluster, cluster_domain="example.local"), masters)
    serial = [
        next(iter(meta.names)) for meta in run.state.op_meta.values() if meta.global_arguments["_serial"]
    ]
    run.execute()

    assert serial == ["apiserver | Changed ones restarted, one at a time"]
    assert ["/readyz" in line for fake in fakes for line in restarts(fake)] == [True] * 3


def test_the_second_api_server_stays_as_it_is_when_the_first_did_not_come_back(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    masters = cluster.masters
    fakes = [finished(apiserver, cluster, master) for master in masters]
    fakes[0].fails = lambda command: "restart kube-apiserver" in command
    run = Run(fakes)
    run.prepare(apiserver, replace(cluster, cluster_domain="example.local"), masters)
    # As config.py has it: in the inventory's order.
    monkeypatch.setattr(run.state.inventory, "get_active_hosts", lambda: run.hosts)
    with pytest.raises(PyinfraError):
        run.execute()

    assert [len(restarts(fake)) for fake in fakes] == [1, 0, 0]


def unit_of(daemon: str, cluster: Cluster, machine: Machine) -> str:
    (found,) = [one for one in DAEMONS if one.name == daemon]
    fake = finished(found.role, cluster, machine)
    return fake.contents[f"/etc/systemd/system/{found.unit}"].decode()


@pytest.mark.parametrize(("daemon", "user"), [("apiserver", "kube-apiserver"), ("scheduler", "kube-scheduler"),
                                              ("controller manager", "kube-controller-manager")])  # fmt: skip
def test_a_daemon_of_the_control_plane_runs_as_its_own_user(daemon: str, user: str, cluster: Cluster) -> None:
    assert f"User={user}\n" in unit_of(daemon, cluster, cluster.masters[0])


def test_masters_take_no_ordinary_pods_when_there_are_workers(cluster: Cluster, single: Cluster) -> None:
    taint = "--register-with-taints=node-role.kubernetes.io/control-plane=:NoSchedule"

    assert taint in unit_of("kubelet", cluster, cluster.masters[0])
    assert "register-with-taints" not in unit_of("kubelet", cluster, cluster.machines[-1])
    assert "register-with-taints" not in unit_of("kubelet", single, single.masters[0])


def test_only_masters_are_labelled_as_such(cluster: Cluster, worker: Machine) -> None:
    fake = FakeMachine(worker.name)
    apply(kubelet, cluster, worker, fake)

    assert "kubelet | Role label" not in plan(kubelet, cluster, worker)
    assert not [line for line in fake.commands if "control-plane" in line]


def test_one_master_waits_until_all_nodes_are_ready(cluster: Cluster, worker: Machine) -> None:
    fake = FakeMachine("m1")

    assert apply(nodes_ready, cluster, cluster.masters[0], fake) == ["nodes | Ready"]
    assert fake.probe.endswith(" m1 m2 m3 w1")
    assert plan(nodes_ready, cluster, cluster.masters[1]) == plan(nodes_ready, cluster, worker) == []


def test_images_that_somebody_removed_are_loaded_again(cluster: Cluster, worker: Machine) -> None:
    role = next(daemon.role for daemon in DAEMONS if daemon.name == "runtime")
    fake = finished(role, cluster, worker)
    fake.true.clear()

    assert apply(role, cluster, worker, fake) == ["runtime | Images loaded"]


def test_containerd_starts_pods_with_the_image_that_was_loaded(cluster: Cluster) -> None:
    config = runtime_role.containerd(cluster).inputs[0].content.decode()

    assert f'sandbox_image = "{oci.PAUSE}"' in config
    assert oci.PAUSE in runtime_role.names()


def test_a_container_host_keeps_scores_that_it_may_not_set(cluster: Cluster) -> None:
    lxc, qemu = (
        runtime_role.containerd(replace(cluster, driver=driver)).inputs[0].content.decode()
        for driver in ("lxc", "qemu")
    )

    assert "restrict_oom_score_adj = true" in lxc
    assert "restrict_oom_score_adj = false" in qemu


def test_a_master_gets_the_kubeconfigs_of_its_daemons_and_a_worker_only_those_of_a_node(
    cluster: Cluster, worker: Machine
) -> None:
    held, node = FakeMachine("m1"), FakeMachine(worker.name)

    assert apply(kubeconfigs, cluster, cluster.masters[0], held) == [
        "kubeconfig | Of the daemons",
        "kubeconfig | Of the operator",
    ]
    apply(kubeconfigs, cluster, worker, node)

    names = {"kubelet", "kube-proxy"}
    assert {path for path in node.tree if path.endswith(".conf")} == paths(names)
    assert {path for path in held.tree if path.endswith(".conf")} == paths(
        {*names, "controller-manager", "scheduler"}
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


def test_no_other_machine_than_the_first_master_writes_the_operator_s_kubeconfig(
    cluster: Cluster, worker: Machine
) -> None:
    for machine in (cluster.masters[1], worker):
        assert plan(kubeconfigs, cluster, machine) == ["kubeconfig | Of the daemons"]


def test_a_renewed_certificate_reaches_the_kubeconfig(cluster: Cluster, worker: Machine, state: Path) -> None:
    fake = finished(kubeconfigs, cluster, worker)
    for file in (state / "test/pki").rglob("*kubelet*"):
        file.unlink()
    pki_role.certificates.cache_clear()

    assert apply(kubeconfigs, cluster, worker, fake) == ["kubeconfig | Of the daemons"]


def test_a_release_is_unpacked_beside_its_place_and_then_taken_into_use(
    cluster: Cluster, worker: Machine
) -> None:
    fake = FakeMachine(worker.name)

    assert apply(only_package, cluster, worker, fake) == [
        "package | Place",
        "package | Dependencies",
        "package | Daemons",
        "package | In use",
    ]
    assert fake.tree["/opt/kybern/current"].target == "/opt/kybern/package-one"
    assert [line for line in fake.commands if line.startswith("upload ")] == [
        "upload /var/tmp/dependencies-one.tar.gz",
        "upload /var/tmp/package-one.tar.gz",
    ]
    moves = [line.rpartition("; ")[2] for line in fake.commands if "-xzf" in line]
    assert moves == [
        f"mv -T /opt/kybern/{name}-one.new /opt/kybern/{name}-one" for name in ("dependencies", "package")
    ]
    assert plan(only_package, cluster, worker, fake) == []


def test_a_new_package_with_the_same_dependencies_sends_only_itself(
    cluster: Cluster, worker: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = finished(only_package, cluster, worker)
    first, second = made(tmp_path, "one"), made(tmp_path, "two")
    mixed = Release(first.dependencies, second.package)
    monkeypatch.setattr(package_role, "release", lambda _python: mixed)

    assert apply(only_package, cluster, worker, fake) == ["package | Daemons", "package | In use"]


def test_releases_that_nobody_uses_go_away(cluster: Cluster, worker: Machine) -> None:
    fake = finished(only_package, cluster, worker)
    (probe,) = [asked for asked in fake.asked if asked.startswith("find /opt/kybern")]
    fake.true.add(probe)

    assert plan(only_package, cluster, worker, fake) == ["package | Old releases removed"]
    apply(only_package, cluster, worker, fake)
    (removal,) = fake.commands
    assert "! -path /opt/kybern/dependencies-one ! -path /opt/kybern/package-one" in removal


def test_a_machine_is_asked_once_for_its_python(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[str] = []
    found = made(tmp_path, "one")

    def release(python: str) -> Release:
        asked.append(python)
        return found

    monkeypatch.setattr(package_role, "release", release)
    fake = FakeMachine("m1")
    run = Run([fake])
    for role in (only_package, kube_proxy, kubelet):
        run.prepare(role, cluster, cluster.masters[:1])

    assert asked == ["3.13"] * 3
    assert run.hosts[0].connector_data["kybern_python"] == "3.13"
