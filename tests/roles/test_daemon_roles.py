"""The roles of the daemons: what each does to a new machine, that it comes to rest, and what makes it restart."""

import json
import re
import subprocess
from base64 import b64decode
from dataclasses import dataclass, replace
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Any, cast

import pytest
import yaml
from cryptography import x509
from pyinfra.api.exceptions import FactProcessError, PyinfraError

from kybern.admission.chain import chain
from kybern.machines import oci
from kybern.machines.clouds import LOCAL, VOLUMES_RELAY
from kybern.machines.errors import TopologyError
from kybern.machines.load import PROXIES
from kybern.machines.node_names import is_asked
from kybern.machines.topology import Authorization, Cloud, CloudVolumes, Cluster, Machine, SecondFamily
from roles import kubelet as kubelet_role
from roles import runtime as runtime_role
from roles.apiserver import apiserver as apiserver_role
from roles.apiserver import apiserver_restarts
from roles.balancers import absent as balancers_absent
from roles.balancers import balancer_rights, balancers
from roles.balancers import objects as balancer_objects
from roles.cloud import absent as cloud_absent
from roles.cloud import cloud, relay_absent
from roles.cloud import objects as cloud_objects
from roles.cloud_volumes import absent as cloud_volumes_absent
from roles.cloud_volumes import cloud_volumes
from roles.cloud_volumes import objects as cloud_volume_objects
from roles.cluster import state
from roles.cluster_dns import cluster_dns, dns_service, objects
from roles.cluster_metrics import cluster_metrics
from roles.cluster_metrics import objects as metrics_objects
from roles.controller_manager import controller_manager
from roles.facts import Nature, NatureOfMachine
from roles.firewall import firewall
from roles.ingress import absent as ingress_absent
from roles.ingress import ingress, ingress_class
from roles.ingress import objects as ingress_objects
from roles.kube_proxy import kube_proxy
from roles.kubelet import all_ready, kubelet, nodes_ready
from roles.local_volumes import local_volumes, storage_class
from roles.network_policies import absent, network_policies, policy_rights
from roles.network_policies import objects as policy_objects
from roles.node_dns import absent as node_dns_absent
from roles.node_dns import node_dns, node_dns_left
from roles.pki import pki
from roles.pod_network import absent as pod_network_absent
from roles.pod_network import pod_network
from roles.runtime import runtime
from roles.scheduler import scheduler
from roles.second_family import second_family
from roles.system import wanted_users
from tests.roles.harness import FakeMachine, Run, apply, plan
from tests.roles.small import Role, finished, use, use_images

ROOT = Path(__file__).parents[2]
BARE = "container runtime network not ready"


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


def apiserver(cluster: Cluster, machine: Machine) -> None:
    """As a deploy has it, with nothing of others between the two."""
    started, restarted = cast("Role", apiserver_role), cast("Role", apiserver_restarts)
    started(cluster, machine)
    restarted(cluster, machine)


DAEMONS = (
    Daemon(
        "apiserver",
        apiserver,
        "kube-apiserver.service",
        ("apiserver | Unit", "apiserver | Started", "apiserver | Ready"),
    ),
    Daemon(
        "controller manager",
        controller_manager,
        "kube-controller-manager.service",
        ("controller manager | Unit", "controller manager | Running"),
    ),
    Daemon(
        "scheduler",
        scheduler,
        "kube-scheduler.service",
        ("scheduler | Unit", "scheduler | Running"),
    ),
    Daemon(
        "cluster dns",
        cluster_dns,
        "kybern-dns.service",
        (
            "cluster dns | Files",
            "cluster dns | Running, changed ones restarted one at a time",
            "cluster dns | Answering",
        ),
    ),
    Daemon(
        "cluster metrics",
        cluster_metrics,
        "kybern-metrics.service",
        ("cluster metrics | Unit", "cluster metrics | Running"),
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
        pod_network,
        "kybern-pod-network.service",
        ("pod network | Unit", "pod network | Running"),
    ),
    Daemon(
        "network policies",
        network_policies,
        "kybern-policies.service",
        ("network policies | Unit", "network policies | Running"),
    ),
    Daemon(
        "local volumes",
        of_machine(local_volumes),
        "kybern-local-volumes.service",
        ("local volumes | Unit", "local volumes | Running"),
    ),
)
ON_NODES = [
    daemon
    for daemon in DAEMONS
    if daemon.unit.startswith(("containerd", "kubelet", "kube-proxy", "kybern-po", "kybern-local"))
]
OURS = [daemon for daemon in DAEMONS if daemon.programs]


def named(daemon: Daemon) -> str:
    return daemon.name


@pytest.fixture(autouse=True)
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    use_images(tmp_path, monkeypatch)
    use(tmp_path, monkeypatch, "one")


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


ISSUERS = """
apiVersion: apiserver.config.k8s.io/v1
kind: AuthenticationConfiguration
jwt:
- issuer: {url: "https://issuer.example", audiences: [kubernetes]}
  claimMappings: {username: {claim: sub, prefix: "issuer:"}}
"""

RIGHTS = """
apiVersion: apiserver.config.k8s.io/v1
kind: AuthorizationConfiguration
authorizers:
- {type: Node, name: node}
- {type: RBAC, name: rbac}
- type: Webhook
  name: entitlements
  webhook:
    timeout: 3s
    subjectAccessReviewVersion: v1
    failurePolicy: NoOpinion
    connectionInfo: {type: KubeConfigFile, kubeConfigFile: /etc/kubernetes/authorization/entitlements.kubeconfig}
"""

