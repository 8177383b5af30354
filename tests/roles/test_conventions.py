"""What pyinfra makes dangerous is not written: read from the sources of roles and deploys, and tried with its own CLI."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROLES = sorted((ROOT / "roles").glob("*.py"))
DEPLOYS = sorted((ROOT / "deploys").glob("*.py"))
OWN = {"operations.py", "facts.py"}
# Facts that a role may ask while it is prepared: they do not change while a machine is in use; or, OldNames, what is done
# because of it is looked at again when it is done.
LASTING = {"Interface", "NatureOfMachine", "OldNames"}


def nodes[T: ast.AST](path: Path, kind: type[T]) -> list[T]:
    return [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, kind)]


@pytest.mark.parametrize("path", DEPLOYS, ids=lambda path: path.name)
def test_a_deploy_calls_each_role_on_a_line_of_its_own_and_in_no_loop(path: Path) -> None:
    """An operation's identity is the line it was called from: a loop merges different ones of different machines."""
    assert nodes(path, ast.For) + nodes(path, ast.While) + nodes(path, ast.Lambda) == []
    calls = [statement.lineno for statement in nodes(path, ast.Expr) if isinstance(statement.value, ast.Call)]
    assert len(calls) == len(set(calls))


@pytest.mark.parametrize("path", ROLES, ids=lambda path: path.name)
def test_a_role_calls_no_operation_in_a_loop(path: Path) -> None:
    if path.name in OWN:
        return
    names = {"bundle", "units", "ready", "once", "accounts", "packages"}
    for loop in (*nodes(path, ast.For), *nodes(path, ast.While)):
        called = {
            node.func.id
            for node in ast.walk(loop)
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        }
        assert called & names == set()


@pytest.mark.parametrize("path", ROLES + DEPLOYS, ids=lambda path: path.name)
def test_nothing_decides_by_change_or_runs_on_whichever_host_comes_first(path: Path) -> None:
    text = path.read_text()

    assert "_run_once" not in text
    assert "masters[0]" not in text, "no master is special: it may be the one that is dead"
    assert not [node.attr for node in nodes(path, ast.Attribute) if node.attr in {"changed", "will_change"}]
    assert "host.name" not in text or path.name in {"cluster.py", "operations.py", "record.py"}
    assert not [
        node.module
        for node in nodes(path, ast.ImportFrom)
        if (node.module or "").startswith("pyinfra.operations")
    ]


def outside_of_operations(path: Path) -> list[ast.stmt]:
    """The module but for its operations, which run when their turn comes."""
    body = ast.parse(path.read_text()).body
    return [
        node for node in body if "operation()" not in map(ast.unparse, getattr(node, "decorator_list", []))
    ]


@pytest.mark.parametrize("path", [path for path in ROLES if path.name not in OWN], ids=lambda path: path.name)
def test_a_role_asks_only_lasting_facts_while_it_is_prepared(path: Path) -> None:
    asked = [
        ast.unparse(node.args[0])
        for statement in outside_of_operations(path)
        for node in ast.walk(statement)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "get_fact"
    ]
    assert set(asked) <= LASTING


@pytest.mark.parametrize("path", ROLES, ids=lambda path: path.name)
def test_every_operation_has_a_name(path: Path) -> None:
    operations = {"bundle", "units", "ready", "once", "accounts", "packages"}
    calls = [
        node
        for node in nodes(path, ast.Call)
        if isinstance(node.func, ast.Name) and node.func.id in operations
    ]
    assert [call.lineno for call in calls if "name" not in {keyword.arg for keyword in call.keywords}] == []


def pyinfra(folder: Path, deploy: str, *flags: str) -> subprocess.CompletedProcess[str]:
    (folder / "inventory.py").write_text(
        'hosts = ["@fake/m1", "@fake/m2", "@fake/m3", "@fake/w1", "@fake/w2"]\n'
    )
    (folder / "config.py").write_text((ROOT / "config.py").read_text())
    (folder / "deploy.py").write_text(deploy)
    return subprocess.run(
        [sys.executable, "-m", "pyinfra", "-y", "inventory.py", "deploy.py", *flags],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYINFRA_PROGRESS": "off"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


SERIAL = """
from pyinfra.operations import server
server.shell(name="Each", commands=["true"], _serial=True)
"""


def test_serial_takes_the_inventory_s_order(tmp_path: Path) -> None:
    """Of a set of hosts each run makes another order."""
    result = pyinfra(tmp_path, SERIAL)

    assert result.returncode == 0, result.stderr
    run = result.stderr.partition("Starting serial operation")[2]
    places = [run.index(f"[@fake/{name}]") for name in ("m1", "m2", "m3", "w1", "w2")]
    assert places == sorted(places)


FAILING = """
from pyinfra import host
from pyinfra.operations import python, server

def fail():
    raise RuntimeError("no")

if host.name == "@fake/m2":
    python.call(name="Fails", function=fail)
server.shell(name="After", commands=["true"])
"""


def test_one_failed_machine_stops_the_run_with_an_error(tmp_path: Path) -> None:
    result = pyinfra(tmp_path, FAILING)

    assert result.returncode != 0
    assert "Starting operation: After" not in result.stderr


def test_an_older_pyinfra_is_refused() -> None:
    assert 'REQUIRE_PYINFRA_VERSION = ">=3.10' in (ROOT / "config.py").read_text()
