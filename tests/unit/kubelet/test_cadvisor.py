"""/metrics/cadvisor has what dashboards, alerts and upstream's own test of nodes (container_metrics_test.go) look for."""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from kybern.kubelet.cgroups import Cgroups
from kybern.kubelet.machine import Identity
from kybern.kubelet.stats import cadvisor
from kybern.kubelet.stats.cadvisor import Host
from kybern.kubelet.stats.counting import counts_of, device, source
from kybern.kubelet.stats.counts import Counts, open_files
from kybern.kubelet.stats.exposition import text
from kybern.kubelet.stats.use import Interface
from tests.unit.kubelet.test_stats import NODE, POD

HOST = Host(
    Identity("m", "s", "b", "6.12", "Debian", "amd64"), 4, 7, {0: (0, 0), 1: (0, 0), 2: (1, 0), 3: (1, 1)},
    "/dev/vda1", "/dev/vdb", {(8, 0): "/dev/sda"},
)  # fmt: skip
FOUND = replace(
    NODE,
    interfaces=(Interface("eth0", 1, 2, 3, 4),),
    pods=(replace(POD, sandbox="pause"),),
)
ONE = "/kubepods/podu1/abc"
NET = """Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo: 9 9 9 9 0 0 0 0 9 9 9 9 0 0 0 0
  eth0: 100 10 1 2 0 0 0 0 200 20 3 4 0 0 0 0
"""
LIMITS = """Limit                     Soft Limit           Hard Limit           Units
Max cpu time              unlimited            unlimited            seconds
Max open files            1024                 524288               files
"""
V2 = {
    "cpu.stat": "usage_usec 9\nuser_usec 1500000\nsystem_usec 500000\nnr_periods 10\nnr_throttled 4\n"
    "throttled_usec 250000\n",
    "cpu.max": "20000 100000\n",
    "cpu.weight": "1\n",
    "memory.stat": "anon 1\nfile 4096\nfile_mapped 100\nkernel 50\nactive_file 30\ninactive_file 40\npgfault 7\n"
    "pgmajfault 2\n",
    "memory.max": "80000000\n",
    "memory.low": "0\n",
    "memory.peak": "5000\n",
    "memory.events": "low 0\nhigh 0\nmax 3\noom 1\noom_kill 1\n",
    "memory.swap.max": "max\n",
    "memory.swap.current": "0\n",
    "pids.current": "2\n",
    "pids.max": "max\n",
    "io.stat": "8:0 rbytes=10 wbytes=20 rios=1 wios=2 dbytes=0 dios=0\n",
}
V1 = {
    "cpu": {
        "cpuacct.stat": "user 150\nsystem 50\n",
        "cpu.stat": "nr_periods 10\nnr_throttled 4\nthrottled_time 250000000\n",
        "cpu.cfs_quota_us": "20000\n",
        "cpu.cfs_period_us": "100000\n",
        "cpu.shares": "2\n",
    },
    "memory": {
        "memory.stat": "cache 1\npgfault 7\npgmajfault 2\ntotal_cache 4096\ntotal_mapped_file 100\n"
        "total_active_file 30\ntotal_inactive_file 40\ntotal_swap 0\ntotal_pgfault 7\ntotal_pgmajfault 2\n",
        "memory.limit_in_bytes": "80000000\n",
        "memory.soft_limit_in_bytes": "9223372036854771712\n",
        "memory.memsw.limit_in_bytes": "9223372036854771712\n",
        "memory.max_usage_in_bytes": "5000\n",
        "memory.failcnt": "3\n",
        "memory.kmem.usage_in_bytes": "50\n",
        "memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n",
    },
    "pids": {"pids.current": "2\n", "pids.max": "max\n"},
    "blkio": {
        "blkio.throttle.io_service_bytes": "8:0 Read 10\n8:0 Write 20\n8:0 Discard 0\nTotal 30\n",
        "blkio.throttle.io_serviced": "8:0 Read 1\n8:0 Write 2\n8:0 Discard 0\nTotal 3\n",
    },
}


def written(root: Path, name: str, files: Mapping[str, str]) -> None:
    place = root / name.lstrip("/")
    place.mkdir(parents=True, exist_ok=True)
    for file, content in files.items():
        (place / file).write_text(content)


