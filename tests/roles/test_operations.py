"""The bundle and its companions, run for real on this computer (in a directory of the test), and their promises kept."""

import os
import shutil
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pyinfra.api import Config, Inventory, State
from pyinfra.api.connect import connect_all, disconnect_all
from pyinfra.api.exceptions import PyinfraError
from pyinfra.api.operation import add_op
from pyinfra.api.operations import run_ops
from pyinfra.api.state import StateStage

from roles.facts import LONGEST, Tree, Units
from roles.operations import bundle, once, ready, units
from roles.tree import Directory, Entry, File, Found, Link, Service, Upload
from tests.roles.harness import FakeMachine, Run

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="gives files to root")
pytestmark = needs_root


def run(operation: Any, diff: bool = False, verbose: bool = False, **arguments: Any) -> bool:
    """One operation on this computer, as pyinfra runs it; whether it changed something."""
    state = State(Inventory((["@local"], {})), Config(FAIL_PERCENT=0, DIFF=diff))
    state.print_input = state.print_fact_input = verbose
    state.current_stage = StateStage.Connect
    connect_all(state)
    try:
        state.current_stage = StateStage.Prepare
        meta = add_op(state, operation, name="Test", **arguments)
        state.current_stage = StateStage.Execute
        run_ops(state)
        return all(one.did_change() for one in meta.values())
    finally:
        disconnect_all(state)


def tree(folder: Path) -> list[Entry]:
    return [
        Directory(f"{folder}/conf", mode="750"),
        File(f"{folder}/conf/a.txt", b"one\n", mode="0640"),
        File(f"{folder}/conf/deep/b.key", b"k\x00ey", mode="600", secret=True),
        Link(f"{folder}/current", "conf/a.txt"),
    ]


def test_a_tree_arrives_with_content_modes_and_links(tmp_path: Path) -> None:
    assert run(bundle, files=tree(tmp_path))

    assert (tmp_path / "conf/a.txt").read_bytes() == b"one\n"
    assert (tmp_path / "conf/deep/b.key").read_bytes() == b"k\x00ey"
    assert (tmp_path / "current").readlink() == Path("conf/a.txt")
    modes = {
        path: stat.S_IMODE((tmp_path / path).stat().st_mode)
        for path in ("conf", "conf/a.txt", "conf/deep/b.key")
    }
    assert modes == {"conf": 0o750, "conf/a.txt": 0o640, "conf/deep/b.key": 0o600}
    assert stat.S_IMODE((tmp_path / "conf/deep").stat().st_mode) == 0o755
    assert [path for path in tmp_path.rglob("*") if path.name.endswith(".kybern-new")] == []


def test_the_same_tree_again_executes_nothing(tmp_path: Path) -> None:
    run(bundle, files=tree(tmp_path))

    assert not run(bundle, files=tree(tmp_path))


@pytest.mark.parametrize(
    "undo",
    [
        lambda folder: (folder / "conf/a.txt").write_text("two\n"),
        lambda folder: (folder / "conf/a.txt").chmod(0o666),
        lambda folder: os.chown(folder / "conf/a.txt", 1, -1),
        lambda folder: (folder / "conf").chmod(0o777),
        lambda folder: (folder / "conf/deep/b.key").unlink(),
        lambda folder: ((folder / "current").unlink(), (folder / "current").symlink_to("/etc")),
        lambda folder: ((folder / "conf/a.txt").unlink(), (folder / "conf/a.txt").symlink_to("deep/b.key")),
    ],
)
def test_whatever_differs_is_put_right(tmp_path: Path, undo: Callable[[Path], object]) -> None:
    run(bundle, files=tree(tmp_path))
    undo(tmp_path)

    assert run(bundle, files=tree(tmp_path))
    assert not run(bundle, files=tree(tmp_path))
    assert (tmp_path / "conf/deep/b.key").read_bytes() == b"k\x00ey"


def test_pruning_removes_what_is_not_listed_and_nothing_else(tmp_path: Path) -> None:
    run(bundle, files=tree(tmp_path))
    (tmp_path / "conf/old dir").mkdir()
    (tmp_path / "conf/old dir/it's here").write_text("x")
    (tmp_path / "beside").write_text("stays")

    assert run(bundle, files=tree(tmp_path), prune=(f"{tmp_path}/conf",))

    assert sorted(path.name for path in (tmp_path / "conf").iterdir()) == ["a.txt", "deep"]
    assert (tmp_path / "beside").exists()
    assert not run(bundle, files=tree(tmp_path), prune=(f"{tmp_path}/conf",))


