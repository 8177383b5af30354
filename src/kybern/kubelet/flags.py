"""The table of the kubelet's flags, with upstream's names and defaults."""

from collections.abc import Mapping

from kybern.daemon.flags import Flags, Values, boolean, commas, duration, pairs
from kybern.kubelet.configuration import taint, thresholds
from kybern.kubelet.memory.reservation import from_flag
from kybern.kubelet.other_flags import other_flags
from kybern.kubelet.static_url import header


def _taints(text: str) -> tuple[object, ...]:
    return tuple(taint(part) for part in commas(text))


def _durations(text: str) -> dict[str, float]:
    return {name: duration(value) for name, value in pairs(text).items()}


def _gates(text: str) -> dict[str, bool]:
    return {name: boolean(value) for name, value in pairs(text).items()}


def _cloud(text: str) -> str:
    if text not in ("", "external"):
        raise ValueError("providers are programs of their own: say external, or leave the flag out")
    return text


def _nothing(text: str) -> str:
    if text:
        raise ValueError("there is no such part here: leave the flag out")
    return text


_FLAGS = (
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
    .flag("--cpu-manager-policy-options", pairs, {}, "full-pcpus-only=true, strict-cpu-reservation=true and others.")
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
    .flag("--cgroup-driver", str, "cgroupfs", "cgroupfs or systemd, unless the runtime says which it uses.")
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
    .flag("--config-dir", str, "", "Directory of drop-ins (*.conf) that are laid over --config, by their names.")
    .flag("--enable-server", bool, True, "Serve at all.")
    .flag("--read-only-port", int, 0, "Port for reading without authentication; 0 switches it off.")
    .flag("--tls-cipher-suites", commas, (), "Cipher suites of TLS 1.2, by their names in Go.")
    .flag("--authentication-token-webhook-cache-ttl", duration, 120.0, "How long the owner of a token is remembered.")
    .flag("--authorization-webhook-cache-authorized-ttl", duration, 300.0, "How long a permission is remembered.")
    .flag("--authorization-webhook-cache-unauthorized-ttl", duration, 30.0, "How long a refusal is remembered.")
    .flag("--enable-debugging-handlers", bool, True, "Serve logs, exec, attach and port-forward.")
    .flag("--contention-profiling", bool, False, "Without effect: a profile of Go's own.")
    .flag("--event-qps", int, 50, "Events in a second; 0 for any number.")
    .flag("--event-burst", int, 100, "Events at once.")
    .flag("--registry-qps", int, 5, "Pulls of images in a second; 0 for any number.")
    .flag("--registry-burst", int, 10, "Pulls of images at once.")
    .flag("--serialize-image-pulls", bool, True, "Pull one image at a time.")
    .flag("--image-gc-high-threshold", int, 85, "Percent of the disk from which on images are removed.")
    .flag("--image-gc-low-threshold", int, 80, "Percent of the disk down to which images are removed.")
    .flag("--minimum-image-ttl-duration", duration, 120.0, "How old an image is before it may be removed.")
    .flag("--image-service-endpoint", str, "", "The CRI socket for images, when it is another one.")
    .flag("--container-log-max-size", str, "10Mi", "Size from which on a container's log is set aside.")
    .flag("--container-log-max-files", int, 5, "Files of a container's log that are kept.")
    .flag("--cpu-cfs-quota", bool, True, "Enforce limits of CPU.")
    .flag("--cpu-cfs-quota-period", duration, 0.1, "Period of that.")
    .flag("--cpu-manager-reconcile-period", duration, 10.0, "How often containers are put on their CPUs again.")
    .flag("--kube-reserved-cgroup", str, "", "The cgroup of Kubernetes' own daemons.")
    .flag("--system-reserved-cgroup", str, "", "The cgroup of the system.")
    .flag("--cgroups-per-qos", bool, True, "Only true.")
    .flag("--fail-cgroupv1", bool, False, "Refuse to run on a machine with cgroups of version 1.")
    .flag("--node-status-max-images", int, 50, "Images that the node's status names; -1 for all.")
    .flag("--oom-score-adj", int, -999, "The kubelet's own score for the kernel's choice of whom to kill.")
    .flag("--max-open-files", int, 1_000_000, "Files that the kubelet may have open.")
    .flag("--feature-gates", _gates, {}, "Gates as they are by default; the reference names those that may differ.")
    .flag("--cloud-provider", _cloud, "", "external: a cloud-controller-manager completes the node before pods come.")
    .flag("--runtime-cgroups", str, "", "Not used: the runtime's cgroup is that of who listens at its socket.")
    .flag("--enable-controller-attach-detach", bool, True, "Only true.")
    .flag("--file-check-frequency", duration, 20.0, "Without effect: manifests are looked at every two seconds.")
    .flag("--http-check-frequency", duration, 20.0, "How often --manifest-url is read.")
    .flag("--manifest-url", str, "", "Where more static pods are: a v1 Pod or PodList, as YAML or JSON.")
    .flag("--manifest-url-header", header, {}, "Fields of the request for it: NAME:VALUE,...")
    .flag("--hairpin-mode", str, "promiscuous-bridge", "Without effect: the pod network does it.")
    .flag("--kernel-memcg-notification", bool, False, "Without effect: memory is looked at every 10 s.")
    .flag("--kube-api-burst", int, 100, "Without effect.")
    .flag("--kube-api-qps", int, 50, "Without effect.")
    .flag("--kube-api-content-type", str, "application/vnd.kubernetes.protobuf", "Without effect: requests are JSON.")
    .flag("--kubelet-cgroups", str, "", "Refused: the kubelet's cgroup is its unit's.")
    .flag("--system-cgroups", str, "", "Refused.")
    .flag("--log-flush-frequency", duration, 5.0, "Without effect: every line is written at once.")
    .flag("--vmodule", str, "", "Without effect: verbosity is one number.")
    .flag("--make-iptables-util-chains", bool, True, "Show which iptables the node uses: KUBE-IPTABLES-HINT.")
    .flag("--pod-cidr", str, "", "Refused: the pod network knows its addresses.")
    .flag("--protect-kernel-defaults", bool, False, "Only false.")
    .flag("--qos-reserved", str, "", "Refused.")
    .flag("--rotate-server-certificates", bool, False, "Ask the cluster for the serving certificate, and again in time.")
    .flag("--runonce", bool, False, "Only false.")
    .flag("--streaming-connection-idle-timeout", duration, 14400.0, "Without effect, as upstream.")
    .flag("--sync-frequency", duration, 60.0, "Without effect: pods are looked at when something happened.")
    .flag("--volume-plugin-dir", str, "", "Without effect: there are no FlexVolumes.")
    .flag("--lock-file", _nothing, "", "Refused.")
    .flag("--exit-on-lock-contention", bool, False, "Without effect: there is no lock file.")
    .flag("--maximum-dead-containers", int, -1, "Without effect: two ended runs of a container are kept.")
    .flag("--maximum-dead-containers-per-container", int, 1, "Without effect: two ended runs of a container are kept.")
    .flag("--minimum-container-ttl-duration", duration, 0.0, "Without effect: two ended runs of a container are kept.")
    .flag("--pod-infra-container-image", str, "", "Not used: the runtime knows its sandbox image.")
)  # fmt: skip
FLAGS = other_flags(_FLAGS)


def shown(values: Values) -> Mapping[str, str]:
    """The command line for the page that shows it, without what may be secret."""
    found = FLAGS.shown(values)
    return found | {"manifest-url-header": "<masked>" if values["manifest-url-header"] else ""}
