"""What is in use, in the forms in which it is told."""

import os
from dataclasses import replace
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from kybern.daemon.flags import shown_duration as spelled
from kybern.kubelet.configz import configz
from kybern.kubelet.machine import Identity
from kybern.kubelet.node_logs import inside, listing
from kybern.kubelet.settings import Settings
from kybern.kubelet.stats import cadvisor, resource, stalls
from kybern.kubelet.stats.cadvisor import Host
from kybern.kubelet.stats.exposition import Family, Sample, text
from kybern.kubelet.stats.summary import summary
from kybern.kubelet.stats.trees import tree
from kybern.kubelet.stats.use import (
    ContainerUse,
    Cpu,
    Disk,
    FileSystem,
    Interface,
    Memory,
    NodeUse,
    PodUse,
    Stall,
    Stalls,
    SystemUse,
    VolumeUse,
)

CPU, MEMORY = Cpu(100.0, 2_500_000_000, 1_000_000), Memory(100.0, 2000, 1500, 700, 5, 1)
FS = FileSystem(100.0, 60, 100, 900, 1000)
ONE = ContainerUse("c", "abc", 90.0, CPU, MEMORY, Disk(100.0, 10, 2), Disk(100.0, 5, 1), "busybox:1")
POD = PodUse(
    "u1", "web", "default", 80.0, CPU, MEMORY, (Interface("eth0", 1, 2, 3, 4),), 7, (ONE,),
    volumes={"v": Disk(100.0, 20, 4), "memory": Disk(100.0, 500, 9)},
    local=frozenset({"v"}), claims={"claim": "data"},
    claimed={"claim": VolumeUse(100.0, 10, 6, 4)}, other=Disk(100.0, 1, 1), cgroup="/kubepods/podu1",
)  # fmt: skip
NODE = NodeUse(
    "n1", 100.0, 50.0, CPU, Memory(100.0, 900, 800, available=200), 1000, FS, FS, Disk(100.0, 30, 3),
    dedicated_image_fs=False, processes=200, most_processes=32768, pods=(POD,),
    system=(SystemUse("kubelet", 50.0, CPU, MEMORY), SystemUse("pods", 50.0, None, MEMORY)),
)  # fmt: skip


def test_what_of_a_disk_a_pod_uses_is_summed_once() -> None:
    assert POD.disk() == Disk(100.0, 35, 7)
    assert POD.ephemeral == Disk(100.0, 36, 8)
    assert POD.disk(rootfs=False, volumes=False) == Disk(100.0, 5, 1)


def test_the_summary_has_what_metrics_servers_and_people_read() -> None:
    found = summary(NODE)

    node, (pod,) = found["node"], found["pods"]
    assert node["nodeName"] == "n1"
    assert node["memory"]["availableBytes"] == 200
    assert node["fs"] == {
        "time": "1970-01-01T00:01:40Z", "availableBytes": 60, "capacityBytes": 100, "usedBytes": 40,
        "inodesFree": 900, "inodes": 1000, "inodesUsed": 100,
    }  # fmt: skip
    assert node["runtime"]["imageFs"]["usedBytes"] == 30
    assert node["rlimit"] == {"time": "1970-01-01T00:01:40Z", "maxpid": 32768, "curproc": 200}
    kubelet, pods = node["systemContainers"]
    assert (kubelet["name"], kubelet["startTime"]) == ("kubelet", "1970-01-01T00:00:50Z")
    assert kubelet["cpu"]["usageNanoCores"] == 1_000_000
    assert kubelet["memory"]["workingSetBytes"] == 1500
    assert (pods["name"], pods["memory"]["usageBytes"]) == ("pods", 2000)
    assert pod["podRef"] == {"name": "web", "namespace": "default", "uid": "u1"}
    assert pod["cpu"] == {
        "time": "1970-01-01T00:01:40Z", "usageCoreNanoSeconds": 2_500_000_000, "usageNanoCores": 1_000_000,
    }  # fmt: skip
    assert pod["ephemeral-storage"]["usedBytes"] == 36
    assert pod["network"]["rxBytes"] == 1
    assert pod["process_stats"] == {"process_count": 7}
    assert {volume["name"]: volume.get("pvcRef") for volume in pod["volume"]} == {
        "v": None, "memory": None, "claim": {"name": "data", "namespace": "default"},
    }  # fmt: skip
    # What a driver does not say is left out.
    (claimed,) = [volume for volume in pod["volume"] if volume["name"] == "claim"]
    assert (claimed["capacityBytes"], claimed["usedBytes"]) == (10, 4)
    assert "inodes" not in claimed
    assert pod["containers"][0]["logs"]["usedBytes"] == 5


