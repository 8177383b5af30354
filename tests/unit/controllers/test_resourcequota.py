"""Counting what namespaces hold."""

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
from kybern.controllers.resourcequota import State, bounds, diff
from kybern.loop.controller import PatchStatus
from kybern.machinery.struct import Object, replace


def quota(used: dict[str, str] | None = None, scopes: tuple[str, ...] = (), **hard: str) -> ResourceQuota:
    spelled = {key.replace("__", "/").replace("_", "."): value for key, value in hard.items()}
    status = ResourceQuotaStatus(hard=spelled, used=used) if used is not None else ResourceQuotaStatus()
    return ResourceQuota(
        metadata=ObjectMeta(name="q", namespace="x"),
        spec=ResourceQuotaSpec(hard=spelled, scopes=scopes),
        status=status,
    )


def counted(wanted: ResourceQuota, *held: Object) -> dict[str, str]:
    (action,) = diff(State(wanted, held))
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


def test_scopes_choose_the_pods() -> None:
    assert counted(quota(scopes=("Terminating",), pods="5"), RUNNING, ENDING) == {"pods": "1"}


def test_a_count_that_is_right_is_left_alone() -> None:
    assert list(diff(State(quota({"pods": "1"}, pods="5"), (RUNNING,)))) == []


def test_the_status_follows_the_bounds() -> None:
    old = quota({"pods": "1"}, pods="5")
    new = replace(old, spec=ResourceQuotaSpec(hard={"pods": "9"}))

    assert counted(new, RUNNING) == {"pods": "1"}


def test_what_cannot_be_counted_here_keeps_the_servers_count() -> None:
    assert counted(quota({"count/x.example.com": "3"}, count__x_example_com="5", pods="1")) == {
        "count/x.example.com": "3",
        "pods": "0",
    }


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
    ],
)
def test_only_bounded_kinds_are_looked_at(kind: type[Object], name: str, *, bound: bool) -> None:
    assert bounds(kind, {name: "1"}) == bound
