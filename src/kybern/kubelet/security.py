"""Who a container runs as and what it may do, from the pod's and the container's security contexts to CRI's. Pure."""

from dataclasses import dataclass
from typing import Any

from kybern._proto import cri_pb2 as pb
from kybern.api.core_v1 import (
    AppArmorProfile,
    Container,
    Pod,
    PodSecurityContext,
    SeccompProfile,
    SecurityContext,
)

_MASKED = (
    "/proc/asound", "/proc/acpi", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
    "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware",
    "/sys/devices/virtual/powercap",
)  # fmt: skip
_OLD_APP_ARMOR = "container.apparmor.security.beta.kubernetes.io/"
_READ_ONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")


class Refused(Exception):
    """The container may not run as what its image says (runAsNonRoot)."""


def of_pod(pod: Pod) -> PodSecurityContext:
    return pod.spec.security_context or PodSecurityContext()


def of_container(container: Container) -> SecurityContext:
    return container.security_context or SecurityContext()


def run_as(pod: Pod, container: Container) -> tuple[int | None, int | None]:
    """User and group, where the container's context wins over the pod's."""
    own, whole = of_container(container), of_pod(pod)
    user = own.run_as_user if own.run_as_user is not None else whole.run_as_user
    group = own.run_as_group if own.run_as_group is not None else whole.run_as_group
    return user, group


def verify_user(pod: Pod, container: Container, image_uid: int | None, image_user: str) -> None:
    """Raises Refused when the container would run as root but must not, or when that cannot be known."""
    own, whole = of_container(container), of_pod(pod)
    must = own.run_as_non_root if own.run_as_non_root is not None else whole.run_as_non_root
    if not must:
        return
    user, _group = run_as(pod, container)
    shown = f'(pod: "{pod.metadata.name}_{pod.metadata.namespace}({pod.metadata.uid})", container: {container.name})'
    if user is not None:
        if user == 0:
            raise Refused(f"container's runAsUser breaks non-root policy {shown}")
    elif image_user:
        raise Refused(
            f"container has runAsNonRoot and image has non-numeric user ({image_user}), "
            f"cannot verify user is non-root {shown}"
        )
    elif not image_uid:
        raise Refused(f"container has runAsNonRoot and image will run as root {shown}")


def namespaces(pod: Pod, users: Any, target: str = "") -> Any:
    """Which namespaces are the node's, the pod's, the container's own.

    ``users`` is CRI's UserNamespace; ``target``: whose processes it shall see.
    """
    spec = pod.spec
    pid = pb.NODE if spec.host_pid else pb.POD if spec.share_process_namespace else pb.CONTAINER
    return pb.NamespaceOption(
        network=pb.NODE if spec.host_network else pb.POD,
        ipc=pb.NODE if spec.host_ipc else pb.POD,
        pid=pb.TARGET if target and pid == pb.CONTAINER else pid,
        target_id=target if pid == pb.CONTAINER else "",
        userns_options=users,
    )


def app_armor(pod: Pod, container: Container) -> AppArmorProfile | None:
    """The container's profile: its own, that of the old annotation, or the pod's."""
    own = of_container(container).app_armor_profile
    noted = pod.metadata.annotations.get(f"{_OLD_APP_ARMOR}{container.name}", "")
    if own is not None or not noted:
        return own or of_pod(pod).app_armor_profile
    kind, _, name = noted.partition("/")
    if kind == "localhost":
        return AppArmorProfile(type="Localhost", localhost_profile=name)
    return AppArmorProfile(type="RuntimeDefault" if kind == "runtime" else "Unconfined")


def _confine(made: Any, profile: AppArmorProfile | None) -> None:
    """Both the field and the older text, for runtimes that know only that."""
    match profile.type if profile is not None else "":
        case "RuntimeDefault":
            made.apparmor.profile_type = pb.SecurityProfile.RuntimeDefault
            made.apparmor_profile = "runtime/default"
        case "Localhost" if profile is not None:
            made.apparmor.profile_type = pb.SecurityProfile.Localhost
            made.apparmor.localhost_ref = profile.localhost_profile
            made.apparmor_profile = f"localhost/{profile.localhost_profile}"
        case "Unconfined":
            made.apparmor.profile_type = pb.SecurityProfile.Unconfined
            made.apparmor_profile = "unconfined"


