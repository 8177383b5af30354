"""``kybern plan`` and ``apply``, and how a deploy is followed: a script stands in for pyinfra and says what it says."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import typer

from kybern.cli import cluster as verbs
from kybern.cli import deploys, machines, plan, resuming
from kybern.machines import changes, journal
from kybern.machines.changes import Change, Plan
from kybern.machines.errors import MachineError
from kybern.machines.journal import Step
from kybern.machines.state import State
from kybern.machines.topology import Cluster

ROOT = Path(__file__).parents[3]
FILE = Change("master-1", "etcd", "Files", "file", "/etc/x", "replace", "old", "new", ("-a", "+b"))


@pytest.fixture(autouse=True)
def in_the_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("KYBERN_STATE", str(tmp_path))


@pytest.fixture
def lab() -> Cluster:
    return machines.read("lab", None)


def says(monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    monkeypatch.setattr(deploys, "command_of", lambda *_: [sys.executable, "-c", script])


def written(step: Step) -> str:
    """A script that writes a step into its journal, as a deploy does."""
    row = json.dumps(asdict(step))
    return f"import os; open(os.environ['KYBERN_JOURNAL'], 'a').write({row!r} + chr(10))"


STEP = Step("2026-11-27T06:00:00Z", "kubelet", "worker-1", "Running", 3.2, "changed")
TOTAL = "print('    Grand total     5     7     -     3')"


def test_a_deploy_tells_its_slowest_steps_and_keeps_a_journal(
    lab: Cluster, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    says(monkeypatch, f"{written(STEP)}; {TOTAL}")

    assert deploys.run_deploy("lab", lab) == 7

    assert "3.2 s  kubelet | Running (worker-1)" in capfd.readouterr().err
    (path,) = journal.known(State.of("lab").directory)
    kept = journal.parsed(path.read_text())
    assert (kept.verb, kept.words, kept.result) == ("cluster", ("lab",), "done")


def test_a_step_that_failed_is_told_in_one_form(
    lab: Cluster, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    failed = replace(STEP, result="failed", command="systemctl restart kubelet", said=("no room",))
    says(monkeypatch, f"{written(failed)}; raise SystemExit(1)")

    with pytest.raises(deploys.StepFailed, match=r"deploys/cluster.py failed on lab"):
        deploys.run_deploy("lab", lab)

    told = capfd.readouterr().err
    for line in (
        "  machine  worker-1",
        "  role     kubelet",
        "  command  systemctl restart kubelet",
        "  said     no room",
        "  next     mend what it names, and run: the same command again",
    ):
        assert line in told.splitlines()
    (path,) = journal.known(State.of("lab").directory)
    assert journal.parsed(path.read_text()).result == "failed"


def test_what_fails_outside_of_a_step_is_told_with_the_last_words(
    lab: Cluster, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    says(monkeypatch, "print('no route to master-1'); raise SystemExit(1)")

    with pytest.raises(deploys.StepFailed):
        deploys.run_deploy("lab", lab)

    told = capfd.readouterr().err
    assert "no route to master-1" in told
    assert "next     mend what it names, and run: the same command again" in told


@pytest.mark.usefixtures("interruptible")
def test_a_deploy_does_not_outlive_the_interruption_of_its_operator(
    lab: Cluster, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The lock that was kept for it is given back then."""
    note = tmp_path / "pid"
    says(monkeypatch, f"import os, time; open({str(note)!r}, 'w').write(str(os.getpid())); time.sleep(60)")

    def interrupt() -> None:
        while not note.exists() or not note.read_text():
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        deploys.run_deploy("lab", lab)
    thread.join()

    with pytest.raises(ProcessLookupError):
        os.kill(int(note.read_text()), 0)
    (path,) = journal.known(State.of("lab").directory)
    assert journal.parsed(path.read_text()).result == "interrupted"


