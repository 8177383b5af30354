"""A cluster of three masters and a worker, and a state directory that lasts as long as a test."""

from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from kybern.machines.topology import Cluster, Machine
from roles import pki

MASTER_ROLES = frozenset({"etcd", "control-plane"})


def master(number: int) -> Machine:
    return Machine(f"m{number}", IPv4Address(f"10.1.0.1{number}"), MASTER_ROLES)


@pytest.fixture
def worker() -> Machine:
    return Machine("w1", IPv4Address("10.1.0.21"), frozenset({"worker"}))


@pytest.fixture
def cluster(worker: Machine) -> Cluster:
    return Cluster(
        name="test",
        network=IPv4Network("10.1.0.0/24"),
        gateway=IPv4Address("10.1.0.1"),
        vip=IPv4Address("10.1.0.10"),
        machines=(master(1), master(2), master(3), worker),
    )


@pytest.fixture
def single() -> Cluster:
    machine = Machine("one", IPv4Address("10.2.0.11"), MASTER_ROLES | {"worker"})
    return Cluster("single", IPv4Network("10.2.0.0/24"), IPv4Address("10.2.0.1"), None, (machine,))


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KYBERN_STATE", str(tmp_path))
    pki.certificates.cache_clear()
    (tmp_path / "test").mkdir()
    (tmp_path / "single").mkdir()
    return tmp_path