@pytest.fixture(params=["v2", "v1"])
def counts(request: pytest.FixtureRequest, tmp_path: Path) -> Mapping[str, Counts]:
    """One pod with one container, in either version's cgroups."""
    root, proc = tmp_path / "cgroup", tmp_path / "proc"
    trees = {"": V2} if request.param == "v2" else V1
    root.mkdir()
    if request.param == "v2":
        (root / "cgroup.controllers").write_text("cpu memory pids io\n")
    for tree, files in trees.items():
        name = "cpu,cpuacct" if tree == "cpu" else tree
        written(root / name, "", {"cgroup.procs": ""})
        written(root / name, "/kubepods/podu1", files)
        written(root / name, "/kubepods/podu1/pause", {"cgroup.procs": "10\n"})
        written(root / name, ONE, {**files, "cgroup.procs": "11\n12\n"})
    for pid in ("10", "11", "12"):
        written(proc, pid, {"limits": LIMITS})
        written(proc, f"{pid}/net", {"dev": NET})
        (proc / pid / "fd").mkdir()
        (proc / pid / "fd/0").symlink_to("/dev/null")
        (proc / pid / "fd/1").symlink_to("socket:[1]")
    written(proc, "net", {"dev": NET})
    return counts_of(FOUND, Cgroups("/kubepods", root), proc)


type Samples = Mapping[tuple[str, str], list[tuple[Mapping[str, str], float]]]


def told(counts: Mapping[str, Counts]) -> Samples:
    """By the metric and the cgroup."""
    found: dict[tuple[str, str], list[tuple[Mapping[str, str], float]]] = {}
    said = text(cadvisor.families(FOUND, HOST, counts))
    names = [line.split()[2] for line in said.splitlines() if line.startswith("# TYPE")]
    assert len(names) == len(set(names)), "a family is told once"
    for family in text_string_to_metric_families(said):
        for sample in family.samples:
            # The parser calls every counter _total, as not all are.
            name = sample.name if sample.name in names else sample.name.removesuffix("_total")
            key = name, sample.labels.get("id", "")
            found.setdefault(key, []).append((sample.labels, sample.value))
    return found


def plain(samples: Samples, name: str, cgroup: str = ONE) -> float:
    ((_labels, value),) = samples[name, cgroup]
    return value


def test_a_container_has_what_upstreams_has(counts: Mapping[str, Counts]) -> None:
    samples = told(counts)

    assert {name: plain(samples, name) for name in EXPECTED} == EXPECTED
    ((labels, _value),) = samples["container_spec_cpu_quota", ONE]
    assert labels == {
        "id": ONE, "pod": "web", "namespace": "default", "container": "c", "name": "abc", "image": "busybox:1",
    }  # fmt: skip


EXPECTED = {
    "container_cpu_usage_seconds_total": 2.5,
    "container_cpu_user_seconds_total": 1.5,
    "container_cpu_system_seconds_total": 0.5,
    "container_cpu_cfs_periods_total": 10,
    "container_cpu_cfs_throttled_periods_total": 4,
    "container_cpu_cfs_throttled_seconds_total": 0.25,
    "container_spec_cpu_period": 100000,
    "container_spec_cpu_quota": 20000,
    "container_spec_cpu_shares": 2,
    "container_spec_memory_limit_bytes": 80000000,
    "container_spec_memory_swap_limit_bytes": 0,
    "container_spec_memory_reservation_limit_bytes": 0,
    "container_memory_usage_bytes": 2000,
    "container_memory_working_set_bytes": 1500,
    "container_memory_rss": 700,
    "container_memory_cache": 4096,
    "container_memory_mapped_file": 100,
    "container_memory_swap": 0,
    "container_memory_kernel_usage": 50,
    "container_memory_max_usage_bytes": 5000,
    "container_memory_total_active_file_bytes": 30,
    "container_memory_total_inactive_file_bytes": 40,
    "container_memory_failcnt": 3,
    "container_oom_events_total": 1,
    "container_threads": 2,
    "container_threads_max": 0,
    "container_processes": 2,
    "container_file_descriptors": 4,
    "container_sockets": 2,
    "container_ulimits_soft": 1024,
    "container_fs_usage_bytes": 10,
    "container_fs_reads_bytes_total": 10,
    "container_fs_reads_total": 1,
    "container_fs_writes_bytes_total": 20,
    "container_fs_writes_total": 2,
    "container_start_time_seconds": 90,
    "container_last_seen": 100,
}