def test_a_deploy_does_not_outlive_a_killed_operator(tmp_path: Path) -> None:
    """Nobody gives back the lock then: it ends by itself, and so must the deploy."""
    child = (
        "import os, signal, time; from pathlib import Path; from types import SimpleNamespace as S; "
        "from roles import record; record.attach(S(callback_handlers=[], add_callback_handler=lambda one: None)); "
        f"Path({str(tmp_path / 'pid')!r}).write_text(str(os.getpid())); time.sleep(60)"
    )
    parent = (
        "import os, subprocess, sys; "
        f"subprocess.run([sys.executable, '-c', {child!r}], env={{**os.environ, 'KYBERN_PARENT': str(os.getpid()), "
        f"'KYBERN_JOURNAL': {str(tmp_path / 'j')!r}}})"
    )
    with subprocess.Popen([sys.executable, "-c", parent]) as started:
        wait(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text() != "")
        pid = int((tmp_path / "pid").read_text())
        started.kill()
    wait(lambda: not Path(f"/proc/{pid}").exists() or "State:\tZ" in Path(f"/proc/{pid}/status").read_text())


def wait(found: Any, seconds: float = 30) -> None:
    ends = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < ends, "not in time"
        time.sleep(0.05)


def test_a_plan_is_what_a_dry_run_writes(lab: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    row = json.dumps([asdict(FILE), asdict(FILE)])
    says(monkeypatch, f"import os; open(os.environ['KYBERN_PLAN'], 'w').write({row!r})")

    assert deploys.run_plan("lab", lab) == (FILE,)
    assert not (State.of("lab").directory / "journal").exists()


@pytest.mark.parametrize("script", ["print('no facts'); raise SystemExit(1)", "print('no facts')"])
def test_a_dry_run_that_fails_or_tells_nothing_is_no_empty_plan(
    lab: Cluster, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], script: str
) -> None:
    says(monkeypatch, script)

    with pytest.raises(deploys.StepFailed, match="cannot plan lab"):
        deploys.run_plan("lab", lab)
    assert "no facts" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("limit", "names"),
    [
        ("", ["master-1", "master-2", "master-3", "worker-1", "worker-2"]),
        ("workers", ["worker-1", "worker-2"]),
        ("worker-2,master-1", ["master-1", "worker-2"]),
    ],
)
def test_a_limit_names_machines_and_groups(lab: Cluster, limit: str, names: list[str]) -> None:
    assert [each.name for each in plan.chosen_of(lab, limit)] == names


def test_a_limit_that_names_nobody_is_told(lab: Cluster) -> None:
    with pytest.raises(MachineError, match='lab has no machine or group "nobody"'):
        plan.chosen_of(lab, "masters,nobody")