def test_a_command_that_only_removes_is_sent_no_input(tmp_path: Path) -> None:
    (tmp_path / "gone").write_text("x")
    fake = FakeMachine("a", tree={f"{tmp_path}/gone": Found("f", "644", "root", "root")})

    only(fake, bundle, files=[], absent=(f"{tmp_path}/gone",))

    assert fake.tree == {}


def test_what_is_to_be_absent_is_removed_once(tmp_path: Path) -> None:
    (tmp_path / "gone").write_text("x")

    assert run(bundle, files=[], absent=(f"{tmp_path}/gone", f"{tmp_path}/never"))
    assert not (tmp_path / "gone").exists()
    assert not run(bundle, files=[], absent=(f"{tmp_path}/gone", f"{tmp_path}/never"))


def test_a_failure_leaves_the_old_files_and_no_rest(tmp_path: Path) -> None:
    run(bundle, files=tree(tmp_path))
    changed = [
        File(f"{tmp_path}/conf/a.txt", b"new\n"),
        File(f"{tmp_path}/x", b"", user="nobody-has-this-name"),
    ]

    with pytest.raises(PyinfraError):
        run(bundle, files=changed)

    assert (tmp_path / "conf/a.txt").read_bytes() == b"one\n"
    assert [path for path in tmp_path.rglob("*") if path.name.endswith(".kybern-new")] == []


