"""Pods beyond what records show: how they print, end, change, and share what they ask for."""

import copy
from typing import Any

import pytest

from kybern.api.core_v1.pod import KIND
from kybern.api.rules import qos
from kybern.api.rules.pods import updates
from kybern.api.rules.pods.security import privileged
from kybern.apiserver.generic.parts import PARTS
from kybern.machinery.kind import Raw

CREATED = "2020-01-01T00:00:00Z"
NOW = 1577836800.0 + 90  # a minute and a half later


def pod(*containers: Raw, status: Raw | None = None, **spec: Any) -> Raw:
    found = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p", "namespace": "ns1", "uid": "u-1", "creationTimestamp": CREATED},
        "spec": {
            "containers": list(containers) or [{"name": "c", "image": "i"}],
            "serviceAccountName": "a",
            **spec,
        },
    }
    KIND.rules.default(found)
    found["status"] = status or {"phase": "Running"}
    return found


def cells(raw: Raw) -> list[Any]:
    assert KIND.table is not None
    return KIND.table.cells(raw, NOW)


def running(**more: Any) -> Raw:
    return {"name": "c", "ready": True, "restartCount": 0, "state": {"running": {}}, **more}


def test_a_running_pod_prints_what_kubectl_shows() -> None:
    raw = pod(
        status={
            "phase": "Running",
            "podIPs": [{"ip": "10.0.0.7"}],
            "conditions": [{"type": "Ready", "status": "True"}],
            "containerStatuses": [running()],
        },
        nodeName="n1",
    )

    assert cells(raw) == ["p", "1/1", "Running", "0", "90s", "10.0.0.7", "n1", "<none>", "<none>"]


@pytest.mark.parametrize(
    ("status", "word"),
    [
        ({"phase": "Pending"}, "Pending"),
        ({"phase": "Failed", "reason": "Evicted"}, "Evicted"),
        (
            {"phase": "Pending", "conditions": [{"type": "PodScheduled", "reason": "SchedulingGated"}]},
            "SchedulingGated",
        ),
        (
            {
                "phase": "Running",
                "containerStatuses": [running(state={"waiting": {"reason": "CrashLoopBackOff"}})],
            },
            "CrashLoopBackOff",
        ),
        (
            {"phase": "Failed", "containerStatuses": [running(state={"terminated": {"exitCode": 3}})]},
            "ExitCode:3",
        ),
        (
            {
                "phase": "Failed",
                "containerStatuses": [running(state={"terminated": {"exitCode": 137, "signal": 9}})],
            },
            "Signal:9",
        ),
        (
            {
                "phase": "Running",
                "containerStatuses": [
                    running(),
                    running(state={"terminated": {"reason": "Completed", "exitCode": 0}}),
                ],
            },
            "NotReady",
        ),
        (
            {
                "phase": "Pending",
                "initContainerStatuses": [{"name": "i", "state": {"terminated": {"exitCode": 1}}}],
            },
            "Init:ExitCode:1",
        ),
        (
            {"phase": "Pending", "initContainerStatuses": [{"name": "i", "state": {"running": {}}}]},
            "Init:0/1",
        ),
    ],
)
def test_one_word_says_how_a_pod_is(status: Raw, word: str) -> None:
    raw = pod(initContainers=[{"name": "i", "image": "i"}], status=status)

    assert cells(raw)[2] == word


def test_a_pod_that_goes_prints_so_until_it_has_ended() -> None:
    raw = pod(status={"phase": "Running"})
    raw["metadata"]["deletionTimestamp"] = CREATED
    ended = copy.deepcopy(raw)
    ended["status"] = {"phase": "Succeeded"}

    assert cells(raw)[2] == "Terminating"
    assert cells(ended)[2] == "Succeeded"


def test_restarts_tell_when_the_last_one_was() -> None:
    last = {"terminated": {"exitCode": 1, "finishedAt": "2020-01-01T00:01:00Z"}}
    raw = pod(
        status={"phase": "Running", "containerStatuses": [running(restartCount=2, lastState=last)]},
    )

    assert cells(raw)[3] == "2 (30s ago)"


@pytest.mark.parametrize(
    ("spec", "status", "asked", "grace"),
    [
        ({}, {}, None, 0),
        ({"nodeName": "n"}, {}, None, 30),
        ({"nodeName": "n"}, {}, 5, 5),
        ({"nodeName": "n"}, {}, 0, 0),
        ({"nodeName": "n"}, {}, -1, 1),
        ({"nodeName": "n"}, {"phase": "Succeeded"}, 60, 0),
    ],
)
def test_only_a_pod_that_runs_gets_time_to_end(spec: Raw, status: Raw, asked: int | None, grace: int) -> None:
    raw = pod(**spec)
    raw["status"] = status
    assert KIND.graceful is not None

    assert KIND.graceful(raw, asked) == grace


