"""The control plane as static pods: what is decided, what a master is given, and the ways from one to the other."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from kybern.api.core_v1 import Pod
from kybern.kubelet.static import pod_of
from kybern.machines import control_plane
from kybern.machines.control_plane import DAEMONS, manifest
from kybern.machines.packages import wanted_packages
from kybern.machines.topology import Authorization, Cluster, Machine
from roles import apiserver as apiserver_role
from roles import control_plane as control_plane_role
from roles import controller_manager as manager_role
from roles import package as package_role
from roles import scheduler as scheduler_role
from roles.control_plane import control_plane_images, lacking
from roles.control_plane_image import Archive, ControlPlaneImage
from roles.facts import PodState
from roles.static_pods import REPLACE, START, StaticPod, completed, verb
from roles.tree import File
from tests.roles.harness import FakeMachine, Run, apply, deploy, plan
from tests.roles.small import Role, made, use, use_images

ROOT = Path(__file__).parents[2]
UNITS = "/etc/systemd/system"


def image_in(folder: Path, digest: str) -> ControlPlaneImage:
    archives = [
        Archive(folder / f"{kind}-{digest}.tar", f"localhost/kybern/{kind}:{digest}")
        for kind in ("control-plane-base", "control-plane")
    ]
    return ControlPlaneImage(archives[0], archives[1], made(folder, digest))


@pytest.fixture
def image(tmp_path: Path) -> ControlPlaneImage:
    return image_in(tmp_path, "1")


@pytest.fixture(autouse=True)
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, image: ControlPlaneImage) -> None:
    monkeypatch.chdir(ROOT)
    use(tmp_path, monkeypatch, "1")
    use_images(tmp_path, monkeypatch)
    use_image(monkeypatch, image)


def use_image(monkeypatch: pytest.MonkeyPatch, image: ControlPlaneImage) -> None:
    for module in (apiserver_role, manager_role, scheduler_role, control_plane_role, package_role):
        monkeypatch.setattr(module, "image_of", lambda _cluster: image)


@pytest.fixture
def as_pods(cluster: Cluster) -> Cluster:
    return replace(cluster, control_plane="pods")


def daemon(**changes: Any) -> StaticPod:
    return replace(
        StaticPod("kube-scheduler", "m1", "kube-scheduler", ("--v=1",), 10259, cpu="100m"), **changes
    )


# What a manifest says.


def pods_of(cluster: Cluster) -> list[StaticPod]:
    machine = cluster.masters[0]
    return [
        apiserver_role.pod(cluster, machine),
        manager_role.pod(cluster, machine),
        scheduler_role.pod(machine),
    ]


def read(pod: StaticPod, image: ControlPlaneImage) -> Pod:
    text = completed(pod, image, 900, 901).file.content.decode()
    return pod_of(text, manifest(pod.name), "m1")


def test_the_kubelet_takes_all_of_them_and_keeps_their_uids(
    as_pods: Cluster, image: ControlPlaneImage
) -> None:
    for pod in pods_of(as_pods):
        found = read(pod, image)
        assert found.metadata.name == f"{pod.name}-m1"
        assert found.metadata.uid == completed(pod, image, 900, 901).uid
        assert found.metadata.annotations["kybern.io/release"] == image.release.package.target


def test_a_pod_and_a_unit_are_started_by_one_command_line(as_pods: Cluster, image: ControlPlaneImage) -> None:
    machine = as_pods.masters[0]
    programs = image.release.programs
    units = [
        apiserver_role.unit(as_pods, machine, programs),
        manager_role.unit(as_pods, machine, programs),
        scheduler_role.unit(as_pods, programs),
    ]
    for pod, service in zip(pods_of(as_pods), units, strict=True):
        text = service.inputs[0].content.decode()
        line = text.partition("ExecStart=")[2].partition("\n#")[0].partition("\nType=")[0]
        (container,) = read(pod, image).spec.containers
        assert line.replace("\\\n", " ").split() == list(container.command)
        assert (service.pod, service.unit) == (pod.name, pod.unit)
        assert {file.path for file in pod.reads} == {file.path for file in service.reads}


def test_a_pod_may_do_nothing_that_its_unit_may_not(as_pods: Cluster, image: ControlPlaneImage) -> None:
    for pod in pods_of(as_pods):
        raw = yaml.safe_load(completed(pod, image, 900, 901).file.content)
        (container,) = raw["spec"]["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        }
        assert raw["spec"]["securityContext"] == {
            "runAsNonRoot": True, "runAsUser": 900, "runAsGroup": 901,
            "seccompProfile": {"type": "RuntimeDefault"},
        }  # fmt: skip
        mounts = {each["mountPath"]: each.get("readOnly", False) for each in container["volumeMounts"]}
        assert mounts["/etc/kubernetes"] is True
        assert container["imagePullPolicy"] == "Never"


def test_the_socket_of_a_key_management_service_is_within_reach_of_the_pod(
    as_pods: Cluster, image: ControlPlaneImage
) -> None:
    served = replace(as_pods, encryption="kms", kms="unix:///run/kms/plugin.sock")

    def mounts(cluster: Cluster) -> list[tuple[str, bool, str, str]]:
        pod = apiserver_role.pod(cluster, cluster.masters[0])
        spec = yaml.safe_load(completed(pod, image, 900, 901).file.content)["spec"]
        paths = {each["name"]: each["hostPath"] for each in spec["volumes"] if "hostPath" in each}
        return [
            (each["mountPath"], each["readOnly"], paths[each["name"]]["path"], paths[each["name"]]["type"])
            for each in spec["containers"][0]["volumeMounts"]
            if each["name"].startswith("sockets-")
        ]

    # The plugin may come later than the server, which serves everything else until then.
    assert mounts(served) == [("/run/kms", True, "/run/kms", "DirectoryOrCreate")]
    assert mounts(as_pods) == []


def test_who_decides_what_is_allowed_is_within_reach_of_the_pod_and_another_answer_makes_another_pod(
    as_pods: Cluster, image: ControlPlaneImage
) -> None:
    def pod(cluster: Cluster) -> StaticPod:
        return apiserver_role.pod(cluster, cluster.masters[0])

    asked = "/etc/kubernetes/authorization/asked.kubeconfig"
    webhook = """