CHANGES = [
    ("apiserver", {"service_cidr": IPv4Network("10.97.0.0/16")}),
    ("apiserver", {"admission": ("EventRateLimit",)}),
    ("apiserver", {"authentication": ISSUERS}),
    ("apiserver", {"authorization": Authorization(RIGHTS)}),
    ("controller manager", {"pod_cidr": IPv4Network("10.245.0.0/16")}),
    ("kubelet", {"cluster_domain": "example.local"}),
    ("cluster dns", {"cluster_domain": "example.local"}),
    ("kube-proxy", {"pod_cidr": IPv4Network("10.245.0.0/16")}),
    ("kube-proxy", {"proxy_mode": "nftables"}),
    ("runtime", {"cgroup_driver": "systemd"}),
    ("kubelet", {"cgroup_driver": "systemd"}),
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
                                              ("cluster dns", "kybern-dns"),
                                              ("cluster metrics", "kybern-metrics"),
                                              ("controller manager", "kube-controller-manager")])  # fmt: skip
def test_a_daemon_of_the_control_plane_runs_as_its_own_user(daemon: str, user: str, cluster: Cluster) -> None:
    assert f"User={user}\n" in unit_of(daemon, cluster, cluster.masters[0])


def test_admission_plugins_of_the_topology_are_on_with_limits_that_they_take(cluster: Cluster) -> None:
    names = ("AlwaysPullImages", "DenyServiceExternalIPs", "EventRateLimit")
    fake = finished(apiserver, replace(cluster, admission=names), cluster.masters[0])
    unit = fake.contents["/etc/systemd/system/kube-apiserver.service"].decode()
    plain = unit_of("apiserver", cluster, cluster.masters[0])

    assert f"--enable-admission-plugins=NodeRestriction,{','.join(names)} " in unit
    assert "--admission-control-config-file=/etc/kubernetes/admission.yaml " in unit
    (plugin,) = yaml.safe_load(fake.contents["/etc/kubernetes/admission.yaml"])["plugins"]
    chain(names, (), {plugin["name"]: plugin["configuration"]})
    assert "--enable-admission-plugins=NodeRestriction " in plain
    assert "admission-control-config-file" not in plain


def test_issuers_of_the_topology_are_a_file_on_every_master_and_a_bad_one_is_told_before(
    cluster: Cluster,
) -> None:
    fake = finished(apiserver, replace(cluster, authentication=ISSUERS), cluster.masters[0])
    unit = fake.contents["/etc/systemd/system/kube-apiserver.service"].decode()

    assert "--authentication-config=/etc/kubernetes/authentication.yaml " in unit
    assert fake.contents["/etc/kubernetes/authentication.yaml"].decode() == ISSUERS
    assert "authentication-config" not in unit_of("apiserver", cluster, cluster.masters[0])
    for bad, why in (
        (ISSUERS.replace("https", "http"), "jwt\\[0\\].issuer.url.*URL scheme must be https"),
        (
            ISSUERS.replace("issuer.example", f"kubernetes.default.svc.{cluster.cluster_domain}"),
            "must not overlap with disallowed issuers",
        ),
    ):
        with pytest.raises(TopologyError, match=f'the file of "authentication" cannot be used: .*{why}'):
            finished(apiserver, replace(cluster, authentication=bad), cluster.masters[0])


def test_authorizers_of_the_topology_take_the_place_of_the_flag_and_their_kubeconfigs_are_the_servers_alone(
    cluster: Cluster,
) -> None:
    folder = "/etc/kubernetes/authorization"
    with_one = replace(cluster, authorization=Authorization(RIGHTS, (("entitlements.kubeconfig", "secret"),)))
    fake = finished(apiserver, with_one, cluster.masters[0])
    unit = fake.contents["/etc/systemd/system/kube-apiserver.service"].decode()

    assert "--authorization-config=/etc/kubernetes/authorization.yaml " in unit
    assert "--authorization-mode" not in unit
    assert fake.contents["/etc/kubernetes/authorization.yaml"].decode() == RIGHTS
    shipped = fake.tree[f"{folder}/entitlements.kubeconfig"]
    assert (shipped.mode, shipped.user) == ("600", "kube-apiserver")
    assert "secret" not in repr(with_one)

    # Without it, credentials do not stay, and the authorizers are the usual ones again.
    apply(apiserver, cluster, cluster.masters[0], fake)
    assert f"{folder}/entitlements.kubeconfig" not in fake.tree
    assert "--authorization-mode=Node,RBAC " in unit_of("apiserver", cluster, cluster.masters[0])


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("- {type: RBAC, name: rbac}\n", "", "missing required types: \\[RBAC\\]"),
        ("timeout: 3s", "timeout: 31s", "timeout.*must be > 0s and <= 30s"),
        ("failurePolicy", "failurPolicy", "unknown field"),
        ("- {type: RBAC", "- {type: ABAC, name: abac}\n- {type: RBAC", "ABAC reads rules from a file"),
    ],
)
def test_bad_authorizers_are_told_before(cluster: Cluster, old: str, new: str, why: str) -> None:
    bad = Authorization(RIGHTS.replace(old, new))
    with pytest.raises(TopologyError, match=f'the file of "authorization" cannot be used: .*{why}'):
        finished(apiserver, replace(cluster, authorization=bad), cluster.masters[0])


@pytest.mark.parametrize("mode", PROXIES)
def test_kube_proxy_runs_in_the_mode_of_the_topology(mode: str, cluster: Cluster, worker: Machine) -> None:
    unit = unit_of("kube-proxy", replace(cluster, proxy_mode=mode), worker)

    assert f"--proxy-mode={mode}\n" in unit


