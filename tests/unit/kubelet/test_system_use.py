"""What the kubelet and its runtime use is read of their own cgroups."""

import os
import socket
from pathlib import Path

import pytest

from kybern.kubelet.cgroups import Cgroups
from kybern.kubelet.stats.system import System, cgroup_of, listener
from kybern.kubelet.stats.use import Cpu

V1 = "5:cpu,cpuacct:/system.slice/k.service\n3:memory:/system.slice/kubelet.service\n1:name=systemd:/a:b\n"


@pytest.mark.parametrize(
    ("text", "v2", "cgroup"),
    [
        ("0::/system.slice/kubelet.service\n", True, "/system.slice/kubelet.service"),
        (V1, False, "/system.slice/kubelet.service"),
        ("0::/\n", True, ""),
        ("0::/\n", False, ""),
        ("3:memory:/\n", False, ""),
        ("", True, ""),
    ],
)
def test_a_process_is_in_a_cgroup_of_its_own_or_in_none(text: str, v2: bool, cgroup: str) -> None:
    assert cgroup_of(text, v2=v2) == cgroup


@pytest.fixture
def runtime(tmp_path: Path) -> str:
    return f"unix://{tmp_path}/runtime.sock"


def written(root: Path, name: str, microseconds: int) -> None:
    place = root / name.lstrip("/")
    place.mkdir(parents=True)
    (place / "cpu.stat").write_text(f"usage_usec {microseconds}\n")
    (place / "memory.current").write_text("5000\n")
    (place / "memory.max").write_text("max\n")
    (place / "memory.stat").write_text("anon 300\ninactive_file 1000\npgfault 5\npgmajfault 1\n")


def test_each_is_told_with_what_is_in_its_cgroup(tmp_path: Path, runtime: str) -> None:
    root, proc = tmp_path / "cgroup", tmp_path / "proc"
    root.mkdir()
    (root / "cgroup.controllers").write_text("cpu memory\n")
    for name, used in (("/kubepods", 1), ("/system.slice/kubelet.service", 2), ("/containerd", 3)):
        written(root, name, used)
    (root / "containerd/cpu.pressure").write_text("some avg10=1.00 avg60=0.00 avg300=0.00 total=7\n")
    for process, cgroup in (("self", "/system.slice/kubelet.service"), (str(os.getpid()), "/containerd")):
        (proc / process).mkdir(parents=True)
        (proc / process / "cgroup").write_text(f"0::{cgroup}\n")

    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(runtime.removeprefix("unix://"))
        listening.listen()
        asked: list[str] = []

        def rated(key: str, cpu: Cpu) -> Cpu:
            asked.append(key)
            return cpu

        found = {one.name: one for one in System(Cgroups("/kubepods", root), runtime, proc).take(50.0, rated)}

    assert {name: one.cpu.total for name, one in found.items() if one.cpu} == {
        "kubelet": 2000, "pods": 1000, "runtime": 3000,
    }  # fmt: skip
    assert sorted(asked) == ["system/kubelet", "system/pods", "system/runtime"]
    memory = found["kubelet"].memory
    assert (memory.usage, memory.working_set, memory.rss, memory.available) == (5000, 4000, 300, None)
    assert found["runtime"].stalls["cpu"].some.total == 7
    assert found["pods"].started == 50.0


def test_a_runtime_that_is_away_is_left_out(tmp_path: Path, runtime: str) -> None:
    (tmp_path / "cgroup.controllers").write_text("cpu memory\n")
    written(tmp_path, "/kubepods", 1)

    found = list(System(Cgroups("/kubepods", tmp_path), runtime, tmp_path).take(0.0, lambda _key, cpu: cpu))

    assert [one.name for one in found] == ["pods"]
    with pytest.raises(OSError, match="No such file"):
        listener(runtime)
