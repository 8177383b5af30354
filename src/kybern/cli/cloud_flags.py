"""The flags of cloud-controller-manager, as upstream's v1.36 has them.

Those that all daemons of the control plane have are in shared_flags.
"""

from kybern.cloud.controllers import NAMES
from kybern.daemon import shared_flags
from kybern.daemon.flags import Flags, boolean, commas, duration
from kybern.daemon.shared_flags import at_least_one, unused

NAME = "cloud-controller-manager"
_NO_WEBHOOKS = "there are no webhooks of clouds here"
_NO_MOVE = "no controller moves to another program"
_NO_IPAM = "node-ipam-controller is kube-controller-manager's"


def flags() -> Flags:
    """Upstream's, by group."""
    found = Flags(NAME, "The cloud controller manager keeps a cluster to what the cloud around it says.")
    found.flag(
        "--cloud-provider", str, "", "The provider of the cloud, such as libvirt. Empty string for none."
    )
    found.flag("--cloud-config", str, "", "The path to the cloud provider configuration file.")
    found.flag(
        "--kubeconfig", str, "", "Path to kubeconfig file with authorization and master location information."
    )
    found.flag(
        "--use-service-account-credentials",
        bool,
        False,
        "Use individual service account credentials for each controller.",
    )
    known = ", ".join(NAMES)
    told = f"Controllers to enable: '*' all, 'foo' that one, '-foo' not that one. There are {known}."
    found.flag("--controllers", commas, ("*",), told)
    found.flag(
        "--cluster-name", str, "kubernetes", "What the cloud's routes and load balancers are known by."
    )
    found.flag(
        "--cluster-cidr", str, "", "CIDR range for pods in the cluster; two, comma-separated, for dual stack."
    )
    found.flag("--allocate-node-cidrs", bool, False, "Nodes have ranges of the cluster CIDR.")
    found.flag("--configure-cloud-routes", bool, True, "Have the cloud route these ranges to their nodes.")
    found.flag("--route-reconciliation-period", duration, 10.0, "How often to look at the cloud's routes.")
    found.flag("--node-monitor-period", duration, 5.0, "How often to look at nodes that are not ready.")
    found.flag(
        "--node-status-update-frequency",
        duration,
        300.0,
        "How often to ask for a node's addresses and labels.",
    )
    found.flag("--concurrent-node-syncs", at_least_one, 1, "How many nodes are worked on at a time.")
    found.flag("--concurrent-service-syncs", at_least_one, 1, "How many services are worked on at a time.")
    shared_flags.client(found, 20.0, 30)
    shared_flags.leading(found, NAME)
    shared_flags.serving(found, 10258)
    shared_flags.authentication(found, tolerant=False)
    shared_flags.observing(found)
    shared_flags.features(found)
    return _without_effect(found)


def _without_effect(found: Flags) -> Flags:
    found.fixed("--cidr-allocator-type", str, "RangeAllocator", _NO_IPAM)
    found.fixed("--external-cloud-volume-plugin", str, "", "drivers of volumes are CSI drivers")
    found.fixed("--enable-leader-migration", boolean, False, _NO_MOVE)
    found.fixed("--leader-migration-config", str, "", _NO_MOVE)
    found.fixed("--webhooks", commas, (), _NO_WEBHOOKS)
    found.fixed("--validation-webhook-config-file", str, "", _NO_WEBHOOKS)
    unused(found, "--webhook-bind-address", str, "0.0.0.0", _NO_WEBHOOKS)
    unused(found, "--webhook-secure-port", int, 10260, _NO_WEBHOOKS)
    for name in ("ca-cert-file", "cert-dir", "tls-cert-file", "tls-private-key-file"):
        unused(found, f"--webhook-{name}", str, "", _NO_WEBHOOKS)
    unused(found, "--allow-untagged-cloud", bool, False, "a provider decides which machines are a cluster's")
    unused(found, "--node-sync-period", duration, 0.0, "without effect upstream, too")
    unused(found, "--min-resync-period", duration, 12 * 3600.0, "controllers act when something changes")
    unused(
        found, "--controller-start-interval", duration, 0.0, "controllers share one process and its watches"
    )
    return found