def test_every_certificate_that_an_api_server_is_started_with_is_shipped(cluster: Cluster) -> None:
    master = cluster.masters[0]
    shipped = apply_to_new(pki, cluster, master)
    unit = unit_of("apiserver", cluster, master)

    named = set(re.findall(r"=(/etc/kubernetes/pki/\S+)", unit))
    assert named - shipped.tree.keys() == set()
    for flag, name in {
        "requestheader-client-ca-file": "front-proxy-ca.crt",
        "proxy-client-cert-file": "front-proxy-client.crt",
        "proxy-client-key-file": "front-proxy-client.key",
    }.items():
        assert f"--{flag}=/etc/kubernetes/pki/{name} " in unit
    assert "--requestheader-uid-headers=X-Remote-Uid " in unit
    proxy = x509.load_pem_x509_certificate(shipped.contents["/etc/kubernetes/pki/front-proxy-client.crt"])
    authority = x509.load_pem_x509_certificate(shipped.contents["/etc/kubernetes/pki/front-proxy-ca.crt"])
    proxy.verify_directly_issued_by(authority)
    names = proxy.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    assert f"--requestheader-allowed-names={names[0].value!s} " in unit


def apply_to_new(role: Role, cluster: Cluster, machine: Machine) -> FakeMachine:
    fake = FakeMachine(machine.name)
    apply(role, cluster, machine, fake)
    return fake


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


@pytest.mark.parametrize(
    ("left_out", "waited_for"),
    [(0, " m1 m2 m3 w1"), (1, " m1 m2 m3"), (3, " m1")],
    ids=["all", "one", "three"],
)
def test_every_master_waits_until_all_nodes_of_the_run_are_ready(
    cluster: Cluster, left_out: int, waited_for: str
) -> None:
    """A machine that is off may not even be a host: an inventory of running machines does not have it."""
    machines = cluster.machines[: len(cluster.machines) - left_out]
    fakes = [FakeMachine(each.name) for each in machines]
    run = Run(fakes, [{"machine": each} for each in machines])
    run.prepare(nodes_ready, cluster, machines)
    waiting = ["nodes | Ready" in run.changing(host) for host in run.hosts]
    run.execute()

    assert waiting == [each.is_master for each in machines]
    assert fakes[0].probe.endswith(waited_for)


@pytest.mark.parametrize(
    ("network", "told", "done"),
    [
        pytest.param(
            "kybern", {"status": "True", "message": "kubelet is posting ready status"}, True, id="ready"
        ),
        pytest.param(
            "kybern", {"status": "False", "message": f"{BARE}: NetworkReady=false"}, False, id="ours lacks"
        ),
        pytest.param(
            "none", {"status": "False", "message": f"{BARE}: NetworkReady=false"}, True, id="theirs lacks"
        ),
        pytest.param("none", {"status": "False", "message": "PLEG is not healthy"}, False, id="else"),
        pytest.param(
            "none", {"status": "Unknown", "message": "Kubelet stopped posting node status."}, False, id="lost"
        ),
    ],
)
def test_a_node_may_lack_the_network_that_another_one_brings(
    cluster: Cluster, worker: Machine, network: str, told: dict[str, str], *, done: bool
) -> None:
    """The deploy ends well before: what brings the network may need the API."""
    node = {"metadata": {"name": worker.name}, "status": {"conditions": [{"type": "Ready", **told}]}}
    _, _, script = all_ready(replace(cluster, pod_network=network), [worker]).partition("| ")

    ran = subprocess.run(
        ["sh", "-c", script], check=False, input=json.dumps({"items": [node]}), text=True, timeout=10
    )

    assert (ran.returncode == 0) is done


def test_images_that_somebody_removed_are_loaded_again(cluster: Cluster, worker: Machine) -> None:
    role = next(daemon.role for daemon in DAEMONS if daemon.name == "runtime")
    fake = finished(role, cluster, worker)
    fake.true.clear()

    assert apply(role, cluster, worker, fake) == ["runtime | Images loaded"]


def test_containerd_starts_pods_with_the_image_that_was_loaded(cluster: Cluster) -> None:
    config = runtime_role.containerd(cluster, restricted=False).inputs[0].content.decode()

    assert f'sandbox_image = "{oci.PAUSE}"' in config
    assert oci.PAUSE in runtime_role.names()


def test_pods_have_a_limit_and_a_seccomp_profile_and_the_kubelet_strong_ciphers(cluster: Cluster) -> None:
    fake = finished(kubelet, cluster, cluster.masters[0])
    config = yaml.safe_load(fake.contents[kubelet_role.CONFIG])

    assert (config["podPidsLimit"], config["seccompDefault"]) == (4096, True)
    assert all("_GCM_" in name or "CHACHA20" in name for name in config["tlsCipherSuites"])
    assert config["tlsCipherSuites"]


def test_a_node_is_in_the_zone_of_its_hypervisor_unless_a_cloud_says_where_it_is(cluster: Cluster) -> None:
    there = replace(cluster.masters[0], hypervisor="rack-1")

    def flags(on: Cluster, machine: Machine) -> bytes:
        return kubelet_role.unit(on, machine, "/p").files[0].content

    label = b"--node-labels=topology.kubernetes.io/zone=rack-1 "
    assert label in flags(cluster, there)
    assert b"--node-labels" not in flags(replace(cluster, cloud=CLOUD), there)
    assert b"--node-labels" not in flags(cluster, cluster.masters[0])


