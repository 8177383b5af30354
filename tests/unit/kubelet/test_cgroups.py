"""What is written for classes and pods, into a tree that looks like the kernel's."""

from pathlib import Path

import pytest

from kybern.api.core_v1 import ResourceRequirements
from kybern.kubelet.cgroups import Cgroups, Room
from tests.unit.kubelet.making import container, pod


@pytest.fixture
def v2(tmp_path: Path) -> Path:
    (tmp_path / "cgroup.controllers").write_text("cpu memory pids")
    return tmp_path


def written(path: Path) -> dict[str, str]:
    names = ("cpu.weight", "cpu.max", "memory.max", "pids.max")
    return {name: (path / name).read_text() for name in names if (path / name).exists()}


def test_all_pods_together_have_what_is_not_reserved(v2: Path) -> None:
    Cgroups("/kubepods", v2).prepare(Room(1500, 1 << 30, 500))

    assert written(v2 / "kubepods") == {"cpu.weight": "59", "memory.max": str(1 << 30), "pids.max": "500"}


def test_a_pod_has_its_limits_and_its_class_weighs_what_its_pods_do(v2: Path) -> None:
    cgroups = Cgroups("/kubepods", v2, pids=100)
    cgroups.prepare()
    burstable = pod(container(resources=ResourceRequirements(requests={"cpu": "2"}, limits={"cpu": "3"})))

    name = cgroups.make(burstable)

    assert written(v2 / name.lstrip("/")) == {
        "cpu.weight": "79", "cpu.max": "300000 100000", "memory.max": "max", "pids.max": "100",
    }  # fmt: skip
    assert (v2 / "kubepods/burstable/cpu.weight").read_text() == "79"


def test_huge_pages_are_those_of_all_containers_together(v2: Path) -> None:
    cgroups = Cgroups("/kubepods", v2, huge=("hugepages-2Mi", "hugepages-1Gi"))
    cgroups.prepare()
    one = container("a", resources=ResourceRequirements(limits={"hugepages-2Mi": "4Mi"}))

    name = cgroups.make(pod(one, container("b"))).lstrip("/")

    assert (v2 / name / "hugetlb.2MB.max").read_text() == str(4 << 20)
    assert (v2 / name / "hugetlb.1GB.max").read_text() == "0"


def test_memory_is_read_with_its_limit(v2: Path) -> None:
    below = v2 / "kubepods"
    below.mkdir()
    (below / "memory.current").write_text("1000\n")
    (below / "memory.stat").write_text("anon 300\ninactive_file 400\npgfault 7\npgmajfault 1\n")
    (below / "memory.max").write_text("5000\n")

    found = Cgroups("/kubepods", v2).memory("/kubepods")

    assert found is not None
    assert (found.usage, found.working_set, found.rss, found.available) == (1000, 600, 300, 4400)
    assert (found.faults, found.major_faults) == (7, 1)
    assert Cgroups("/kubepods", v2).memory("/nosuch") is None
