"""API server, controller manager and scheduler as static pods: where their manifests lie, what a machine is asked of them.

Their containers are known by the labels that every kubelet gives to what it runs. Questions are texts for a shell, and
pure here. One that containerd does not answer fails: that nothing runs is said only where it is known.
"""

DAEMONS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
MANIFESTS = "/etc/kubernetes/manifests"
NAMESPACE = "kube-system"
# Of a manifest: the release that its daemon is of, by its directory, as a unit names it by its program.
RELEASE = "kybern.io/release"
INPUTS = "kybern.io/inputs"
CTR = "timeout 20 ctr -n k8s.io"
STOP_SECONDS = 90  # a kubelet that is looking the other way, the pod's own grace period, and some


def manifest(name: str) -> str:
    return f"{MANIFESTS}/{name}.yaml"


def aside(name: str) -> str:
    """Where the manifest of a pod lies that is being stopped. The kubelet passes over what begins with a dot."""
    return f"{MANIFESTS}/.{name}.yaml.leaving"


def tasks(name: str) -> str:
    """Lines "CONTAINER PID" of a daemon's containers that run."""
    labels = (
        f'labels."io.kubernetes.container.name"=={name},labels."io.kubernetes.pod.namespace"=={NAMESPACE}'
    )
    return (
        f"{{ ids=$({CTR} containers ls -q '{labels}') && tasks=$({CTR} tasks ls) && "
        'echo "$tasks" | awk -v ids="$ids" \'BEGIN {split(ids, all); for (i in all) ours[all[i]]} '
        '$3 == "RUNNING" && $1 in ours {print $1, $2}\'; }'
    )


def pid(name: str) -> str:
    """The process of a daemon; nothing when none runs."""
    return f"{tasks(name)} | tail -n 1 | cut -d' ' -f2"


def runs(name: str) -> str:
    """Succeeds when a container of the daemon runs."""
    return f"{tasks(name)} | grep -q ."


def uids(name: str) -> str:
    """The uids of the pods whose containers run, a line each."""
    shown = f'{CTR} containers info $id | sed -n \'s/.*"io.kubernetes.pod.uid": "\\([^"]*\\)".*/\\1/p\''
    return f"{tasks(name)} | while read -r id _; do {shown} | sort -u; done"


def attempts(name: str) -> str:
    """How often the kubelet has made the daemon's container again, of the one that runs."""
    shown = f'{CTR} containers info $id | sed -n \'s/.*"io.kubernetes.container.restartCount": "\\([0-9]*\\)".*/\\1/p\''
    return f"{tasks(name)} | while read -r id _; do {shown}; done"


def stopping(name: str) -> str:
    """Ends the daemon's pod, and waits until nothing of it runs. Fails when that is not known in time."""
    return (
        f"{{ mv -f {manifest(name)} {aside(name)} 2>/dev/null || [ -e {aside(name)} ]; }} && "
        f'( end=$(($(date +%s) + {STOP_SECONDS})); until left=$({tasks(name)}) && [ -z "$left" ]; '
        f'do [ "$(date +%s)" -lt "$end" ] || {{ echo "the pod of {name} does not end: '
        'see on this machine journalctl -u kubelet" >&2; exit 1; }; sleep 0.2; done )'
    )