@pytest.mark.parametrize(("driver", "by_systemd"), [("cgroupfs", "false"), ("systemd", "true")])
def test_the_kubelet_and_the_runtime_have_the_same_cgroup_driver(
    driver: str, by_systemd: str, cluster: Cluster
) -> None:
    chosen = replace(cluster, cgroup_driver=driver)
    config = next(
        file
        for file in kubelet_role.unit(chosen, cluster.masters[0], "/p").files
        if file.path == kubelet_role.CONFIG
    )

    assert f"cgroupDriver: {driver}\n" in config.content.decode()
    assert (
        f"SystemdCgroup = {by_systemd}\n"
        in runtime_role.containerd(chosen, restricted=False).inputs[0].content.decode()
    )


@pytest.mark.parametrize("driver", ["lxc", "none"])
@pytest.mark.parametrize(("restricted", "told"), [(True, "true"), (False, "false")])
def test_a_machine_keeps_scores_that_it_may_not_set_whoever_made_it(
    driver: str, restricted: bool, told: str, cluster: Cluster
) -> None:
    chosen = replace(cluster, driver=driver)
    fake = FakeMachine("m", restricted=restricted)

    apply(of_cluster(runtime), chosen, chosen.masters[0], fake)

    assert f"restrict_oom_score_adj = {told}\n" in fake.contents["/etc/containerd/config.toml"].decode()


def test_what_a_machine_is_comes_from_what_it_does() -> None:
    fact = NatureOfMachine()

    assert fact.process(["banner", "KYBERN 3.13", "KYBERN restricted"]) == Nature("3.13", restricted=True)
    assert fact.process(["KYBERN 3.12", "KYBERN free"]) == Nature("3.12", restricted=False)
    told = ["KYBERN 3.12", "KYBERN free", "SETTLED cluster-cidr 10.244.0.0/16"]
    assert fact.process(told).settled == {"cluster-cidr": "10.244.0.0/16"}
    with pytest.raises(FactProcessError, match="install python3"):
        fact.process(["bash: python3: command not found"])


def test_pods_ask_the_service_that_leads_to_the_masters(cluster: Cluster) -> None:
    fake = finished(kubelet, cluster, cluster.masters[0])
    (service,) = [one for one in objects(cluster) if one.place.endswith("/services/kube-dns")]

    asked = yaml.safe_load(fake.contents["/var/lib/kubelet/config.yaml"])
    given = yaml.safe_load(service.file.content)
    assert asked["clusterDNS"] == [given["spec"]["clusterIP"]] == ["10.96.0.10"]
    assert "selector" not in given["spec"]


def test_the_dns_service_is_written_once_and_again_when_it_differs(cluster: Cluster) -> None:
    moved = replace(cluster, service_cidr=IPv4Network("10.97.0.0/16"))
    before, after = objects(cluster), objects(moved)

    changed = [new.place for old, new in zip(before, after, strict=True) if old.digest != new.digest]
    assert changed == ["/api/v1/namespaces/kube-system/services/kube-dns"]
    role, master = of_cluster(dns_service), cluster.masters[0]
    fake = finished(role, cluster, master)
    assert plan(role, cluster, master, fake) == []
    assert plan(role, moved, master, fake) == ["dns service | Files", "dns service | Service and rights"]


def test_the_name_daemon_may_list_names_and_keep_its_own_endpoints(cluster: Cluster) -> None:
    kinds = {one["kind"]: one for one in (yaml.safe_load(made.file.content) for made in objects(cluster))}

    assert {verb for rule in kinds["ClusterRole"]["rules"] for verb in rule["verbs"]} == {"list", "watch"}
    named = [rule for rule in kinds["Role"]["rules"] if {"get", "patch"} & set(rule["verbs"])]
    assert [rule["resourceNames"] for rule in named] == [
        ["kybern-dns-m1", "kybern-dns-m2", "kybern-dns-m3"],
        ["kube-dns-machines"],
    ]
    for one in kinds.values():
        assert "kybern.io/applied" in one["metadata"]["annotations"]


def test_the_api_server_is_sent_to_the_metrics_daemons_and_trusts_their_authority(cluster: Cluster) -> None:
    master = cluster.masters[0]
    shipped = apply_to_new(pki, cluster, master).contents
    authority = shipped["/etc/kubernetes/pki/ca.crt"]
    made = {one.place: yaml.safe_load(one.file.content) for one in metrics_objects(cluster, authority)}

    spec = made["/apis/apiregistration.k8s.io/v1/apiservices/v1beta1.metrics.k8s.io"]["spec"]
    service = made["/api/v1/namespaces/kube-system/services/metrics-server"]
    assert b64decode(spec["caBundle"]) == authority
    assert spec["service"]["port"] == service["spec"]["ports"][0]["port"]
    unit = unit_of("cluster metrics", cluster, master)
    assert f"--secure-port={service['spec']['ports'][0]['targetPort']} " in unit
    assert set(re.findall(r"=(/etc/kubernetes/pki/\S+)", unit)) <= set(shipped)


def test_the_class_of_local_volumes_is_the_default_and_is_written_once(cluster: Cluster) -> None:
    fake = FakeMachine("m1")
    role = of_cluster(storage_class)
    done = apply(role, cluster, cluster.masters[0], fake)

    assert done == ["storage class | Files", "storage class | Driver, class and rights"]
    made = yaml.safe_load(fake.contents["/etc/kybern/local-volumes/storageclass.yaml"])
    driver = yaml.safe_load(fake.contents["/etc/kybern/local-volumes/csidriver.yaml"])
    assert made["metadata"]["annotations"]["storageclass.kubernetes.io/is-default-class"] == "true"
    assert made["provisioner"] == driver["metadata"]["name"] == "local.kybern.io"
    assert driver["spec"]["attachRequired"] is False


