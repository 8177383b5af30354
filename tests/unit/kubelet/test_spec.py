"""What the runtime is asked for: who a container runs as, what it may do, what it may use, and how it is stopped."""

from typing import Any

import pytest

from kybern._proto import cri_pb2 as pb
from kybern.api.core_v1 import (
    AppArmorProfile,
    Capabilities,
    Container,
    ContainerPort,
    Lifecycle,
    Pod,
    PodSecurityContext,
    ResourceRequirements,
    SeccompProfile,
    SecurityContext,
    SELinuxOptions,
    Sysctl,
    VolumeMount,
)
from kybern.kubelet.names import Resolver
from kybern.kubelet.security import Profiles, Refused, verify_user
from kybern.kubelet.spec import Bind, Machine, Prepared, container_config, sandbox_config
from kybern.kubelet.user_namespaces import on_node
from tests.unit.kubelet.making import container, pod


def config(of: Pod, one: Container | None = None, machine: Machine | None = None, **ready: Any) -> Any:
    chosen = one if one is not None else of.spec.containers[0]
    return container_config(of, chosen, Prepared("sha", 0, {}, **ready), machine or Machine())


def context(of: Pod, **ready: Any) -> Any:
    return config(of, **ready).linux.security_context


def box(of: Pod, **machine: Any) -> Any:
    return sandbox_config(of, 0, Resolver(), Machine(**machine), on_node())


def secured(pod_wide: PodSecurityContext | None = None, **own: Any) -> Pod:
    return pod(container(security_context=SecurityContext(**own)), security_context=pod_wide)


@pytest.mark.parametrize(
    ("of", "image", "user", "group"),
    [
        (pod(), (7, ""), 7, None),
        (pod(), (None, "web"), "web", None),
        (secured(PodSecurityContext(run_as_user=1, run_as_group=2)), (7, ""), 1, 2),
        (
            secured(PodSecurityContext(run_as_user=1, run_as_group=2), run_as_user=3, run_as_group=4),
            (7, ""),
            3,
            4,
        ),
    ],
)
def test_a_container_runs_as_it_says_or_its_pod_or_its_image(
    of: Pod, image: tuple[int | None, str], user: int | str, group: int | None
) -> None:
    made = context(of, image_uid=image[0], image_user=image[1])

    assert (made.run_as_username or made.run_as_user.value) == user
    assert (made.run_as_group.value if made.HasField("run_as_group") else None) == group


@pytest.mark.parametrize(
    ("of", "image", "why"),
    [
        (secured(run_as_non_root=True, run_as_user=5), (0, ""), ""),
        (secured(run_as_non_root=True), (5, ""), ""),
        (secured(PodSecurityContext(run_as_non_root=True), run_as_non_root=False), (0, ""), ""),
        (
            secured(run_as_non_root=True, run_as_user=0),
            (5, ""),
            "container's runAsUser breaks non-root policy",
        ),
        (secured(PodSecurityContext(run_as_non_root=True)), (0, ""), "image will run as root"),
        (secured(run_as_non_root=True), (None, "web"), r"image has non-numeric user \(web\), cannot verify"),
    ],
)
def test_who_must_not_be_root_is_not(of: Pod, image: tuple[int | None, str], why: str) -> None:
    one = of.spec.containers[0]
    if not why:
        verify_user(of, one, *image)
        return
    with pytest.raises(Refused, match=why):
        verify_user(of, one, *image)


@pytest.mark.parametrize(("policy", "told"), [("Strict", pb.Strict), ("Merge", pb.Merge), ("", pb.Merge)])
def test_groups_are_those_of_the_pod_and_of_its_volumes(policy: str, told: int) -> None:
    of = secured(
        PodSecurityContext(fs_group=9, supplemental_groups=(3, 4), supplemental_groups_policy=policy)
    )

    made = context(of)

    assert list(made.supplemental_groups) == [9, 3, 4]
    assert made.supplemental_groups_policy == told
    assert list(box(of).linux.security_context.supplemental_groups) == [9, 3, 4]


