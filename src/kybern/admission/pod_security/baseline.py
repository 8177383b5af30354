"""The level baseline: no known way out of a container. Checks in upstream's order, that of their ids."""

from typing import Any

from kybern.admission.pod_security.violation import Check, Pod, Violation, quoted, security_of, setters, some

CAPABILITIES = frozenset({
    "AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "SETFCAP", "SETGID",
    "SETPCAP", "SETUID", "SYS_CHROOT",
})  # fmt: skip
SYSCTLS = {
    0: (
        "kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.tcp_syncookies", "net.ipv4.ping_group_range",
        "net.ipv4.ip_unprivileged_port_start",
    ),
    27: ("net.ipv4.ip_local_reserved_ports",),
    29: (
        "net.ipv4.tcp_keepalive_time", "net.ipv4.tcp_fin_timeout", "net.ipv4.tcp_keepalive_intvl",
        "net.ipv4.tcp_keepalive_probes",
    ),
    32: ("net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem"),
}  # fmt: skip
"""Safe sysctls, by the minor version that added them."""
SELINUX_TYPES = frozenset({"", "container_t", "container_init_t", "container_kvm_t"})
APPARMOR = "container.apparmor.security.beta.kubernetes.io/"


def app_armor(pod: Pod) -> Violation | None:
    def unconfined(holder: Any) -> bool:
        kind = (holder.get("appArmorProfile") or {}).get("type")
        return kind is not None and kind not in ("RuntimeDefault", "Localhost")

    names = pod.named(lambda container: unconfined(security_of(container)))
    whole = unconfined(pod.security)
    values = {
        (holder.get("appArmorProfile") or {}).get("type", "")
        for holder in (pod.security, *map(security_of, pod.containers))
        if unconfined(holder)
    }
    parts = []
    if whole or names:
        parts.append(
            f"{setters(whole, names)} must not set AppArmor profile type to {quoted(sorted(values))}"
        )
    annotations = sorted(
        f'{key}="{value}"'
        for key, value in (pod.metadata.get("annotations") or {}).items()
        if key.startswith(APPARMOR)
        and value not in ("", "runtime/default")
        and not value.startswith("localhost/")
    )
    if annotations:
        parts.append(f"annotation{'s' if len(annotations) > 1 else ''} {', '.join(annotations)}")
    many = len(values) + len(annotations) > 1
    return Violation(f"forbidden AppArmor profile{'s' if many else ''}", "; ".join(parts)) if parts else None


def capabilities(pod: Pod) -> Violation | None:
    def added(container: Any) -> list[str]:
        wanted = (security_of(container).get("capabilities") or {}).get("add") or ()
        return [one for one in wanted if one not in CAPABILITIES]

    names = pod.named(added)
    if not names:
        return None
    found = sorted({one for container in pod.containers for one in added(container)})
    text = f"must not include {quoted(found)} in securityContext.capabilities.add"
    return Violation("non-default capabilities", f"{some('container', names)} {text}")


def host_namespaces(pod: Pod) -> Violation | None:
    found = [f"{field}=true" for field in ("hostNetwork", "hostPID", "hostIPC") if pod.spec.get(field)]
    return Violation("host namespaces", ", ".join(found)) if found else None


def host_path_volumes(pod: Pod) -> Violation | None:
    names = [volume["name"] for volume in pod.spec.get("volumes") or () if volume.get("hostPath") is not None]
    return Violation("hostPath volumes", some("volume", names)) if names else None


def host_ports(pod: Pod) -> Violation | None:
    def used(container: Any) -> list[int]:
        return [port["hostPort"] for port in container.get("ports") or () if port.get("hostPort")]

    names = pod.named(used)
    if not names:
        return None
    ports = sorted({port for container in pod.containers for port in used(container)})
    verb = "uses" if len(names) == 1 else "use"
    word = "hostPort" if len(ports) == 1 else "hostPorts"
    return Violation("hostPort", f"{some('container', names)} {verb} {word} {', '.join(map(str, ports))}")


