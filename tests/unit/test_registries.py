"""To add a thing is one file and one line: a file that nobody listed does nothing, and nobody notices."""

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from kybern.admission.framework import Plugin as AdmissionPlugin
from kybern.admission.plugins import PLUGINS as ADMISSION
from kybern.api.kinds import KINDS, OPTIONAL
from kybern.controllers import CONTROLLERS
from kybern.loop.settings import Settings
from kybern.machinery.kind import Kind
from kybern.scheduler.framework import Plugin as SchedulerPlugin
from kybern.scheduler.plugins import PLUGINS as SCHEDULER

ALL = (*KINDS, *OPTIONAL)
SOURCE = Path(__file__).parents[2] / "src"
KYBERN = SOURCE / "kybern"


def module_name(path: Path) -> str:
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def defining(folder: Path, name: str) -> Iterator[str]:
    """Modules below a folder that define ``name`` at their top. Read, not imported: what is missing shows."""
    for path in sorted(folder.rglob("*.py")):
        for node in ast.parse(path.read_text()).body:
            targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", node)]
            names = {getattr(target, "id", getattr(target, "name", "")) for target in targets}
            if name in names:
                yield module_name(path)


def test_every_kind_that_has_a_file_is_served() -> None:
    files = list(defining(KYBERN / "api", "KIND"))
    served = {id(kind) for kind in ALL}

    missing = [name for name in files if id(importlib.import_module(name).KIND) not in served]

    assert missing == []
    assert len(files) == len(ALL) == len(served)


def test_no_two_kinds_share_a_name_or_a_resource() -> None:
    assert len({(kind.group, kind.version, kind.kind) for kind in ALL}) == len(ALL)
    assert len({(kind.group, kind.version, kind.plural) for kind in ALL}) == len(ALL)
    assert all(isinstance(kind, Kind) for kind in ALL)


def test_every_kind_s_file_stands_with_its_group_and_bears_its_name() -> None:
    for name in defining(KYBERN / "api", "KIND"):
        kind = importlib.import_module(name).KIND
        folder = f"{kind.group.partition('.')[0] or 'core'}_{kind.version}"
        assert name == f"kybern.api.{folder}.{kind.kind.lower()}"


def test_every_controller_that_has_a_file_runs() -> None:
    files = list(defining(KYBERN / "controllers", "controller"))

    listed = [make.__module__ for make in CONTROLLERS]

    assert sorted(files) == sorted(listed)
    assert len({make(Settings()).name for make in CONTROLLERS}) == len(CONTROLLERS)


def test_controllers_are_listed_by_name() -> None:
    modules = [make.__module__ for make in CONTROLLERS]

    assert modules == sorted(modules)


PLUGINS = [
    pytest.param(KYBERN / "admission/plugins", ADMISSION, AdmissionPlugin, id="admission"),
    pytest.param(KYBERN / "scheduler/plugins", SCHEDULER, SchedulerPlugin, id="scheduler"),
]


@pytest.mark.parametrize(("folder", "listed", "kind"), PLUGINS)
def test_every_plugin_that_has_a_file_is_listed_once(
    folder: Path, listed: tuple[object, ...], kind: type
) -> None:
    files = [importlib.import_module(name).PLUGIN for name in defining(folder, "PLUGIN")]

    assert sorted(map(id, files)) == sorted(map(id, listed))
    assert all(isinstance(plugin, kind) for plugin in listed)
    assert len({plugin.name for plugin in files}) == len(files)


@pytest.mark.parametrize(("folder", "listed", "kind"), PLUGINS)
def test_every_file_of_plugins_is_one(folder: Path, listed: tuple[object, ...], kind: type) -> None:
    modules = {module_name(path) for path in folder.glob("*.py") if path.stem != "__init__"}

    assert modules == set(defining(folder, "PLUGIN"))
