"""The table of the kubelet's flags, with upstream's names and defaults."""

from kybern.daemon.flags import Flags, commas, duration, pairs
from kybern.kubelet.configuration import taint, thresholds
from kybern.kubelet.memory.reservation import from_flag


def _taints(text: str) -> tuple[object, ...]:
    return tuple(taint(part) for part in commas(text))


def _durations(text: str) -> dict[str, float]:
    return {name: duration(value) for name, value in pairs(text).items()}


FLAGS = (
    Flags("kubelet", "The agent of a node: runs its pods by way of a container runtime.")
    .flag("--config", str, "", "Path of a KubeletConfiguration file. Flags win over it.")
    .flag("--kubeconfig", str, "", "Path of a kubeconfig; without one only static pods run.")
    .flag("--bootstrap-kubeconfig", str, "", "Identity with which a certificate is asked for when --kubeconfig has none.")
    .flag("--hostname-override", str, "", "Name of this node, when it is not the host's name.")
    .flag("--node-ip", commas, (), "Address of the node, or one of each family.")
    .flag("--node-labels", pairs, {}, "Labels to register the node with.")
    .flag("--register-node", bool, True, "Register the node with the API server.")
    .flag("--register-with-taints", _taints, (), "Taints to register with: key=value:effect, with commas.")
    .flag("--root-dir", str, "/var/lib/kubelet", "Directory of the pods' volumes and more.")
    .flag("--cert-dir", str, "/var/lib/kubelet/pki", "Directory of the kubelet's own certificates.")
    .flag("--container-runtime-endpoint", str, "unix:///run/containerd/containerd.sock", "The CRI socket.")
    .flag("--image-credential-provider-config", str, "", "Path of a CredentialProviderConfig file.")
    .flag("--image-credential-provider-bin-dir", str, "", "Directory of the programs that it names.")
    .flag("--pod-manifest-path", str, "", "Directory of static pods' manifests.")
    .flag("--address", str, "0.0.0.0", "Address to serve on.")
    .flag("--port", int, 10250, "Port to serve on.")
    .flag("--tls-cert-file", str, "", "Serving certificate; made by itself when not given.")
    .flag("--tls-private-key-file", str, "", "Its key.")
    .flag("--tls-min-version", str, "", "VersionTLS12 or VersionTLS13.")
    .flag("--client-ca-file", str, "", "Authorities whose clients are believed.")
    .flag("--anonymous-auth", bool, False, "Let requests without an identity go on to authorization.")
    .flag("--authentication-token-webhook", bool, True, "Ask the API server whose a bearer token is.")
    .flag("--authorization-mode", str, "Webhook", "AlwaysAllow or Webhook.")
    .flag("--healthz-bind-address", str, "127.0.0.1", "Address of /healthz.")
    .flag("--healthz-port", int, 10248, "Port of /healthz; 0 switches it off.")
    .flag("--cluster-dns", commas, (), "Addresses of the cluster's DNS.")
    .flag("--cluster-domain", str, "", "Domain of the cluster.")
    .flag("--resolv-conf", str, "/etc/resolv.conf", "The node's resolver configuration.")
    .flag("--max-pods", int, 110, "How many pods the node takes.")
    .flag("--cpu-manager-policy", str, "none", "none, or static: whole CPUs for guaranteed pods that ask for them.")
    .flag("--reserved-cpus", str, "", "CPUs that pods never get for themselves, such as 0-1; wins over reserved amounts.")
    .flag("--memory-manager-policy", str, "None", "None, or Static: memory of NUMA nodes for guaranteed pods.")
    .flag("--reserved-memory", from_flag, (), "What is kept of each NUMA node: 0:memory=1Gi;1:memory=1Gi.")
    .flag("--topology-manager-policy", str, "none", "none, best-effort, restricted or single-numa-node.")
    .flag("--topology-manager-scope", str, "container", "What is kept together: container or pod.")
    .flag("--topology-manager-policy-options", pairs, {}, "prefer-closest-numa-nodes=true, max-allowable-numa-nodes=N.")
    .flag("--pods-per-core", int, 0, "How many pods the node takes for each CPU, if that is less than --max-pods.")
    .flag("--pod-max-pids", int, -1, "How many processes a pod may have; -1 is any number.")
    .flag("--enforce-node-allocatable", commas, ("pods",), "Whom the reservations bind: pods, or none.")
    .flag("--cgroup-root", str, "/", "The cgroup below which pods run.")
    .flag("--cgroup-driver", str, "cgroupfs", "Only cgroupfs.")
    .flag("--kube-reserved", pairs, {}, "What is kept for Kubernetes' own daemons, such as cpu=100m,memory=256Mi.")
    .flag("--system-reserved", pairs, {}, "What is kept for the system.")
    .flag("--eviction-hard", thresholds, {}, "When the node is short, such as memory.available<100Mi.")
    .flag("--eviction-soft", thresholds, {}, "The same, but only after a grace period.")
    .flag("--eviction-soft-grace-period", _durations, {}, "How long each may be crossed: memory.available=30s.")
    .flag("--eviction-minimum-reclaim", pairs, {}, "What is freed beyond a threshold: imagefs.available=2Gi.")
    .flag("--eviction-max-pod-grace-period", int, 0, "Seconds that a pod may take to end beyond a soft threshold.")
    .flag("--eviction-pressure-transition-period", duration, 300.0, "How long the node tells of a pressure that is over.")
    .flag("--local-storage-capacity-isolation", bool, True, "Keep pods to their limits of ephemeral storage.")
    .flag("--volume-stats-agg-period", duration, 60.0, "How old the measured size of a volume may be.")
    .flag("--runtime-request-timeout", duration, 120.0, "How long the runtime may take for long requests.")
    .flag("--node-status-update-frequency", duration, 10.0, "How often the node looks at itself.")
    .flag("--rotate-certificates", bool, True, "Ask for another client certificate before the old one ends.")
    .flag("--provider-id", str, "", "The machine's name with its provider.")
    .flag("--fail-swap-on", bool, True, "Refuse to run on a machine with swap.")
    .flag("--allowed-unsafe-sysctls", commas, (), "Sysctls that pods may set beside the safe ones, such as net.core.*.")
    .flag("--seccomp-default", bool, False, "Give containers without a seccomp profile the runtime's.")
    .flag("--pod-logs-dir", str, "/var/log/pods", "Directory of the containers' logs.")
    .flag("--container-logs-dir", str, "/var/log/containers", "Directory of links to them.")
    .flag("--pod-infra-container-image", str, "", "Not used: the runtime knows its sandbox image.")
)  # fmt: skip
