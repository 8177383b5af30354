"""The cluster's certificates: who needs which, and that keeping them changes nothing by itself."""

import base64
import json
import stat
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address, IPv4Network
from itertools import chain
from pathlib import Path

import pytest
from cryptography import x509

from kybern.auth.x509 import client_identity
from kybern.machines.certificates import Keep, kubeconfig, wanted
from kybern.machines.topology import Cluster, Machine
from kybern.machines.unshipped import Unshipped

NOW = datetime(2026, 3, 1, tzinfo=UTC)
MASTER = Machine("m1", IPv4Address("10.1.0.11"), frozenset({"etcd", "control-plane"}))
WORKER = Machine("w1", IPv4Address("10.1.0.21"), frozenset({"worker"}))
CLUSTER = Cluster(
    name="test",
    network=IPv4Network("10.1.0.0/24"),
    gateway=IPv4Address("10.1.0.1"),
    vip=IPv4Address("10.1.0.10"),
    machines=(MASTER, WORKER),
)


def test_a_driver_of_local_volumes_is_named_after_its_node_and_not_made_where_there_is_none() -> None:
    (found,) = [want.leaf for want in wanted(CLUSTER, WORKER) if want.name == "local-volumes"]
    names = [want.name for want in wanted(replace(CLUSTER, storage="none"), WORKER)]

    assert (found.common_name, found.organizations, found.server) == (
        f"system:kybern-local-volumes:{WORKER.name}",
        ("system:kybern-local-volumes",),
        False,
    )
    assert names == ["kubelet", "kubelet-server", "kube-proxy", "policies"]


@pytest.fixture
def keep(tmp_path: Path) -> Keep:
    return Keep(tmp_path / "pki", NOW)


def subject(pem: bytes) -> tuple[str, tuple[str, ...]]:
    return client_identity(x509.load_pem_x509_certificate(pem))


def test_a_worker_gets_nothing_of_a_master() -> None:
    names = [want.name for want in wanted(CLUSTER, WORKER)]

    assert names == ["kubelet", "kubelet-server", "kube-proxy", "policies", "local-volumes"]


def test_nobody_gets_what_is_switched_off() -> None:
    assert "policies" not in {want.name for want in wanted(replace(CLUSTER, network_policies=False), WORKER)}


def test_the_api_server_is_known_by_every_name_that_clients_use() -> None:
    leaf = next(want.leaf for want in wanted(CLUSTER, MASTER) if want.name == "apiserver")

    assert leaf.server
    assert {"kubernetes", "kubernetes.default.svc.cluster.local", "localhost", "m1"} <= set(leaf.dns)
    assert {str(address) for address in leaf.ips} == {"10.96.0.1", "10.1.0.11", "10.1.0.10", "127.0.0.1"}


def test_a_kubelet_is_a_node_of_its_own_name(keep: Keep) -> None:
    pairs = keep.certificates(CLUSTER, WORKER).pairs

    assert subject(pairs["kubelet"].cert_pem) == ("system:node:w1", ("system:nodes",))


def test_only_members_of_etcd_trust_each_other(keep: Keep) -> None:
    certificates = keep.certificates(CLUSTER, MASTER)
    etcd_authority = x509.load_pem_x509_certificate(certificates.authorities["etcd/ca"])

    peer = x509.load_pem_x509_certificate(certificates.pairs["etcd/peer"].cert_pem)
    kubelet = x509.load_pem_x509_certificate(certificates.pairs["kubelet"].cert_pem)
    assert peer.issuer == etcd_authority.subject
    assert kubelet.issuer != etcd_authority.subject


def test_asking_again_gives_the_same_bytes(keep: Keep, tmp_path: Path) -> None:
    first = keep.certificates(CLUSTER, MASTER)

    assert Keep(tmp_path / "pki", NOW + timedelta(days=1)).certificates(CLUSTER, MASTER) == first


