"""The flags of kube-controller-manager, as upstream's v1.36 has them; those of the control plane's daemons are shared_flags.

A flag of what is done elsewhere (clouds) or otherwise (loops act when something changes, so that periods of looking again
mean nothing) has no effect; one that asks for what cannot be done is refused.
"""

from kybern.daemon import shared_flags
from kybern.daemon.flags import Flags, boolean, commas, duration
from kybern.daemon.shared_flags import at_least_one, unused
from kybern.loop.choice import GATES

NAME = "kube-controller-manager"
WORKERS = (
    ("--concurrent-cron-job-syncs", 5, "cronjob-controller"),
    ("--concurrent-daemonset-syncs", 2, "daemonset-controller"),
    ("--concurrent-deployment-syncs", 5, "deployment-controller"),
    ("--concurrent-device-taint-eviction-syncs", 8, "device-taint-eviction-controller"),
    ("--concurrent-endpoint-syncs", 5, "endpoints-controller"),
    ("--concurrent-ephemeralvolume-syncs", 5, "ephemeral-volume-controller"),
    ("--concurrent-gc-syncs", 20, "garbage-collector-controller"),
    ("--concurrent-horizontal-pod-autoscaler-syncs", 5, "horizontal-pod-autoscaler-controller"),
    ("--concurrent-job-syncs", 5, "job-controller"),
    ("--concurrent-namespace-syncs", 10, "namespace-controller"),
    ("--concurrent-rc-syncs", 5, "replicationcontroller-controller"),
    ("--concurrent-replicaset-syncs", 5, "replicaset-controller"),
    ("--concurrent-resource-quota-syncs", 5, "resourcequota-controller"),
    ("--concurrent-resourceclaim-syncs", 50, "resourceclaim-controller"),
    ("--concurrent-service-endpoint-syncs", 5, "endpointslice-controller"),
    ("--concurrent-serviceaccount-token-syncs", 5, "serviceaccount-token-controller"),
    ("--concurrent-statefulset-syncs", 5, "statefulset-controller"),
    ("--concurrent-ttl-after-finished-syncs", 5, "ttl-after-finished-controller"),
    (
        "--concurrent-validating-admission-policy-status-syncs",
        5,
        "validatingadmissionpolicy-status-controller",
    ),
    ("--mirroring-concurrent-service-endpoint-syncs", 5, "endpointslice-mirroring-controller"),
)
"""How many objects a controller works on at a time: the flag, upstream's default, the controller."""
ACTS = frozenset(GATES.values())
"""The feature gates that change something here."""
_ON_CHANGE = "controllers act when something changes"
_NO_CLOUD = "there are no cloud providers in this program"


def flags() -> Flags:
    """Upstream's, by group."""
    found = Flags(
        NAME,
        "The Kubernetes controller manager runs the control loops that move a cluster to what is wanted.",
    )
    found.flag(
        "--kubeconfig", str, "", "Path to kubeconfig file with authorization and master location information."
    )
    found.flag(
        "--use-service-account-credentials",
        bool,
        False,
        "Use individual service account credentials for each controller.",
    )
    found.flag(
        "--controllers",
        commas,
        ("*",),
        "Controllers to enable: '*' all, 'foo' that one, '-foo' not that one.",
    )
    shared_flags.client(found, 20.0, 30)
    shared_flags.leading(found, NAME)
    shared_flags.serving(found, 10257)
    shared_flags.authentication(found, tolerant=False)
    shared_flags.observing(found)
    shared_flags.features(found, ACTS)
    for name, default, controller in WORKERS:
        found.flag(name, at_least_one, default, f"How many objects the {controller} works on at a time.")
    _fixed(found)
    _unused(found)
    return _controllers(found)


def _fixed(found: Flags) -> None:
    found.fixed("--cidr-allocator-type", str, "RangeAllocator", _NO_CLOUD)
    found.fixed("--cloud-config", str, "", _NO_CLOUD)
    found.flag("--cloud-provider", _cloud, "", "Empty, or external: providers are programs of their own.")
    found.fixed("--external-cloud-volume-plugin", str, "", _NO_CLOUD)
    for signer in ("kube-apiserver-client", "kubelet-client", "kubelet-serving", "legacy-unknown"):
        for part in ("cert", "key"):
            why = f"one authority signs for all signers, --cluster-signing-{part}-file"
            found.fixed(f"--cluster-signing-{signer}-{part}-file", str, "", why)
    found.fixed("--disable-attach-detach-reconcile-sync", boolean, False, "attachments are always compared")
    found.fixed("--disable-force-detach-on-timeout", boolean, False, "volumes are detached on time-out")
    found.fixed(
        "--enable-dynamic-provisioning", boolean, True, "claims are always given to their provisioners"
    )
    found.fixed(
        "--enable-hostpath-provisioner", boolean, False, "kybern-local-volumes makes volumes of nodes' disks"
    )
    found.fixed("--enable-leader-migration", boolean, False, "no controller moves to another program")
    found.fixed("--leader-migration-config", str, "", "no controller moves to another program")
    for name in ("endpoint", "endpointslice", "mirroring-endpointslice"):
        found.fixed(
            f"--{name}-updates-batch-period", duration, 0.0, "endpoints are written as soon as they change"
        )
    for form in ("hostpath", "nfs"):
        why = "volumes are emptied by a pod of a fixed form"
        found.fixed(f"--pv-recycler-pod-template-filepath-{form}", str, "", why)
    for name, default in (
        ("increment-timeout-nfs", 30),
        ("minimum-timeout-hostpath", 60),
        ("minimum-timeout-nfs", 300),
        ("timeout-increment-hostpath", 30),
    ):
        found.fixed(
            f"--pv-recycler-{name}", int, default, "pods that empty volumes have upstream's usual time"
        )


