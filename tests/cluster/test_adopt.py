"""Machines that nobody's tool made are adopted by a user who may sudo and is not root, and live through every verb.

They are containers of the lab's image, on which root's login is shut once the user is there.
"""

from collections.abc import Iterator
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from kybern.machines.load import load
from kybern.machines.state import State
from tests.cluster.conftest import KYBERN, Lab, _run
from tests.cluster.test_days_after import asking

# A first deploy, and verbs that are deploys.
pytestmark = [pytest.mark.operations, pytest.mark.timeout(1500)]

BARE, ADOPTED, USER = "bare", "adopted", "ann"
NETWORK = IPv4Network("10.58.0.0/24")
ADDRESSES = {"one": NETWORK[11], "two": NETWORK[21]}
TOPOLOGY = f"""
cluster: {BARE}
network: {NETWORK}
defaults: {{memory: 2GiB, cpus: 2, disk: 10GiB}}
machines:
  - {{name: one, address: {ADDRESSES["one"]}, roles: [etcd, control-plane]}}
  - {{name: two, address: {ADDRESSES["two"]}, roles: [worker]}}
"""
# What a person does who hands a machine over: a user with a key and the right to become root, and no login for root.
HAND_OVER = f"""
set -eu
apt-get -q update >/dev/null && DEBIAN_FRONTEND=noninteractive apt-get -qy install sudo >/dev/null
useradd --create-home --shell /bin/bash {USER}
install -d -m 700 -o {USER} -g {USER} /home/{USER}/.ssh
install -m 600 -o {USER} -g {USER} /root/.ssh/authorized_keys /home/{USER}/.ssh/authorized_keys
echo '{USER} ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/kybern
rm /root/.ssh/authorized_keys
"""


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The key that they accept."""
    path = tmp_path_factory.mktemp("bare") / "bare.yaml"
    path.write_text(TOPOLOGY)
    lab = Lab(load(path))
    try:
        lab.kybern("machines", "up", str(path), seconds=900)
        for name in ADDRESSES:
            lab.ssh(name, HAND_OVER, seconds=300)
        yield State.of(BARE).key
    finally:
        lab.kybern("machines", "down", str(path))


@pytest.fixture(scope="module")
def adopted(machines: Path) -> Iterator[Lab]:
    topology, inventory = (
        Path(f"inventories/{name}") for name in (f"topology/{ADOPTED}.yaml", f"{ADOPTED}.py")
    )
    words = ["adopt", ADOPTED, *map(str, ADDRESSES.values()), "--masters", "1", "--user", USER]
    try:
        done = _run([str(KYBERN), *words, "--key", str(machines), "--accept-host-keys"], True, 120)
        assert f"Next: kybern deploy {ADOPTED}" in done.stdout
        found = Lab(load(topology))
        found.kybern("deploy", ADOPTED, seconds=900)
        yield found
    finally:
        topology.unlink(missing_ok=True)
        inventory.unlink(missing_ok=True)
        State.of(ADOPTED).remove()


def test_it_is_a_cluster_and_a_deploy_changes_nothing_more(adopted: Lab) -> None:
    assert adopted.cluster.ssh_user == USER
    assert adopted.ssh("one", "id -un").strip() == USER
    assert adopted.nodes_ready() == set(ADDRESSES)
    assert "0 changes on 2 machines" in adopted.kybern("deploy", ADOPTED).stdout
    assert adopted.kybern("plan", ADOPTED).returncode == 0
    assert adopted.kybern("status", ADOPTED).returncode == 0
    assert adopted.kybern("audit", ADOPTED).returncode == 0


def test_keys_stay_readable_by_their_daemons_alone(adopted: Lab) -> None:
    """Files come by way of a directory of the user's, and must not stay there, or be his."""
    places = "/tmp /etc/kubernetes /var/lib/etcd /opt/kybern"
    left = adopted.ssh("one", f"sudo find {places} -user {USER} -type f")
    assert left == ""
    assert adopted.ssh("one", "cat /etc/kubernetes/pki/apiserver.key", check=False) == ""


def test_certificates_and_keys_are_exchanged(adopted: Lab) -> None:
    with asking(adopted) as asked:
        adopted.kybern("certificates", "renew", ADOPTED, "--all")
        adopted.kybern("certificates", "rotate-encryption-key", ADOPTED)
    assert asked.failures == []


def test_a_worker_leaves_and_comes_back(adopted: Lab) -> None:
    adopted.kybern("remove", ADOPTED, "two")
    assert adopted.nodes_ready() == {"one"}
    adopted.kybern("deploy", ADOPTED)
    assert adopted.nodes_ready() == set(ADDRESSES)


def test_a_snapshot_is_brought_here_and_restored(adopted: Lab) -> None:
    adopted.kubectl("create", "configmap", "kept", "-n", "default")
    adopted.kybern("backup", ADOPTED)
    adopted.kubectl("delete", "configmap", "kept", "-n", "default")

    adopted.kybern("restore", ADOPTED, "--yes")

    assert adopted.kubectl("get", "configmap", "kept", "-n", "default")
    assert "nothing to recover" in adopted.kybern("recover", ADOPTED).stdout
    adopted.kybern("defragment", ADOPTED)
    adopted.eventually("the nodes are ready", lambda: adopted.nodes_ready() == set(ADDRESSES))


def test_all_of_it_goes_and_comes_back(adopted: Lab) -> None:
    adopted.kybern("reset", ADOPTED, "--yes")

    for name in ADDRESSES:
        assert (
            adopted.ssh(name, "ls -d /etc/kubernetes /opt/kybern /var/lib/etcd/member 2>/dev/null; true")
            == ""
        )
    adopted.kybern("deploy", ADOPTED)
    assert adopted.nodes_ready() == set(ADDRESSES)