@dataclass(frozen=True, slots=True)
class Profiles:
    """Where the node keeps seccomp profiles (ROOT/seccomp), and whether a container without one gets the runtime's."""

    directory: str = "/var/lib/kubelet/seccomp"
    default: bool = False


def _seccomp(profile: SeccompProfile | None, profiles: Profiles, *, privileged: bool) -> Any:
    if profile is None and profiles.default:
        profile = SeccompProfile(type="RuntimeDefault")
    if profile is None or privileged or profile.type == "Unconfined":
        return pb.SecurityProfile(profile_type=pb.SecurityProfile.Unconfined)
    if profile.type == "Localhost":
        reference = f"{profiles.directory}/{profile.localhost_profile}"
        return pb.SecurityProfile(profile_type=pb.SecurityProfile.Localhost, localhost_ref=reference)
    return pb.SecurityProfile(profile_type=pb.SecurityProfile.RuntimeDefault)


def groups(pod: Pod) -> list[int]:
    """Supplemental groups; fsGroup is one of them."""
    context = of_pod(pod)
    own = [context.fs_group] if context.fs_group is not None else []
    return [*own, *context.supplemental_groups]


def sandbox_context(pod: Pod, users: Any) -> Any:
    context = of_pod(pod)
    made = pb.LinuxSandboxSecurityContext(
        namespace_options=namespaces(pod, users),
        privileged=any(of_container(c).privileged for c in (*pod.spec.init_containers, *pod.spec.containers)),
        supplemental_groups=groups(pod),
        seccomp=pb.SecurityProfile(profile_type=pb.SecurityProfile.RuntimeDefault),
    )
    if context.run_as_user is not None:
        made.run_as_user.value = context.run_as_user
        if context.run_as_group is not None:
            made.run_as_group.value = context.run_as_group
    _selinux(made, context.se_linux_options)
    return made


def _selinux(made: Any, options: Any) -> None:
    if options is not None:
        made.selinux_options.CopyFrom(
            pb.SELinuxOption(user=options.user, role=options.role, type=options.type, level=options.level)
        )


def container_context(
    pod: Pod,
    container: Container,
    image: tuple[int | None, str],
    space: Any,
    profiles: Profiles,
) -> Any:
    """The container's LinuxContainerSecurityContext.

    ``image``: the user that the image names, by number or by name; ``space``: its NamespaceOption.
    """
    own, whole = of_container(container), of_pod(pod)
    privileged = bool(own.privileged)
    profile = own.seccomp_profile or whole.seccomp_profile
    made = pb.LinuxContainerSecurityContext(
        namespace_options=space,
        privileged=privileged,
        readonly_rootfs=bool(own.read_only_root_filesystem),
        no_new_privs=own.allow_privilege_escalation is False,
        supplemental_groups=groups(pod),
        seccomp=_seccomp(profile, profiles, privileged=privileged),
        supplemental_groups_policy=pb.Strict if whole.supplemental_groups_policy == "Strict" else pb.Merge,
    )
    if own.capabilities is not None:
        made.capabilities.add_capabilities.extend(own.capabilities.add)
        made.capabilities.drop_capabilities.extend(own.capabilities.drop)
    if own.proc_mount != "Unmasked":
        made.masked_paths.extend(_MASKED)
        made.readonly_paths.extend(_READ_ONLY)
    _identify(made, pod, container, *image)
    _confine(made, app_armor(pod, container))
    _selinux(made, own.se_linux_options or whole.se_linux_options)
    return made


def _identify(made: Any, pod: Pod, container: Container, image_uid: int | None, image_user: str) -> None:
    user, group = run_as(pod, container)
    if user is not None:
        made.run_as_user.value = user
    elif image_uid is not None:
        made.run_as_user.value = image_uid
    elif image_user:
        made.run_as_username = image_user
    if group is not None:
        made.run_as_group.value = group
