import os
import subprocess
import sys
from pathlib import Path

import pytest

from kybern.machines import hypervisor


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hypervisor, "RUN", tmp_path)


def test_a_process_is_known_by_its_number_and_its_start() -> None:
    hypervisor.record("me", os.getpid())

    assert hypervisor.pid_of("me") == os.getpid()
    (hypervisor.RUN / "me.pid").write_text(f"{os.getpid()} 1")
    assert hypervisor.pid_of("me") is None
    assert hypervisor.pid_of("nobody") is None


def test_commands_go_to_the_namespace_of_our_own_libvirtd_only() -> None:
    assert hypervisor.inside("mount", "x") == ["mount", "x"]

    hypervisor.record("libvirtd", os.getpid())

    assert hypervisor.inside("mount", "x") == [
        "nsenter",
        "--target",
        str(os.getpid()),
        "--mount",
        "--",
        "mount",
        "x",
    ]


def test_the_end_of_a_process_is_waited_for() -> None:
    with subprocess.Popen(["sleep", "60"]) as process:
        assert not hypervisor.wait_gone(process.pid, 0)
        process.kill()
        assert hypervisor.wait_gone(process.pid, 10)
    assert hypervisor.wait_gone(process.pid, 0)


def test_a_socket_nobody_listens_on_is_not_alive(tmp_path: Path) -> None:
    (tmp_path / "socket").touch()

    assert not hypervisor.alive(str(tmp_path / "socket"))
    assert not hypervisor.alive(str(tmp_path / "none"))


def test_the_reaper_buries_orphans_and_passes_on_how_its_program_ended() -> None:
    # The program leaves an orphan that ends at once, and waits until nobody of that number is left.
    program = (
        "import os, sys, time\n"
        "read, write = os.pipe()\n"
        "if os.fork() == 0:\n"
        "    orphan = os.fork()\n"
        "    if orphan: os.write(write, b'%d\\n' % orphan)\n"
        "    os._exit(0)\n"
        "os.wait()\n"
        "orphan = int(os.read(read, 20))\n"
        "deadline = time.monotonic() + 10\n"
        "while os.path.exists(f'/proc/{orphan}') and time.monotonic() < deadline: time.sleep(0.01)\n"
        "sys.exit(7 if not os.path.exists(f'/proc/{orphan}') else 1)\n"
    )
    command = [sys.executable, "-m", "kybern.machines.reaper", sys.executable, "-c", program]

    assert subprocess.run(command, timeout=30, check=False).returncode == 7


def test_a_machine_of_somebody_else_keeps_libvirt_running(tmp_path: Path) -> None:
    assert not hypervisor.has_machines(tmp_path)
    for kind in ("qemu", "lxc"):
        (tmp_path / kind).mkdir()
        ended = subprocess.Popen(["true"])
        ended.wait()
        (tmp_path / kind / "gone.pid").write_text(f"{ended.pid}\n")
    assert not hypervisor.has_machines(tmp_path)

    (tmp_path / "qemu/other_box.pid").write_text(f"{os.getpid()}\n")

    assert hypervisor.has_machines(tmp_path)
