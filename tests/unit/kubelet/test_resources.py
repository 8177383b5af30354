"""Requests and limits become numbers for the kernel."""

from typing import Any

import pytest

from kybern.api.core_v1 import Container, ResourceRequirements
from kybern.kubelet.resources import cgroup_of, oom_score, qos, quota, request_of, shares, total
from tests.unit.kubelet.making import container, pod

GIB = 1024**3


type Amounts = dict[str, str]


def sized(
    name: str = "c", limits: Amounts | None = None, requests: Amounts | None = None, **more: Any
) -> Container:
    resources = ResourceRequirements(limits=limits or {}, requests=requests or {})
    return container(name, resources=resources, **more)


FULL = {"cpu": "500m", "memory": "64Mi"}


@pytest.mark.parametrize(("milli", "result"), [(0, 2), (1, 2), (500, 512), (1000, 1024), (10**9, 262144)])
def test_thousandths_of_a_cpu_become_shares(milli: int, result: int) -> None:
    assert shares(milli) == result


@pytest.mark.parametrize(("milli", "result"), [(0, 0), (1, 1000), (500, 50_000), (2000, 200_000)])
def test_a_limit_becomes_a_quota(milli: int, result: int) -> None:
    assert quota(milli) == result


def test_classes_follow_from_requests_and_limits() -> None:
    assert qos(pod(container())) == "BestEffort"
    assert qos(pod(sized(limits=FULL))) == "Guaranteed"
    assert qos(pod(sized(limits=FULL), container("two"))) == "Burstable"
    assert qos(pod(sized(requests={"cpu": "1"}))) == "Burstable"


def test_cgroups_are_named_after_class_and_uid() -> None:
    assert cgroup_of(pod(container())) == "/kubepods/besteffort/podu1"
    assert cgroup_of(pod(sized(limits=FULL))) == "/kubepods/podu1"


def test_who_asked_for_little_goes_first() -> None:
    best, guaranteed = pod(container()), pod(sized(limits=FULL))
    small, large = sized(requests={"memory": "1Gi"}), sized(requests={"memory": "3Gi"})

    assert oom_score(best, container(), 4 * GIB) == 1000
    assert oom_score(guaranteed, guaranteed.spec.containers[0], 4 * GIB) == -997
    assert oom_score(pod(small), small, 4 * GIB) == 750
    assert oom_score(pod(large), large, 4 * GIB) == 250
    for name, priority, score in (("node", 2_000_001_000, -997), ("cluster", 2_000_000_000, 750)):
        needed = pod(small, priority=priority, priority_class_name=f"system-{name}-critical")
        assert oom_score(needed, small, 4 * GIB) == score


def test_a_pod_asks_for_its_containers_or_for_its_largest_init_container() -> None:
    one, two = sized("one", requests={"cpu": "100m"}), sized("two", requests={"cpu": "200m"})
    init = sized("init", requests={"cpu": "1"})
    side = sized("side", requests={"cpu": "50m"}, restart_policy="Always")

    assert request_of(pod(one, two), "cpu") == 300
    assert request_of(pod(one, two, init_containers=(init,)), "cpu") == 1000
    assert request_of(pod(one, two, init_containers=(side, init)), "cpu") == 1050
    assert request_of(pod(one, two, init_containers=(side,)), "cpu") == 350


def test_a_pod_is_limited_only_when_all_of_it_is() -> None:
    limited, free = sized("one", limits=FULL), container("two")

    assert total(pod(limited)).memory_limit == 64 * 1024**2
    assert total(pod(limited)).cpu_limit == 500
    assert total(pod(limited, free)).memory_limit is None
