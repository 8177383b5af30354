"""Small files for what takes minutes to make (the release, the archive of images), and machines that a role has finished."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kybern.machines import oci
from kybern.machines.topology import Cluster, Machine
from roles import package
from roles.release import Archive, Release
from tests.roles.harness import FakeMachine, apply

type Role = Callable[..., Any]


def made(folder: Path, digest: str) -> Release:
    archives = [
        Archive(folder / f"{kind}-{digest}.tar.gz", f"/opt/kybern/{kind}-{digest}")
        for kind in ("dependencies", "package")
    ]
    for archive in archives:
        archive.source.write_bytes(digest.encode())
    return Release(*archives)


def use(folder: Path, monkeypatch: pytest.MonkeyPatch, digest: str) -> Release:
    """From now on this is the release, for every Python."""
    found = made(folder, digest)
    monkeypatch.setattr(package, "release", lambda _python, _bundle: found)
    return found


def use_images(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = folder / "images.tar"
    images.write_bytes(b"images")
    monkeypatch.setattr(oci, "bundle", lambda: images)


def finished(role: Role, cluster: Cluster, machine: Machine) -> FakeMachine:
    fake = FakeMachine(machine.name)
    apply(role, cluster, machine, fake)
    fake.commands.clear()
    return fake
