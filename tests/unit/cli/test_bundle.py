"""``kybern bundle``, as far as it fetches nothing."""

from hashlib import sha256
from pathlib import Path

import pytest
from typer.testing import CliRunner

from kybern.cli import main
from kybern.machines.bundle import lock
from kybern.machines.bundle.lock import Artefact, Lock, Part
from kybern.machines.errors import MachineError
from kybern.machines.load import load

ROOT = Path(__file__).parents[3]
SINGLE = (ROOT / "inventories/topology/single.yaml").read_text()


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    (tmp_path / "wheels").mkdir()
    (tmp_path / "wheels/x-1-py3-none-any.whl").write_bytes(b"x")
    one = Artefact(sha256(b"x").hexdigest(), 1, "wheels/x-1-py3-none-any.whl", "x", "1", "pypi:x")
    (tmp_path / lock.NAME).write_text(lock.text(Lock((Part("wheels", "0" * 16, (one,)),))))
    return tmp_path


def test_a_whole_bundle_passes_its_check(bundle: Path) -> None:
    done = CliRunner().invoke(main.app, ["bundle", "--check", str(bundle)])

    assert done.exit_code == 0
    assert done.stdout.splitlines()[-1] == f"{bundle} is whole."


def test_a_check_names_what_is_not_as_locked(bundle: Path) -> None:
    (bundle / "wheels/x-1-py3-none-any.whl").write_bytes(b"y")
    done = CliRunner().invoke(main.app, ["bundle", "--check", str(bundle)])

    assert done.stdout == "wheels/x-1-py3-none-any.whl has another checksum than the lock says\n"
    assert isinstance(done.exception, MachineError)
    assert "1 of 1 files are not as its lock says" in str(done.exception)


def test_a_bundle_needs_a_directory(tmp_path: Path) -> None:
    path = tmp_path / "single.yaml"
    path.write_text(SINGLE)
    done = CliRunner().invoke(main.app, ["bundle", str(path)])

    assert isinstance(done.exception, MachineError)
    assert "name a directory behind it" in str(done.exception)


def test_a_topology_may_name_its_bundle(tmp_path: Path) -> None:
    path = tmp_path / "single.yaml"
    path.write_text(f"bundle: /srv/bundle\n{SINGLE}")

    assert load(path).bundle == "/srv/bundle"
    path.write_text(SINGLE)
    assert not load(path).bundle
