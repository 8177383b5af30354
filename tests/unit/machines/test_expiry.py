"""What ``kybern certificates list`` reads."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from kybern.auth.x509 import LEAF_DAYS
from kybern.machines.certificates import AUTHORITIES, Keep, wanted
from kybern.machines.errors import MachineError
from kybern.machines.expiry import kept
from kybern.machines.load import load
from kybern.machines.topology import Cluster

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LAB = Path(__file__).parents[3] / "inventories/topology/lab.yaml"


@pytest.fixture
def cluster() -> Cluster:
    return load(LAB)


@pytest.fixture
def made(cluster: Cluster, tmp_path: Path) -> Path:
    keep = Keep(tmp_path, NOW)
    for machine in cluster.machines:
        keep.certificates(cluster, machine)
    keep.admin(cluster)
    return tmp_path


def test_every_certificate_is_shown_and_authorities_last(cluster: Cluster, made: Path) -> None:
    found = kept(cluster, made, NOW)

    of_machines = sum(len(wanted(cluster, machine)) for machine in cluster.machines)
    assert len(found) == of_machines + len(AUTHORITIES) + 1
    assert {one.name for one in found[-3:]} == set(AUTHORITIES)
    assert {one.signer for one in found[-3:]} == {""}
    kubelet = next(one for one in found if (one.machine, one.name) == ("worker-1", "kubelet"))
    assert kubelet.subject == "system:node:worker-1 (system:nodes)"
    assert (kubelet.days(NOW), kubelet.is_worn) == (LEAF_DAYS, False)


@pytest.mark.parametrize(("share", "renewed"), [(0.6, False), (0.7, True), (1.1, True)])
def test_one_with_less_than_a_third_of_its_life_is_worn(
    cluster: Cluster, made: Path, share: float, renewed: bool
) -> None:
    later = NOW + timedelta(days=LEAF_DAYS * share)

    admin = next(one for one in kept(cluster, made, later) if one.name == "admin" and not one.machine)
    assert admin.is_worn is renewed
    assert (admin.days(later) < 0) is (share > 1)


def test_a_cluster_of_another_checkout_is_said_so(cluster: Cluster, tmp_path: Path) -> None:
    with pytest.raises(MachineError, match="has lab been deployed from here"):
        kept(cluster, tmp_path, NOW)


def test_a_broken_file_is_named(cluster: Cluster, made: Path) -> None:
    (made / "admin.crt").write_text("nothing")

    with pytest.raises(MachineError, match=r"admin\.crt.*delete it"):
        kept(cluster, made, NOW)