def test_a_full_disk_leaves_the_old_files_and_no_rest(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if os.system(f"mount -t tmpfs -o size=64k tmpfs {disk}") != 0:
        pytest.skip("cannot mount")
    try:
        run(bundle, files=[File(f"{disk}/a", b"old")])
        with pytest.raises(PyinfraError):
            run(bundle, files=[File(f"{disk}/a", b"x" * 100_000)])
        assert (disk / "a").read_bytes() == b"old"
        assert [path.name for path in disk.iterdir()] == ["a"]
    finally:
        os.system(f"umount {disk}")


def test_a_replaced_file_is_younger_so_that_systemd_sees_it(tmp_path: Path) -> None:
    path = tmp_path / "a.service"
    run(bundle, files=[File(str(path), b"1")])
    os.utime(path, (1, 1))

    run(bundle, files=[File(str(path), b"2")])

    assert abs(path.stat().st_mtime - time.time()) < 60


def test_a_secret_is_shown_neither_by_diff_nor_in_commands_nor_as_text(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    secret = File(f"{tmp_path}/key", b"hidden-from-everybody", mode="600", secret=True)
    caplog.set_level("DEBUG")

    run(bundle, files=[secret, File(f"{tmp_path}/plain", b"for all\n")], diff=True, verbose=True)

    shown = caplog.text + "".join(capfd.readouterr())
    assert "+for all" in shown
    assert f"{tmp_path}/key: secret, not shown" in shown
    assert "hidden-from" not in shown
    assert "hidden-from" not in repr(secret)
    assert (tmp_path / "key").read_bytes() == b"hidden-from-everybody"


def test_a_diff_shows_the_lines_that_change(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run(bundle, files=[File(f"{tmp_path}/a", b"same\nold\n")])
    caplog.set_level("INFO")

    run(bundle, files=[File(f"{tmp_path}/a", b"same\nnew\n")], diff=True)

    lines = [record.getMessage().strip() for record in caplog.records]
    assert "-old" in lines
    assert "+new" in lines


@pytest.mark.skipif(not shutil.which("sudo"), reason="no sudo here")
def test_it_works_with_sudo(tmp_path: Path) -> None:
    assert run(bundle, files=tree(tmp_path), _sudo=True)
    assert not run(bundle, files=tree(tmp_path), _sudo=True)


def test_a_big_file_is_sent_from_the_disk_and_checked(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(os.urandom(1 << 20))

    assert run(bundle, files=[Upload(f"{tmp_path}/target", source, mode="600")])

    assert (tmp_path / "target").read_bytes() == source.read_bytes()
    assert not run(bundle, files=[Upload(f"{tmp_path}/target", source, mode="600")])


def test_an_empty_bundle_does_nothing() -> None:
    assert not run(bundle, files=[])


def test_ready_executes_nothing_when_it_is_so() -> None:
    assert not run(ready, probe="true")


def test_ready_waits_by_retries(tmp_path: Path) -> None:
    probe = f"mkdir {tmp_path}/once && false || test -d {tmp_path}/once/twice || {{ mkdir {tmp_path}/once/twice; false; }}"

    assert run(ready, probe=probe, seconds=1, _retries=3, _retry_delay=0) in (True, False)
    assert (tmp_path / "once/twice").exists()


def test_ready_gives_up_with_an_error() -> None:
    begin = time.monotonic()

    with pytest.raises(PyinfraError):
        run(ready, probe="false", seconds=1, _retries=1, _retry_delay=0)

    assert time.monotonic() - begin < 10


def test_once_is_done_once(tmp_path: Path) -> None:
    assert run(once, probe=f"test -e {tmp_path}/x", command=f"touch {tmp_path}/x")
    assert not run(once, probe=f"test -e {tmp_path}/x", command=f"touch {tmp_path}/x")


def test_too_many_paths_for_one_command_are_refused_and_not_cut() -> None:
    with pytest.raises(ValueError, match="too many for one command"):
        Tree().command([f"/a/{'x' * 100}{number}" for number in range(LONGEST // 100)])


def test_a_banner_in_the_answer_is_passed_over() -> None:
    assert Tree().process(["Welcome to the machine", "KYBERN d 755 root root /etc "]).keys() == {"/etc"}
    assert (
        Units().process(["Last login: today", "Id=a.service", "ActiveState=active", ""])["a.service"].active
    )


def service(text: str = "1") -> Service:
    return Service("x.service", (File("/etc/x", text.encode()),))


def started(fakes: list[FakeMachine]) -> list[FakeMachine]:
    """Machines on which the unit runs with its first configuration."""
    for fake in fakes:
        only(fake, bundle, files=service().files)
        only(fake, units, services=[service()])
        only(fake, bundle, files=service("2").files)
        fake.commands.clear()
    return fakes


def only(fake: FakeMachine, operation: Any, **arguments: Any) -> None:
    several([fake], operation, **arguments)


def several(fakes: list[FakeMachine], operation: Any, **arguments: Any) -> None:
    each = Run(fakes)
    add_op(each.state, operation, name="Test", **arguments)
    each.execute()


def test_changed_inputs_restart_a_running_unit() -> None:
    [fake] = started([FakeMachine("a")])

    only(fake, units, services=[service("2")])
    only(fake, units, services=[service("2")])

    assert [("restart x.service" in command) for command in fake.commands] == [True]


def test_a_unit_that_crashed_or_rebooted_meanwhile_needs_no_restart() -> None:
    """Whoever starts the unit, it notes what it started with."""
    [fake] = started([FakeMachine("a")])
    fake._unit("x.service", stamp=fake._noted("x.service"))

    only(fake, units, services=[service("2")])

    assert fake.commands == []


def test_restart_false_leaves_a_running_unit_alone() -> None:
    [fake] = started([FakeMachine("a")])

    only(fake, units, services=[service("2")], restart=False)

    assert fake.commands == []


def test_after_a_failure_no_other_machine_is_restarted(monkeypatch: pytest.MonkeyPatch) -> None:
    """With _serial pyinfra goes on with the remaining machines, and looks at failures at the end."""
    fakes = started([FakeMachine("a"), FakeMachine("b"), FakeMachine("c")])
    fakes[0].fails = lambda command: "restart x.service" in command
    each = Run(fakes)
    monkeypatch.setattr(each.state.inventory, "get_active_hosts", lambda: each.hosts)
    add_op(each.state, units, name="Test", services=[service("2")], _serial=True)

    with pytest.raises(PyinfraError):
        each.execute()

    assert [command for fake in fakes[1:] for command in fake.commands if "systemctl" in command] == []
    assert "because a failed" in fakes[1].commands[0]
    assert all(fake.units["x.service"].stamp != service("2").digest for fake in fakes)


def test_the_note_of_a_unit_is_written_by_a_plain_shell(tmp_path: Path) -> None:
    drop_in = service().files[-1].content.decode()
    command = drop_in.split("'")[1].replace("/run/kybern", f"{tmp_path}/run")

    assert os.system(f"sh -c '{command}'") == 0
    assert (tmp_path / "run/x.service.sha256").read_text().strip() == service().digest
