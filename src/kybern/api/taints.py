"""Keys of taints that more than one daemon knows (upstream's k8s.io/cloud-provider/api: well_known_taints.go)."""

UNINITIALIZED = "node.cloudprovider.kubernetes.io/uninitialized"
"""Of a node that waits for its cloud, as a kubelet with --cloud-provider=external registers it."""
SHUTDOWN = "node.cloudprovider.kubernetes.io/shutdown"
