"""What a machine is asked for the benchmark, as one script. Nothing is changed on it, and no key is read. Pure."""

from collections.abc import Mapping

from kybern.machines import control_plane
from kybern.machines.parts import script as asking
from kybern.machines.standing import pods
from kybern.machines.topology import Cluster, Machine

DAEMONS = {
    "kube-apiserver": "kube-apiserver.service",
    "kube-controller-manager": "kube-controller-manager.service",
    "kube-scheduler": "kube-scheduler.service",
    "etcd": "etcd.service",
    "kubelet": "kubelet.service",
    "kube-proxy": "kube-proxy.service",
}
"""What runs with flags, and the unit of each."""
UNITS = "/etc/systemd/system"
PKI = "/etc/kubernetes/pki"
PLACES = {
    "unit/kube-apiserver": f"{UNITS}/kube-apiserver.service",
    "unit/kube-controller-manager": f"{UNITS}/kube-controller-manager.service",
    "unit/kube-scheduler": f"{UNITS}/kube-scheduler.service",
    "unit/etcd": f"{UNITS}/etcd.service",
    "unit/kubelet": f"{UNITS}/kubelet.service",
    "etcd": "/var/lib/etcd",
    "admin": "/etc/kubernetes/admin.conf /etc/kubernetes/super-admin.conf",
    "conf/scheduler": "/etc/kubernetes/scheduler.conf",
    "conf/controller-manager": "/etc/kubernetes/controller-manager.conf",
    "conf/kubelet": "/etc/kubernetes/kubelet.conf",
    "conf/kube-proxy": "/etc/kubernetes/kube-proxy.conf",
    "kubelet-config": "/var/lib/kubelet/config.yaml",
    "client-ca": f"{PKI}/ca.crt",
}
TREES = {
    "cni": "/etc/cni/net.d /var/lib/cni -type f",
    "pki": f"{PKI} -type f -o -type d",
    "certificates": f"{PKI} -name '*.crt'",
    "keys": f"{PKI} /var/lib/kubelet/pki -name '*.key'",
}
KEPT = "stat -L -c '%a %U:%G %n'"
PROVIDERS = f"grep -oE '\"(aescbc|aesgcm|secretbox|kms|identity)\": ' {PKI}/encryption.yaml"


def commands(cluster: Cluster, machine: Machine) -> Mapping[str, str]:
    """The commands by the name of their part. Of a daemon that is a static pod, its manifest is what its unit is else."""
    as_pods = pods(cluster, machine)
    found = {f"flags/{name}": _flags(_process(unit)) for name, unit in DAEMONS.items()}
    found |= {f"flags/{name}": _flags(control_plane.pid(name)) for name in as_pods}
    places = PLACES | {f"unit/{name}": control_plane.manifest(name) for name in as_pods}
    found |= {f"files/{name}": f"{KEPT} {paths}; true" for name, paths in places.items()}
    found |= {f"files/{name}": f"find {tree} | sort | xargs -r {KEPT}; true" for name, tree in TREES.items()}
    if machine.is_master:
        found["providers"] = f"{PROVIDERS}; true"
        found["audit-policy"] = "cat /etc/kubernetes/audit-policy.yaml"
        found["authorization"] = "cat /etc/kubernetes/authorization.yaml 2>/dev/null; true"
    if machine.is_etcd:
        found["authorities"] = f"sha256sum {PKI}/ca.crt {PKI}/etcd/ca.crt | cut -d' ' -f1"
    return found


def _process(unit: str) -> str:
    return f"systemctl show -P MainPID {unit}"


def _flags(process: str) -> str:
    """A word a line, of the process whose number that prints."""
    return f"tr '\\0' '\\n' </proc/$({process})/cmdline; true"


def script(cluster: Cluster, machine: Machine) -> str:
    return asking(commands(cluster, machine))