class World:
    """What machines answer, and what a deploy was started with."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.silent: set[str] = set()
        self.changes: tuple[Change, ...] = (FILE,)
        self.strangers: tuple[str, ...] = ()
        self.deployed: list[tuple[Sequence[str], dict[str, str]]] = []
        monkeypatch.setattr(
            plan, "answering", lambda asked: tuple(each for each in asked if each.name not in self.silent)
        )
        monkeypatch.setattr(plan, "strangers", lambda *_: self.strangers)
        monkeypatch.setattr(plan, "run_plan", lambda *_: self.changes)
        monkeypatch.setattr(plan, "run_deploy", self.deploy)
        monkeypatch.setattr(plan, "holding", _nobody_else)

    def deploy(self, _topology: str, _cluster: Cluster, more: Sequence[str], extra: dict[str, str]) -> int:
        self.deployed.append((more, extra))
        return 1


@contextmanager
def _nobody_else(*_: Any) -> Iterator[None]:
    yield


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


def code_of(*words: Any, **named: Any) -> int:
    with pytest.raises(typer.Exit) as found:
        plan.plan(*words, **named)
    return found.value.exit_code


def test_the_exit_code_of_a_plan_says_whether_there_is_something_to_do(world: World) -> None:
    assert code_of("lab") == 2
    world.changes = ()
    assert code_of("lab") == 0
    world.strangers = ("old",)
    assert code_of("lab") == 2
    world.strangers, world.silent = (), {"worker-1"}
    assert code_of("lab") == 1


def test_a_plan_without_any_machine_is_an_error(world: World) -> None:
    world.silent = {"master-1", "master-2", "master-3", "worker-1", "worker-2"}
    with pytest.raises(MachineError, match="no machine answers"):
        plan.plan("lab")


def test_a_plan_is_json_on_request(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    code_of("lab", output="json")

    assert changes.read(capsys.readouterr().out).changes == world.changes


def test_an_output_that_there_is_not_is_told(world: World) -> None:
    with pytest.raises(MachineError, match='there is no output "yaml"'):
        plan.plan("lab", output="yaml")


def test_a_saved_plan_is_applied_and_nothing_else(world: World, tmp_path: Path) -> None:
    file = tmp_path / "plan.json"
    code_of("lab", save=file)
    assert file.stat().st_mode & 0o777 == 0o600

    plan.apply(file)

    [(more, extra)] = world.deployed
    assert extra == {changes.ONLY: str(file)}
    assert more == deploys.only(["master-1", "master-2", "master-3", "worker-1", "worker-2"])


def test_a_stale_plan_is_refused_and_says_what_changed(world: World, tmp_path: Path) -> None:
    file = tmp_path / "plan.json"
    code_of("lab", save=file)
    world.changes = (replace(FILE, before="somebody's"),)

    with pytest.raises(
        MachineError, match=r"it is stale\n  master-1: etcd: /etc/x: something else is there now\n"
    ):
        plan.apply(file)
    assert world.deployed == []


def test_a_machine_that_was_dead_is_left_out_and_the_run_says_so_at_its_end(
    world: World, tmp_path: Path
) -> None:
    file = tmp_path / "plan.json"
    world.silent = {"worker-2"}
    code_of("lab", save=file)

    with pytest.raises(MachineError, match="not in the plan, and left as they are: worker-2"):
        plan.apply(file)

    [(more, _)] = world.deployed
    assert "worker-2" not in more


@pytest.mark.parametrize(
    ("text", "says"),
    [(None, "there is no"), ("{}", "cannot read .*it is no plan"), ("other", "is a plan for other")],
)
def test_what_cannot_be_applied_is_told(world: World, tmp_path: Path, text: str | None, says: str) -> None:
    file = tmp_path / "plan.json"
    if text == "other":
        text = changes.written(Plan("other", "lab", "", ()))
    if text is not None:
        file.write_text(text)

    with pytest.raises(MachineError, match=says):
        plan.apply(file)


def test_a_plan_that_a_broken_run_has_begun_is_resumed(
    world: World, tmp_path: Path, lab: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "plan.json"
    world.changes = (FILE, replace(FILE, machine="master-2"))
    code_of("lab", save=file)
    world.changes = (FILE,)
    says(monkeypatch, f"{written(STEP)}; raise SystemExit(1)")
    with pytest.raises(deploys.StepFailed):
        deploys.run_deploy("lab", lab)
    (broken,) = journal.known(State.of("lab").directory)

    with pytest.raises(MachineError, match="master-2: etcd: /etc/x: is as wanted now"):
        plan.apply(file)
    plan.apply(file, resume=True)

    [(_, extra)] = world.deployed
    assert extra == {changes.ONLY: str(file), journal.RESUME: str(broken)}


def test_there_is_nothing_to_resume_after_a_run_that_ended_well(
    lab: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(MachineError, match="cannot resume: there is no journal"):
        resuming.broken(lab, "lab")
    says(monkeypatch, TOTAL)
    deploys.run_deploy("lab", lab)
    with pytest.raises(MachineError, match="cannot resume: the last run came to its end"):
        resuming.broken(lab, "lab")


def test_a_dry_deploy_is_a_plan_and_takes_no_lock(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def locked(*_: Any) -> Any:
        pytest.fail("nothing is changed, and a lock was taken")

    monkeypatch.setattr(verbs, "holding", locked)

    verbs.deploy("lab", dry=True, diff=True)

    out = capsys.readouterr().out
    assert "    replace  /etc/x  (etcd)\n      -a\n      +b" in out
    assert world.deployed == []
