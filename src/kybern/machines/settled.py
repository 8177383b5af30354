"""What a cluster keeps for its life: the families and ranges of its pods and Services, and its domain. Pure.

A machine of it tells them by the command lines and files that a deploy has left there; they are asked before a deploy, and
another topology is refused. With other ranges, pods and Services would have addresses that nobody leads to or that two
have: a node keeps its ``podCIDRs`` and a Service its ``clusterIPs`` (upstream's validation has both immutable). With
another domain, pods would keep asking for names of the old one, and the tokens that they hold would be of an issuer that
nobody trusts.
"""

import re
from collections.abc import Iterable, Mapping

from kybern.machines.control_plane import aside, manifest
from kybern.machines.topology import Cluster

API, PROXY = "kube-apiserver", "kube-proxy"
UNITS = "/etc/systemd/system"
KUBELET = "/var/lib/kubelet/config.yaml"
PODS, SERVICES, NAMES, DOMAIN = "cluster-cidr", "service-cluster-ip-range", "clusterDNS", "clusterDomain"
KEYS = {PODS: "pods", SERVICES: "services", NAMES: "services", DOMAIN: "domain"}
# Lines "SETTLED KEY VALUE" of a machine that a deploy has finished or begun; none of a new one.
ASKED = (
    f"cat {UNITS}/{API}.service {manifest(API)} {aside(API)} {UNITS}/{PROXY}.service {KUBELET} 2>/dev/null | "
    f"sed -nE 's/.*--({PODS}|{SERVICES})=([^\" ]+).*/SETTLED \\1 \\2/p; s/^({NAMES}|{DOMAIN}): *(.+)$/SETTLED \\1 \\2/p'"
)
LINE = re.compile(rf"SETTLED ({'|'.join(KEYS)}) (.+)")
ADDRESS = re.compile(r"[0-9a-f.:]+")


def told(lines: Iterable[str]) -> Mapping[str, str]:
    """What a machine has, by its key, from the lines that it answers ``ASKED`` with."""
    return {match[1]: match[2].strip() for line in lines if (match := LINE.fullmatch(line.strip()))}


def refusal(cluster: Cluster, machine: str, has: Mapping[str, str]) -> str:
    """Why a machine that has this cannot be one of the cluster as its topology says; nothing when it can."""
    wanted = {
        PODS: ",".join(map(str, cluster.pod_ranges)),
        SERVICES: ",".join(map(str, cluster.service_ranges)),
        DOMAIN: cluster.cluster_domain,
    }
    other = {KEYS[key]: (has[key], value) for key, value in wanted.items() if has.get(key, value) != value}
    # The Service's own address is the last of those that pods ask: a cache on the node may stand before it.
    asked = ADDRESS.findall(has.get(NAMES, ""))
    names = str(cluster.dns_address)
    if asked and asked[-1] != names and KEYS[SERVICES] not in other:
        other[KEYS[SERVICES]] = (f"names at {asked[-1]}", f"names at {names}")
    if not other:
        return ""
    listed = "; ".join(
        f"{key} are {old} there, and {new} in the topology" for key, (old, new) in other.items()
    )
    listed = listed.replace("domain are", "domain is")
    return (
        f"{machine} is deployed with other addresses or names: {listed}. A cluster keeps its families, pods, services and "
        f"domain: write the old ones back, or begin anew: kybern reset {cluster.name}"
    )
