"""What holds on every machine of a deployed cluster."""

import json

import pytest
from testinfra.host import Host

from kybern.machines import control_plane
from kybern.machines.topology import Cluster, Machine
from roles.cluster import KUBERNETES, PKI

DAEMONS = ("kubelet", "kube-proxy", "kybern-pod-network", "containerd", "kybern-firewall")
MASTERS = (
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kybern-dns",
    "kybern-metrics",
    "haproxy",
    "keepalived",
)
PYTHON_USERS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kybern-dns", "kybern-metrics")


def units(host: Host) -> dict[str, str]:
    done = host.run("systemctl list-units --all --output=json --no-pager")
    return {unit["unit"]: unit["active"] for unit in json.loads(done.stdout)}


def optional(cluster: Cluster, machine: Machine) -> set[str]:
    """What runs only where the topology asks for it."""
    names = set()
    if cluster.ingress and machine in cluster.workers:
        names |= {"kybern-ingress", "kybern-ingress-haproxy"}
    if cluster.load_balancer:
        names |= {"kybern-speaker", *(("kybern-load-balancers",) if machine.is_master else ())}
    if cluster.cloud and machine.is_master:
        names.add("cloud-controller-manager")
    return names


def expected(cluster: Cluster, machine: Machine) -> set[str]:
    names = set(DAEMONS) | optional(cluster, machine)
    if cluster.storage == "local":
        names.add("kybern-local-volumes")
    if cluster.network_policies:
        names.add("kybern-policies")
    if cluster.pod_network == "none":
        names.discard("kybern-pod-network")
    names |= {
        name
        for name, wanted in (("kybern-node-dns", cluster.node_local_dns), ("kybern-ipv6", cluster.ipv6))
        if wanted
    }
    if machine.is_master:
        names |= {name for name in MASTERS if cluster.vip or name != "keepalived"}
        names -= set(control_plane.DAEMONS) if cluster.has_static_pods else set()
        if len(cluster.masters) == 1:
            names.discard("haproxy")
    elif len(cluster.masters) >= 1:
        names.add("haproxy")
    if machine.is_etcd:
        names.add("etcd")
    return {f"{name}.service" for name in names}


def test_members_of_etcd_take_snapshots(host: Host, machine: Machine) -> None:
    if not machine.is_etcd:
        pytest.skip("no member of etcd")
    shown = host.run("systemctl show -P ActiveState -P UnitFileState kybern-snapshot.timer").stdout.split()
    assert shown == ["active", "enabled"]
    folder = host.file("/var/lib/kybern/snapshots")
    assert (folder.user, oct(folder.mode)) == ("root", "0o700")


def test_all_daemons_run_and_nothing_has_failed(host: Host, cluster: Cluster, machine: Machine) -> None:
    found = units(host)

    assert {unit for unit in expected(cluster, machine) if found.get(unit) != "active"} == set()
    assert {unit for unit, state in found.items() if state == "failed"} == set()


@pytest.mark.on("masters")
def test_the_control_plane_runs_the_one_way_and_not_the_other(host: Host, cluster: Cluster) -> None:
    pods = {name for name in control_plane.DAEMONS if host.run(control_plane.runs(name)).rc == 0}
    units = {
        name for name in control_plane.DAEMONS if host.file(f"/etc/systemd/system/{name}.service").exists
    }
    manifests = {name for name in control_plane.DAEMONS if host.file(control_plane.manifest(name)).exists}

    everything = set(control_plane.DAEMONS)
    expected = (everything, set(), everything) if cluster.has_static_pods else (set(), everything, set())
    assert (pods, units, manifests) == expected


def test_daemons_have_not_been_restarting(host: Host, cluster: Cluster, machine: Machine) -> None:
    names = " ".join(sorted(expected(cluster, machine)))
    done = host.run(f"systemctl show -p Id -p NRestarts {names}")

    restarts = [block.split() for block in done.stdout.strip().split("\n\n")]
    busy = [
        block
        for block in restarts
        if int(next(line for line in block if "NRestarts" in line).split("=")[1]) > 10
    ]
    assert busy == []


