"""What a run tells: a plan that a fake cluster gives, one that is executed and no more, and a journal that is resumed."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pyinfra.api.exceptions import PyinfraError

from kybern.machines import changes, journal
from kybern.machines.changes import SECRET, Change, Plan
from kybern.machines.packages import wanted_packages
from kybern.machines.topology import Cluster
from roles import record
from roles.facts import UnitState
from roles.tree import File, Found, Link
from tests.roles.harness import FakeMachine, deploy, prepared
from tests.roles.small import use, use_images

ROOT = Path(__file__).parents[2]
UNIT = "/etc/systemd/system/kube-scheduler.service"


@pytest.fixture(autouse=True)
def release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    use_images(tmp_path, monkeypatch)
    use(tmp_path, monkeypatch, "one")
    for name in (record.PLAN, record.ONLY, record.JOURNAL, record.RESUME):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def fakes(single: Cluster) -> list[FakeMachine]:
    return [FakeMachine(one.name, packages=set(wanted_packages(single, one))) for one in single.machines]


type Planned = Callable[[Cluster, list[FakeMachine]], tuple[Change, ...]]


@pytest.fixture
def planned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Planned:
    """What a dry run tells, as ``kybern plan`` reads it."""
    at_exit: list[Callable[[], None]] = []
    monkeypatch.setattr("atexit.register", at_exit.append)

    def ask(cluster: Cluster, fakes: list[FakeMachine]) -> tuple[Change, ...]:
        to = tmp_path / "changes.json"
        with monkeypatch.context() as inside:
            inside.setenv(record.PLAN, str(to))
            at_exit.clear()
            prepared(cluster, fakes)
            at_exit[0]()
        return tuple(changes.changes(json.loads(to.read_text())))

    return ask


def saved(tmp_path: Path, cluster: Cluster, found: tuple[Change, ...]) -> Path:
    path = tmp_path / "saved.json"
    names = tuple(one.name for one in cluster.machines)
    path.write_text(changes.written(Plan(cluster.name, "test", "2026-01-01", names, changes=found)))
    return path


def test_a_plan_of_bare_machines_has_everything_and_touches_nothing(
    single: Cluster, fakes: list[FakeMachine], planned: Planned
) -> None:
    found = planned(single, fakes)

    assert fakes[0].commands == []
    of = {(one.machine, one.kind, one.subject, one.verb) for one in found}
    assert ("one", "file", UNIT, "create") in of
    assert ("one", "unit", "kubelet.service", "start") in of
    assert ("one", "user", "etcd", "add") in of
    assert ("one", "release", "/opt/kybern/package-one", "unpack") in of
    assert not [one for one in found if one.kind == "package"]


def test_a_plan_after_the_deploy_is_empty(
    single: Cluster, fakes: list[FakeMachine], planned: Planned
) -> None:
    deploy(single, fakes)

    assert planned(single, fakes) == ()


def test_a_plan_names_what_was_changed_on_machines_and_shows_how(
    single: Cluster, fakes: list[FakeMachine], planned: Planned
) -> None:
    deploy(single, fakes)
    (fake,) = fakes
    text = fake.contents[UNIT].decode()
    fake.contents[UNIT] = text.replace("[Service]", "[Service]\nNice=19").encode()
    fake.tree[UNIT] = replace(fake.tree[UNIT], digest="other")
    fake.units["kube-apiserver.service"] = replace(fake.units["kube-apiserver.service"], active=False)
    fake.packages.discard("runc")

    found = planned(single, fakes)

    files = [one for one in found if one.kind == "file"]
    assert [(one.machine, one.subject, one.verb) for one in files] == [("one", UNIT, "replace")]
    assert [line for line in files[0].diff if line[:1] in "+-"] == [f"--- {UNIT}", f"+++ {UNIT}", "-Nice=19"]
    units = {(one.action, one.subject, one.verb) for one in found if one.kind == "unit"}
    assert units == {
        ("Started", "kube-apiserver.service", "start"),
        ("Changed ones restarted, one at a time", "kube-apiserver.service", "start"),
    }
    assert [one.subject for one in found if one.kind == "package"] == ["runc"]


def test_no_secret_is_in_a_plan(
    single: Cluster, fakes: list[FakeMachine], planned: Planned, tmp_path: Path
) -> None:
    found = planned(single, fakes)

    keys = [one for one in found if one.subject.endswith((".key", "kubelet.conf", "admin.conf"))]
    assert {one.diff for one in keys} == {(SECRET,)}
    assert len(keys) > 8
    text = saved(tmp_path, single, found).read_text()
    assert "PRIVATE KEY" not in text
    assert "client-key-data" not in text


def test_what_may_have_been_a_secret_is_not_shown_either() -> None:
    """A path that held a key yesterday, and holds a list today."""
    now = File("/etc/x", b"list\n")
    was = Found("f", "600", "root", "root", digest="d")

    assert not record.showable(now, was)
    assert SECRET in record.written(now, was, "").diff
    assert record.showable(now, Found("f", "644", "root", "root"))
    assert record.showable(File("/etc/x", b"script", mode="700"), Found("f", "700", "root", "root"))


def test_a_link_and_a_mode_are_told_in_words() -> None:
    assert record.written(Link("/l", "/new"), None, "").diff == ("points to /new",)
    content = File("/f", b"x\n")
    there = Found("f", "666", "root", "root", digest=content.digest)
    assert record.written(content, there, "x\n").diff == ("mode 666 root:root becomes 644 root:root",)


def test_an_operation_that_tells_nothing_is_in_the_plan_all_the_same(
    single: Cluster, fakes: list[FakeMachine], planned: Planned, monkeypatch: pytest.MonkeyPatch
) -> None:
    deploy(single, fakes)
    monkeypatch.setattr("roles.operations.planned", lambda *_: iter(()))
    fakes[0].packages.discard("runc")

    (found,) = planned(single, fakes)

    assert (found.machine, found.role, found.kind, found.subject) == ("one", "system", "command", "Packages")


def test_a_plan_is_executed_and_nothing_is_left_to_do(
    single: Cluster,
    fakes: list[FakeMachine],
    planned: Planned,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """From bare machines: what a deploy does is what its plan had, but for what follows from it."""
    path = saved(tmp_path, single, planned(single, fakes))
    monkeypatch.setenv(record.ONLY, str(path))

    deploy(single, fakes)

    monkeypatch.delenv(record.ONLY)
    assert planned(single, fakes) == ()


def test_what_is_not_in_the_plan_is_not_done(
    single: Cluster,
    fakes: list[FakeMachine],
    planned: Planned,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    deploy(single, fakes)
    path = saved(tmp_path, single, planned(single, fakes))
    fakes[0].tree[UNIT] = replace(fakes[0].tree[UNIT], digest="other")
    fakes[0].commands.clear()
    monkeypatch.setenv(record.ONLY, str(path))

    with pytest.raises(PyinfraError):
        deploy(single, fakes)

    (refused,) = fakes[0].commands
    assert f"not in the plan: replace {UNIT}" in refused


def journalled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "journal.jsonl"
    path.unlink(missing_ok=True)
    monkeypatch.setenv(record.JOURNAL, str(path))
    return path


def test_a_journal_has_a_line_for_each_step_on_each_machine(
    single: Cluster, fakes: list[FakeMachine], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = journalled(tmp_path, monkeypatch)

    changed = deploy(single, fakes)

    steps = journal.parsed(path.read_text()).steps
    assert path.stat().st_mode & 0o777 == 0o600
    told = {(step.name, step.machine) for step in steps if step.result == "changed"}
    assert told == {(name, machine) for name, machines in changed.items() for machine in machines}
    assert len(steps) == len({(step.name, step.machine) for step in steps})
    assert all(0 <= step.seconds < 60 for step in steps)
    assert b"PRIVATE KEY" not in path.read_bytes()


def test_a_failed_step_is_told_with_its_machine_and_the_rest_is_not(
    single: Cluster, fakes: list[FakeMachine], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = journalled(tmp_path, monkeypatch)
    fakes[0].fails = lambda text: "restart" not in text and "start etcd.service" in text

    with pytest.raises(PyinfraError):
        deploy(single, fakes)

    (failed,) = journal.failures(journal.parsed(path.read_text()))
    assert (failed.machine, failed.role, failed.action) == ("one", "etcd", "Started")


def test_a_resumed_run_asks_less_and_does_the_same(
    single: Cluster, fakes: list[FakeMachine], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = journalled(tmp_path, monkeypatch)
    fakes[0].fails = lambda text: "start kube-apiserver.service" in text
    with pytest.raises(PyinfraError):
        deploy(single, fakes)
    fakes[0].fails = lambda _: False
    broken = path.rename(tmp_path / "broken.jsonl")
    monkeypatch.setenv(record.RESUME, str(broken))
    for fake in fakes:
        fake.questions = 0

    deploy(single, fakes)

    resumed = sum(fake.questions for fake in fakes)
    monkeypatch.delenv(record.RESUME)
    for fake in fakes:
        fake.questions = 0
    assert deploy(single, fakes) == {}
    assert resumed < sum(fake.questions for fake in fakes)
    # A run that is resumed may break as well: what it passed over counts as done by it.
    again = {(step.machine, step.name) for step in journal.parsed(path.read_text()).steps if step.inputs}
    assert ("one", "system | Names and settings") in again


def test_a_step_whose_inputs_changed_is_done_again(
    single: Cluster, fakes: list[FakeMachine], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = journalled(tmp_path, monkeypatch)
    deploy(single, fakes)
    monkeypatch.setenv(record.RESUME, str(path.rename(tmp_path / "broken.jsonl")))

    changed = deploy(replace(single, cluster_domain="other.local"), fakes)

    assert changed["kubelet | Files"] == ["one"]


def test_units_are_looked_at_whatever_a_journal_says(
    single: Cluster, fakes: list[FakeMachine], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = journalled(tmp_path, monkeypatch)
    deploy(single, fakes)
    monkeypatch.setenv(record.RESUME, str(path.rename(tmp_path / "broken.jsonl")))
    fakes[0].units["kubelet.service"] = UnitState(loaded=True, enabled=True)

    assert deploy(single, fakes) == {"kubelet | Running": ["one"]}


def test_nothing_is_followed_when_nobody_asks(single: Cluster, fakes: list[FakeMachine]) -> None:
    run: Any = prepared(single, fakes)

    assert run.state.callback_handlers == []
