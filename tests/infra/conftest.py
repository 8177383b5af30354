"""Testinfra over the machines of one cluster: the one that KYBERN_CLUSTER names, ``lab`` without.

One SSH connection a machine, through the ControlPath of the state directory's ssh_config: a command takes milliseconds.
"""

import os
from pathlib import Path

import pytest
import testinfra
from testinfra.host import Host

from kybern.machines.load import load
from kybern.machines.state import State, ssh_config, write
from kybern.machines.topology import Cluster, Machine

NAME = os.environ.get("KYBERN_CLUSTER", "lab")
STATE = State.of(NAME)


def topology() -> Cluster | None:
    path = next((path for path in _topologies() if load(path).name == NAME), None)
    return load(path) if path else None


def _topologies() -> list[Path]:
    given = os.environ.get("KYBERN_TOPOLOGY", "")
    own = [Path(given)] if given.endswith((".yaml", ".yml")) else []
    return [*own, *sorted(Path("inventories/topology").glob("*.yaml"))]


CLUSTER = topology()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Each test that takes a ``machine`` runs once for each machine that its marker ``on`` asks for."""
    if "machine" in metafunc.fixturenames:
        if CLUSTER is None:
            raise pytest.UsageError(
                f"there is no topology of a cluster {NAME}: name its file in KYBERN_TOPOLOGY"
            )
        asked = metafunc.definition.get_closest_marker("on")
        wanted = asked.args[0] if asked else "all"
        found = [one for one in CLUSTER.machines if _is(one, wanted)]
        metafunc.parametrize("machine", found, ids=[one.name for one in found], scope="module")


def _is(machine: Machine, wanted: str) -> bool:
    return {"all": True, "masters": machine.is_master, "etcd": machine.is_etcd, "nodes": machine.is_node}[
        wanted
    ]


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    if CLUSTER is not None and CLUSTER.driver == "none" and STATE.known_hosts.exists():
        # Nobody made these machines, and so nobody wrote down how to reach them.
        write(STATE.ssh_config, ssh_config(CLUSTER, STATE, CLUSTER.ssh_user).encode())
    if CLUSTER is None or not STATE.ssh_config.exists():
        pytest.fail(f"there is no deployed cluster {NAME}: run 'make lab' first")
    return CLUSTER


@pytest.fixture(scope="module")
def host(cluster: Cluster, machine: Machine) -> Host:
    return testinfra.get_host(
        f"ssh://{machine.name}?ssh_config={STATE.ssh_config}", sudo=cluster.ssh_user != "root"
    )
