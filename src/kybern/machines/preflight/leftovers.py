"""Other runtimes, and what is left of other clusters. Pure."""

from kybern.machines.preflight.record import Looked, Outcome, failure, passed, warning

CLUSTERS = ("kubelet", "k3s", "k3s-agent", "rke2-server", "rke2-agent", "k0scontroller", "k0sworker", "etcd")
RUNTIMES = ("docker", "crio", "podman")
PATHS = {
    "/etc/kubernetes/manifests/": "static pods",
    "/var/lib/etcd/member/": "data of etcd",
    "/etc/rancher/": "k3s or rke2",
    "/var/lib/rancher/": "k3s or rke2",
    "/var/lib/k0s/": "k0s",
    "/var/snap/microk8s/": "microk8s",
    "/etc/kubernetes/pki/": "a cluster's certificates",
}
UNITS = " ".join(f"{name}.service" for name in (*CLUSTERS, *RUNTIMES, "snap.microk8s.daemon-kubelite"))
# "unit NAME.service" for one that runs, "path PATH" for one that has something in it.
ASKED = (
    f"for each in {UNITS}; do systemctl is-active -q $each && echo unit $each; done; "
    f'for each in {" ".join(PATHS)}; do [ -n "$(ls -A $each 2>/dev/null)" ] && echo path $each; done; true'
)


def leftovers(looked: Looked) -> Outcome:
    if "kubelet.service" in looked.facts.ours or "etcd.service" in looked.facts.ours:
        return passed("is of this cluster already")
    found = [line.split(None, 1) for line in looked.facts.lines("leftovers")]
    units = [words[1] for words in found if words[0] == "unit" and len(words) == 2]
    paths = [words[1] for words in found if words[0] == "path" and len(words) == 2]
    runtimes = [each for each in units if each.removesuffix(".service") in RUNTIMES]
    if others := [each for each in units if each not in runtimes]:
        return failure(
            f"runs {', '.join(others)} of another cluster", "take the machine out of that cluster first"
        )
    if paths:
        told = ", ".join(f"{each} ({PATHS.get(each, 'another cluster')})" for each in paths)
        return failure(
            f"has {told}", "kubeadm reset, or what takes that cluster away; then remove what is left"
        )
    if runtimes:
        return warning(
            f"runs {', '.join(runtimes)}", "containerd gets Kybern's configuration: move its containers away"
        )
    return passed("nothing of another cluster")