@pytest.mark.on("masters")
def test_masters_daemons_are_nobodys_root(host: Host) -> None:
    done = host.run("ps -eo user:32,args")
    owners = {
        name: line.split()[0]
        for line in done.stdout.splitlines()
        for name in PYTHON_USERS
        if f"/bin/{name} " in line
    }

    assert owners == {name: name for name in PYTHON_USERS}


def test_keys_are_readable_by_their_daemon_only(host: Host) -> None:
    done = host.run(
        f"find {KUBERNETES} /var/lib/kubelet/pki -name '*.key' -o -name '*.conf' | xargs stat -c '%a %U:%G %n'"
    )

    loose = [line for line in done.stdout.splitlines() if line.split()[0] not in ("600", "640")]
    assert loose == []
    shared = [line for line in done.stdout.splitlines() if line.startswith("640")]
    assert all(line.endswith(f"{PKI}/sa.key") for line in shared)


def test_the_authoritys_key_is_on_no_machine(host: Host) -> None:
    assert host.run(f"ls {PKI}/ca.key {PKI}/etcd/ca.key {PKI}/front-proxy-ca.key 2>/dev/null").stdout == ""


def test_no_secret_is_on_a_command_line(host: Host) -> None:
    arguments = host.run("ps -eo args").stdout.lower()

    assert not any(
        word in arguments for word in ("--token=", "password=", "begin private key", "begin ec private")
    )


@pytest.mark.on("masters")
def test_who_did_what_is_told_to_the_api_server_alone(host: Host) -> None:
    log = host.file("/var/log/kubernetes/audit.log")

    assert (log.mode, log.user) == (0o600, "kube-apiserver")
    assert log.size > 0


@pytest.mark.on("etcd")
def test_etcd_keeps_its_data_to_itself(host: Host) -> None:
    data = host.file("/var/lib/etcd")

    assert (data.mode, data.user) == (0o700, "etcd")


@pytest.mark.on("etcd")
def test_etcd_answers_nobody_without_a_certificate(host: Host, machine: Machine) -> None:
    done = host.run(f"curl -sk --max-time 5 https://{machine.address}:2379/health")

    assert done.rc != 0
    assert host.run("curl -fsS --max-time 5 http://127.0.0.1:2381/health").stdout.startswith(
        '{"health":"true"'
    )


def test_only_cluster_ports_are_open_to_strangers(host: Host) -> None:
    rules = host.run("iptables -S KYBERN-INPUT").stdout.splitlines()

    assert rules[-1] == "-A KYBERN-INPUT -j DROP"
    assert rules[1].endswith("--dport 22 -j RETURN"), "SSH cannot be locked out"


@pytest.mark.on("nodes")
def test_pods_of_every_other_node_can_be_reached(host: Host, cluster: Cluster, machine: Machine) -> None:
    for network in cluster.pod_ranges:
        routes = host.run(f"ip -{network.version} route show proto 75").stdout.splitlines()
        assert len(routes) == sum(1 for one in cluster.machines if one.is_node) - 1


@pytest.mark.on("nodes")
def test_the_images_that_a_cluster_starts_with_are_there(host: Host) -> None:
    images = host.run("ctr -n k8s.io images ls -q").stdout

    assert "registry.k8s.io/pause:3.10" in images
    assert "docker.io/library/busybox:latest" in images


@pytest.mark.on("masters")
def test_the_api_server_is_ready_on_every_master(host: Host) -> None:
    done = host.run(f"curl -fsS --max-time 5 --cacert {PKI}/ca.crt 'https://127.0.0.1:6443/readyz?verbose'")

    assert done.stdout.rstrip().endswith("readyz check passed")


def test_no_log_has_a_traceback(host: Host) -> None:
    found = host.run("journalctl -b --no-pager -o cat | grep -c '^Traceback' || true").stdout.strip()

    assert found == "0"