def test_the_driver_of_local_volumes_shares_its_mounts_with_the_kubelet(
    cluster: Cluster, worker: Machine
) -> None:
    """Any of these would give it mounts of its own, which no pod would see."""
    unit = unit_of("local volumes", cluster, worker)

    alone = (
        "Protect",
        "Private",
        "ReadOnlyPaths",
        "ReadWritePaths",
        "InaccessiblePaths",
        "TemporaryFileSystem",
    )
    assert [line for line in unit.splitlines() if line.startswith(alone)] == []


def test_name_daemons_restart_one_at_a_time(cluster: Cluster) -> None:
    fakes = [finished(cluster_dns, cluster, master) for master in cluster.masters]
    run = Run(fakes)
    run.prepare(cluster_dns, replace(cluster, cluster_domain="example.local"), cluster.masters)
    serial = [
        next(iter(meta.names)) for meta in run.state.op_meta.values() if meta.global_arguments["_serial"]
    ]
    run.execute()

    assert serial == ["cluster dns | Running, changed ones restarted one at a time"]
    assert [":9153/ready" in line for fake in fakes for line in restarts(fake)] == [True] * 3


def dual(cluster: Cluster) -> Cluster:
    networks = (IPv6Network(one) for one in ("fd00:1::/64", "fd00:244::/56", "fd00:96::/112"))
    return replace(cluster, ipv6=SecondFamily(*networks))


@pytest.mark.parametrize(
    ("daemon", "told"),
    [
        ("apiserver", "--service-cluster-ip-range=10.96.0.0/16,fd00:96::/112 "),
        ("controller manager", "--service-cluster-ip-range=10.96.0.0/16,fd00:96::/112 "),
        ("controller manager", "--cluster-cidr=10.244.0.0/16,fd00:244::/56 "),
        ("kube-proxy", "--cluster-cidr=10.244.0.0/16,fd00:244::/56 "),
        ("kubelet", "--node-ip=10.1.0.11,fd00:1::b "),
    ],
)
def test_daemons_are_told_of_both_families(daemon: str, told: str, cluster: Cluster) -> None:
    assert told in unit_of(daemon, dual(cluster), cluster.masters[0])


@pytest.mark.parametrize("families", [("IPv6", "IPv4"), ("IPv6",)])
@pytest.mark.parametrize(
    ("daemon", "told"),
    [
        ("apiserver", "--advertise-address=fd00:1::b "),
        ("apiserver", "--service-cluster-ip-range=fd00:96::/112"),
        ("controller manager", "--cluster-cidr=fd00:244::/56"),
        ("kube-proxy", "--cluster-cidr=fd00:244::/56"),
        ("kubelet", "--node-ip=fd00:1::b"),
        ("cluster dns", "--bind-address=fd00:1::b "),
        ("cluster metrics", "--advertise-address=fd00:1::b "),
    ],
)
def test_daemons_are_told_of_ipv6_first_where_it_comes_first(
    daemon: str, told: str, families: tuple[str, ...], cluster: Cluster
) -> None:
    six = replace(dual(cluster), families=families)
    whole = unit_of(daemon, six, cluster.masters[0])

    assert told in whole
    behind = whole.partition(told)[2]
    assert behind.startswith(",") == (len(families) == 2 and not told.endswith(" "))
    assert str(six.dns_address) == "fd00:96::a"


def test_a_machine_has_an_address_of_the_second_family_and_rules_for_it(
    cluster: Cluster, worker: Machine
) -> None:
    fake = finished(second_family, dual(cluster), worker)
    script = fake.contents["/etc/kybern/ipv6"].decode()
    assert "ip -6 address replace fd00:1::15/64 " in script
    assert r"/^10\.1\.0\.21\//" in script
    assert plan(second_family, dual(cluster), worker, fake) == []
    assert plan(second_family, cluster, worker, fake) == []

    rules = finished(firewall, dual(cluster), worker).contents["/etc/kybern/firewall6.rules"].decode()
    assert "-A KYBERN-INPUT -s fd00:1::b/128 -j RETURN\n" in rules
    assert "-A KYBERN-PODS ! -s fd00:244::/56 -j RETURN\n" in rules
    order = [
        rules.index(text)
        for text in ("--dport 22 ", "ESTABLISHED,DNAT", "--dport 2379 -j DROP", "fd00:1::b/128")
    ]
    assert order == sorted(order)
    plain = finished(firewall, cluster, worker).contents
    assert b"KYBERN-PODS" not in plain["/etc/kybern/firewall6.rules"]
    assert b"ip6tables -w 10 -t nat" not in plain["/etc/kybern/firewall"]


def test_another_pod_network_finds_nothing_of_ours(cluster: Cluster, worker: Machine) -> None:
    off = replace(cluster, pod_network="none")
    fake = finished(pod_network, cluster, worker)

    assert apply(pod_network, off, worker, fake) == ["pod network | Switched off"]
    (command,) = fake.commands
    assert command.index("disable --now --quiet kybern-pod-network.service") < command.index("rm -rf ")
    assert "/etc/cni/net.d/10-kybern.conflist" in command
    assert "ip route flush proto 75" in command
    fake.true.add(pod_network_absent())
    assert plan(pod_network, off, worker, fake) == []


