"""Counting what namespaces hold."""

from datetime import UTC, datetime, timedelta

import pytest

from kybern.api.apps_v1 import Deployment
from kybern.api.core_v1 import (
    ConfigMap,
    PersistentVolumeClaim,
    Pod,
    PodSpec,
    PodStatus,
    ResourceQuota,
    ResourceQuotaSpec,
    ResourceQuotaStatus,
    Service,
)
from kybern.api.meta_v1 import ObjectMeta
from kybern.api.resource_v1 import (
    DeviceClaim,
    DeviceRequest,
    ExactDeviceRequest,
    ResourceClaim,
    ResourceClaimSpec,
)
from kybern.controllers.resourcequota import (
    MANY,
    PAUSE,
    SETTLED,
    Early,
    Excess,
    Known,
    State,
    bounds,
    count,
    diff,
)
from kybern.loop.controller import Action, Again, Key, PatchStatus
from kybern.machinery.struct import Object, replace


def quota(used: dict[str, str] | None = None, scopes: tuple[str, ...] = (), **hard: str) -> ResourceQuota:
    spelled = {key.replace("__", "/").replace("_", "."): value for key, value in hard.items()}
    status = ResourceQuotaStatus(hard=spelled, used=used) if used is not None else ResourceQuotaStatus()
    return ResourceQuota(
        metadata=ObjectMeta(name="q", namespace="x"),
        spec=ResourceQuotaSpec(hard=spelled, scopes=scopes),
        status=status,
    )


NOW = datetime(2026, 1, 1, tzinfo=UTC)
KEY = Key("x", "q")


def settled(wanted: ResourceQuota, *held: Object) -> list[Action]:
    """What the controller does when nothing has changed for long."""
    excess, counts = Excess(), count(wanted, held)
    excess.settle(KEY, wanted, counts, NOW)
    gone, _ = excess.settle(KEY, wanted, counts, NOW + SETTLED)
    return list(diff(State(wanted, counts, gone, waiting=False)))


def counted(wanted: ResourceQuota, *held: Object) -> dict[str, str]:
    (action,) = settled(wanted, *held)
    assert isinstance(action, PatchStatus)
    assert isinstance(action.new, ResourceQuota)
    assert action.new.status.hard == wanted.spec.hard
    return dict(action.new.status.used)


RUNNING, DONE = Pod(), Pod(status=PodStatus(phase="Succeeded"))
ENDING = Pod(spec=PodSpec(active_deadline_seconds=5))


def test_a_new_quota_is_counted_from_nothing() -> None:
    assert counted(quota(pods="2", secrets="1")) == {"pods": "0", "secrets": "0"}


def test_running_pods_count_and_finished_ones_only_as_objects() -> None:
    assert counted(quota(pods="5", count__pods="5"), RUNNING, DONE, RUNNING) == {
        "pods": "2",
        "count/pods": "3",
    }


def test_claims_count_their_devices() -> None:
    request = DeviceRequest(
        name="r", exactly=ExactDeviceRequest(device_class_name="gpu", allocation_mode="ExactCount", count=3)
    )
    claim = ResourceClaim(
        metadata=ObjectMeta(name="c", namespace="x", uid="1"),
        spec=ResourceClaimSpec(devices=DeviceClaim(requests=(request,))),
    )
    wanted = quota(gpu_deviceclass_resource_k8s_io__devices="5")

    assert counted(wanted, claim) == {"gpu.deviceclass.resource.k8s.io/devices": "3"}


def test_scopes_choose_the_pods() -> None:
    assert counted(quota(scopes=("Terminating",), pods="5"), RUNNING, ENDING) == {"pods": "1"}


def test_a_count_that_is_right_is_left_alone() -> None:
    assert settled(quota({"pods": "1"}, pods="5"), RUNNING) == []


def test_the_status_follows_the_bounds() -> None:
    old = quota({"pods": "1"}, pods="5")
    new = replace(old, spec=ResourceQuotaSpec(hard={"pods": "9"}))

    assert counted(new, RUNNING) == {"pods": "1"}


def test_what_cannot_be_counted_here_keeps_the_servers_count() -> None:
    assert counted(quota({"count/x.example.com": "3"}, count__x_example_com="5", pods="1")) == {
        "count/x.example.com": "3",
        "pods": "0",
    }


def test_what_is_gone_is_taken_away() -> None:
    assert counted(quota({"pods": "3"}, pods="5"), RUNNING) == {"pods": "1"}