def host_probes(pod: Pod) -> Violation | None:
    def hosts(container: Any) -> list[str]:
        handlers = [container.get(f"{probe}Probe") or {} for probe in ("liveness", "readiness", "startup")]
        handlers += [(container.get("lifecycle") or {}).get(hook) or {} for hook in ("postStart", "preStop")]
        found = [(one.get(way) or {}).get("host") for one in handlers for way in ("httpGet", "tcpSocket")]
        return [host for host in found if host]

    names = sorted(set(pod.named(hosts))) if pod.version >= 34 else []
    if not names:
        return None
    found = sorted({host for container in pod.containers for host in hosts(container)})
    verb = "uses" if len(names) == 1 else "use"
    word = "probe or lifecycle host"
    return Violation(word, f"{some('container', names)} {verb} {some(word, found)}")


def privileged(pod: Pod) -> Violation | None:
    names = pod.named(lambda container: security_of(container).get("privileged"))
    if not names:
        return None
    return Violation("privileged", f"{some('container', names)} must not set securityContext.privileged=true")


def proc_mount(pod: Pod) -> Violation | None:
    if pod.in_user_namespace:
        return None

    def mount(container: Any) -> str:
        given: str = security_of(container).get("procMount") or "Default"
        return "" if given == "Default" else given

    names = pod.named(mount)
    if not names:
        return None
    found = sorted({mount(container) for container in pod.containers} - {""})
    return Violation(
        "procMount", f"{some('container', names)} must not set securityContext.procMount to {quoted(found)}"
    )


def seccomp(pod: Pod) -> Violation | None:
    def loose(holder: Any) -> str:
        kind: str = (holder.get("seccompProfile") or {}).get("type", "RuntimeDefault")
        return "" if kind in ("RuntimeDefault", "Localhost") else kind

    names = pod.named(lambda container: loose(security_of(container)))
    if not names and not loose(pod.security):
        return None
    found = sorted({loose(holder) for holder in (pod.security, *map(security_of, pod.containers))} - {""})
    text = f"must not set securityContext.seccompProfile.type to {quoted(found)}"
    return Violation("seccompProfile", f"{setters(loose(pod.security), names)} {text}")


def se_linux(pod: Pod) -> Violation | None:
    types = SELINUX_TYPES | ({"container_engine_t"} if pod.version >= 31 else set())

    def options(holder: Any) -> Any:
        return holder.get("seLinuxOptions") or {}

    def bad(holder: Any) -> bool:
        given = options(holder)
        return given.get("type", "") not in types or bool(given.get("user")) or bool(given.get("role"))

    names = pod.named(lambda container: bad(security_of(container)))
    if not names and not bad(pod.security):
        return None
    holders = [options(holder) for holder in (pod.security, *map(security_of, pod.containers))]
    wrong = sorted({one.get("type", "") for one in holders} - types)
    parts = [some("type", wrong)] if wrong else []
    parts += [
        f"{field} may not be set" for field in ("user", "role") if any(one.get(field) for one in holders)
    ]
    text = f"set forbidden securityContext.seLinuxOptions: {'; '.join(parts)}"
    return Violation("seLinuxOptions", f"{setters(bad(pod.security), names)} {text}")


def sysctls(pod: Pod) -> Violation | None:
    safe = {name for since, names in SYSCTLS.items() if pod.version >= since for name in names}
    found = [one["name"] for one in pod.security.get("sysctls") or () if one["name"] not in safe]
    return Violation("forbidden sysctls", ", ".join(found)) if found else None


def windows_host_process(pod: Pod) -> Violation | None:
    def host(holder: Any) -> bool:
        return bool((holder.get("windowsOptions") or {}).get("hostProcess"))

    names = pod.named(lambda container: host(security_of(container)))
    if not names and not host(pod.security):
        return None
    text = "must not set securityContext.windowsOptions.hostProcess=true"
    return Violation("hostProcess", f"{setters(host(pod.security), names)} {text}")


CHECKS: tuple[Check, ...] = (
    app_armor, capabilities, host_namespaces, host_path_volumes, host_ports, host_probes, privileged, proc_mount, se_linux,
    seccomp, sysctls, windows_host_process,
)  # fmt: skip
REPLACED: frozenset[Check] = frozenset({capabilities, host_path_volumes, seccomp})
"""Checks that those of the level restricted include."""