def test_policies_that_are_switched_off_leave_neither_daemon_nor_rules(
    cluster: Cluster, worker: Machine
) -> None:
    off = replace(cluster, network_policies=False)
    fake = finished(network_policies, cluster, worker)

    assert apply(network_policies, off, worker, fake) == ["network policies | Switched off"]
    (command,) = fake.commands
    assert command.index("disable --now --quiet kybern-policies.service") < command.index("rm -f ")
    assert command.index("rm -f ") < command.index("delete table inet kybern-policies")
    fake.true.add(absent())
    assert plan(network_policies, off, worker, fake) == []


def test_a_node_s_cache_is_asked_first_and_the_service_when_it_is_down(
    cluster: Cluster, worker: Machine
) -> None:
    on = replace(cluster, node_local_dns=True)
    fake = finished(kubelet, on, worker)

    told = yaml.safe_load(fake.contents["/var/lib/kubelet/config.yaml"])
    assert told["clusterDNS"] == ["169.254.20.10", "10.96.0.10"]
    assert wanted_users(on, worker) == ("kybern-dns",)
    assert wanted_users(cluster, worker) == ()


def test_a_node_s_cache_runs_above_its_link_and_asks_the_masters_last(
    cluster: Cluster, worker: Machine
) -> None:
    on = replace(cluster, node_local_dns=True)
    fake = finished(node_dns, on, worker)

    unit = fake.contents["/etc/systemd/system/kybern-node-dns.service"].decode()
    assert "Requires=kybern-node-dns-link.service\n" in unit
    assert "User=kybern-dns\n" in unit
    config = yaml.safe_load(fake.contents["/etc/kybern/node-dns.yaml"])
    assert config["clusterServers"] == ["10.96.0.10", *(str(one.address) for one in cluster.masters)]
    assert plan(node_dns, on, worker, fake) == []


def test_a_node_s_cache_that_is_switched_off_goes(cluster: Cluster, worker: Machine) -> None:
    fake = finished(node_dns, replace(cluster, node_local_dns=True), worker)
    fake.answers[is_asked()] = "idle"

    assert apply(node_dns_left, cluster, worker, fake) == ["node dns | Switched off"]
    (command,) = fake.commands
    assert command.index("disable --now --quiet kybern-node-dns.service") < command.index("rm -rf ")
    fake.answers.clear()
    fake.questions = 0
    assert plan(node_dns_left, cluster, worker, fake) == []
    assert fake.questions == 1


