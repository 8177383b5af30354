"""The release: its digests follow what goes into it, and the same content is the same archive. Nothing is downloaded."""

import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from roles import release


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    (root / "kybern").mkdir(parents=True)
    (root / "kybern/__init__.py").write_text("x = 1\n")
    (root / "bin").mkdir()
    (root / "bin/kubelet").write_text("#!/usr/bin/python3\n")
    (root / "bin/kubelet").chmod(0o700)
    return root


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A source tree with a lock file, in which nothing is really built."""
    root = tmp_path / "repository"
    (root / "src/kybern/__pycache__").mkdir(parents=True)
    (root / "requirements").mkdir()
    (root / "requirements/machine.lock").write_text("one==1\n")
    (root / "pyproject.toml").write_text("[project]\n")
    (root / "src/kybern/a.py").write_text("a = 1\n")
    monkeypatch.setattr(release, "ROOT", root)
    monkeypatch.setattr(release, "LOCK", root / "requirements/machine.lock")
    monkeypatch.setattr(release, "_made", {})
    return root


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of what was really made, in order."""
    names: list[str] = []

    def fill(name: str) -> Callable[..., None]:
        def write(to: Path, *_rest: str) -> None:
            names.append(name)
            (to / "file").write_text(name)

        return write

    monkeypatch.setattr(release, "_dependencies", fill("dependencies"))
    monkeypatch.setattr(release, "_package", fill("package"))
    return names


def test_the_same_tree_gives_the_same_bytes_whenever_and_by_whomever_it_is_packed(tree: Path) -> None:
    first = release._packed(tree)
    (tree / "kybern/__init__.py").touch()
    (tree / "kybern/__init__.py").chmod(0o600)

    assert release._packed(tree) == first


def test_another_content_gives_other_bytes(tree: Path) -> None:
    first = release._packed(tree)
    (tree / "kybern/__init__.py").write_text("x = 2\n")

    assert release._packed(tree) != first


def test_an_archive_belongs_to_root_and_keeps_what_can_be_executed(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "a.tar.gz").write_bytes(release._packed(tree))
    with tarfile.open(tmp_path / "a.tar.gz") as archive:
        members = {member.name: member for member in archive}

    assert {(member.uid, member.uname, member.mtime) for member in members.values()} == {(0, "root", 0)}
    assert members["bin/kubelet"].mode == 0o755
    assert members["kybern/__init__.py"].mode == 0o644
    assert members["kybern"].isdir()


def test_a_change_of_a_source_is_another_package_with_the_same_dependencies(
    repository: Path, built: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = release.release("3.13")
    (repository / "src/kybern/a.py").write_text("a = 2\n")
    monkeypatch.setattr(release, "_made", {})

    second = release.release("3.13")

    assert second.package.target != first.package.target
    assert second.dependencies == first.dependencies
    assert built == ["dependencies", "package", "package"]


def test_a_change_of_the_lock_file_is_another_release_altogether(
    repository: Path, built: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = release.release("3.13")
    (repository / "requirements/machine.lock").write_text("one==2\n")
    monkeypatch.setattr(release, "_made", {})

    second = release.release("3.13")

    assert second.dependencies.target != first.dependencies.target
    assert second.package.target != first.package.target


def test_compiled_files_of_the_sources_do_not_count(
    repository: Path, built: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = release.release("3.13")
    (repository / "src/kybern/__pycache__/a.pyc").write_bytes(b"compiled")
    monkeypatch.setattr(release, "_made", {})

    assert release.release("3.13") == first
    assert built == ["dependencies", "package"]


def test_each_python_has_a_release_of_its_own(repository: Path, built: list[str]) -> None:
    assert release.release("3.12") != release.release("3.13")


def test_a_whole_run_uses_one_release_even_when_a_source_changes_under_it(
    repository: Path, built: list[str]
) -> None:
    first = release.release("3.13")
    (repository / "src/kybern/a.py").write_text("a = 2\n")

    assert release.release("3.13") is first


def test_a_release_that_could_not_be_made_leaves_nothing_that_looks_made(
    repository: Path, built: list[str], monkeypatch: pytest.MonkeyPatch, state: Path
) -> None:
    def fail(_to: Path, *_rest: str) -> None:
        raise release.CannotBuild("no network")

    monkeypatch.setattr(release, "_package", fail)
    with pytest.raises(release.CannotBuild):
        release.release("3.13")

    assert not [path for path in state.rglob("*") if path.name.startswith(("package", ".build"))]


def test_a_program_finds_our_package_beside_it_and_the_dependencies_where_they_are(tmp_path: Path) -> None:
    for folder, module in (("package", "ours"), ("dependencies", "theirs")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / f"{module}.py").write_text(
            f"def main():\n    print({module!r})\n" if module == "theirs" else "from theirs import main\n"
        )
    program = tmp_path / "package/bin/tool"
    program.parent.mkdir()
    text = release._program("ours:main", str(tmp_path / "dependencies"))
    program.write_text(text)
    (tmp_path / "elsewhere").symlink_to(program)

    done = subprocess.run(
        [sys.executable, "-I", tmp_path / "elsewhere"],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert text.startswith("#!/usr/bin/python3 -I\n")
    assert done.stdout == "theirs\n", done.stderr


def test_an_operator_without_uv_is_told_what_to_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _name: None)

    with pytest.raises(release.CannotBuild, match="uv is not installed; run scripts/setup"):
        release._uv("build")
