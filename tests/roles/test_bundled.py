"""Packages out of a bundle: only what the machine's apt lacks is sent, and nothing that is not as the lock says."""

import subprocess
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
from pyinfra.api.exceptions import OperationError

from kybern.machines.bundle import contents, lock
from kybern.machines.bundle.lock import Artefact, Lock, Part
from kybern.machines.topology import Cluster
from roles import bundled
from roles.bundled import PLACE, Repository, apt, bundle_of
from roles.facts import Archives
from roles.operations import bundle, packages
from tests.roles.harness import FakeMachine, Run

CLUSTER: Cluster = None  # type: ignore[assignment]  # the role is one operation, and asks for none
FILES = ("Packages", "Release", "runc_1_amd64.deb", "socat_1_amd64.deb")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    folder = tmp_path / contents.MACHINES
    folder.mkdir()
    artefacts = []
    for name in FILES:
        (folder / name).write_text(f"content of {name}")
        content = f"content of {name}".encode()
        artefacts.append(
            Artefact(sha256(content).hexdigest(), len(content), f"{folder.name}/{name}", name, "1", "x")
        )
    found = Lock((Part(contents.MACHINES, "0" * 16, tuple(artefacts)),))
    (tmp_path / lock.NAME).write_text(lock.text(found))
    return tmp_path


@pytest.fixture
def offered(cluster: Cluster, place: Path) -> Repository:
    found = bundle_of(replace(cluster, bundle=str(place)))
    assert found is not None
    return Repository(found)


def run(fake: FakeMachine, offered: Repository, *names: str) -> list[str]:
    def role() -> None:
        bundle(name="Package index", files=offered.index)
        packages(name="Packages", names=names, repository=offered)

    made = Run([fake])
    made.prepare(role, CLUSTER, [None])
    made.execute()
    return made.changed()


def test_only_the_files_that_the_machine_lacks_are_sent(offered: Repository) -> None:
    fake = FakeMachine(packages={"socat"})

    assert run(fake, offered, "runc", "socat") == ["Package index", "Packages"]
    assert f"{PLACE}/runc_1_amd64.deb" in fake.tree
    assert f"{PLACE}/socat_1_amd64.deb" not in fake.tree
    install = fake.commands[-1]
    assert "--force-confold runc " in install
    assert "Dir::Etc::SourceParts=/dev/null" in install
    # A failure of what is local is not mended by asking a network.
    assert install.count("$apt install") == 1


def test_a_machine_that_has_its_packages_is_asked_nothing_more(offered: Repository) -> None:
    fake = FakeMachine(packages={"socat"})
    run(fake, offered, "socat")
    asked = fake.questions

    assert run(fake, offered, "socat") == []
    assert fake.questions - asked == asked


def test_a_file_that_is_not_as_the_lock_says_is_not_sent(offered: Repository, place: Path) -> None:
    (place / contents.MACHINES / "runc_1_amd64.deb").write_text("content of runc_X_amd64.deb")

    with pytest.raises(OperationError, match=r"runc_1_amd64\.deb has another checksum than the lock says"):
        offered.archives(["runc_1_amd64.deb"])
    with pytest.raises(OperationError, match=r"its lock has no .*other_1_amd64\.deb"):
        offered.archives(["other_1_amd64.deb"])


def test_a_dry_run_sends_nothing(offered: Repository) -> None:
    made = Run([fake := FakeMachine()])
    made.prepare(lambda: packages(name="Packages", names=["runc"], repository=offered), CLUSTER, [None])

    assert made.changing(made.hosts[0]) == ["Packages"]
    assert not fake.commands


def test_what_apt_would_fetch_is_known_by_its_file() -> None:
    fact = Archives()
    script = fact.command(["runc"], "apt=cat")
    printed = "'file:/var/lib/kybern/packages/./runc_1.1%2bds1-2_amd64.deb' runc_1.1+ds1-2_amd64.deb 12 SHA256:aa\nReading"
    sed = script.partition("| ")[2]
    told = subprocess.run(["sh", "-c", sed], input=printed, capture_output=True, text=True, check=True)

    assert fact.process(told.stdout.splitlines()) == {"runc_1.1+ds1-2_amd64.deb"}


def test_a_machine_of_another_distribution_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "os-release").write_text('PRETTY_NAME="Ubuntu 24.04"\nVERSION_CODENAME=noble\n')
    script = apt(offline=True).replace("/etc/os-release", str(tmp_path / "os-release"))
    done = subprocess.run(["sh", "-c", script], check=False, capture_output=True, text=True)

    assert done.returncode == 1
    assert done.stderr == "the bundle has packages of Debian trixie, and this machine is Ubuntu 24.04\n"


def test_without_a_bundle_there_is_nothing_of_it(cluster: Cluster) -> None:
    assert bundled.repository(cluster) is None
    assert bundled.images(cluster) is None


def test_a_bundle_that_is_not_there_is_told(cluster: Cluster, tmp_path: Path) -> None:
    with pytest.raises(OperationError, match="there is no bundle in"):
        bundle_of(replace(cluster, bundle=str(tmp_path)))
