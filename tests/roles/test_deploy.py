"""The whole deploy on a fake cluster: it comes to rest, and a change reaches what it has to and nothing else."""

from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from kybern.machines.packages import wanted_packages
from kybern.machines.topology import Cluster, Machine
from tests.roles.harness import FakeMachine, deploy
from tests.roles.small import use, use_images

# Each prepares whole deploys, some of them several.
pytestmark = pytest.mark.timeout(400)

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes minutes to make is not made here."""
    monkeypatch.chdir(ROOT)
    use_images(tmp_path, monkeypatch)
    use(tmp_path, monkeypatch, "one")


def machines(cluster: Cluster) -> list[FakeMachine]:
    return [FakeMachine(one.name, packages=set(wanted_packages(cluster, one))) for one in cluster.machines]


def test_a_second_run_changes_nothing_and_executes_nothing(cluster: Cluster) -> None:
    fakes = machines(cluster)
    first = deploy(cluster, fakes)
    for fake in fakes:
        fake.commands.clear()

    assert "apiserver | Started" in first
    assert deploy(cluster, fakes) == {}
    assert [fake.commands for fake in fakes] == [[], [], [], []]


def test_one_machine_that_is_everything_comes_to_rest(single: Cluster) -> None:
    fakes = machines(single)
    deploy(single, fakes)

    assert deploy(single, fakes) == {}


def test_all_members_of_etcd_are_healthy_before_any_api_server_starts(cluster: Cluster) -> None:
    names = list(deploy(cluster, machines(cluster)))

    assert names.index("etcd | Healthy") < names.index("apiserver | Started")


def test_a_cluster_that_is_deployed_without_its_first_master_has_all_it_needs(cluster: Cluster) -> None:
    """A machine that cannot be reached is left out; what one master does for all is done by another then."""
    changed = deploy(cluster, machines(cluster)[1:], members=cluster.machines[1:])

    assert sorted(changed["dns service | Service and rights"]) == ["m2", "m3"]
    assert changed["kubeconfig | Of the operator"] in (["m2"], ["m3"])
    assert sorted(changed["nodes | Ready"]) == ["m2", "m3"]


def test_a_new_release_restarts_the_daemons_and_neither_etcd_nor_the_balancers(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fakes = machines(cluster)
    deploy(cluster, fakes)
    use(tmp_path, monkeypatch, "two")

    changed = deploy(cluster, fakes)

    assert "apiserver | Changed ones restarted, one at a time" in changed
    assert "kubelet | Running" in changed
    assert not [
        name for name in changed if name.startswith(("etcd", "loadbalancer", "system", "firewall", "pki"))
    ]
    assert deploy(cluster, fakes) == {}


def test_another_worker_restarts_nothing_on_the_machines_that_are_there(cluster: Cluster) -> None:
    fakes = machines(cluster)
    deploy(cluster, fakes)
    added = Machine("w2", IPv4Address("10.1.0.22"), frozenset({"worker"}))
    grown = replace(cluster, machines=(*cluster.machines, added))
    for fake in fakes:
        fake.commands.clear()

    deploy(grown, [*fakes, FakeMachine("w2", packages=set(wanted_packages(grown, added)))])

    restarted = {line for fake in fakes for line in fake.commands if "systemctl restart" in line}
    assert all("kybern-firewall.service" in line for line in restarted)


def test_round_trips_have_a_budget(cluster: Cluster) -> None:
    """What each machine is asked and told in all: by a first deploy, and by one that finds nothing to do."""
    fakes = machines(cluster)
    deploy(cluster, fakes)
    assert max(fake.questions + len(fake.commands) for fake in fakes) <= 128
    for fake in fakes:
        fake.questions = 0

    deploy(cluster, fakes)

    assert max(fake.questions for fake in fakes) <= 65
