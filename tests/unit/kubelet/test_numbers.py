"""What the kubelet counts of its own work, by upstream's names."""

from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, cast

import grpc.aio
import pytest
from prometheus_client import REGISTRY

from kybern.daemon.run import Fatal
from kybern.kubelet import daemon, numbers
from kybern.kubelet.cri import Runtime, RuntimeFailure
from kybern.kubelet.pleg import Watcher
from kybern.kubelet.settings import Settings
from kybern.kubelet.start import CannotStart
from kybern.kubelet.steps import Steps
from tests.unit.kubelet.making import container, facts, pod, run


def shown(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def growth(name: str, **labels: str) -> Callable[[], float]:
    before = shown(name, **labels)
    return lambda: shown(name, **labels) - before


@dataclass
class One:
    """A worker."""

    gone: bool = False
    stray: bool = False
    static: bool = False
    ending: bool = False
    ended: bool = False


@pytest.mark.parametrize(
    ("worker", "expected"),
    [
        (One(), ("sync", "desired", "")),
        (One(static=True), ("sync", "desired", "true")),
        (One(ending=True), ("terminating", "desired", "")),
        (One(ending=True, ended=True), ("terminated", "desired", "")),
        (One(gone=True, ending=True, static=True), ("terminating", "orphan", "true")),
        (One(gone=True, ending=True, stray=True), ("terminating", "runtime_only", "unknown")),
    ],
)
def test_pods_are_counted_by_how_far_they_are_and_who_wants_them(
    worker: One, expected: tuple[str, str, str]
) -> None:
    assert numbers.lifecycle(worker) == expected


def test_gauges_of_pods_say_what_is_now() -> None:
    """As upstream's test of a mirror pod that ends while the runtime is away looks at them."""
    numbers.count_pods([One(static=True)])
    assert shown("kubelet_working_pods", lifecycle="sync", config="desired", static="true") == 1
    assert shown("kubelet_mirror_pods") == 1
    assert shown("kubelet_desired_pods", static="true") == shown("kubelet_active_pods", static="true") == 1

    numbers.count_pods([One(static=True, gone=True, ending=True)])
    assert shown("kubelet_working_pods", lifecycle="sync", config="desired", static="true") == 0
    assert shown("kubelet_working_pods", lifecycle="terminating", config="orphan", static="true") == 1
    assert shown("kubelet_mirror_pods") == 1
    assert shown("kubelet_desired_pods", static="true") == shown("kubelet_active_pods", static="true") == 0

    numbers.count_pods([])
    assert shown("kubelet_working_pods", lifecycle="terminating", config="orphan", static="true") == 0
    assert shown("kubelet_mirror_pods") == 0


@pytest.mark.parametrize(
    ("method", "name"),
    [
        ("Version", "version"),
        ("RunPodSandbox", "run_podsandbox"),
        ("PodSandboxStatus", "podsandbox_status"),
        ("UpdateContainerResources", "update_container"),
        ("ReopenContainerLog", "reopen_container_log"),
        ("ImageFsInfo", "image_fs_info"),
    ],
)
def test_requests_to_the_runtime_have_upstreams_names(method: str, name: str) -> None:
    assert numbers.operation(method) == name


async def test_requests_to_the_runtime_are_counted_with_those_that_fail() -> None:
    runtime = Runtime("unix:///nowhere")

    async def refuse(_request: Any, timeout: float) -> Any:  # gRPC's own
        raise grpc.aio.AioRpcError(
            grpc.StatusCode.UNAVAILABLE, grpc.aio.Metadata(), grpc.aio.Metadata(), "gone", str(timeout)
        )

    runtime._runtime = SimpleNamespace(StopPodSandbox=refuse)
    every = growth("kubelet_runtime_operations_total", operation_type="stop_podsandbox")
    failed = growth("kubelet_runtime_operations_errors_total", operation_type="stop_podsandbox")
    took = growth("kubelet_runtime_operations_duration_seconds_count", operation_type="stop_podsandbox")

    with pytest.raises(RuntimeFailure):
        await runtime.stop_sandbox("s0")

    assert (every(), failed(), took()) == (1, 1, 1)


async def test_relists_are_measured_from_one_to_the_next() -> None:
    now = 100.0

    async def every() -> dict[str, Any]:
        nonlocal now
        now += 0.25
        return {}

    watcher = Watcher(
        cast("Runtime", SimpleNamespace(all=every)), lambda _uid: None, lambda *_pod: None, lambda: now
    )
    took = growth("kubelet_pleg_relist_duration_seconds_sum")
    between = growth("kubelet_pleg_relist_interval_seconds_sum")
    await watcher.look()
    now += 2.0
    await watcher.look()

    assert took() == pytest.approx(0.5)
    assert between() == pytest.approx(2.25)
    assert shown("kubelet_pleg_last_seen_seconds") > 0


async def test_a_container_that_did_not_start_is_counted_with_its_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def refuse(*_given: object) -> None:
        raise CannotStart("ErrImagePull", "no such image")

    monkeypatch.setattr("kybern.kubelet.steps.Starter", lambda *_given: SimpleNamespace(start=refuse))
    init = container("i")
    of = pod(init_containers=(init,))
    started = growth("kubelet_started_containers_total", container_type="init_container")
    failed = growth(
        "kubelet_started_containers_errors_total", container_type="init_container", code="ErrImagePull"
    )
    nobody: Any = None
    action: Any = SimpleNamespace(container=init, restart=False)

    with pytest.raises(CannotStart):
        await Steps(nobody, nobody)._start(of, action, facts(of, run(init)).actual, {})

    assert (started(), failed()) == (1, 1)


async def test_a_runtime_that_does_not_tell_its_cgroup_driver_is_one_that_loses_support() -> None:
    settings, label = Settings(cgroup_driver="cgroupfs"), {"version": "1.38.0"}
    before = REGISTRY.get_sample_value("kubelet_cri_losing_support", label)

    def telling(driver: str) -> Runtime:
        async def tell() -> str:
            return driver

        return cast("Runtime", SimpleNamespace(cgroup_driver=tell))

    assert await daemon.cgroup_driver(settings, telling("systemd")) == "systemd"
    assert REGISTRY.get_sample_value("kubelet_cri_losing_support", label) == before

    assert await daemon.cgroup_driver(settings, telling("")) == "cgroupfs"
    assert shown("kubelet_cri_losing_support", **label) == 1


@pytest.mark.parametrize("failures", [2, 3])
async def test_a_runtime_that_is_only_starting_is_asked_again_for_its_cgroup_driver(
    failures: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(daemon, "_DRIVER_PAUSE", 0.0)
    asked = 0

    async def tell() -> str:
        nonlocal asked
        asked += 1
        if asked <= failures:
            raise RuntimeFailure("not yet", "UNAVAILABLE")
        return "systemd"

    runtime = cast("Runtime", SimpleNamespace(cgroup_driver=tell))
    if failures < 3:
        assert await daemon.cgroup_driver(Settings(), runtime) == "systemd"
    else:
        with pytest.raises(Fatal, match=r"failed to get runtime config from CRI: not yet"):
            await daemon.cgroup_driver(Settings(), runtime)
    assert asked == 3
