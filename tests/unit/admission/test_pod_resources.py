"""LimitRanges, runtime classes and resizes: what pods ask for."""

from typing import Any

import pytest

from kybern.admission.plugins import (
    limit_ranger,
    node_declared_feature_validator,
    pod_resize_validator,
    runtime_class,
)
from kybern.api.asked import of_pod, with_overhead
from kybern.machinery.kind import Raw
from tests.unit.admission.writes import Objects, admitted, named, stored, write

LIMITS = stored(
    (
        "limitranges",
        named(
            "lr",
            "x",
            spec={
                "limits": [
                    {
                        "type": "Container",
                        "default": {"cpu": "500m", "memory": "256Mi"},
                        "defaultRequest": {"cpu": "250m", "memory": "256Mi"},
                        "min": {"cpu": "100m"},
                        "max": {"cpu": "1", "memory": "1Gi"},
                        "maxLimitRequestRatio": {"cpu": "3"},
                    },
                    {"type": "Pod", "max": {"memory": "1500Mi"}},
                    {"type": "PersistentVolumeClaim", "min": {"storage": "1Gi"}, "max": {"storage": "5Gi"}},
                ]
            },
        ),
    )
)


def pod(*containers: Raw, **spec: Any) -> Raw:
    named_ = [{"name": f"c{at}", "resources": one} for at, one in enumerate(containers)]
    return named("p", "x", spec={"containers": named_, **spec})


def res(requests: str = "", limits: str = "") -> Raw:
    """Resources from words such as ``cpu=1``."""
    pairs = {"requests": requests, "limits": limits}
    return {sort: dict(word.split("=") for word in words.split()) for sort, words in pairs.items() if words}


async def test_limit_ranges_fill_in_what_is_missing_and_say_so() -> None:
    body = pod({}, res("cpu=400m"), initContainers=[{"name": "i"}])

    await limit_ranger.mutate(write("CREATE", "pods", body, lookup=LIMITS))

    full = res("cpu=250m memory=256Mi", "cpu=500m memory=256Mi")
    assert [one["resources"] for one in body["spec"]["containers"]] == [
        full,
        full | res("cpu=400m memory=256Mi"),
    ]
    assert body["spec"]["initContainers"][0]["resources"] == full
    assert body["metadata"]["annotations"] == {
        "kubernetes.io/limit-ranger": (
            "LimitRanger plugin set: cpu, memory request for container c0; cpu, memory limit for container c0; memory"
            " request for container c1; cpu, memory limit for container c1; cpu, memory request for init container i; cpu,"
            " memory limit for init container i"
        )
    }


@pytest.mark.parametrize(
    ("containers", "says"),
    [
        ([{}], ""),
        ([res("cpu=300m", "cpu=600m memory=100Mi")], ""),
        (
            [res("cpu=50m")],
            (
                "[minimum cpu usage per Container is 100m, but request is 50m, cpu max limit to request ratio per Container"
                " is 3, but provided ratio is 10.000000]"
            ),
        ),
        ([res("cpu=2", "cpu=2")], "maximum cpu usage per Container is 1, but limit is 2"),
        (
            [res("cpu=100m", "cpu=1")],
            "cpu max limit to request ratio per Container is 3, but provided ratio is 10.000000",
        ),
        (
            [res("", "memory=2Gi")],
            (
                "[maximum memory usage per Container is 1Gi, but limit is 2Gi, maximum memory usage per Pod is 1500Mi, but"
                " limit is 2Gi]"
            ),
        ),
        (
            [res("", "memory=900Mi"), res("", "memory=900Mi")],
            "maximum memory usage per Pod is 1500Mi, but limit is 1800Mi",
        ),
    ],
)
async def test_limit_ranges_bound_pods(containers: list[Raw], says: str) -> None:
    request = write("CREATE", "pods", pod(*containers), lookup=LIMITS)

    assert await admitted(limit_ranger.PLUGIN, request) == (f'pods "p" is forbidden: {says}' if says else "")


