"""Upstream's flags of kube-proxy for parts that are not here, or that there is one way of.

As in ``daemon.shared_flags``: one that tunes what is not here has no effect, one that asks for what is not done is refused.
"""

from kybern.daemon import shared_flags
from kybern.daemon.flags import Flags, duration
from kybern.daemon.shared_flags import unused

CLUSTER_CIDR = "ClusterCIDR"
_LOCAL = "pods are told by --cluster-cidr"


def local_mode(text: str) -> str:
    if text not in ("", CLUSTER_CIDR):
        raise ValueError(f"{_LOCAL}: say {CLUSTER_CIDR}, or leave the flag out")
    return text


def other_flags(found: Flags) -> Flags:
    """The flags of the proxy, and these."""
    found.flag("--detect-local-mode", local_mode, "", f"Only {CLUSTER_CIDR}: {_LOCAL}.")
    found.fixed("--pod-bridge-interface", str, "", _LOCAL)
    found.fixed("--pod-interface-name-prefix", str, "", _LOCAL)
    for mode in ("iptables", "nftables"):
        found.fixed(f"--{mode}-masquerade-bit", int, 14, "packets are marked with bit 14")
    found.fixed(
        "--write-config-to", str, "", "the configuration is what --config names, with upstream's defaults"
    )
    unused(found, "--bind-address", str, "0.0.0.0", "versions of IP are those of --cluster-cidr")
    unused(found, "--bind-address-hard-fail", bool, False, "a port that is in use ends the proxy always")
    unused(found, "--config-sync-period", duration, 900.0, "changes are watched")
    unused(found, "--kube-api-qps", float, 5.0, "requests are limited by what waits for them")
    unused(found, "--kube-api-burst", int, 10, "requests are limited by what waits for them")
    kind = "application/vnd.kubernetes.protobuf"
    unused(found, "--kube-api-content-type", str, kind, "bodies are JSON, which all API servers speak")
    unused(found, "--oom-score-adj", int, -999, "its unit says it (OOMScoreAdjust=)")
    unused(found, "--show-hidden-metrics-for-version", str, "", "no metric is hidden")
    shared_flags.logged(found)
    found.flag(
        "--feature-gates",
        shared_flags.usual_gates,
        {},
        "Features, NAME=true|false, each as it is by default in this version.",
    )
    return found