def test_a_worn_certificate_is_made_anew_by_the_same_authority(keep: Keep, tmp_path: Path) -> None:
    first = keep.certificates(CLUSTER, WORKER)

    later = Keep(tmp_path / "pki", NOW + timedelta(days=250)).certificates(CLUSTER, WORKER)

    assert later.authorities == first.authorities
    assert later.tokens == first.tokens
    assert later.pairs["kubelet"] != first.pairs["kubelet"]


def test_a_key_that_was_written_without_its_certificate_is_made_anew(keep: Keep, tmp_path: Path) -> None:
    first = keep.certificates(CLUSTER, WORKER)
    (tmp_path / "pki/machines/w1/kubelet.crt").unlink()

    second = keep.certificates(CLUSTER, WORKER)

    assert second.pairs["kubelet"] != first.pairs["kubelet"]
    assert second.pairs["kube-proxy"] == first.pairs["kube-proxy"]


def test_nobody_else_may_look_into_the_state_directory(keep: Keep, tmp_path: Path) -> None:
    keep.certificates(CLUSTER, MASTER)

    paths = [tmp_path / "pki", *(tmp_path / "pki").rglob("*")]
    assert len(paths) > 20
    assert [path for path in paths if stat.S_IMODE(path.stat().st_mode) & 0o077] == []


def test_the_operator_is_an_administrator(keep: Keep) -> None:
    assert subject(keep.admin(CLUSTER)[1].cert_pem) == ("kubernetes-admin", ("system:masters",))


def test_a_kubeconfig_holds_all_that_a_client_needs(keep: Keep) -> None:
    authority, pair = keep.admin(CLUSTER)

    config = json.loads(kubeconfig("https://10.1.0.10:6443", authority, pair, "kubernetes-admin", "test"))

    assert config["current-context"] == "kubernetes-admin@test"
    assert config["contexts"][0]["context"] == {"cluster": "test", "user": "kubernetes-admin"}
    assert config["clusters"][0]["cluster"]["server"] == "https://10.1.0.10:6443"
    assert base64.b64decode(config["clusters"][0]["cluster"]["certificate-authority-data"]) == authority
    assert base64.b64decode(config["users"][0]["user"]["client-key-data"]) == pair.key_pem


def test_certificates_live_as_long_as_the_topology_says_and_authorities_as_ever(tmp_path: Path) -> None:
    keep, short = Keep(tmp_path / "pki", NOW), replace(CLUSTER, certificate_life=timedelta(minutes=3))

    given = [keep.certificates(short, each).pairs.values() for each in short.machines]
    ends = {
        x509.load_pem_x509_certificate(pair.cert_pem).not_valid_after_utc
        for pair in (*chain(*given), keep.admin(short)[1])
    }

    assert ends == {NOW + timedelta(minutes=3)}
    authority = x509.load_pem_x509_certificate((tmp_path / "pki/ca.crt").read_bytes())
    assert authority.not_valid_after_utc > NOW + timedelta(days=3000)


def test_who_may_wear_older_ones_is_noted_until_they_are_shipped(tmp_path: Path) -> None:
    folder = tmp_path / "pki"
    notes = Unshipped(folder)
    for each in CLUSTER.machines:
        Keep(folder, NOW).certificates(CLUSTER, each)
    assert notes.machines() == {"m1", "w1"}
    notes.drop(("m1", "w1"))

    Keep(folder, NOW).certificates(CLUSTER, WORKER)
    assert notes.machines() == frozenset(), "all of them fit"

    Keep(folder, NOW + timedelta(days=300)).certificates(CLUSTER, WORKER)
    assert notes.machines() == {"w1"}, "made, by a plan or by a run that was killed"


def test_the_operator_s_own_is_shipped_beside_a_master_s(tmp_path: Path) -> None:
    Keep(tmp_path, NOW).admin(CLUSTER)

    assert Unshipped(tmp_path).machines() == {MASTER.name}
