"""The role package: what is sent, what is taken into use, and what goes away."""

from pathlib import Path

import pytest

from kybern.machines.topology import Cluster, Machine
from roles import package as package_role
from roles.kube_proxy import kube_proxy
from roles.kubelet import kubelet
from roles.package import package
from roles.release import Release
from tests.roles.harness import FakeMachine, Run, apply, plan
from tests.roles.small import finished, made, use

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    use(tmp_path, monkeypatch, "one")


def only_package(_cluster: Cluster, _machine: Machine) -> object:
    return package()


def test_a_release_is_unpacked_beside_its_place_and_then_taken_into_use(
    cluster: Cluster, worker: Machine
) -> None:
    fake = FakeMachine(worker.name)

    assert apply(only_package, cluster, worker, fake) == [
        "package | Place",
        "package | Dependencies",
        "package | Daemons",
        "package | In use",
    ]
    assert fake.tree["/opt/kybern/current"].target == "/opt/kybern/package-one"
    assert [line for line in fake.commands if line.startswith("upload ")] == [
        "upload /var/tmp/dependencies-one.tar.gz",
        "upload /var/tmp/package-one.tar.gz",
    ]
    moves = [line.rpartition("; ")[2] for line in fake.commands if "-xzf" in line]
    assert moves == [
        f"mv -T /opt/kybern/{name}-one.new /opt/kybern/{name}-one" for name in ("dependencies", "package")
    ]
    assert plan(only_package, cluster, worker, fake) == []


def test_a_new_package_with_the_same_dependencies_sends_only_itself(
    cluster: Cluster, worker: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = finished(only_package, cluster, worker)
    first, second = made(tmp_path, "one"), made(tmp_path, "two")
    mixed = Release(first.dependencies, second.package)
    monkeypatch.setattr(package_role, "release", lambda _python, _bundle: mixed)

    assert apply(only_package, cluster, worker, fake) == ["package | Daemons", "package | In use"]


def test_a_machine_is_asked_once_for_its_python(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[str] = []
    found = made(tmp_path, "one")

    def release(python: str, _bundle: object) -> Release:
        asked.append(python)
        return found

    monkeypatch.setattr(package_role, "release", release)
    fake = FakeMachine("m1")
    run = Run([fake])
    for role in (only_package, kube_proxy, kubelet):
        run.prepare(role, cluster, cluster.masters[:1])

    assert asked == ["3.13"] * 3
    assert run.hosts[0].connector_data["kybern_nature"].python == "3.13"