- type: Webhook
  name: asked
  webhook:
    timeout: 3s
    subjectAccessReviewVersion: v1
    matchConditionSubjectAccessReviewVersion: v1
    failurePolicy: NoOpinion
    authorizedTTL: 5m
    unauthorizedTTL: 30s
    connectionInfo: {type: KubeConfigFile, kubeConfigFile: %s}
"""
    text = (
        "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthorizationConfiguration\nauthorizers:\n"
        "- {type: Node, name: node}\n- {type: RBAC, name: rbac}"
    )
    first, second = (
        replace(
            as_pods,
            authorization=Authorization(text + webhook % asked, (("asked.kubeconfig", server),)),
        )
        for server in ("kind: Config\n# one\n", "kind: Config\n# two\n")
    )

    flags = yaml.safe_load(completed(pod(first), image, 900, 901).file.content)["spec"]["containers"][0]
    assert "--authorization-config=/etc/kubernetes/authorization.yaml" in flags["command"]
    assert not any(flag.startswith("--authorization-mode") for flag in flags["command"])
    sent = {file.path for file in pod(first).inputs}
    assert {"/etc/kubernetes/authorization.yaml", asked} <= sent
    assert {"mountPath": "/etc/kubernetes", "name": "kubernetes", "readOnly": True} in flags["volumeMounts"]
    uids = {completed(pod(each), image, 900, 901).uid for each in (as_pods, first, second)}
    assert len(uids) == 3


def test_an_api_server_without_etcd_is_not_ready_and_lives(
    as_pods: Cluster, image: ControlPlaneImage
) -> None:
    (container,) = read(pods_of(as_pods)[0], image).spec.containers

    assert container.liveness_probe
    assert container.liveness_probe.http_get
    assert container.liveness_probe.http_get.path == "/livez?exclude=etcd"
    assert container.readiness_probe
    assert container.readiness_probe.http_get
    assert container.readiness_probe.http_get.path == "/readyz"


@pytest.mark.parametrize(
    "changes",
    [
        {"machine": "m2"},
        {"flags": ("--v=2",)},
        {"inputs": (File("/etc/x", b"1"),)},
        {"reads": (File("/etc/x", b"1"),)},
        {"environment": (("A", "b"),)},
    ],
    ids=str,
)
def test_whatever_a_daemon_reads_at_its_start_makes_another_pod(
    changes: dict[str, Any], image: ControlPlaneImage
) -> None:
    assert completed(daemon(), image, 9, 9).uid != completed(daemon(**changes), image, 9, 9).uid


def test_another_image_or_user_makes_another_pod(image: ControlPlaneImage, tmp_path: Path) -> None:
    uids = {
        completed(daemon(), image, 9, 9).uid,
        completed(daemon(), image, 8, 9).uid,
        completed(daemon(), image_in(tmp_path, "2"), 9, 9).uid,
    }
    assert len(uids) == 3
    assert completed(daemon(), image, 9, 9) == completed(daemon(), image, 9, 9)


# What is decided.


def test_what_is_done_follows_from_what_runs(image: ControlPlaneImage) -> None:
    wanted = completed(daemon(), image, 900, 901)
    here, there = wanted.file.digest, "another"

    def decided(manifest: str, unit: str, *running: str) -> tuple[str, str]:
        state = PodState((900, 901), manifest, unit, frozenset(running))
        return verb(wanted, state, restart=False), verb(wanted, state, restart=True)

    assert decided(here, "", wanted.uid) == ("", "")
    assert decided("", "") == (START, START)
    # The run before ended when it had shipped the manifest, or when it had stopped the unit.
    assert decided(here, "") == (START, START)
    assert decided("", "inactive") == (START, START)
    # What serves waits for its turn.
    assert decided("", "active") == ("", REPLACE)
    assert decided(there, "", "old") == ("", REPLACE)
    assert decided(here, "", "old") == ("", REPLACE)
    assert decided(here, "", "old", wanted.uid) == ("", REPLACE)
    assert decided(here, "inactive", wanted.uid) == ("", REPLACE)
    # One that ends again and again does not serve.
    assert decided(there, "") == (START, START)


def test_what_is_sent_is_what_containerd_lacks(image: ControlPlaneImage) -> None:
    assert lacking(image, frozenset()) == (image.base, image.own)
    assert lacking(image, frozenset({image.base.image})) == (image.own,)
    assert lacking(image, frozenset(image.names)) == ()
    assert lacking(image, frozenset({image.own.image})) == ()


# What a master is given.


def masters(cluster: Cluster, machine: Machine) -> None:
    for role in (apiserver_role.apiserver, apiserver_role.apiserver_restarts,
                 manager_role.controller_manager, scheduler_role.scheduler):  # fmt: skip
        called: Any = role
        called(cluster, machine)


def new(machine: Machine) -> FakeMachine:
    return FakeMachine(machine.name, users=set(DAEMONS))


def test_a_new_master_gets_manifests_and_comes_to_rest(as_pods: Cluster, image: ControlPlaneImage) -> None:
    machine = as_pods.masters[0]
    fake = new(machine)

    changed = apply(masters, as_pods, machine, fake)

    assert changed == [
        "apiserver | Files", "apiserver | Started", "apiserver | Ready",
        "controller manager | Running", "scheduler | Running",
    ]  # fmt: skip
    assert set(fake.pods) == set(DAEMONS)
    assert {path for path in fake.tree if path.startswith("/etc/kubernetes/manifests/")} == set(
        map(manifest, DAEMONS)
    )
    assert {fake.tree[manifest(name)].mode for name in DAEMONS} == {"600"}
    assert apply(masters, as_pods, machine, fake) == []


def test_the_image_is_imported_and_pinned_once(as_pods: Cluster, image: ControlPlaneImage) -> None:
    machine = as_pods.masters[0]
    fake = new(machine)

    def role(cluster: Cluster, _machine: Machine) -> None:
        called: Any = control_plane_images
        called(cluster)

    assert apply(role, as_pods, machine, fake) == ["control plane | Image"]
    assert fake.images == set(image.names)
    sent = [line for line in fake.commands if line.startswith("upload ")]
    assert sent == [f"upload /var/tmp/{each.source.name}" for each in (image.base, image.own)]
    assert apply(role, as_pods, machine, fake) == []


def test_units_give_way_to_pods_and_pods_to_units(cluster: Cluster, as_pods: Cluster) -> None:
    machine = cluster.masters[0]
    fake = new(machine)
    apply(masters, cluster, machine, fake)
    fake.commands.clear()

    changed = apply(masters, as_pods, machine, fake)

    assert "apiserver | Changed ones replaced, one at a time" in changed
    assert "apiserver | Started" not in changed
    assert set(fake.pods) == set(DAEMONS)
    assert not [path for path in fake.tree if path.startswith(f"{UNITS}/kube-")]
    assert apply(masters, as_pods, machine, fake) == []
    fake.commands.clear()

    changed = apply(masters, cluster, machine, fake)

    assert "apiserver | Changed ones restarted, one at a time" in changed
    assert "apiserver | Started" not in changed
    assert fake.pods == {}
    assert not [path for path in fake.tree if path.startswith("/etc/kubernetes/manifests/")]
    assert all(fake.units[f"{name}.service"].active for name in DAEMONS)
    (replaced,) = [line for line in fake.commands if "systemctl restart kube-apiserver" in line]
    stop, start = replaced.index(".kube-apiserver.yaml.leaving"), replaced.index("systemctl restart")
    assert stop < start
    assert apply(masters, cluster, machine, fake) == []


def test_one_master_changes_at_a_time_and_a_failure_keeps_the_others(
    cluster: Cluster, as_pods: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    fakes = [new(machine) for machine in cluster.masters]
    for fake, machine in zip(fakes, cluster.masters, strict=True):
        apply(masters, cluster, machine, fake)
        fake.commands.clear()
    fakes[0].fails = lambda command: "base64 -d" in command and "/readyz" in command
    run = Run(fakes)
    run.prepare(masters, as_pods, cluster.masters)
    serial = [
        next(iter(meta.names)) for meta in run.state.op_meta.values() if meta.global_arguments["_serial"]
    ]
    monkeypatch.setattr(run.state.inventory, "get_active_hosts", lambda: run.hosts)
    with pytest.raises(Exception, match=r"."):
        run.execute()

    assert serial == ["apiserver | Changed ones replaced, one at a time"]
    assert [bool(fake.pods) for fake in fakes] == [False, False, False]
    assert all(fake.units["kube-apiserver.service"].active for fake in fakes[1:])


def test_a_unit_that_waits_in_a_pod_s_place_is_not_enabled_before(cluster: Cluster, as_pods: Cluster) -> None:
    """A machine that is booted in between has one API server, and not two."""
    machine = cluster.masters[0]
    fake = new(machine)
    apply(masters, as_pods, machine, fake)

    started: Role = apiserver_role.apiserver

    assert apply(started, cluster, machine, fake) == ["apiserver | Unit"]
    assert not fake.units.get("kube-apiserver.service")


def test_a_new_release_replaces_the_pods(
    as_pods: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = as_pods.masters[0]
    fake = new(machine)
    apply(masters, as_pods, machine, fake)
    before = dict(fake.pods)
    use_image(monkeypatch, image_in(tmp_path, "2"))

    changed = apply(masters, as_pods, machine, fake)

    assert "apiserver | Changed ones replaced, one at a time" in changed
    assert {name for name in DAEMONS if fake.pods[name] != before[name]} == set(DAEMONS)
    assert "package-2/bin/kube-apiserver" in fake.contents[manifest("kube-apiserver")].decode()


def test_a_machine_without_users_yet_is_planned(as_pods: Cluster) -> None:
    assert "apiserver | Started" in plan(masters, as_pods, as_pods.masters[0])


def test_a_whole_deploy_has_the_kubelet_and_the_image_before_the_api_server(
    as_pods: Cluster,
) -> None:
    fakes = [FakeMachine(one.name, packages=set(wanted_packages(as_pods, one))) for one in as_pods.machines]

    changed = deploy(as_pods, fakes)

    masters = [one.name for one in as_pods.masters]
    steps = [
        "control plane | Image",
        "apiserver | Started",
        "apiserver | Ready",
        "controller manager | Running",
    ]
    order = list(changed)
    assert order.index("kubelet | Healthy") < order.index(steps[0])
    assert [step for step in order if step in steps] == steps
    assert order.index("kubelet | Role label") > order.index(steps[-1])
    assert changed["control plane | Image"] == changed["kubelet | Role label"] == masters
    assert deploy(as_pods, fakes) == {}


def test_what_is_asked_of_containerd_fails_where_it_does_not_answer() -> None:
    asked = control_plane.tasks("kube-apiserver")

    assert "&&" in asked
    assert "2>/dev/null" not in asked
