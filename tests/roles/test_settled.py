"""A deployed cluster keeps its families, ranges and domain: another topology is refused while nothing has been done."""

import subprocess
from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Any

import pytest
from pyinfra.api.exceptions import OperationError

from kybern.machines.packages import wanted_packages
from kybern.machines.settled import ASKED, refusal, told
from kybern.machines.topology import IPV4, IPV6, Cluster, SecondFamily
from tests.roles.harness import FakeMachine, deploy, prepared
from tests.roles.small import use, use_images
from tests.roles.test_static_pods import image_in, use_image

pytestmark = pytest.mark.timeout(400)

ROOT = Path(__file__).parents[2]
BESIDE = SecondFamily(IPv6Network("fd00:1::/64"), IPv6Network("fd00:244::/56"), IPv6Network("fd00:96::/112"))


@pytest.fixture(autouse=True)
def release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    use_images(tmp_path, monkeypatch)
    use(tmp_path, monkeypatch, "one")
    use_image(monkeypatch, image_in(tmp_path, "one"))


def deployed(cluster: Cluster) -> list[FakeMachine]:
    fakes = [FakeMachine(one.name, packages=set(wanted_packages(cluster, one))) for one in cluster.machines]
    deploy(cluster, fakes)
    return fakes


def has(fake: FakeMachine, folder: Path) -> dict[str, str]:
    """What the question finds among the machine's files, in a real shell."""
    for path, content in fake.contents.items():
        if path.endswith((".service", ".yaml")):
            file = folder / path.removeprefix("/")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
    asked = ASKED
    for top in ("/etc/", "/var/"):
        asked = asked.replace(f" {top}", f" {folder}{top}")
    done = subprocess.run(["sh", "-c", asked], check=True, capture_output=True, text=True, timeout=20)
    return dict(told(done.stdout.splitlines()))


CHANGES: dict[str, tuple[Callable[[Cluster], Cluster], str]] = {
    "a second family": (lambda found: replace(found, ipv6=BESIDE), "pods are 10.244.0.0/16 there"),
    "another family": (
        lambda found: replace(found, ipv6=BESIDE, families=(IPV6,)),
        "and fd00:244::/56 in the topology",
    ),
    "another order": (
        lambda found: replace(found, ipv6=BESIDE, families=(IPV6, IPV4)),
        "and fd00:244::/56,10.244.0.0/16 in the topology",
    ),
    "other pods": (
        lambda found: replace(found, pod_cidr=IPv4Network("10.250.0.0/16")),
        "and 10.250.0.0/16 in",
    ),
    "other services": (
        lambda found: replace(found, service_cidr=IPv4Network("10.99.0.0/16")),
        "services are ",
    ),
    "another domain": (
        lambda found: replace(found, cluster_domain="elsewhere.internal"),
        "domain is cluster.local there, and elsewhere.internal in the topology",
    ),
}


@pytest.mark.parametrize("way", ["services", "pods"])
def test_every_node_tells_what_its_cluster_keeps(cluster: Cluster, tmp_path: Path, way: str) -> None:
    cluster = replace(cluster, control_plane=way)
    for fake in deployed(cluster):
        found = has(fake, tmp_path / fake.name)

        assert refusal(cluster, fake.name, found) == ""
        for change, says in CHANGES.values():
            why = refusal(change(cluster), fake.name, found)
            assert says in why
            assert "write the old ones back" in why


def test_a_cache_of_names_on_the_node_changes_nothing_of_it(cluster: Cluster, tmp_path: Path) -> None:
    with_cache = replace(cluster, node_local_dns=True)
    found = has(deployed(with_cache)[-1], tmp_path / "worker")

    assert refusal(cluster, "w1", found) == ""


def test_a_new_machine_is_refused_nothing(cluster: Cluster, tmp_path: Path) -> None:
    assert has(FakeMachine("m9"), tmp_path) == {}
    assert refusal(cluster, "m9", {}) == ""


@pytest.mark.parametrize("name", sorted(CHANGES))
def test_a_deploy_ends_before_it_asks_for_more(cluster: Cluster, name: str, tmp_path: Path) -> None:
    """Of one that was not there before, too: everybody's facts are judged before anybody's first operation."""
    change, says = CHANGES[name]
    fakes = deployed(cluster)
    for fake in fakes:
        fake.settled = has(fake, tmp_path / fake.name)
        fake.commands.clear()
        fake.questions = 0
    made: dict[str, Any] = {
        path.name: path.read_bytes() for path in (tmp_path / "test").rglob("*") if path.is_file()
    }

    with pytest.raises(OperationError, match=says):
        prepared(change(cluster), fakes)

    assert fakes[0].questions == 1
    assert [fake.commands for fake in fakes] == [[]] * len(fakes)
    after = {path.name: path.read_bytes() for path in (tmp_path / "test").rglob("*") if path.is_file()}
    assert after == made