def test_a_node_s_cache_stays_as_long_as_pods_were_told_of_it(
    cluster: Cluster, worker: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = finished(node_dns, replace(cluster, node_local_dns=True), worker)
    fake.answers[is_asked()] = "asked"
    fake.true.add(f"{{ {node_dns_absent()}; }} || {is_asked()}")

    assert plan(node_dns_left, cluster, worker, fake) == []
    use(tmp_path, monkeypatch, "two")
    assert apply(node_dns_left, cluster, worker, fake) == [
        "node dns | Files, for pods of before",
        "node dns | Running, for pods of before",
    ]


def test_the_policies_daemon_may_look_and_change_nothing(cluster: Cluster, worker: Machine) -> None:
    kinds = {one["kind"]: one for one in (yaml.safe_load(made.file.content) for made in policy_objects())}

    assert {verb for rule in kinds["ClusterRole"]["rules"] for verb in rule["verbs"]} == {"list", "watch"}
    assert kinds["ClusterRoleBinding"]["subjects"][0]["name"] == "system:kybern-policies"
    unit = unit_of("network policies", cluster, worker)
    assert "CapabilityBoundingSet=CAP_NET_ADMIN\n" in unit
    role, master = of_cluster(policy_rights), cluster.masters[0]
    assert plan(role, cluster, master, finished(role, cluster, master)) == []


POOLS = (("default", ("10.1.0.100-10.1.0.120",)), ("quiet", ("10.1.0.130",)))


def test_load_balancers_run_where_the_topology_has_pools_and_come_to_rest(
    cluster: Cluster, worker: Machine
) -> None:
    on = replace(cluster, load_balancer=POOLS)
    master, node = (finished(balancers, on, one) for one in (cluster.masters[0], worker))

    unit = master.contents["/etc/systemd/system/kybern-load-balancers.service"].decode()
    assert '"--pools=default=10.1.0.100-10.1.0.120;quiet=10.1.0.130"' in unit
    assert "CapabilityBoundingSet=\n" in unit
    assert "/etc/systemd/system/kybern-load-balancers.service" not in node.contents
    speaker = node.contents["/etc/systemd/system/kybern-speaker.service"].decode()
    assert "User=kybern-speaker\n" in speaker
    assert re.findall(r"CAP_\w+", speaker) == ["CAP_NET_RAW", "CAP_NET_RAW"]
    assert plan(balancers, on, cluster.masters[0], master) == []


CLOUD = Cloud((("rack-1", "qemu+tls://rack-1/system?pkipath=/etc/kubernetes/cloud"),), "home")


def test_the_cloud_is_asked_where_the_topology_has_one(cluster: Cluster, worker: Machine) -> None:
    on, first = replace(cluster, cloud=CLOUD), cluster.masters[0]
    folder = state(on) / "cloud"
    folder.mkdir(parents=True)
    (folder / "clientkey.pem").write_text("key")
    role = of_cluster(cloud)
    master = finished(role, on, first)

    unit = master.contents["/etc/systemd/system/cloud-controller-manager.service"].decode()
    assert "User=cloud-controller-manager\n" in unit
    assert "CapabilityBoundingSet=\n" in unit
    assert yaml.safe_load(master.contents["/etc/kybern/cloud/libvirt.yaml"]) == {
        "cluster": on.name, "region": "home", "hypervisors": dict(CLOUD.hypervisors),
    }  # fmt: skip
    assert master.contents["/etc/kubernetes/cloud/clientkey.pem"] == b"key"
    master.true.add(relay_absent())
    assert plan(role, on, first, master) == []
    for name, machine in (("kubelet", worker), ("controller manager", first)):
        assert "--cloud-provider=external " in unit_of(name, on, machine)
        assert "--cloud-provider" not in unit_of(name, cluster, machine)


def test_trust_bundles_are_switched_on_in_all_daemons_or_none(cluster: Cluster, worker: Machine) -> None:
    on, first = replace(cluster, trust_bundles=True), cluster.masters[0]
    both = {"ClusterTrustBundle": True, "ClusterTrustBundleProjection": True}

    for name, flags in (
        (
            "apiserver",
            (
                "--feature-gates=ClusterTrustBundle=true,ClusterTrustBundleProjection=true ",
                "--runtime-config=certificates.k8s.io/v1beta1=true ",
            ),
        ),
        ("controller manager", ("--feature-gates=ClusterTrustBundle=true ",)),
    ):
        assert all(flag in unit_of(name, on, first) for flag in flags)
        assert "--feature-gates" not in unit_of(name, cluster, first)
    for topology, gates in ((on, both), (cluster, None)):
        fake = finished(kubelet, topology, worker)
        assert yaml.safe_load(fake.contents["/var/lib/kubelet/config.yaml"]).get("featureGates") == gates


def test_a_cloud_that_is_switched_off_is_taken_away(cluster: Cluster) -> None:
    role, first = of_cluster(cloud), cluster.masters[0]
    fake = finished(role, replace(cluster, cloud=CLOUD), first)

    assert apply(role, cluster, first, fake) == ["cloud | Switched off"]
    fake.true.add(cloud_absent())
    assert plan(role, cluster, first, fake) == []


def test_in_a_container_a_relay_reaches_the_host_s_libvirt_as_root_and_lets_in_the_daemon(
    cluster: Cluster,
) -> None:
    role, on, first = of_cluster(cloud), replace(cluster, cloud=LOCAL), cluster.masters[0]
    master = finished(role, on, first)

    ((_, uri),) = yaml.safe_load(master.contents["/etc/kybern/cloud/libvirt.yaml"])["hypervisors"].items()
    socket = uri.partition("socket=")[2]
    relay = master.contents["/etc/systemd/system/kybern-libvirt.service"].decode()
    assert f"UNIX-LISTEN:{socket},fork,unlink-early,user=cloud-controller-manager " in relay
    assert "UNIX-CONNECT:/srv/libvirt/libvirt-sock-ro\n" in relay
    assert not re.findall(r"^(?:User|Group)=", relay, re.MULTILINE)
    assert re.findall(r"CAP_\w+", relay) == ["CAP_CHOWN"]
    assert plan(role, on, first, master) == []
    assert apply(role, replace(cluster, cloud=CLOUD), first, master)[-1:] == ["cloud | Relay switched off"]


def test_the_cloud_s_daemon_may_change_nodes_and_nothing_else() -> None:
    made = [yaml.safe_load(one.file.content) for one in cloud_objects()]
    rules = next(one["rules"] for one in made if one["kind"] == "ClusterRole")
    writes = {"create", "update", "patch", "delete"}
    changed = {name for rule in rules if writes & {*rule["verbs"]} for name in rule["resources"]}
    assert changed == {"nodes", "nodes/status", "events", "tokenreviews", "subjectaccessreviews"}


VOLUMES = CloudVolumes(
    "default", (("rack-1", "qemu+tls://rack-1/system?pkipath=/etc/kubernetes/cloud-volumes"),)
)


def test_a_cloud_s_volumes_are_made_by_masters_and_mounted_by_nodes(
    cluster: Cluster, worker: Machine
) -> None:
    on, first = replace(cluster, cloud=CLOUD, cloud_volumes=VOLUMES), cluster.masters[0]
    folder = state(on) / "cloud-volumes"
    folder.mkdir(parents=True)
    (folder / "clientkey.pem").write_text("key")
    master, node = finished(cloud_volumes, on, first), finished(cloud_volumes, on, worker)

    unit = master.contents["/etc/systemd/system/kybern-cloud-volumes.service"].decode()
    assert "User=kybern-cloud-volumes\n" in unit
    assert "CapabilityBoundingSet=\n" in unit
    assert yaml.safe_load(master.contents["/etc/kybern/cloud-volumes/libvirt.yaml"]) == {
        "cluster": on.name, "volumes": True, "hypervisors": dict(VOLUMES.hypervisors),
    }  # fmt: skip
    assert master.contents["/etc/kubernetes/cloud-volumes/clientkey.pem"] == b"key"
    for one, machine in ((master, first), (node, worker)):
        assert "/etc/systemd/system/kybern-cloud-volumes-node.service" in one.contents
        assert plan(cloud_volumes, on, machine, one) == []
    assert "/etc/kubernetes/cloud-volumes/clientkey.pem" not in node.contents
    assert "/etc/systemd/system/kybern-cloud-volumes.service" not in node.contents


def test_a_cloud_s_volumes_that_are_switched_off_are_nobody_s_to_mount(
    cluster: Cluster, worker: Machine
) -> None:
    on = replace(cluster, cloud=CLOUD, cloud_volumes=VOLUMES)
    node, off = finished(cloud_volumes, on, worker), replace(on, cloud_volumes=None)

    assert apply(cloud_volumes, off, worker, node) == ["cloud volumes | Switched off"]
    node.true.add(cloud_volumes_absent())
    assert plan(cloud_volumes, off, worker, node) == []


def test_in_a_container_a_relay_of_their_own_leads_to_the_host_s_libvirt(cluster: Cluster) -> None:
    uri = f"lxc+unix:///system?socket={VOLUMES_RELAY}"
    on = replace(cluster, cloud=LOCAL, cloud_volumes=CloudVolumes("default", (("local", uri),)))
    master = finished(cloud_volumes, on, cluster.masters[0])

    relay = master.contents["/etc/systemd/system/kybern-libvirt-volumes.service"].decode()
    assert f"UNIX-LISTEN:{VOLUMES_RELAY},fork,unlink-early,user=kybern-cloud-volumes " in relay
    assert "UNIX-CONNECT:/srv/libvirt/libvirt-sock\n" in relay
    assert re.findall(r"CAP_\w+", relay) == ["CAP_CHOWN"]
    elsewhere = replace(cluster, cloud=CLOUD, cloud_volumes=VOLUMES)
    assert apply(cloud_volumes, elsewhere, cluster.masters[0], master)[-1:] == [
        "cloud volumes | Relay switched off"
    ], "whoever keeps it keeps all rights on the host"


def test_the_volumes_daemon_may_change_volumes_and_no_node(cluster: Cluster) -> None:
    made = {one.place: yaml.safe_load(one.file.content) for one in cloud_volume_objects(cluster)}
    rules = next(one["rules"] for one in made.values() if one["kind"] == "ClusterRole")
    writes = {"create", "update", "patch", "delete"}
    changed = {name for rule in rules if writes & {*rule["verbs"]} for name in rule["resources"]}
    assert changed == {
        "persistentvolumes", "persistentvolumeclaims", "persistentvolumeclaims/status", "volumeattachments",
        "volumeattachments/status", "volumesnapshots", "volumesnapshots/status", "volumesnapshotcontents",
        "volumesnapshotcontents/status", "events", "tokenreviews", "subjectaccessreviews",
    }  # fmt: skip


@pytest.mark.parametrize(("mode", "strict"), [("ipvs", True), ("iptables", False)])
def test_kernels_keep_silent_about_addresses_that_speakers_announce(
    cluster: Cluster, worker: Machine, mode: str, *, strict: bool
) -> None:
    unit = unit_of("kube-proxy", replace(cluster, load_balancer=POOLS, proxy_mode=mode), worker)

    assert (f"--proxy-mode={mode} --ipvs-strict-arp\n" in unit) == strict


def test_load_balancers_that_are_switched_off_are_taken_away(cluster: Cluster, worker: Machine) -> None:
    fake = finished(balancers, replace(cluster, load_balancer=POOLS), worker)

    assert apply(balancers, cluster, worker, fake) == ["load balancers | Switched off"]
    (command,) = fake.commands
    assert command.index("disable --now --quiet kybern-speaker.service") < command.index("rm -f ")
    fake.true.add(balancers_absent())
    assert plan(balancers, cluster, worker, fake) == []


def test_a_speaker_may_look_and_read_one_secret(cluster: Cluster) -> None:
    made = {
        (one["kind"], one["metadata"]["name"]): one
        for one in (yaml.safe_load(made.file.content) for made in balancer_objects())
    }

    looks = made["ClusterRole", "system:kybern-speaker"]["rules"]
    assert {verb for rule in looks if "events" not in rule["resources"] for verb in rule["verbs"]} == {
        "list",
        "watch",
    }
    assert [rule["resourceNames"] for rule in made["Role", "system:kybern-speaker"]["rules"]] == [
        ["kybern-speakers"]
    ]
    role, master = of_cluster(balancer_rights), cluster.masters[0]
    assert plan(role, cluster, master, finished(role, cluster, master)) == []


def test_ingress_runs_on_workers_where_the_topology_says_so_and_goes_when_it_does_not(
    cluster: Cluster, worker: Machine
) -> None:
    on, role = replace(cluster, ingress=True), of_cluster(ingress)
    fake = finished(role, on, worker)

    unit = fake.contents["/etc/systemd/system/kybern-ingress.service"].decode()
    assert f"--publish-addresses={worker.address} " in unit
    assert "User=kybern-ingress\n" in unit
    assert "CapabilityBoundingSet=\n" in unit
    haproxy = fake.contents["/etc/systemd/system/kybern-ingress-haproxy.service"].decode()
    assert "master.sock,user,kybern-ingress,mode,600" in haproxy
    assert plan(role, on, worker, fake) == []

    fake.commands.clear()
    assert apply(role, cluster, worker, fake) == ["ingress | Switched off"]
    assert fake.commands[0].index("disable --now --quiet kybern-ingress-haproxy.service") < fake.commands[
        0
    ].index("rm ")
    fake.true.add(ingress_absent())
    assert plan(role, cluster, worker, fake) == []


def test_the_class_of_ingress_is_there_and_its_daemon_changes_statuses_alone(cluster: Cluster) -> None:
    made = {one["kind"]: one for one in (yaml.safe_load(made.file.content) for made in ingress_objects())}

    assert made["IngressClass"]["spec"]["controller"] == "kybern.io/ingress"
    writes = {
        resource
        for rule in made["ClusterRole"]["rules"]
        for resource in rule["resources"]
        if set(rule["verbs"]) - {"list", "watch"}
    }
    assert writes == {"ingresses/status", "events"}
    role, master = of_cluster(ingress_class), cluster.masters[0]
    assert plan(role, cluster, master, finished(role, cluster, master)) == []