def test_only_cpu_and_memory() -> None:
    found = summary(NODE, only_cpu_and_memory=True)

    assert set(found["node"]) == {"nodeName", "startTime", "cpu", "memory", "systemContainers"}
    assert set(found["pods"][0]) == {"podRef", "startTime", "containers", "cpu", "memory"}
    assert set(found["pods"][0]["containers"][0]) == {"name", "startTime", "cpu", "memory"}


def test_resource_metrics_can_be_read() -> None:
    told = text(resource.families(NODE))

    values = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(told)
        for sample in family.samples
    }
    assert values["container_cpu_usage_seconds_total", "c", "default", "web"] == 2.5
    assert values["container_memory_working_set_bytes", "c", "default", "web"] == 1500
    assert values["container_start_time_seconds", "c", "default", "web"] == 90
    assert values["pod_memory_working_set_bytes", "default", "web"] == 1500
    assert values[("node_memory_working_set_bytes",)] == 800
    assert values[("resource_scrape_error",)] == 0
    assert "node_cpu_usage_seconds_total 2.5 100000\n" in told


def test_what_could_not_be_measured_is_told() -> None:
    told = text(resource.families(None))

    assert "resource_scrape_error 1\n" in told
    assert "node_cpu" not in told


def test_labels_are_escaped_and_numbers_exact() -> None:
    family = Family("m", "gauge", "about", [Sample({"a": 'x"\\\n'}, 1e18), Sample({}, 0.1)])

    assert text([family]) == '# HELP m about\n# TYPE m gauge\nm{a="x\\"\\\\\\n"} 1000000000000000000\nm 0.1\n'


def test_a_tree_is_counted_once_and_without_following(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d/file").write_bytes(b"x" * 100_000)
    os.link(tmp_path / "d/file", tmp_path / "again")
    (tmp_path / "link").symlink_to("/usr")

    found = tree(tmp_path)

    assert 100_000 <= found.used < 200_000
    assert found.inodes == 4
    assert tree(tmp_path / "nosuch").used == 0


def test_the_configuration_in_force_is_told_in_its_own_words() -> None:
    found = configz(Settings(max_pods=7, request_timeout=90.0))["kubeletconfig"]

    assert found["kind"] == "KubeletConfiguration"
    assert found["maxPods"] == 7
    assert found["runtimeRequestTimeout"] == "1m30s"
    assert found["authentication"]["webhook"]["enabled"] is True
    assert [spelled(each) for each in (0.0, 0.1, 10.0, 7200.0)] == ["0s", "100ms", "10s", "2h0m0s"]


def test_the_nodes_logs_are_listed_and_nothing_beside_them(tmp_path: Path) -> None:
    root = tmp_path / "log"
    (root / "pods").mkdir(parents=True)
    (root / "a&b").touch()
    (root / "out").symlink_to("/etc")

    assert '<a href="a%26b">a&amp;b</a>\n<a href="out/">' in listing(root)
    assert inside(root, "../x") is None
    assert inside(root, "out/passwd") is None
    assert inside(root, "pods/") == root / "pods"


PRESSURE = """some avg10=1.50 avg60=0.25 avg300=0.00 total=2500000
full avg10=0.10 avg60=0.00 avg300=0.00 total=500000
"""
WAITED = Stalls(Stall(1.5, 0.25, 0.0, 2_500_000), Stall(0.1, 0.0, 0.0, 500_000))


def test_stalls_are_read_where_the_kernel_counts_them(tmp_path: Path) -> None:
    (tmp_path / "cpu.pressure").write_text(PRESSURE.splitlines()[0])
    (tmp_path / "memory.pressure").write_text(PRESSURE)
    (tmp_path / "io.pressure").write_text("")

    assert stalls.read(tmp_path) == {"cpu": Stalls(WAITED.some, Stall()), "memory": WAITED}
    assert stalls.read(tmp_path / "nosuch") == {}


def test_stalls_are_told_as_upstream_tells_them() -> None:
    waited = {"cpu": WAITED, "memory": WAITED, "io": WAITED}
    one = replace(POD, containers=(replace(ONE, stalls=waited),), stalls=waited)
    found = summary(replace(NODE, stalls=waited, pods=(one,)))

    pod = found["pods"][0]
    psi = {
        "full": {"total": 500_000, "avg10": 0.1, "avg60": 0.0, "avg300": 0.0},
        "some": {"total": 2_500_000, "avg10": 1.5, "avg60": 0.25, "avg300": 0.0},
    }
    for told in (found["node"], pod, pod["containers"][0]):
        assert told["cpu"]["psi"] == told["memory"]["psi"] == told["io"]["psi"] == psi
    assert "io" not in summary(NODE)["node"]

    page = text(cadvisor.families(replace(NODE, pods=(one,)), Host(Identity(*"msbkoa"), 2), {}))
    values = {
        sample.name: sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if sample.labels.get("container") == "c"
    }
    assert values["container_pressure_io_waiting_seconds_total"] == 2.5
    assert values["container_pressure_cpu_stalled_seconds_total"] == 0.5
