"""Generated files are what their generators write: whoever changes one of both has to change the other."""

import gzip
from collections.abc import Mapping
from pathlib import Path

import pytest

from generate import data, defaults, docs, protos, types

ROOT = Path(__file__).parents[2]


def unpacked(content: bytes) -> bytes:
    """Versions of zlib pack the same differently."""
    return gzip.decompress(content) if content.startswith(b"\x1f\x8b") else content


def same(folder: Path, wanted: Mapping[str, bytes]) -> None:
    """No ``==`` of whole files: the difference of two long ones takes pytest minutes to show."""
    differing = [
        name
        for name, content in wanted.items()
        if not (folder / name).exists() or unpacked((folder / name).read_bytes()) != unpacked(content)
    ]
    assert not differing


def test_the_types_and_schemas_are_those_of_the_generator() -> None:
    wanted = types.generate()

    same(types.OUT, wanted)
    assert {path.name for path in types.OUT.iterdir() if path.is_file()} == set(wanted)


def test_the_wire_formats_are_those_of_the_facts() -> None:
    same(protos.OUT, {f"{name}.proto": text.encode() for name, text in protos.sources().items()})


def test_the_default_objects_are_those_of_the_facts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(defaults, "DATA", tmp_path)
    defaults.main()

    same(ROOT / "src/kybern/auth/data", {path.name: path.read_bytes() for path in tmp_path.iterdir()})


def test_the_tables_of_the_machinery_are_those_of_the_facts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = {"TARGET": "src/kybern/machinery/data", "KINDS": "src/kybern/api/data"}
    for name in kept:
        monkeypatch.setattr(data, name, tmp_path / name)
    data.main()

    for name, folder in kept.items():
        same(ROOT / folder, {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()})


def test_the_reference_pages_are_those_of_the_program() -> None:
    """If this fails: ``make docs``, and commit the pages."""
    same(docs.OUT, {name: text.encode() for name, text in docs.generate().items()})