def after(seconds: float, excess: Excess, charged: str, *held: Object) -> tuple[str, bool]:
    """What the controller lets the charge be at a time, and whether it looks again."""
    wanted = quota({"pods": charged}, pods="9")
    counts = count(wanted, held)
    gone, waiting = excess.settle(KEY, wanted, counts, NOW + timedelta(seconds=seconds))
    actions = list(diff(State(wanted, counts, gone, waiting)))
    patches = [one.new for one in actions if isinstance(one, PatchStatus)]
    used = patches[0].status.used["pods"] if patches and isinstance(patches[0], ResourceQuota) else charged
    return used, Again(3.0) in actions


def test_a_charge_whose_object_is_on_its_way_is_not_taken_away() -> None:
    excess = Excess()

    seen = [
        after(0, excess, "2", RUNNING),
        after(1, excess, "2", RUNNING, RUNNING),
        after(4, excess, "2", RUNNING, RUNNING),
    ]

    assert seen == [("2", True), ("2", False), ("2", False)]


def test_under_load_only_what_was_too_much_all_the_time_is_taken_away() -> None:
    excess = Excess()

    seen = [
        after(0, excess, "4", RUNNING),
        after(1, excess, "5", RUNNING, RUNNING, RUNNING),
        after(3, excess, "7", RUNNING, RUNNING, RUNNING),
        after(4, excess, "5", RUNNING, RUNNING, RUNNING, RUNNING, RUNNING),
    ]

    assert seen == [("4", True), ("5", True), ("5", True), ("5", False)]


def test_what_was_never_charged_counts_at_once() -> None:
    assert after(0, Excess(), "1", RUNNING, RUNNING) == ("2", False)


@pytest.mark.parametrize(
    ("kind", "name", "bound"),
    [
        (Pod, "requests.cpu", True),
        (Pod, "services", False),
        (Pod, "requests.storage", False),
        (Pod, "count/pods", True),
        (Service, "services.nodeports", True),
        (Service, "pods", False),
        (ConfigMap, "count/configmaps", True),
        (Deployment, "count/deployments.apps", True),
        (Deployment, "pods", False),
        (PersistentVolumeClaim, "fast.storageclass.storage.k8s.io/requests.storage", True),
        (ResourceClaim, "gpu.deviceclass.resource.k8s.io/devices", True),
        (ResourceClaim, "count/resourceclaims.resource.k8s.io", True),
        (ResourceClaim, "pods", False),
        (Pod, "gpu.deviceclass.resource.k8s.io/devices", False),
    ],
)
def test_only_bounded_kinds_are_looked_at(kind: type[Object], name: str, *, bound: bool) -> None:
    assert bounds(kind, {name: "1"}) == bound


def named(number: int, phase: str = "Running") -> Pod:
    return Pod(
        metadata=ObjectMeta(name=f"p{number}", namespace="x", uid=f"uid-{number}"),
        status=PodStatus(phase=phase),
    )


def test_an_object_is_weighed_again_only_when_it_may_count_otherwise() -> None:
    wanted, known = quota({"pods": "0"}, pods="5"), Known()

    def counted_by(*held: Object) -> str:
        return str(count(wanted, held, known.begin(wanted, NOW))["pods"])

    assert counted_by(named(1), named(2)) == "2"
    old = dict(known.amounts)
    ready = replace(named(1), status=PodStatus(phase="Running", pod_ip="10.0.0.1"))
    assert counted_by(ready, named(2)) == "2"
    assert [known.amounts[uid][1] is old[uid][1] for uid in ("uid-1", "uid-2")] == [True, True]
    assert counted_by(named(1, "Succeeded"), named(2)) == "1"
    assert counted_by(named(2)) == "1"
    assert set(known.amounts) == {"uid-2"}


def test_much_is_counted_at_most_once_a_second() -> None:
    wanted, known = quota({"pods": "0"}, pods="5"), Known()
    few = [named(number) for number in range(3)]
    many = [named(number) for number in range(MANY + 1)]

    count(wanted, few, known.begin(wanted, NOW))
    assert known.left(NOW) == 0
    count(wanted, many, known.begin(wanted, NOW))
    assert known.left(NOW + PAUSE / 4) == 0.75
    assert known.left(NOW + PAUSE) == 0
    assert list(diff(Early(0.75))) == [Again(0.75)]
