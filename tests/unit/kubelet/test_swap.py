"""How much a container may swap, by its class and by what it asks for."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from kybern.api.core_v1 import Container, Pod, ResourceRequirements
from kybern.api.core_v1 import ContainerResizePolicy as Policy
from kybern.daemon.run import Fatal
from kybern.kubelet import machine
from kybern.kubelet.configuration import read
from kybern.kubelet.flags import FLAGS
from kybern.kubelet.spec import Machine, container_resources
from kybern.kubelet.stats.resource import families
from kybern.kubelet.stats.summary import summary
from kybern.kubelet.stats.use import ContainerUse, PodUse, SwapUse
from kybern.kubelet.swap import LIMITED, NONE, Swap, keeps, limit, share
from kybern.kubelet.volumes.tmpfs import keeps_from_swap
from tests.unit.kubelet.making import container, pod
from tests.unit.kubelet.using import node_use

GB = 1 << 30
NODE = Swap(LIMITED, 4 * GB, 80 * GB, controlled=True)


def asking(request: str = "", most: str = "", **more: Any) -> Container:
    requests = {"memory": request} if request else {}
    limits = {"memory": most} if most else {}
    return container("c", resources=ResourceRequirements(requests=requests, limits=limits), **more)


@pytest.mark.parametrize(
    ("asked", "memory", "total", "expected"),
    # Those of upstream's own test.
    [(1, 80, 4, 53687091), (2, 40, 2, 107374182), (5, 150, 40, 1431655765), (90, 80, 4, 0), (1, 0, 4, 0)],
)
def test_the_part_of_the_swap_is_that_of_the_memory(
    asked: int, memory: int, total: int, expected: int
) -> None:
    assert share(asked * GB, Swap(LIMITED, total * GB, memory * GB)) == expected


@pytest.mark.parametrize(
    ("of", "swap", "v2", "expected"),
    [
        (pod(asking("1Gi", "2Gi")), NODE, True, 53687091),
        (pod(asking("1Gi")), NODE, True, 53687091),
        (pod(asking("1Gi")), NODE, False, 0),
        (pod(asking("1Gi")), Swap(NONE, 4 * GB, 80 * GB, controlled=True), True, 0),
        (pod(asking("1Gi")), Swap(LIMITED, 4 * GB, 80 * GB, controlled=False), True, 0),
        (pod(asking("1Gi", "1Gi")), NODE, True, 0),
        (pod(asking()), NODE, True, 0),
        (pod(asking("1Gi"), priority=2_000_000_000), NODE, True, 0),
    ],
)
def test_only_burstable_containers_below_their_limit_swap(
    of: Pod, swap: Swap, v2: bool, expected: int
) -> None:
    assert limit(of, of.spec.containers[0], swap, v2=v2) == expected


def test_the_runtime_is_told_for_each_version_of_cgroups() -> None:
    one = asking("1Gi", "2Gi")
    v2 = container_resources(pod(one), one, Machine(swap=NODE, cgroup_v2=True))
    none = container_resources(pod(one), one, Machine(swap=Swap(NONE, controlled=True), cgroup_v2=True))
    v1 = container_resources(pod(one), one, Machine(swap=NODE))
    uncontrolled = container_resources(pod(one), one, Machine(cgroup_v2=True))

    assert (v2.unified["memory.swap.max"], v2.memory_swap_limit_in_bytes) == ("53687091", 0)
    assert none.unified["memory.swap.max"] == "0"
    assert ("memory.swap.max" in v1.unified, v1.memory_swap_limit_in_bytes) == (False, 2 * GB)
    assert ("memory.swap.max" in uncontrolled.unified, uncontrolled.memory_swap_limit_in_bytes) == (False, 0)


def test_memory_of_a_container_that_swaps_does_not_change_while_it_runs() -> None:
    before, after = pod(asking("1Gi")), pod(asking("2Gi"))
    anew = (Policy(resource_name="memory", restart_policy="RestartContainer"),)

    assert keeps(after, before, NODE, v2=True) == "In-place resize of containers with swap is not supported."
    assert keeps(pod(asking("2Gi", resize_policy=anew)), before, NODE, v2=True) == ""
    assert keeps(after, before, NODE, v2=False) == ""
    assert keeps(before, before, NODE, v2=True) == ""


def test_whether_the_kernel_limits_swap_is_seen_in_our_own_cgroup(tmp_path: Path) -> None:
    own = tmp_path / "system.slice/kubelet.service"
    own.mkdir(parents=True)
    (tmp_path / "cgroup.controllers").write_text("memory")
    told = "0::/system.slice/kubelet.service\n"

    assert not machine.limits_swap(tmp_path, told)
    (own / "memory.swap.max").write_text("max")
    assert machine.limits_swap(tmp_path, told)

    old = tmp_path / "v1/memory/user.slice"
    old.mkdir(parents=True)
    told = "5:memory:/user.slice\n3:cpu,cpuacct:/\n"
    assert not machine.limits_swap(tmp_path / "v1", told)
    (old / "memory.memsw.limit_in_bytes").write_text("1")
    assert machine.limits_swap(tmp_path / "v1", told)


def test_the_behavior_is_one_of_upstreams(tmp_path: Path) -> None:
    def told(behavior: str) -> str:
        file = tmp_path / "config.yaml"
        file.write_text(
            "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n"
            f"authorization: {{mode: AlwaysAllow}}\nmemorySwap: {{swapBehavior: {behavior}}}\n"
        )
        return read(FLAGS.read(["--config", str(file)])).swap_behavior

    assert [told(one) for one in (LIMITED, NONE, '""')] == [LIMITED, NONE, ""]
    with pytest.raises(Fatal, match='"UnlimitedSwap" must be one of: "", "LimitedSwap" or "NoSwap"'):
        told("UnlimitedSwap")


def test_what_is_swapped_is_told() -> None:
    one = ContainerUse("c", "c1", 0.0, None, None, swap=SwapUse(5.0, 100, 900))
    other = ContainerUse("d", "d1", 0.0, None, None, swap=SwapUse(6.0, 10))
    pod_use = PodUse("u1", "web", "default", containers=(one, other))
    found = dataclasses.replace(node_use(pod_use), swap=SwapUse(7.0, 4000, 6000))

    told = summary(found, only_cpu_and_memory=True)
    assert told["node"]["swap"]["swapUsageBytes"] == 4000
    assert told["pods"][0]["swap"] == {
        "time": "1970-01-01T00:00:06Z", "swapUsageBytes": 110, "swapAvailableBytes": 900,
    }  # fmt: skip
    assert told["pods"][0]["containers"][1]["swap"] == {
        "time": "1970-01-01T00:00:06Z", "swapUsageBytes": 10,
    }  # fmt: skip

    metrics = {family.name: [sample.value for sample in family.samples] for family in families(found)}
    assert metrics["container_swap_usage_bytes"] == [100, 10]
    assert metrics["container_swap_limit_bytes"] == [1000]
    assert metrics["node_swap_usage_bytes"] == [4000]
    assert metrics["pod_swap_usage_bytes"] == [110]


@pytest.mark.parametrize(
    ("release", "uids", "expected"),
    [
        ("6.4.0", "0 0 4294967295", True),
        ("6.18.44-fc", "0          0 4294967295", True),
        ("6.3.9", "0 0 4294967295", False),
        ("6.12.1", "0 100000 65536", False),
        ("strange", "0 0 4294967295", False),
    ],
)
def test_what_is_in_memory_stays_there_where_the_kernel_can(release: str, uids: str, expected: bool) -> None:
    assert keeps_from_swap(release, uids) == expected
