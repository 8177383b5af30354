"""What is left of a container that libvirt gave up."""

import subprocess
from pathlib import Path

import pytest

from kybern.machines import lxc


@pytest.fixture
def cgroup(tmp_path: Path) -> Path:
    """The directory of a machine in one hierarchy, as the kernel shows it."""
    made = tmp_path / "systemd/machines/lab-master-3"
    (made / "system.slice/etcd.service").mkdir(parents=True)
    (made / "cgroup.procs").write_text("")
    return made


def test_processes_that_live_on_are_ended(
    cgroup: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with subprocess.Popen(["sleep", "600"]) as lives:
        (cgroup / "system.slice/etcd.service/cgroup.procs").write_text(f"{lives.pid}\n")
        monkeypatch.setattr(lxc, "CGROUPS", tmp_path)
        machine = lxc.Lxc(print)
        monkeypatch.setattr(machine, "_unmount", lambda _home: None)

        machine.after_stop("lab-master-3", tmp_path)

        assert lives.wait(30) == -9


def test_one_that_has_ended_meanwhile_is_no_fault(cgroup: Path) -> None:
    with subprocess.Popen(["true"]) as ended:
        ended.wait(30)
    (cgroup / "system.slice/etcd.service/cgroup.procs").write_text(f"{ended.pid}\n")

    lxc._end_rest("lab-master-3", [cgroup])
