"""Which sysctls a pod may set: those that are safe, and those that the operator allowed. Pure.

A safe one is of a namespace that the pod has for itself, and cannot do harm outside of it. Others must be named
(``--allowed-unsafe-sysctls``; a ``*`` at the end stands for anything), and must be of some namespace at all. Upstream:
pkg/kubelet/sysctl, component-helpers/node/util/sysctl.
"""

import re
from collections.abc import Iterable, Mapping

SAFE = (
    "kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.tcp_syncookies", "net.ipv4.ping_group_range",
    "net.ipv4.ip_unprivileged_port_start", "net.ipv4.ip_local_reserved_ports", "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_fin_timeout", "net.ipv4.tcp_keepalive_intvl", "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem",
)  # fmt: skip
_OF_IPC = ("kernel.shm", "kernel.msg", "fs.mqueue.")
_LONGEST = 253
_SEGMENT = "[a-z0-9]([-_a-z0-9]*[a-z0-9])?"
_PATTERN = f"({_SEGMENT}[./])*([a-z0-9][-_a-z0-9]*)?[a-z0-9*]"


def dotted(name: str) -> str:
    """The name with dots between its parts: where slashes part them, dots belong to the parts (net/ipv4/conf/eth0.1)."""
    first = re.search("[./]", name)
    return name.translate(str.maketrans("./", "/.")) if first is not None and first[0] == "/" else name


def namespace_of(name: str) -> str:
    """The kernel's namespace that a sysctl is of: ipc or net; empty for one that is the whole machine's."""
    if name == "kernel.sem" or name.startswith(_OF_IPC):
        return "ipc"
    return "net" if name.startswith("net.") else ""


def allowed(patterns: Iterable[str]) -> Mapping[str, str]:
    """What may be set, the safe ones too: patterns, with the namespace of each. Raises ValueError."""
    found = {name: namespace_of(name) for name in SAFE}
    for pattern in patterns:
        if len(pattern) > _LONGEST or not re.fullmatch(_PATTERN, pattern):
            raise ValueError(
                f'sysctl "{pattern}" must have at most {_LONGEST} characters and match regex ^{_PATTERN}$'
            )
        name = dotted(pattern)
        namespace = namespace_of(name.removesuffix("*"))
        if not namespace:
            kind = "sysctls" if name.endswith("*") else "sysctl"
            raise ValueError(f'the {kind} "{name}" are not known to be namespaced')
        found[name] = namespace
    return found


def problem(name: str, may: Mapping[str, str], *, host_net: bool, host_ipc: bool) -> str:
    """Why a sysctl may not be set by a pod; empty when it may."""
    name = dotted(name)
    fits = (
        space
        for pattern, space in may.items()
        if name == pattern or (pattern.endswith("*") and name.startswith(pattern[:-1]))
    )
    namespace = next(fits, None)
    if namespace is None:
        return f'"{name}" not allowlisted'
    if (namespace == "ipc" and host_ipc) or (namespace == "net" and host_net):
        return f'"{name}" not allowed with host {namespace} enabled'
    return ""