@pytest.mark.parametrize(
    ("resources", "expected"),
    [
        ({}, "BestEffort"),
        ({"requests": {"cpu": "0"}}, "BestEffort"),
        ({"requests": {"cpu": "1"}}, "Burstable"),
        ({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1", "memory": "1Gi"}}, "Guaranteed"),
        (
            {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1000m", "memory": "1Gi"}},
            "Guaranteed",
        ),
        ({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1", "memory": "1Mi"}}, "Burstable"),
        ({"limits": {"example.com/gpu": "1"}}, "BestEffort"),
    ],
)
def test_the_class_of_a_pod_follows_from_what_it_asks_for(resources: Raw, expected: str) -> None:
    assert qos.class_of({"containers": [{"resources": resources}]}) == expected


def test_the_class_is_of_the_least_certain_container() -> None:
    whole = {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1", "memory": "1Gi"}}

    assert qos.class_of({"containers": [{"resources": whole}, {"resources": {}}]}) == "Burstable"


def test_images_and_deadlines_of_a_pod_may_change() -> None:
    old = pod(activeDeadlineSeconds=100)
    new = copy.deepcopy(old)
    new["spec"]["containers"][0]["image"] = "other"
    new["spec"]["activeDeadlineSeconds"] = 50
    new["spec"]["tolerations"] = [{"key": "k", "operator": "Exists"}]

    assert list(updates.update(new, old)) == []


@pytest.mark.parametrize(
    ("key", "value", "field"),
    [
        ("nodeName", "n2", "spec"),
        ("hostNetwork", True, "spec"),
        ("containers", [], "spec.containers"),
        ("activeDeadlineSeconds", 200, "spec.activeDeadlineSeconds"),
    ],
)
def test_nothing_else_of_a_pod_may_change(key: str, value: Any, field: str) -> None:
    old = pod(activeDeadlineSeconds=100)
    new = copy.deepcopy(old)
    new["spec"][key] = value

    assert field in {cause.field for cause in updates.update(new, old)}


def test_gates_may_only_be_opened() -> None:
    old = pod(schedulingGates=[{"name": "g"}])
    opened, moved = copy.deepcopy(old), copy.deepcopy(old)
    del opened["spec"]["schedulingGates"]
    moved["spec"]["nodeSelector"] = {"a": "b"}

    assert list(updates.update(opened, old)) == []
    assert list(updates.update(moved, old)) == []


def test_a_limit_that_was_set_can_not_be_taken_away_while_the_pod_runs() -> None:
    old = pod({"name": "c", "image": "i", "resources": {"limits": {"cpu": "1"}, "requests": {"cpu": "1"}}})
    grown, freed = copy.deepcopy(old), copy.deepcopy(old)
    grown["spec"]["containers"][0]["resources"]["limits"]["cpu"] = "2"
    freed["spec"]["containers"][0]["resources"] = {"requests": {"cpu": "1"}}

    assert list(updates.resize(grown, old)) == []
    assert [cause.field for cause in updates.resize(freed, old)] == ["spec.containers[0].resources.limits"]


@pytest.mark.parametrize(
    ("before", "after", "known"),
    [
        ({}, {"requests": {"cpu": "1"}}, "BestEffort"),
        (
            {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1", "memory": "1Gi"}},
            {"limits": {"cpu": "2", "memory": "1Gi"}, "requests": {"cpu": "1", "memory": "1Gi"}},
            "Guaranteed",
        ),
    ],
)
@pytest.mark.parametrize("whole", [True, False])
def test_a_pod_stays_in_its_class_when_it_is_resized(
    before: Raw, after: Raw, known: str, *, whole: bool
) -> None:
    old = pod(status={"qosClass": known})
    new = copy.deepcopy(old)
    for one, resources in ((old, before), (new, after)):
        (one["spec"] if whole else one["spec"]["containers"][0])["resources"] = resources

    (cause,) = updates.resize(new, old)

    assert (cause.field, cause.message) == (
        "spec", f'Invalid value: "{known}": Pod QOS Class may not change as a result of resizing'
    )  # fmt: skip


def test_a_pod_as_a_whole_can_be_resized_as_its_containers_can() -> None:
    old = pod(resources={"limits": {"memory": "1Gi", "hugepages-2Mi": "4Mi"}, "requests": {"memory": "1Gi"}})
    grown, freed, others = copy.deepcopy(old), copy.deepcopy(old), copy.deepcopy(old)
    grown["spec"]["resources"]["limits"]["memory"] = "2Gi"
    grown["spec"]["resources"]["limits"]["cpu"] = "1"
    del freed["spec"]["resources"]["limits"]["memory"]
    others["spec"]["resources"]["limits"]["hugepages-2Mi"] = "8Mi"
    others["spec"]["resources"]["requests"]["hugepages-2Mi"] = "8Mi"

    assert PARTS["pods", "resize"].take(grown, old)["spec"]["resources"] == grown["spec"]["resources"]
    assert list(updates.resize(grown, old)) == []
    assert [cause.field for cause in updates.resize(freed, old)] == ["spec.resources.limits"]
    assert {cause.field for cause in updates.resize(others, old)} == {"spec.resources"}


def test_a_server_without_privileges_names_every_container_that_wants_them() -> None:
    raw = pod(
        {"name": "c", "image": "i"}, {"name": "d", "image": "i", "securityContext": {"privileged": True}}
    )

    assert [cause.field for cause in privileged("spec", raw["spec"])] == [
        "spec.containers[1].securityContext.privileged"
    ]


def test_status_writes_keep_the_class_and_name_all_addresses() -> None:
    old = pod(status={"phase": "Pending", "qosClass": "BestEffort"})
    new = copy.deepcopy(old)
    new["status"] = {"phase": "Running", "podIP": "10.0.0.7", "hostIP": "192.0.2.1"}

    KIND.rules.on_status(new, old)

    assert new["status"] == {
        "phase": "Running",
        "qosClass": "BestEffort",
        "podIP": "10.0.0.7",
        "podIPs": [{"ip": "10.0.0.7"}],
        "hostIP": "192.0.2.1",
        "hostIPs": [{"ip": "192.0.2.1"}],
    }