def test_what_a_container_may_do() -> None:
    plain = context(pod())
    wanted = secured(
        capabilities=Capabilities(add=("NET_ADMIN",), drop=("ALL",)),
        read_only_root_filesystem=True,
        allow_privilege_escalation=False,
        se_linux_options=SELinuxOptions(level="s0:c1"),
    )
    made = context(wanted)

    assert (plain.privileged, plain.readonly_rootfs, plain.no_new_privs) == (False, False, False)
    assert not plain.HasField("capabilities")
    assert (made.privileged, made.readonly_rootfs, made.no_new_privs) == (False, True, True)
    assert list(made.capabilities.add_capabilities) == ["NET_ADMIN"]
    assert list(made.capabilities.drop_capabilities) == ["ALL"]
    assert made.selinux_options.level == "s0:c1"
    assert context(secured(privileged=True)).privileged
    assert box(secured(privileged=True)).linux.security_context.privileged


def test_proc_is_masked_unless_it_is_asked_not_to_be() -> None:
    masked, whole = context(secured(proc_mount="Default")), context(secured(proc_mount="Unmasked"))

    assert {"/proc/kcore", "/proc/keys", "/proc/timer_list", "/sys/firmware"} <= set(masked.masked_paths)
    assert {"/proc/sys", "/proc/sysrq-trigger"} <= set(masked.readonly_paths)
    assert (list(whole.masked_paths), list(whole.readonly_paths)) == ([], [])


LOCAL = SeccompProfile(type="Localhost", localhost_profile="a/b.json")
DEFAULT, FREE = SeccompProfile(type="RuntimeDefault"), SeccompProfile(type="Unconfined")


@pytest.mark.parametrize(
    ("of", "by_default", "kind", "reference"),
    [
        (pod(), False, pb.SecurityProfile.Unconfined, ""),
        (pod(), True, pb.SecurityProfile.RuntimeDefault, ""),
        (secured(seccomp_profile=FREE), True, pb.SecurityProfile.Unconfined, ""),
        (secured(PodSecurityContext(seccomp_profile=DEFAULT)), False, pb.SecurityProfile.RuntimeDefault, ""),
        (
            secured(PodSecurityContext(seccomp_profile=DEFAULT), seccomp_profile=LOCAL), False,
            pb.SecurityProfile.Localhost, "/s/a/b.json",
        ),
        (secured(seccomp_profile=DEFAULT, privileged=True), True, pb.SecurityProfile.Unconfined, ""),
    ],
)  # fmt: skip
def test_calls_to_the_kernel_are_filtered(of: Pod, kind: int, reference: str, *, by_default: bool) -> None:
    machine = Machine(profiles=Profiles("/s", by_default))

    made = config(of, machine=machine).linux.security_context.seccomp

    assert (made.profile_type, made.localhost_ref) == (kind, reference)


OWN = AppArmorProfile(type="Localhost", localhost_profile="k8s-own")
NOTE = "container.apparmor.security.beta.kubernetes.io/c"


@pytest.mark.parametrize(
    ("of", "kind", "reference", "older"),
    [
        (secured(app_armor_profile=OWN), pb.SecurityProfile.Localhost, "k8s-own", "localhost/k8s-own"),
        (
            secured(PodSecurityContext(app_armor_profile=AppArmorProfile(type="RuntimeDefault"))),
            pb.SecurityProfile.RuntimeDefault, "", "runtime/default",
        ),
        (
            secured(PodSecurityContext(app_armor_profile=OWN), app_armor_profile=AppArmorProfile(type="Unconfined")),
            pb.SecurityProfile.Unconfined, "", "unconfined",
        ),
        (pod(meta={"annotations": {NOTE: "localhost/x"}}), pb.SecurityProfile.Localhost, "x", "localhost/x"),
        (pod(meta={"annotations": {NOTE: "runtime/default"}}), pb.SecurityProfile.RuntimeDefault, "", "runtime/default"),
    ],
)  # fmt: skip
def test_app_armor_is_told_in_both_ways(of: Pod, kind: int, reference: str, older: str) -> None:
    made = context(of)

    assert (made.apparmor.profile_type, made.apparmor.localhost_ref) == (kind, reference)
    assert made.apparmor_profile == older


@pytest.mark.parametrize(
    ("of", "network", "pid", "ipc"),
    [
        (pod(), pb.POD, pb.CONTAINER, pb.POD),
        (pod(host_network=True, host_pid=True, host_ipc=True), pb.NODE, pb.NODE, pb.NODE),
        (pod(share_process_namespace=True), pb.POD, pb.POD, pb.POD),
    ],
)
def test_namespaces_are_the_pods_its_own_or_the_nodes(of: Pod, network: int, pid: int, ipc: int) -> None:
    for found in (context(of).namespace_options, box(of).linux.security_context.namespace_options):
        assert (found.network, found.pid, found.ipc) == (network, pid, ipc)


