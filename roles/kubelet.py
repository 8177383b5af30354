"""The kubelet: makes the machine a node.

Needs runtime, package, kubeconfig. Leaves it running and healthy, and on masters the node's role label.

Masters are tainted when there are workers; on their own they take pods. The label that shows as ROLES in ``kubectl get
nodes`` is not the kubelet's to set (NodeRestriction), so a master sets it with its own client certificate.
"""

import json
from collections.abc import Iterable

from pyinfra import host
from pyinfra.api import deploy

from kybern.machines.topology import Cluster, Machine
from roles.apiserver import ask
from roles.cluster import CIPHERS, KUBELET_PKI, PKI, name_servers
from roles.kubeconfig import path
from roles.operations import bundle, once, ready, units
from roles.package import here
from roles.templates import render
from roles.tree import Directory, File, Service

UNIT = "kubelet.service"
CONFIG = "/var/lib/kubelet/config.yaml"
# For the operator: what lies here wins over our file, and no deploy touches it.
DROP_INS = "/etc/kubernetes/kubelet.conf.d"
# Far above what servers and builds have, and an eighth of what a small machine has for all (32768).
POD_PIDS = 4096
MASTER = "node-role.kubernetes.io/control-plane"
HEALTHY = "curl -fsS --max-time 3 http://127.0.0.1:10248/healthz"


@deploy("kubelet")
def kubelet(cluster: Cluster, machine: Machine) -> None:
    service = unit(cluster, machine, here().programs)
    bundle(name="Files", files=[Directory(DROP_INS), *service.files])
    units(name="Running", services=[service])
    ready(name="Healthy", probe=HEALTHY, log=UNIT, _retries=5, _retry_delay=0)
    if machine.is_master and not cluster.has_static_pods:
        once(name="Role label", probe=is_labelled(cluster, machine), command=label(cluster, machine))


@deploy("kubelet")
def role_label(cluster: Cluster, machine: Machine) -> None:
    """Of a master whose kubelet is there before its API, which it runs."""
    once(name="Role label", probe=is_labelled(cluster, machine), command=label(cluster, machine))


@deploy("nodes")
def nodes_ready(cluster: Cluster, machine: Machine) -> None:
    """Every node is Ready, as each master's API server sees it; but for machines that this run leaves out.

    Where another pod network is to come, it needs this API first: then a node may lack that and nothing else.
    """
    if machine.is_master:
        # A machine that is off may be left out by a limit, or be no host at all.
        working = {each.data.get("machine") for each in host.state.active_hosts}
        nodes = [each for each in cluster.machines if each.is_node and each in working]
        ready(name="Ready", probe=all_ready(cluster, nodes), log=UNIT, _retries=20, _retry_delay=0)


def unit(cluster: Cluster, machine: Machine, programs: str) -> Service:
    text = render(
        "kubelet/kubelet.service",
        cluster=cluster,
        machine=machine,
        programs=programs,
        kubeconfig=path("kubelet"),
        config=CONFIG,
        drop_ins=DROP_INS,
        # Where the cloud is known, its daemon says where nodes are.
        zone="" if cluster.cloud else machine.hypervisor,
        taint=f"{MASTER}=:NoSchedule"
        if machine.is_master and cluster.workers and machine not in cluster.workers
        else "",
    )
    config = render(
        "kubelet/config.yaml",
        cluster=cluster,
        dns=[str(address) for address in name_servers(cluster)],
        pki=PKI,
        kubelet_pki=KUBELET_PKI,
        ciphers=CIPHERS,
        pod_pids=POD_PIDS,
    )
    return Service(
        UNIT,
        # For root alone, as the CIS benchmark has it (4.1.1, 4.1.9).
        (File(f"/etc/systemd/system/{UNIT}", text, mode="600"), File(CONFIG, config, mode="600")),
        wait=False,
    )


def is_labelled(cluster: Cluster, machine: Machine) -> str:
    # As a label, which has a value; the taint of the same name is a key without one.
    return f"{ask(cluster, f'/api/v1/nodes/{machine.name}')} | grep -q '\"{MASTER}\":'"


def label(cluster: Cluster, machine: Machine) -> str:
    patch = json.dumps({"metadata": {"labels": {MASTER: ""}}})
    # The kubelet registers its node a moment after it says that it is healthy.
    retries = "--retry 20 --retry-delay 1 --retry-all-errors -o /dev/null"
    more = f"{retries} -X PATCH -H 'Content-Type: application/merge-patch+json' -d '{patch}'"
    return ask(cluster, f"/api/v1/nodes/{machine.name}", more)


def all_ready(cluster: Cluster, nodes: Iterable[Machine]) -> str:
    names = " ".join(node.name for node in nodes)
    bare = " or c.get('message', '').startswith('container runtime network not ready')"
    script = (
        "import json, sys; ready = {n['metadata']['name'] for n in json.load(sys.stdin)['items'] for c in n['status'].get"
        "('conditions', []) if c['type'] == 'Ready' and (c['status'] == 'True'"
        f"{bare if cluster.pod_network == 'none' else ''})}}; sys.exit(not ready >= set(sys.argv[1:]))"
    )
    return f'{ask(cluster, "/api/v1/nodes")} | python3 -c "{script}" {names}'
