"""The certificates and keys of this machine, as files; made on the operator's side and shipped.

Needs system (the users that own keys). Leaves /etc/kubernetes/pki as kubeadm names it. A key is readable by the user of
the one daemon that needs it. Daemons read certificates again when they change, so nothing restarts here; what they read
only once, authorities in the main, is among the ``reads`` of their units. What this machine's roles do not ask for is
removed.
"""

from datetime import UTC, datetime
from functools import cache

from pyinfra.api import deploy

from kybern.auth.x509 import Pair
from kybern.machines.certificates import CLUSTER_CA, ETCD_CA, FRONT_PROXY_CA, Certificates, Keep
from kybern.machines.topology import Cluster, Machine
from roles.cluster import (
    APISERVER_USER,
    CONTROLLER_MANAGER_USER,
    ENCRYPTION,
    ETCD_USER,
    KUBELET_PKI,
    KUBERNETES,
    METRICS_USER,
    PKI,
    state,
)
from roles.operations import bundle
from roles.tree import Directory, Entry, File

# Who owns the key of which pair. Pairs that are not here go into kubeconfigs.
OWNERS = {
    "etcd/server": ETCD_USER,
    "etcd/peer": ETCD_USER,
    "etcd/healthcheck-client": "root",
    "apiserver": APISERVER_USER,
    "apiserver-kubelet-client": APISERVER_USER,
    "apiserver-etcd-client": APISERVER_USER,
    "front-proxy-client": APISERVER_USER,
    "metrics-server": METRICS_USER,
}


@deploy("pki")
def pki(cluster: Cluster, machine: Machine) -> None:
    bundle(name="Certificates", files=files(machine, certificates(cluster, machine)), prune=(PKI,))


@cache
def certificates(cluster: Cluster, machine: Machine) -> Certificates:
    """What this machine is given, from the operator's state directory; made once a run."""
    return Keep(state(cluster) / "pki", datetime.now(UTC)).certificates(cluster, machine)


def reads(cluster: Cluster, machine: Machine, *paths: str) -> tuple[File, ...]:
    """Those of this machine's files that a unit reads at its start only."""
    given = files(machine, certificates(cluster, machine))
    return tuple(entry for entry in given if isinstance(entry, File) and entry.path in paths)


def files(machine: Machine, given: Certificates) -> tuple[Entry, ...]:
    entries: list[Entry] = [Directory(KUBERNETES), Directory(PKI)]
    entries.append(File(f"{PKI}/ca.crt", given.authorities[CLUSTER_CA]))
    for name, user in OWNERS.items():
        if name in given.pairs:
            entries += _pair(f"{PKI}/{name}", given.pairs[name], user)
    if machine.is_etcd or machine.is_master:
        entries += [Directory(f"{PKI}/etcd"), File(f"{PKI}/etcd/ca.crt", given.authorities[ETCD_CA])]
    if machine.is_master:
        entries += _master(given)
    if machine.is_node:
        entries += [Directory(KUBELET_PKI, mode="700")]
        entries += _pair(f"{KUBELET_PKI}/kubelet", given.pairs["kubelet-server"], "root")
    return tuple(entries)


def _master(given: Certificates) -> tuple[Entry, ...]:
    keys = File(ENCRYPTION, given.encryption, mode="600", user=APISERVER_USER, secret=True)
    return (
        *((keys,) if given.encryption else ()),
        File(f"{PKI}/front-proxy-ca.crt", given.authorities[FRONT_PROXY_CA]),
        File(f"{PKI}/sa.pub", given.tokens.cert_pem),
        # Two daemons sign tokens.
        File(
            f"{PKI}/sa.key",
            given.tokens.key_pem,
            mode="640",
            user=APISERVER_USER,
            group=CONTROLLER_MANAGER_USER,
            secret=True,
        ),
    )


def _pair(path: str, pair: Pair, user: str) -> tuple[File, ...]:
    return (
        File(f"{path}.crt", pair.cert_pem),
        File(f"{path}.key", pair.key_pem, mode="600", user=user, secret=True),
    )