def test_an_ephemeral_container_sees_the_processes_of_another_unless_it_sees_them_anyway() -> None:
    one = context(pod(), target="abc").namespace_options
    shared = context(pod(share_process_namespace=True), target="abc").namespace_options

    assert (one.pid, one.target_id) == (pb.TARGET, "abc")
    assert (shared.pid, shared.target_id) == (pb.POD, "")


@pytest.mark.parametrize(
    ("signal", "number"),
    [("SIGUSR1", pb.SIGUSR1), ("SIGRTMIN+1", pb.SIGRTMINPLUS1), ("", pb.RUNTIME_DEFAULT)],
)
def test_a_container_is_stopped_by_the_signal_that_it_asks_for(signal: str, number: int) -> None:
    assert config(pod(container(lifecycle=Lifecycle(stop_signal=signal)))).stop_signal == number


def test_a_sandbox_has_the_sysctls_and_the_ports_of_the_pod() -> None:
    ports = (
        ContainerPort(container_port=80, host_port=8080, protocol="UDP"),
        ContainerPort(container_port=81),
    )
    context = PodSecurityContext(sysctls=(Sysctl(name="kernel/shm_rmid_forced", value="1"),))
    of = pod(container(ports=ports), security_context=context)

    made = box(of)

    assert dict(made.linux.sysctls) == {"kernel.shm_rmid_forced": "1"}
    assert [(p.protocol, p.container_port, p.host_port) for p in made.port_mappings] == [(pb.UDP, 80, 8080)]
    assert made.hostname == "web"
    assert (list(box(pod(*of.spec.containers, host_network=True)).port_mappings)) == []


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("", pb.PROPAGATION_PRIVATE),
        ("None", pb.PROPAGATION_PRIVATE),
        ("HostToContainer", pb.PROPAGATION_HOST_TO_CONTAINER),
        ("Bidirectional", pb.PROPAGATION_BIDIRECTIONAL),
    ],
)
def test_mounts_are_told_as_they_are_asked_for(asked: str, told: int) -> None:
    mount = VolumeMount(name="v", mount_path="/v", mount_propagation=asked, read_only=True)
    bind = Bind("/v", "/there", read_only=True, propagation=asked, recursive=True)

    (made,) = config(pod(container(volume_mounts=(mount,))), binds=(bind,)).mounts

    assert (made.container_path, made.host_path, made.readonly) == ("/v", "/there", True)
    assert (made.propagation, made.recursive_read_only) == (told, True)


def test_what_a_container_may_use() -> None:
    asked = ResourceRequirements(
        requests={"cpu": "250m", "memory": "1Gi", "hugepages-2Mi": "4Mi"},
        limits={"cpu": "500m", "memory": "2Gi", "hugepages-2Mi": "4Mi"},
    )
    machine = Machine(memory=4 << 30, huge_pages=("hugepages-2Mi", "hugepages-1Gi"), cgroup_v2=True)

    made = config(pod(container(resources=asked)), machine=machine).linux.resources

    assert (made.cpu_shares, made.cpu_quota, made.cpu_period) == (256, 50_000, 100_000)
    assert (made.memory_limit_in_bytes, made.oom_score_adj) == (2 << 30, 750)
    assert [(one.page_size, one.limit) for one in made.hugepage_limits] == [("2MB", 4 << 20), ("1GB", 0)]
    assert made.unified["memory.oom.group"] == "1"


def test_a_container_with_cpus_of_its_own_is_not_slowed_down() -> None:
    asked = ResourceRequirements(requests={"cpu": "2"}, limits={"cpu": "2"})
    of = pod(container(resources=asked))

    assert config(of, cpus="2-3", exclusive=True).linux.resources.cpu_quota == -1
    assert config(of, cpus="2-3", nodes="0").linux.resources.cpuset_cpus == "2-3"
    assert config(of, cpus="2-3", nodes="0").linux.resources.cpuset_mems == "0"
    assert config(of, machine=Machine(cpu_quota=False)).linux.resources.cpu_quota == 0