@pytest.mark.parametrize(
    ("limit", "says"),
    [
        ({"min": {"cpu": "1"}}, "minimum cpu usage per Pod is 1. No request is specified"),
        ({"max": {"cpu": "1"}}, "maximum cpu usage per Pod is 1. No limit is specified"),
        (
            {"maxLimitRequestRatio": {"cpu": "2"}},
            "cpu max limit to request ratio per Pod is 2, but no request is specified or request is 0",
        ),
    ],
)
async def test_limit_ranges_make_requests_and_limits_mandatory(limit: Raw, says: str) -> None:
    lookup = stored(("limitranges", named("lr", "x", spec={"limits": [{"type": "Pod", **limit}]})))

    assert says in await admitted(limit_ranger.PLUGIN, write("CREATE", "pods", pod({}), lookup=lookup))


@pytest.mark.parametrize(
    ("size", "says"),
    [
        ("3Gi", ""),
        ("10Gi", "maximum storage usage per PersistentVolumeClaim is 5Gi, but request is 10Gi"),
        ("1Mi", "minimum storage usage per PersistentVolumeClaim is 1Gi, but request is 1Mi"),
    ],
)
async def test_limit_ranges_bound_claims(size: str, says: str) -> None:
    claim = named("c", "x", spec={"resources": {"requests": {"storage": size}}})
    request = write("CREATE", "persistentvolumeclaims", claim, lookup=LIMITS)

    assert await admitted(limit_ranger.PLUGIN, request) == (
        f'persistentvolumeclaims "c" is forbidden: {says}' if says else ""
    )


@pytest.mark.parametrize("where", ["pods", "pods/status"])
async def test_limit_ranges_leave_updates_alone(where: str) -> None:
    body = pod({})

    assert await admitted(limit_ranger.PLUGIN, write("UPDATE", where, body, pod({}), lookup=LIMITS)) == ""
    assert body == pod({})


def test_a_pod_asks_for_its_containers_or_its_thirstiest_start() -> None:
    body = pod(
        res("cpu=1 memory=1Gi"),
        res("cpu=500m"),
        initContainers=[
            {"name": "side", "restartPolicy": "Always", "resources": res("cpu=100m")},
            {"name": "big", "resources": res("cpu=3")},
        ],
        overhead={"cpu": "10m"},
    )

    asked = of_pod(body, "requests")

    assert {name: str(amount) for name, amount in asked.items()} == {"cpu": "3100m", "memory": "1Gi"}
    assert str(with_overhead(body, asked)["cpu"]) == "3110m"


def test_what_is_said_for_the_whole_pod_stands() -> None:
    assert str(of_pod(pod(res("cpu=1"), resources=res("cpu=2")), "requests")["cpu"]) == "2"


TOLERATION = {"key": "t", "operator": "Exists"}


def classes(**fields: Any) -> Objects:
    return stored(("runtimeclasses", named("rc", **fields)))


FULL = classes(
    overhead={"podFixed": {"cpu": "10m"}},
    scheduling={"nodeSelector": {"k": "v"}, "tolerations": [TOLERATION]},
)


async def test_a_runtime_class_brings_overhead_selector_and_tolerations() -> None:
    own = {"key": "a", "operator": "Exists", "effect": "NoExecute"}
    body = pod({}, runtimeClassName="rc", nodeSelector={"a": "b"}, tolerations=[own])

    assert await admitted(runtime_class.PLUGIN, write("CREATE", "pods", body, lookup=FULL)) == ""
    assert body["spec"]["overhead"] == {"cpu": "10m"}
    assert body["spec"]["nodeSelector"] == {"a": "b", "k": "v"}
    assert body["spec"]["tolerations"] == [own, TOLERATION]


