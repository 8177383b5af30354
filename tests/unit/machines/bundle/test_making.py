"""A bundle as a directory: fetched once, resumed, mended, and never trusted beyond its lock."""

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import pytest

from kybern.machines import images
from kybern.machines.bundle import making
from kybern.machines.bundle.lock import Artefact, Lock, parsed
from kybern.machines.bundle.making import Wanted, brought
from kybern.machines.bundle.opened import Bundle, opened
from kybern.machines.errors import MachineError


class Source:
    """A place to fetch two files from, which tells how many were really fetched."""

    def __init__(self, *names: str, breaks_at: str = "") -> None:
        self.names, self.breaks_at = names, breaks_at
        self.fetched: list[str] = []

    def fetch(self, into: Path) -> Sequence[Artefact]:
        for name in self.names:
            if name == self.breaks_at:
                raise MachineError(f"cannot fetch {name}")
            if not (into / name).exists():
                (into / name).write_text(f"content of {name}")
                self.fetched.append(name)
        return [self._artefact(name) for name in self.names]

    def _artefact(self, name: str) -> Artefact:
        content = f"content of {name}".encode()
        return Artefact(sha256(content).hexdigest(), len(content), f"part/{name}", name, "1", "pypi:x")

    def wanted(self, inputs: str = "0" * 16) -> Wanted:
        return Wanted("part", inputs, self.fetch)


def bring(place: Path, source: Source, inputs: str = "0" * 16, *, newest: bool = False) -> Bundle:
    found = opened(place).lock if (place / "bundle.lock").exists() else Lock()
    return Bundle(place, brought(place, found, source.wanted(inputs), newest=newest))


def test_a_second_run_fetches_nothing(tmp_path: Path) -> None:
    source = Source("a", "b")
    bring(tmp_path, source)
    assert source.fetched == ["a", "b"]

    again = Source("a", "b", breaks_at="a")
    bundle = bring(tmp_path, again)

    assert [path.read_text() for path in bundle.files("part")] == ["content of a", "content of b"]


def test_an_interrupted_run_is_taken_up_where_it_ended(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match="cannot fetch b"):
        bring(tmp_path, Source("a", "b", breaks_at="b"))
    assert not (tmp_path / "bundle.lock").exists()

    source = Source("a", "b")
    bring(tmp_path, source)

    assert source.fetched == ["b"]


@pytest.mark.parametrize("harm", ["missing", "changed", "shorter"])
def test_a_file_that_is_not_as_locked_is_told_by_name_and_fetched_again_alone(
    tmp_path: Path, harm: str
) -> None:
    bundle = bring(tmp_path, Source("a", "b"))
    path = tmp_path / "part/a"
    if harm == "missing":
        path.unlink()
    else:
        path.write_text("Content of a" if harm == "changed" else "co")

    with pytest.raises(MachineError, match=r"part/a .*make it whole with: kybern bundle TOPOLOGY") as error:
        bundle.files("part")
    assert "\n" not in str(error.value)
    assert len(list(bundle.faults())) == 1

    source = Source("a", "b")
    assert not list(bring(tmp_path, source).faults())
    assert source.fetched == ["a"]


def test_what_is_wanted_no_more_goes_after_the_lock_names_it_no_more(tmp_path: Path) -> None:
    bring(tmp_path, Source("a", "b"))
    source = Source("b", "c")
    bundle = bring(tmp_path, source, "1" * 16)

    assert source.fetched == ["c"]
    assert sorted(path.name for path in (tmp_path / "part").iterdir()) == ["b", "c"]
    assert {one.name for one in bundle.lock.artefacts} == {"b", "c"}
    assert parsed((tmp_path / "bundle.lock").read_text(), "lock") == bundle.lock


def test_newer_ones_are_asked_for_only_on_demand(tmp_path: Path) -> None:
    bring(tmp_path, Source("a"))
    with pytest.raises(MachineError, match="cannot fetch a"):
        bring(tmp_path, Source("a", breaks_at="a"), newest=True)
    assert not list(opened(tmp_path).faults())


def test_a_directory_without_a_lock_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match=r"there is no bundle in .*kybern bundle TOPOLOGY"):
        opened(tmp_path)


def test_the_suite_of_a_host_is_its_code_name() -> None:
    assert making.suite_here('ID=debian\nVERSION_CODENAME="trixie"\n') == "trixie"
    with pytest.raises(MachineError, match="VERSION_CODENAME"):
        making.suite_here("ID=arch\n")


def test_a_host_without_a_mirror_of_debian_is_told_how_to_name_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "apt_sources", lambda _suite: [])
    monkeypatch.setattr(images, "KEYRINGS", (Path("/"),))
    monkeypatch.delenv(making.MIRROR, raising=False)
    with pytest.raises(MachineError, match=f"name one in {making.MIRROR}"):
        making.sources()

    monkeypatch.setenv(making.MIRROR, "http://mirror.invalid/debian")
    assert making.sources()[0] == "deb [signed-by=/] http://mirror.invalid/debian trixie main"
