"""The cluster's certificates, made and kept on the operator's side: what there shall be, and keeping it so.

``wanted`` is a plan and pure: which certificate each machine needs, by which authority, with which names. ``Keep`` holds
the state directory (``.kybern/CLUSTER/pki``, 0700, files 0600) and makes what is missing, worn or says something else;
what fits stays byte for byte, so that a deploy changes nothing. The authorities' keys never leave this directory.

File names are kubeadm's, so that whoever knows a cluster of its making finds everything here too.
"""

import base64
import fcntl
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from kybern.auth.x509 import Address, Authority, Leaf, Pair, signing_key
from kybern.machines import encryption
from kybern.machines.secret_files import private_folder, read_pair, write_pair, write_secret
from kybern.machines.topology import Cluster, Machine
from kybern.machines.trust import Trust
from kybern.machines.unshipped import Unshipped

MASTERS_GROUP = "system:masters"
CLUSTER_CA, ETCD_CA, FRONT_PROXY_CA = "ca", "etcd/ca", "front-proxy-ca"
TOKENS, PUBLIC = "sa", ".pub"
AUTHORITIES = {CLUSTER_CA: "kubernetes", ETCD_CA: "etcd-ca", FRONT_PROXY_CA: "front-proxy-ca"}
# Client certificates that go into a kubeconfig: file name to the user in it.
CLIENTS = {
    "controller-manager": "system:kube-controller-manager",
    "scheduler": "system:kube-scheduler",
    "kube-proxy": "system:kube-proxy",
    "policies": "system:kybern-policies",
    "dns": "system:kybern-dns",
    "metrics": "system:kybern-metrics",
    "kubelet": "system:node",
    "local-volumes": "system:kybern-local-volumes",
    "load-balancers": "system:kybern-load-balancers",
    "speaker": "system:kybern-speaker",
    "ingress": "system:kybern-ingress",
    "cloud": "system:cloud-controller-manager",
    "cloud-volumes": "system:kybern-cloud-volumes",
    "admin": "kubernetes-admin",
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """One certificate of a machine: its file name without suffix, who signs it, and what it says."""

    name: str
    authority: str
    leaf: Leaf


def wanted(cluster: Cluster, machine: Machine) -> tuple[Wanted, ...]:
    """The certificates that this machine needs for its roles, for as long as the topology lets them live."""
    life = cluster.certificate_life
    return tuple(replace(each, leaf=lasting(each.leaf, life)) for each in _of_roles(cluster, machine))


def lasting(leaf: Leaf, life: timedelta) -> Leaf:
    return replace(leaf, days=life / timedelta(days=1))


def _of_roles(cluster: Cluster, machine: Machine) -> list[Wanted]:
    plan: list[Wanted] = []
    if machine.is_etcd:
        plan += _member(machine)
    if machine.is_master:
        plan += _master(cluster, machine)
    if machine.is_node:
        plan += _node(cluster, machine)
        if cluster.storage == "local":
            plan.append(Wanted("local-volumes", CLUSTER_CA, local_volumes(machine)))
        if cluster.load_balancer:
            plan.append(Wanted("speaker", CLUSTER_CA, Leaf(CLIENTS["speaker"])))
        if cluster.ingress and machine in cluster.workers:
            plan.append(Wanted("ingress", CLUSTER_CA, Leaf(CLIENTS["ingress"])))
    return plan


def _member(machine: Machine) -> tuple[Wanted, ...]:
    dns, ips = (machine.name, "localhost"), (machine.address, "127.0.0.1")
    both = Leaf(machine.name, dns=dns, ips=ips, client=True, server=True)
    return (
        Wanted("etcd/server", ETCD_CA, both),
        Wanted("etcd/peer", ETCD_CA, both),
        Wanted("etcd/healthcheck-client", ETCD_CA, Leaf("kube-etcd-healthcheck-client")),
    )


def _master(cluster: Cluster, machine: Machine) -> tuple[Wanted, ...]:
    return (
        Wanted("apiserver", CLUSTER_CA, api_server(cluster, machine)),
        Wanted(
            "apiserver-kubelet-client", CLUSTER_CA, Leaf("kube-apiserver-kubelet-client", (MASTERS_GROUP,))
        ),
        Wanted("apiserver-etcd-client", ETCD_CA, Leaf("kube-apiserver-etcd-client")),
        Wanted("front-proxy-client", FRONT_PROXY_CA, Leaf("front-proxy-client")),
        Wanted("controller-manager", CLUSTER_CA, Leaf(CLIENTS["controller-manager"])),
        Wanted("scheduler", CLUSTER_CA, Leaf(CLIENTS["scheduler"])),
        Wanted("dns", CLUSTER_CA, Leaf(CLIENTS["dns"])),
        Wanted("metrics", CLUSTER_CA, Leaf(CLIENTS["metrics"])),
        Wanted("metrics-server", CLUSTER_CA, metrics_server(cluster, machine)),
        Wanted("admin", CLUSTER_CA, Leaf(CLIENTS["admin"], (MASTERS_GROUP,))),
        *_optional(cluster),
    )


def _optional(cluster: Cluster) -> Iterator[Wanted]:
    """Of daemons that a master runs where the topology asks for them."""
    for name, is_asked_for in (
        ("load-balancers", cluster.load_balancer),
        ("cloud", cluster.cloud),
        ("cloud-volumes", cluster.cloud_volumes),
    ):
        if is_asked_for:
            yield Wanted(name, CLUSTER_CA, Leaf(CLIENTS[name]))


def _node(cluster: Cluster, machine: Machine) -> tuple[Wanted, ...]:
    name = f"{CLIENTS['kubelet']}:{machine.name}"
    own = (machine.address, *cluster.addresses(machine))
    server = Leaf(name, ("system:nodes",), (machine.name,), _once(own), client=False, server=True)
    policies = Wanted("policies", CLUSTER_CA, Leaf(CLIENTS["policies"]))
    return (
        Wanted("kubelet", CLUSTER_CA, Leaf(name, ("system:nodes",))),
        Wanted("kubelet-server", CLUSTER_CA, server),
        Wanted("kube-proxy", CLUSTER_CA, Leaf(CLIENTS["kube-proxy"])),
        *((policies,) if cluster.network_policies else ()),
    )


def api_server(cluster: Cluster, machine: Machine) -> Leaf:
    """Every name and address that a client may reach this machine's API server by."""
    names = ["kubernetes", "kubernetes.default", "kubernetes.default.svc"]
    names += [f"kubernetes.default.svc.{cluster.cluster_domain}", "localhost", machine.name]
    services = [network[1] for network in cluster.service_ranges]
    addresses = [*services, machine.address, *cluster.addresses(machine), cluster.api_address, "127.0.0.1"]
    return Leaf("kube-apiserver", dns=tuple(names), ips=_once(addresses), client=False, server=True)


def metrics_server(cluster: Cluster, machine: Machine) -> Leaf:
    """The API server dials an address, and asks for the Service's name."""
    name = "metrics-server.kube-system.svc"
    ips = _once((machine.address, *cluster.addresses(machine)))
    return Leaf("kybern-metrics", dns=(name, machine.name), ips=ips, client=False, server=True)


def _once(addresses: Iterable[Address]) -> tuple[Address, ...]:
    return tuple(dict.fromkeys(addresses))


def local_volumes(machine: Machine) -> Leaf:
    """The group has the rights; the name says whose volumes they are for (docs/adr/0020)."""
    user = CLIENTS["local-volumes"]
    return Leaf(f"{user}:{machine.name}", (user,))


@dataclass(frozen=True, slots=True)
class Certificates:
    """All that a machine, or an operator, is given: authorities' certificates, its pairs, the token key.

    ``encryption``: what API servers encrypt by; empty when nothing is encrypted.
    """

    authorities: dict[str, bytes]
    pairs: dict[str, Pair]
    tokens: Pair
    encryption: bytes = b""


class Keep:
    """The state directory of one cluster. One process at a time makes certificates in it."""

    def __init__(self, folder: Path, now: datetime) -> None:
        self._folder = folder
        self._now = now
        self._unshipped = Unshipped(folder)

    def certificates(self, cluster: Cluster, machine: Machine) -> Certificates:
        """What ``machine`` is to have; makes what is missing."""
        with self._locked():
            # Before the authorities: without them the cluster is not in use yet.
            keys = self._encryption(cluster)
            authorities = {name: self._authority(name) for name in AUTHORITIES}
            pairs = {
                want.name: self._pair(
                    f"machines/{machine.name}/{want.name}", authorities[want.authority], want.leaf, machine
                )
                for want in wanted(cluster, machine)
            }
            certificates = {name: Trust(self._folder, name).trusted() for name in AUTHORITIES}
            return Certificates(certificates, pairs, self._tokens(), keys)

    def admin(self, cluster: Cluster) -> tuple[bytes, Pair]:
        """The cluster's authority, and the operator's own pair: all of a kubeconfig but the address."""
        with self._locked():
            authority = self._authority(CLUSTER_CA)
            leaf = lasting(Leaf(CLIENTS["admin"], (MASTERS_GROUP,)), cluster.certificate_life)
            # The kubeconfig that it goes into is written beside those of a master.
            pair = self._pair("admin", authority, leaf, cluster.masters[0])
            return Trust(self._folder, CLUSTER_CA).trusted(), pair

    def _authority(self, name: str) -> Authority:
        """Who signs now."""
        pair = Trust(self._folder, name).signer()
        if pair is not None:
            return Authority.load(pair.cert_pem, pair.key_pem)
        authority = self.new_authority(name)
        write_pair(self._folder, name, authority.pair)
        return authority

    def new_authority(self, name: str) -> Authority:
        return Authority.create(AUTHORITIES[name], self._now)

    def _pair(self, name: str, authority: Authority, leaf: Leaf, wearer: Machine) -> Pair:
        pair = read_pair(self._folder, name)
        if pair is None or not authority.fits(pair, leaf, self._now):
            self._unshipped.note(wearer.name)
            pair = authority.issue_leaf(leaf, self._now)
            write_pair(self._folder, name, pair)
        return pair

    def _tokens(self) -> Pair:
        """Who signs tokens, and all that verify them."""
        keys = Trust(self._folder, TOKENS, PUBLIC)
        pair = keys.signer()
        if pair is None:
            pair = signing_key()
            write_pair(self._folder, TOKENS, pair, PUBLIC)
        return Pair(keys.trusted(), pair.key_pem)

    def _encryption(self, cluster: Cluster) -> bytes:
        path = self._folder / encryption.FILE
        if path.exists():
            return path.read_bytes()
        used = (self._folder / f"{CLUSTER_CA}.crt").exists()
        keys = encryption.first(cluster.encryption, used=used, endpoint=cluster.kms)
        if not keys:
            return b""
        content = encryption.content(keys)
        write_secret(path, content)
        return content

    @contextmanager
    def _locked(self) -> Iterator[None]:
        private_folder(self._folder)
        handle = os.open(self._folder / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)


def kubeconfig(server: str, ca: bytes, pair: Pair, user: str, cluster: str) -> bytes:
    """A kubeconfig with everything in it. JSON, which is YAML, and which needs no quoting rules."""
    context = f"{user}@{cluster}"
    document: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {"name": cluster, "cluster": {"server": server, "certificate-authority-data": _text(ca)}}
        ],
        "users": [
            {
                "name": user,
                "user": {
                    "client-certificate-data": _text(pair.cert_pem),
                    "client-key-data": _text(pair.key_pem),
                },
            }
        ],
        "contexts": [{"name": context, "context": {"cluster": cluster, "user": user}}],
        "current-context": context,
    }
    return (json.dumps(document, indent=2) + "\n").encode()


def _text(pem: bytes) -> str:
    return base64.b64encode(pem).decode()
