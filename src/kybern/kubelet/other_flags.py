"""Upstream's flags of the kubelet for parts that are not here; most came there with cAdvisor by mistake."""

from kybern.daemon.flags import Flags, boolean, commas, duration
from kybern.daemon.shared_flags import unused

_CADVISOR = "upstream's, too, is only read past"


def other_flags(found: Flags) -> Flags:
    """The flags of the kubelet, and these."""
    for name in ("json", "text"):
        unused(found, f"--log-{name}-info-buffer-size", str, "0", "every line is written at once")
        found.fixed(f"--log-{name}-split-stream", boolean, False, "logs go to standard error")
    found.fixed("--cloud-config", str, "", "there are no cloud providers in this program")
    found.fixed("--experimental-mounter-path", str, "", "the machine's own mount is used")
    found.fixed("--keep-terminated-pod-volumes", boolean, False, "volumes go with their pods")
    found.fixed(
        "--register-schedulable", boolean, True, "register with --register-with-taints, or cordon the node"
    )
    found.fixed("--tls-curve-preferences", commas, (), "the library's order of curves is used")
    unused(
        found,
        "--experimental-allocatable-ignore-eviction",
        bool,
        False,
        "thresholds count, as they do by default",
    )
    unused(
        found,
        "--housekeeping-interval",
        duration,
        10.0,
        "the node is measured when somebody asks, and every 10 s",
    )
    for name, read, default in (
        ("application-metrics-count-limit", int, 100),
        ("boot-id-file", str, "/proc/sys/kernel/random/boot_id"),
        ("container-hints", str, "/etc/cadvisor/container_hints.json"),
        ("containerd", str, "/run/containerd/containerd.sock"),
        ("containerd-namespace", str, "k8s.io"),
        ("enable-load-reader", bool, False),
        ("event-storage-age-limit", str, "default=0"),
        ("event-storage-event-limit", str, "default=0"),
        ("global-housekeeping-interval", duration, 60.0),
        ("log-cadvisor-usage", bool, False),
        ("machine-id-file", str, "/etc/machine-id,/var/lib/dbus/machine-id"),
        ("storage-driver-buffer-duration", duration, 60.0),
        ("storage-driver-db", str, "cadvisor"),
        ("storage-driver-host", str, "localhost:8086"),
        ("storage-driver-password", str, "root"),
        ("storage-driver-secure", bool, False),
        ("storage-driver-table", str, "stats"),
        ("storage-driver-user", str, "root"),
    ):
        unused(found, f"--{name}", read, default, _CADVISOR)
    return found
