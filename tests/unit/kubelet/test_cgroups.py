"""What is written for classes and pods, into a tree that looks like the kernel's."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from kybern.api.core_v1 import ResourceRequirements
from kybern.kubelet import cgroup_names, resources
from kybern.kubelet.cgroups import Cgroups, Room
from kybern.kubelet.shutdown import wire
from kybern.kubelet.shutdown.bus import BusFailure
from kybern.kubelet.shutdown.wire import Kind, Message
from kybern.kubelet.slices import Limits, Slices, begun, told
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


def test_a_pod_with_cpus_of_its_own_may_use_all_of_their_time(v2: Path) -> None:
    limited = pod(container(resources=ResourceRequirements(limits={"cpu": "3"})))

    cgroups = Cgroups("/kubepods", v2)
    cgroups.unlimited = lambda uid: uid == limited.metadata.uid

    name = cgroups.make(limited)

    assert written(v2 / name.lstrip("/"))["cpu.max"] == "max"


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


# -- as systemd's slices -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("driver", "above", "root"),
    [
        ("cgroupfs", "/", "/kubepods"),
        ("cgroupfs", "/own/", "/own/kubepods"),
        ("systemd", "/", "/kubepods.slice"),
        ("systemd", "", "/kubepods.slice"),
        ("systemd", "/own.slice", "/own.slice/own-kubepods.slice"),
    ],
)
def test_all_pods_are_below_one_cgroup(driver: str, above: str, root: str) -> None:
    assert cgroup_names.root_of(driver, above) == root


def test_containers_are_called_as_containerd_calls_them() -> None:
    slice_ = "/kubepods.slice/kubepods-podu1.slice"

    assert cgroup_names.of_container("/kubepods/podu1", "abc") == "/kubepods/podu1/abc"
    assert cgroup_names.of_container(slice_, "abc") == f"{slice_}/cri-containerd-abc.scope"
    assert cgroup_names.of_container("", "abc") == ""


def test_slices_are_named_by_all_that_is_above_them() -> None:
    burstable = pod(container(resources=ResourceRequirements(requests={"cpu": "2"})))
    odd = burstable.metadata.__class__(name="web", namespace="default", uid="12ab-34cd")
    burstable = type(burstable)(metadata=odd, spec=burstable.spec)

    name = resources.cgroup_of(burstable, "/kubepods.slice")

    assert name == "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod12ab_34cd.slice"
    assert cgroup_names.path_of(cgroup_names.unit_of(name)) == name
    assert cgroup_names.uid_of(name) == "12ab-34cd"
    assert [cgroup_names.uid_of(one) for one in ("podx", "kubepods-burstable.slice", "burstable")] == [
        "x",
        "",
        "",
    ]


class Systemd:
    """A bus with systemd on it that does what it is asked; each job ends as ``result`` says."""

    def __init__(self, *refuses: str, result: str = "done") -> None:
        self.refuses = refuses
        self.result = result
        self.asked: list[tuple[Any, ...]] = []
        self.signals: asyncio.Queue[Message | None] = asyncio.Queue()

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[Any]:
        yield self

    async def subscribe(self, rule: str) -> None:
        assert "JobRemoved" in rule

    async def call(self, _whom: Any, member: str, signature: str = "", *values: Any) -> tuple[Any, ...]:
        # What cannot be written is told of by the real bus, too.
        message = Message(Kind.CALL, 1, signature=signature, body=values)
        assert wire.decode(wire.encode(message)).signature == signature
        self.asked.append((member, *values))
        if member in self.refuses:
            name = "UnitExists" if member == "StartTransientUnit" else "NoSuchUnit"
            raise BusFailure(f"cannot ask: org.freedesktop.systemd1.{name}: no")
        for number, result in (("7", "failed"), ("8", self.result)):
            body = (int(number), f"/job/{number}", "x.slice", result)
            self.signals.put_nowait(Message(Kind.SIGNAL, 1, member="JobRemoved", body=body))
        return ("/job/8",)


async def in_thread(systemd: Systemd, what: Any) -> None:
    await asyncio.to_thread(what, Slices(asyncio.get_running_loop(), systemd.connected))


async def test_a_slice_is_made_and_waited_for() -> None:
    systemd = Systemd()

    await in_thread(systemd, lambda slices: slices.start("kubepods-burstable.slice"))

    assert systemd.asked[0] == ("Subscribe",)
    assert systemd.asked[1][:3] == ("StartTransientUnit", "kubepods-burstable.slice", "replace")
    assert ("Wants", ("as", ["kubepods.slice"])) in systemd.asked[1][3]
    assert dict(begun("kubepods.slice"))["Wants"] == ("as", ["-.slice"])


async def test_what_is_as_wanted_is_no_failure() -> None:
    systemd = Systemd("StartTransientUnit", "StopUnit")

    await in_thread(systemd, lambda slices: (slices.start("a.slice"), slices.stop("a.slice")))

    assert [asked[0] for asked in systemd.asked] == [
        "Subscribe",
        "StartTransientUnit",
        "Subscribe",
        "StopUnit",
    ]


async def test_a_job_that_fails_is_told() -> None:
    with pytest.raises(OSError, match=r"StopUnit of a\.slice ended with timeout"):
        await in_thread(Systemd(result="timeout"), lambda slices: slices.stop("a.slice"))


def test_limits_are_in_systemds_words() -> None:
    limits = Limits(weight=79, shares=2048, quota=300_000, memory=1 << 30, pids=100)

    assert dict(told(limits, v2=True)) == {
        "CPUWeight": ("t", 79), "CPUQuotaPerSecUSec": ("t", 3_000_000), "CPUQuotaPeriodUSec": ("t", 100_000),
        "MemoryMax": ("t", 1 << 30), "TasksMax": ("t", 100),
    }  # fmt: skip
    assert dict(told(limits, v2=False)) == {
        "CPUShares": ("t", 2048), "CPUQuotaPerSecUSec": ("t", 3_000_000), "MemoryLimit": ("t", 1 << 30),
        "TasksMax": ("t", 100),
    }  # fmt: skip
    assert dict(told(Limits(quota=0, memory=0), v2=True))["MemoryMax"] == ("t", (1 << 64) - 1)
    assert dict(told(Limits(quota=12_345), v2=False))["CPUQuotaPerSecUSec"] == ("t", 130_000)


async def test_pods_live_in_slices_with_the_systemd_driver(v2: Path) -> None:
    systemd = Systemd()
    slices = Slices(asyncio.get_running_loop(), systemd.connected)
    cgroups = Cgroups("/kubepods.slice", v2, pids=100, slices=slices)
    burstable = pod(container(resources=ResourceRequirements(requests={"cpu": "2"}, limits={"cpu": "3"})))

    def work() -> None:
        cgroups.prepare(Room(1500, 1 << 30))
        name = cgroups.make(burstable)
        found = list(cgroups.pods())
        assert found == [("u1", name)]
        cgroups.remove(name)

    await asyncio.to_thread(work)

    unit = "kubepods-burstable-podu1.slice"
    started = [asked[1] for asked in systemd.asked if asked[0] == "StartTransientUnit"]
    assert started == ["kubepods.slice", "kubepods-burstable.slice", "kubepods-besteffort.slice", unit]
    limits = [dict(asked[3]) for asked in systemd.asked if asked[:2] == ("SetUnitProperties", unit)]
    assert limits[0]["TasksMax"] == ("t", 100)
    assert ("StopUnit", unit, "replace") in systemd.asked