def _unused(found: Flags) -> None:
    unused(found, "--cluster-name", str, "kubernetes", _NO_CLOUD)
    unused(found, "--configure-cloud-routes", bool, True, _NO_CLOUD)
    unused(found, "--concurrent-service-syncs", int, 1, _NO_CLOUD)
    unused(found, "--route-reconciliation-period", duration, 10.0, _NO_CLOUD)
    plugins = "/usr/libexec/kubernetes/kubelet-plugins/volume/exec/"
    unused(found, "--flex-volume-plugin-dir", str, plugins, "drivers of volumes are CSI drivers")
    unused(
        found, "--controller-start-interval", duration, 0.0, "controllers share one process and its watches"
    )
    unused(found, "--controller-shutdown-timeout", duration, 10.0, "controllers end at once")
    for name, default in (
        ("--attach-detach-reconcile-sync-period", 60.0),
        ("--min-resync-period", 12 * 3600.0),
        ("--namespace-sync-period", 300.0),
        ("--pvclaimbinder-sync-period", 15.0),
        ("--resource-quota-sync-period", 300.0),
    ):
        unused(found, name, duration, default, _ON_CHANGE)


def _cloud(text: str) -> str:
    if text not in ("", "external"):
        raise ValueError(_NO_CLOUD)
    return text


def _controllers(found: Flags) -> Flags:
    found.flag(
        "--cluster-cidr", str, "", "CIDR range for pods in the cluster; two, comma-separated, for dual stack."
    )
    found.flag("--service-cluster-ip-range", str, "", "CIDR range for services in the cluster.")
    found.flag("--allocate-node-cidrs", bool, False, "Give nodes ranges of the cluster CIDR.")
    found.flag("--node-cidr-mask-size", int, 0, "Mask size for node ranges (24, or 64 for IPv6).")
    found.flag("--node-cidr-mask-size-ipv4", int, 0, "Mask size for IPv4 node ranges.")
    found.flag("--node-cidr-mask-size-ipv6", int, 0, "Mask size for IPv6 node ranges.")
    found.flag("--root-ca-file", str, "", "The authority that is published in every namespace.")
    found.flag(
        "--service-account-private-key-file", str, "", "Signs the tokens that are kept in secrets, in PEM."
    )
    found.flag("--cluster-signing-cert-file", str, "", "The authority that signs certificate requests.")
    found.flag("--cluster-signing-key-file", str, "", "Its key.")
    found.flag(
        "--cluster-signing-duration",
        duration,
        365 * 86400.0,
        "How long signed certificates are valid at most.",
    )
    found.flag("--node-monitor-period", duration, 5.0, "How often to look at nodes.")
    found.flag(
        "--node-monitor-grace-period", duration, 50.0, "How long a node may be silent before it is Unknown."
    )
    found.flag("--node-startup-grace-period", duration, 60.0, "The same, for a node that never spoke.")
    found.flag("--node-eviction-rate", float, 0.1, "Nodes a second whose pods are ended, in a healthy zone.")
    found.flag("--secondary-node-eviction-rate", float, 0.01, "The same, in an unhealthy zone.")
    found.flag("--large-cluster-size-threshold", int, 50, "Smaller unhealthy zones end no pods at all.")
    found.flag(
        "--unhealthy-zone-threshold", float, 0.55, "The share of nodes not ready that makes a zone unhealthy."
    )
    found.flag("--enable-garbage-collector", bool, True, "Run the garbage-collector-controller.")
    found.flag("--terminated-pod-gc-threshold", int, 12500, "Finished pods to keep.")
    found.flag("--max-endpoints-per-slice", int, 100, "Endpoints in one slice at most.")
    found.flag(
        "--mirroring-max-endpoints-per-subset",
        int,
        1000,
        "Endpoints in one slice at most, of those that mirror Endpoints.",
    )
    found.flag(
        "--legacy-service-account-token-clean-up-period",
        duration,
        365 * 86400.0,
        "How long a generated token may be unused before it is marked as invalid, and again before it is deleted.",
    )
    return _autoscaling(found)


def _autoscaling(found: Flags) -> Flags:
    prefix = "--horizontal-pod-autoscaler"
    found.flag(f"{prefix}-sync-period", duration, 15.0, "How often to look at an autoscaler.")
    found.flag(f"{prefix}-tolerance", float, 0.1, "How far from its target a metric may be before it counts.")
    found.flag(
        f"{prefix}-downscale-stabilization",
        duration,
        300.0,
        "How long a higher recommendation is remembered.",
    )
    found.flag(
        f"{prefix}-cpu-initialization-period",
        duration,
        300.0,
        "How long after its start a pod's CPU samples may be skipped.",
    )
    found.flag(
        f"{prefix}-initial-readiness-delay",
        duration,
        30.0,
        "How long after its start a change of readiness is taken as the first one.",
    )
    return found