@pytest.mark.parametrize(
    ("first", "second", "kept"),
    [
        (TOLERATION, TOLERATION, [TOLERATION]),
        (TOLERATION | {"effect": "NoSchedule"}, TOLERATION, [TOLERATION]),
        ({"operator": "Exists"}, TOLERATION, [{"operator": "Exists"}]),
        (
            {"key": "t", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5},
            {"key": "t", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 9},
            [{"key": "t", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 9}],
        ),
        (
            {"key": "t", "operator": "Equal", "value": "1"},
            {"key": "t", "operator": "Equal", "value": "2"},
            [
                {"key": "t", "operator": "Equal", "value": "1"},
                {"key": "t", "operator": "Equal", "value": "2"},
            ],
        ),
    ],
)
async def test_tolerations_that_others_include_are_dropped(first: Raw, second: Raw, kept: list[Raw]) -> None:
    body = pod({}, runtimeClassName="rc", tolerations=[first])

    await runtime_class.mutate(
        write("CREATE", "pods", body, lookup=classes(scheduling={"tolerations": [second]}))
    )

    assert body["spec"]["tolerations"] == kept


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ({"runtimeClassName": "absent"}, 'pod rejected: RuntimeClass "absent" not found'),
        (
            {"runtimeClassName": "rc", "overhead": {"cpu": "1"}},
            "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead",
        ),
        (
            {"overhead": {"cpu": "1"}},
            "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead",
        ),
        (
            {"runtimeClassName": "rc", "nodeSelector": {"k": "other"}},
            "conflict: runtimeClass.scheduling.nodeSelector[k] = v; pod.spec.nodeSelector[k] = other",
        ),
        ({"runtimeClassName": "rc", "overhead": {"cpu": "0.01"}}, ""),
    ],
)
async def test_a_pod_must_agree_with_its_runtime_class(spec: Raw, says: str) -> None:
    request = write("CREATE", "pods", pod({}, **spec), lookup=FULL)

    assert await admitted(runtime_class.PLUGIN, request) == (f'pods "p" is forbidden: {says}' if says else "")


def resize(cpu: str, before: str = "1", *, os: str = "linux", node: str = "n") -> Any:
    new, old = pod(res(f"cpu={cpu}"), nodeName=node), pod(res(f"cpu={before}"), nodeName=node)
    new["metadata"]["generation"], old["metadata"]["generation"] = 2, 1
    labels = {"labels": {"kubernetes.io/os": os}}
    lookup = stored(("nodes", named("n", metadata=labels, status={"allocatable": {"cpu": "2"}})))
    return write("UPDATE", "pods/resize", new, old, lookup=lookup)


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        (resize("2"), ""),
        (resize("3", "3"), ""),
        (resize("3", node=""), ""),
        (
            resize("3"),
            "node didn't have enough allocatable resources: cpu, requested: 3000, allocatable: 2000",
        ),
        (resize("1", "2", os="windows"), "node n runs windows, which does not support resizing pods"),
        (resize("1", "2", node="gone"), 'node "gone" not found'),
    ],
)
async def test_a_pod_grows_to_what_its_node_could_carry(request_: Any, says: str) -> None:
    assert await admitted(pod_resize_validator.PLUGIN, request_) == (
        f'pods "p" is forbidden: {says}' if says else ""
    )


def change(cpu: str, *declared: str, at: str = "pods/resize", node: str = "n", generation: int = 2) -> Any:
    """Of a guaranteed pod, from one CPU."""
    new, old = pod(res(f"cpu={cpu}"), nodeName=node), pod(res("cpu=1"), nodeName=node)
    new["metadata"]["generation"], old["metadata"]["generation"] = generation, 1
    new["status"] = old["status"] = {"qosClass": "Guaranteed"}
    lookup = stored(("nodes", named("n", status={"declaredFeatures": list(declared)})))
    return write("UPDATE", at, new, old, lookup=lookup)


MISSING = 'pod update requires features GuaranteedQoSPodCPUResize which are not available on node "n"'


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        (change("2", "A", "GuaranteedQoSPodCPUResize"), ""),
        (change("2", "A"), MISSING),
        (change("2", at="pods"), MISSING),
        (change("2", at="pods/status"), ""),
        (change("1"), ""),
        (change("2", node=""), ""),
        (change("2", generation=1), ""),
        (change("2", node="gone"), 'node "gone" not found'),
    ],
)
async def test_a_pod_changes_only_as_its_kubelet_can(request_: Any, says: str) -> None:
    assert await admitted(node_declared_feature_validator.PLUGIN, request_) == (
        f'pods "p" is forbidden: {says}' if says else ""
    )
