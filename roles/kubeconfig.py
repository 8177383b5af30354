"""The kubeconfigs of the daemons on this machine, and the operator's own on this side.

Needs pki. Leaves /etc/kubernetes/NAME.conf, each readable by the user of its daemon alone, pointing at the way to the API
that is closest to the machine; and admin.conf in the operator's state directory, pointing at the cluster's address.
"""

from collections.abc import Generator, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

from pyinfra.api import FunctionCommand, StringCommand, deploy, operation

from kybern.machines.certificates import CLIENTS, CLUSTER_CA, Certificates, Keep, kubeconfig
from kybern.machines.changes import SECRET
from kybern.machines.secret_files import write_secret
from kybern.machines.topology import Cluster, Machine
from roles.cluster import (
    CLOUD_USER,
    CLOUD_VOLUMES_USER,
    CONTROLLER_MANAGER_USER,
    DNS_USER,
    INGRESS_USER,
    KUBERNETES,
    LOAD_BALANCERS_USER,
    METRICS_USER,
    SCHEDULER_USER,
    SPEAKER_USER,
    api_endpoint,
    state,
)
from roles.operations import bundle
from roles.pki import certificates
from roles.record import for_all, planned
from roles.tree import File

OWNERS = {
    "controller-manager": CONTROLLER_MANAGER_USER,
    "scheduler": SCHEDULER_USER,
    "dns": DNS_USER,
    "metrics": METRICS_USER,
    "load-balancers": LOAD_BALANCERS_USER,
    "speaker": SPEAKER_USER,
    "ingress": INGRESS_USER,
    "cloud": CLOUD_USER,
    "cloud-volumes": CLOUD_VOLUMES_USER,
}
NAMES = ("kubelet", "kube-proxy", "policies", "local-volumes", *OWNERS)
# Users that bear the name of their machine.
NAMED = frozenset({"kubelet", "local-volumes"})


def path(name: str) -> str:
    return f"{KUBERNETES}/{name}.conf"


@deploy("kubeconfig")
def kubeconfigs(cluster: Cluster, machine: Machine) -> None:
    bundle(name="Of the daemons", files=[*files(cluster, machine, certificates(cluster, machine))])
    if machine.is_master:
        # Whichever comes first writes it; the others find it.
        kept(
            name="Of the operator",
            file=state(cluster) / "admin.conf",
            content=admin(cluster),
            _serial=True,
        )


def files(cluster: Cluster, machine: Machine, given: Certificates) -> Iterator[File]:
    server, authority = api_endpoint(cluster, machine), given.authorities[CLUSTER_CA]
    for name in NAMES:
        if name in given.pairs:
            user = f"{CLIENTS[name]}:{machine.name}" if name in NAMED else CLIENTS[name]
            content = kubeconfig(server, authority, given.pairs[name], user, cluster.name)
            yield File(path(name), content, mode="600", user=OWNERS.get(name, "root"), secret=True)


def admin(cluster: Cluster) -> bytes:
    authority, pair = Keep(state(cluster) / "pki", datetime.now(UTC)).admin(cluster)
    server = f"https://{cluster.api}"
    return kubeconfig(server, authority, pair, CLIENTS["admin"], cluster.name)


@operation()
def kept(file: Path, content: bytes) -> Generator[FunctionCommand | StringCommand]:
    """A file on the operator's side, readable by the operator alone."""
    if not file.exists() or file.read_bytes() != content:
        differs = for_all("operator", str(file), "replace", sha256(content).hexdigest())
        yield from planned(replace(differs, diff=(SECRET,)))
        yield FunctionCommand(write_secret, (file, content), {})