def test_labels_say_of_what_a_value_is(counts: Mapping[str, Counts]) -> None:
    samples = told(counts)

    def labelled(name: str, *labels: str, cgroup: str = ONE) -> set[tuple[float | str, ...]]:
        return {(*(found[one] for one in labels), value) for found, value in samples[name, cgroup]}

    assert labelled("container_cpu_usage_seconds_total", "cpu") == {("total", 2.5)}
    assert labelled("container_ulimits_soft", "ulimit") == {("max_open_files", 1024)}
    assert labelled("container_memory_failures_total", "failure_type", "scope") == {
        ("pgfault", "container", 7), ("pgmajfault", "container", 2),
        ("pgfault", "hierarchy", 7), ("pgmajfault", "hierarchy", 2),
    }  # fmt: skip
    assert labelled("container_blkio_device_usage_total", "device", "major", "minor", "operation") == {
        ("/dev/sda", "8", "0", "Read", 10), ("/dev/sda", "8", "0", "Write", 20), ("/dev/sda", "8", "0", "Discard", 0),
    }  # fmt: skip
    assert labelled("container_fs_usage_bytes", "device") == {("/dev/vdb", 10)}
    assert labelled("container_fs_limit_bytes", "device", cgroup="/") == {("/dev/vda1", 100)}
    assert labelled("container_fs_inodes_free", "device", cgroup="/") == {("/dev/vda1", 900)}


def test_packets_are_those_of_the_pods_network(counts: Mapping[str, Counts]) -> None:
    samples = told(counts)

    for cgroup in ("/", "/kubepods/podu1"):
        found = {
            name: [(labels["interface"], value) for labels, value in samples[name, cgroup]]
            for name, _cgroup in samples
            if name.startswith("container_network_") and "packets" in name
        }
        assert found == {
            "container_network_receive_packets_total": [("eth0", 10)],
            "container_network_receive_packets_dropped_total": [("eth0", 2)],
            "container_network_transmit_packets_total": [("eth0", 20)],
            "container_network_transmit_packets_dropped_total": [("eth0", 4)],
        }
    ((labels, value),) = samples["container_network_transmit_bytes_total", "/kubepods/podu1"]
    assert (labels["interface"], value) == ("eth0", 3)


def test_a_machine_is_known_by_its_names() -> None:
    samples = told({})

    assert {name: plain(samples, name, "") for name in MACHINE} == MACHINE
    ((labels, _value),) = samples["machine_cpu_sockets", ""]
    assert labels == {"machine_id": "m", "system_uuid": "s", "boot_id": "b"}
    ((labels, _value),) = samples["cadvisor_version_info", ""]
    assert (labels["kernelVersion"], labels["osVersion"]) == ("6.12", "Debian")
    assert plain(samples, "container_memory_working_set_bytes", "/") == 800
    assert plain(samples, "container_processes", "/kubepods/podu1") == 7


MACHINE = {
    "machine_cpu_cores": 4,
    "machine_cpu_physical_cores": 3,
    "machine_cpu_sockets": 2,
    "machine_memory_bytes": 1000,
    "machine_swap_bytes": 7,
    "machine_scrape_error": 0,
    "container_scrape_error": 0,
}


def test_slices_have_the_names_that_the_runtime_gives() -> None:
    pod = replace(POD, cgroup="/kubepods.slice/kubepods-podu1.slice")

    said = text(cadvisor.families(replace(NODE, pods=(pod,)), HOST, {}))

    assert 'id="/kubepods.slice/kubepods-podu1.slice/cri-containerd-abc.scope"' in said


def test_what_is_gone_meanwhile_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").write_text("cpu\n")

    samples = told(counts_of(FOUND, Cgroups("/kubepods", tmp_path), tmp_path / "proc"))

    assert ("container_spec_cpu_period", ONE) not in samples
    assert ("container_processes", ONE) not in samples
    assert plain(samples, "container_memory_usage_bytes") == 2000


def test_limits_of_open_files_are_read() -> None:
    assert open_files(LIMITS) == 1024
    assert open_files("Max open files            unlimited            unlimited            files\n") == -1
    assert open_files("") is None


@pytest.fixture
def disks(tmp_path: Path) -> Path:
    (tmp_path / "8:0").mkdir()
    (tmp_path / "8:0/uevent").write_text("MAJOR=8\nMINOR=0\nDEVNAME=sda\nDEVTYPE=disk\n")
    return tmp_path


def test_disks_are_named_as_below_dev(disks: Path) -> None:
    assert device(8, 0, disks) == "/dev/sda"
    assert device(8, 1, disks) == "8:1"


def test_a_file_system_is_named_by_what_it_is_on(tmp_path: Path) -> None:
    number = tmp_path.stat().st_dev
    (tmp_path / "self").mkdir()
    line = f"36 35 {os.major(number)}:{os.minor(number)} / / rw,noatime master:1 - ext4 /dev/vda1 rw"
    strange = b"23 35 0:41 / /pods/\xff\x0c/x rw - tmpfs tmpfs rw\n"
    (tmp_path / "self/mountinfo").write_bytes(
        strange + f"22 35 0:5 / /proc rw - proc proc rw\n{line}\n".encode()
    )

    assert source(tmp_path, tmp_path) == "/dev/vda1"
    (tmp_path / "self/mountinfo").write_text("")
    assert source(tmp_path, tmp_path) == ""
