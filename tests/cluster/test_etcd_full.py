"""etcd has used up its quota: what still works meanwhile, what tells it, and both ways back that the how-to has."""

import base64
import os
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.cluster.conftest import Lab
from tests.cluster.test_days_after import ETCDCTL

# Deploys that restart members of etcd one after another.
pytestmark = [pytest.mark.operations, pytest.mark.timeout(900)]

QUOTA, LARGER = "32MiB", "64MiB"
EXCEEDED = "etcdserver: mvcc: database space exceeded"
PIECE = 600_000  # bytes of one object, before they are encoded


@pytest.fixture
def small(lab: Lab, namespace: str, tmp_path: Path) -> Iterator[str]:
    """A namespace on members with little space, which have as much as ever afterwards."""
    lab.deploy_with(tmp_path, etcd_quota=QUOTA)
    lab.kybern("defragment", lab.cluster.name)
    yield namespace
    lab.kubectl("delete", "configmaps", "--all", "-n", namespace, check=False, seconds=120)
    lab.kybern("deploy", lab.cluster.name)
    lab.kybern("defragment", lab.cluster.name)
    assert alarms(lab) == ""


def alarms(lab: Lab) -> str:
    return lab.ssh(lab.cluster.members[0].name, f"{ETCDCTL} alarm list").strip()


def fill(lab: Lab, namespace: str, tmp_path: Path) -> list[str]:
    """Write objects until one is refused; the names of those that were taken."""
    piece, written = tmp_path / "piece", list[str]()
    for number in range(200):
        piece.write_bytes(base64.b64encode(os.urandom(PIECE)))
        said = create(lab, namespace, f"fill-{number}", f"--from-file=a={piece}")
        if "created" not in said:
            assert EXCEEDED in said
            return written
        written.append(f"fill-{number}")
    pytest.fail(f"{len(written)} objects of {PIECE} bytes do not fill {QUOTA}")


def create(lab: Lab, namespace: str, name: str, *more: str) -> str:
    return lab.kubectl("create", "configmap", name, "-n", namespace, *more, check=False)


def servers(lab: Lab) -> dict[str, str]:
    """The API servers' processes."""
    return {
        each.name: lab.ssh(each.name, "systemctl show -P MainPID kube-apiserver")
        for each in lab.cluster.masters
    }


def status(lab: Lab) -> subprocess.CompletedProcess[str]:
    return lab.kybern("status", lab.cluster.name, check=False)


def test_what_fills_it_is_deleted_and_defragment_does_the_rest(lab: Lab, small: str, tmp_path: Path) -> None:
    before = servers(lab)
    written = fill(lab, small, tmp_path)

    told = status(lab)
    assert told.returncode != 0
    assert "etcd has raised the alarm NOSPACE: kybern defragment" in told.stdout
    # Each server has failed to write for itself, and lives.
    for master in lab.cluster.masters:
        said = "journalctl -u kube-apiserver --since -60s -o cat | grep 'Cannot keep the endpoints'"
        lab.eventually(f"{master.name} cannot write", partial(lab.ssh, master.name, said))
    assert servers(lab) == before
    assert EXCEEDED in create(lab, small, "more")
    assert len(lab.get("configmaps", "-n", small)["items"]) >= len(written)
    for name in written[:-1]:
        lab.kubectl("delete", "configmap", name, "-n", small)

    lab.kybern("defragment", lab.cluster.name)

    assert alarms(lab) == ""
    assert "created" in create(lab, small, "more")
    assert servers(lab) == before
    assert "NOSPACE" not in status(lab).stdout
    everybody = {each.name for each in lab.cluster.machines if each.is_node}
    lab.eventually("all nodes are ready", lambda: lab.nodes_ready() == everybody, seconds=120)


def test_a_larger_quota_is_deployed_and_defragment_ends_the_alarm(
    lab: Lab, small: str, tmp_path: Path
) -> None:
    written = fill(lab, small, tmp_path)

    lab.deploy_with(tmp_path, etcd_quota=LARGER)
    lab.kybern("defragment", lab.cluster.name)

    assert alarms(lab) == ""
    assert "created" in create(lab, small, "more")
    assert len(lab.get("configmaps", "-n", small)["items"]) > len(written)
