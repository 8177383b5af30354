"""Quotas: what writes count for, and what is left of the bounds."""

from typing import Any

import pytest

from kybern.admission.framework import Request
from kybern.admission.plugins import resource_quota
from kybern.admission.plugins.resource_quota import PLUGIN
from kybern.api.quota import in_scopes, usage
from kybern.machinery.errors import Conflict
from kybern.machinery.kind import Raw
from tests.unit.admission.writes import Objects, admitted, named, stored, write


def quota(hard: str, used: str = "", name: str = "q", **spec: Any) -> tuple[str, Raw]:
    bounds, held = (dict(word.split("=") for word in words.split()) for words in (hard, used))
    status = {"hard": bounds, "used": dict.fromkeys(bounds, "0") | held}
    return "resourcequotas", named(name, "x", spec={"hard": bounds, **spec}, status=status)


def pod(requests: str = "", limits: str = "", **spec: Any) -> Raw:
    pairs = {"requests": requests, "limits": limits}
    resources = {
        sort: dict(word.split("=") for word in words.split()) for sort, words in pairs.items() if words
    }
    return named("p", "x", spec={"containers": [{"name": "c", "resources": resources}], **spec})


def service(kind: str = "ClusterIP", ports: int = 1, **spec: Any) -> Raw:
    return named(
        "s", "x", spec={"type": kind, "ports": [{"port": port} for port in range(1, ports + 1)], **spec}
    )


def claim(size: str) -> Raw:
    return named("c", "x", spec={"storageClassName": "fast", "resources": {"requests": {"storage": size}}})


def way(of: str, count: int) -> Raw:
    return {"deviceClassName": of, "allocationMode": "ExactCount", "count": count}


def devices(*requests: Raw) -> Raw:
    return named("d", "x", spec={"devices": {"requests": list(requests)}})


def shown(group: str, plural: str, found: Raw) -> dict[str, str]:
    return {name: str(amount) for name, amount in usage(group, plural, found).items()}


@pytest.mark.parametrize(
    ("group", "plural", "found", "counted"),
    [
        ("apps", "deployments", named("d"), {"count/deployments.apps": "1"}),
        ("", "configmaps", named("c"), {"count/configmaps": "1", "configmaps": "1"}),
        ("", "events", named("e"), {"count/events": "1"}),
        (
            "",
            "pods",
            pod("cpu=1 example.com/gpu=2", "memory=1Gi"),
            {
                "count/pods": "1",
                "pods": "1",
                "cpu": "1",
                "requests.cpu": "1",
                "requests.example.com/gpu": "2",
                "limits.memory": "1Gi",
            },
        ),
        ("", "pods", pod("cpu=1") | {"status": {"phase": "Succeeded"}}, {"count/pods": "1"}),
        ("", "services", service(), {"count/services": "1", "services": "1"}),
        (
            "",
            "services",
            service("NodePort", 3),
            {"count/services": "1", "services": "1", "services.nodeports": "3"},
        ),
        (
            "",
            "services",
            service("LoadBalancer", 2, allocateLoadBalancerNodePorts=False),
            {"count/services": "1", "services": "1", "services.loadbalancers": "1"},
        ),
        (
            "",
            "persistentvolumeclaims",
            claim("5Gi"),
            {
                "count/persistentvolumeclaims": "1",
                "persistentvolumeclaims": "1",
                "requests.storage": "5Gi",
                "fast.storageclass.storage.k8s.io/persistentvolumeclaims": "1",
                "fast.storageclass.storage.k8s.io/requests.storage": "5Gi",
            },
        ),
        (
            "resource.k8s.io",
            "resourceclaims",
            devices(
                {"exactly": way("gpu", 2)},
                {"exactly": {"deviceClassName": "nic", "allocationMode": "All"}},
                {"firstAvailable": [way("gpu", 3), way("gpu", 1), way("nic", 1)]},
                {"exactly": {"deviceClassName": "odd", "allocationMode": "Someday", "count": 5}},
            ),
            {
                "count/resourceclaims.resource.k8s.io": "1",
                "gpu.deviceclass.resource.k8s.io/devices": "5",
                "nic.deviceclass.resource.k8s.io/devices": "33",
            },
        ),
    ],
)
def test_what_objects_count_for(group: str, plural: str, found: Raw, counted: dict[str, str]) -> None:
    assert shown(group, plural, found) == counted


def selector(operator: str, *values: str) -> Raw:
    return {
        "matchExpressions": [{"scopeName": "PriorityClass", "operator": operator, "values": list(values)}]
    }


CROSSING: Raw = {
    "podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"namespaceSelector": {}}]}
}


@pytest.mark.parametrize(
    ("spec", "found", "inside"),
    [
        ({}, pod(), True),
        ({"scopes": ["BestEffort"]}, pod(), True),
        ({"scopes": ["BestEffort"]}, pod("cpu=1"), False),
        ({"scopes": ["NotBestEffort"]}, pod("cpu=1"), True),
        ({"scopes": ["Terminating"]}, pod(activeDeadlineSeconds=5), True),
        ({"scopes": ["Terminating"]}, pod(), False),
        ({"scopes": ["NotTerminating", "BestEffort"]}, pod(), True),
        ({"scopes": ["NotTerminating", "BestEffort"]}, pod("cpu=1"), False),
        ({"scopes": ["CrossNamespacePodAffinity"]}, pod(affinity=CROSSING), True),
        ({"scopes": ["CrossNamespacePodAffinity"]}, pod(), False),
        ({"scopeSelector": selector("In", "high")}, pod(priorityClassName="high"), True),
        ({"scopeSelector": selector("In", "high")}, pod(priorityClassName="low"), False),
        ({"scopeSelector": selector("NotIn", "high")}, pod(priorityClassName="low"), True),
        ({"scopeSelector": selector("Exists")}, pod(), False),
        ({"scopeSelector": selector("DoesNotExist")}, pod(), True),
    ],
)
def test_scopes_choose_pods(spec: Raw, found: Raw, *, inside: bool) -> None:
    assert in_scopes(spec, "", "pods", found) == inside


def attributes(operator: str, *values: str) -> Raw:
    scope = {"scopeName": "VolumeAttributesClass", "operator": operator, "values": list(values)}
    return {"scopeSelector": {"matchExpressions": [scope]}}


def of_classes(wanted: str = "", current: str = "", target: str = "") -> Raw:
    status: Raw = {"currentVolumeAttributesClassName": current}
    if target:
        status["modifyVolumeStatus"] = {"targetVolumeAttributesClassName": target}
    found = claim("1Gi")
    return {**found, "spec": {**found["spec"], "volumeAttributesClassName": wanted}, "status": status}


@pytest.mark.parametrize(
    ("spec", "found", "inside"),
    [
        (attributes("In", "gold"), of_classes("gold"), True),
        (attributes("In", "gold"), of_classes("silver", current="gold"), True),
        (attributes("In", "gold"), of_classes("silver", target="gold"), True),
        (attributes("In", "gold"), of_classes("silver"), False),
        (attributes("In", "gold"), of_classes(), False),
        (attributes("NotIn", "gold"), of_classes(), True),
        (attributes("NotIn", "gold"), of_classes("gold"), False),
        (attributes("Exists"), of_classes("gold"), True),
        (attributes("DoesNotExist"), of_classes(), True),
        ({"scopes": ["VolumeAttributesClass"]}, of_classes("gold"), True),
        ({"scopes": ["BestEffort"]}, of_classes("gold"), False),
    ],
)
def test_scopes_choose_claims_by_the_classes_of_their_volumes(spec: Raw, found: Raw, *, inside: bool) -> None:
    assert in_scopes(spec, "", "persistentvolumeclaims", found) == inside
    assert not in_scopes(attributes("Exists"), "", "pods", pod())


def test_a_quota_with_scopes_counts_nothing_but_pods_and_claims() -> None:
    assert not in_scopes({"scopes": ["BestEffort"]}, "", "configmaps", named("c"))


def create(plural: str, found: Raw, *quotas: tuple[str, Raw], **more: Any) -> Request:
    return write("CREATE", plural, found, namespace="x", lookup=stored(*quotas), **more)


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        (create("configmaps", named("a")), ""),
        (create("configmaps", named("a"), quota("count/configmaps=2", "count/configmaps=1")), ""),
        (
            create("configmaps", named("a"), quota("count/configmaps=1", "count/configmaps=1")),
            (
                'configmaps "a" is forbidden: exceeded quota: q, requested: count/configmaps=1, used: count/configmaps=1,'
                " limited: count/configmaps=1"
            ),
        ),
        (
            create("services", service("NodePort"), quota("services=1 services.nodeports=0")),
            (
                'services "s" is forbidden: exceeded quota: q, requested: services.nodeports=1, used: services.nodeports=0,'
                " limited: services.nodeports=0"
            ),
        ),
        (create("services", service(), quota("services=1 services.nodeports=0")), ""),
        (
            create("deployments", named("d"), quota("count/deployments.apps=0")),
            (
                'deployments.apps "d" is forbidden: exceeded quota: q, requested: count/deployments.apps=1, used:'
                " count/deployments.apps=0, limited: count/deployments.apps=0"
            ),
        ),
        (
            create(
                "pods",
                pod("cpu=600m", "memory=1Gi"),
                quota("pods=2 requests.cpu=1", "pods=2 requests.cpu=500m"),
            ),
            (
                'pods "p" is forbidden: exceeded quota: q, requested: pods=1,requests.cpu=600m, used:'
                " pods=2,requests.cpu=500m, limited: pods=2,requests.cpu=1"
            ),
        ),
        (
            create("pods", pod("memory=1Gi"), quota("cpu=1 limits.memory=1Gi")),
            'pods "p" is forbidden: failed quota: q: must specify cpu for: c; limits.memory for: c',
        ),
        (create("pods", pod("cpu=1"), quota("pods=0", scopes=["BestEffort"])), ""),
        (
            create(
                "secrets", named("s"), ("resourcequotas", named("q", "x", spec={"hard": {"secrets": "1"}}))
            ),
            'secrets "s" is forbidden: status unknown for quota: q, resources: secrets',
        ),
        (
            create("secrets", named("s"), quota("secrets=5"), quota("secrets=0", name="tight")),
            (
                'secrets "s" is forbidden: exceeded quota: tight, requested: secrets=1, used: secrets=0, limited: secrets=0'
            ),
        ),
        (write("UPDATE", "configmaps", named("a"), named("a"), lookup=stored(quota("configmaps=0"))), ""),
        (
            write(
                "UPDATE",
                "services",
                service("NodePort"),
                service(),
                lookup=stored(quota("services.nodeports=0")),
            ),
            (
                'services "s" is forbidden: exceeded quota: q, requested: services.nodeports=1, used: services.nodeports=0,'
                " limited: services.nodeports=0"
            ),
        ),
        (
            write(
                "UPDATE",
                "persistentvolumeclaims",
                claim("2Gi"),
                claim("1Gi"),
                lookup=stored(quota("requests.storage=1Gi", "requests.storage=1Gi")),
            ),
            (
                'persistentvolumeclaims "c" is forbidden: exceeded quota: q, requested: requests.storage=1Gi, used:'
                " requests.storage=1Gi, limited: requests.storage=1Gi"
            ),
        ),
    ],
)
async def test_quotas_bound_what_a_namespace_holds(request_: Request, says: str) -> None:
    assert await admitted(PLUGIN, request_) == says


async def test_a_write_is_charged() -> None:
    charged: list[Raw] = []

    async def charge(changed: Raw) -> None:
        charged.append(changed)

    await admitted(
        PLUGIN, create("pods", pod("cpu=500m"), quota("pods=2 cpu=2", "pods=1 cpu=1"), charge=charge)
    )

    (one,) = charged
    assert one["status"] == {"hard": {"pods": "2", "cpu": "2"}, "used": {"pods": "2", "cpu": "1500m"}}


async def test_a_dry_run_is_checked_and_not_charged() -> None:
    async def charge(_changed: Raw) -> None:
        raise AssertionError("charged")

    assert await admitted(PLUGIN, create("pods", pod(), quota("pods=1"), dry_run=True, charge=charge)) == ""


async def test_who_loses_a_race_reads_again() -> None:
    now = stored(quota("pods=2", "pods=1"))
    tries: list[str] = []

    async def charge(changed: Raw) -> None:
        tries.append(changed["status"]["used"]["pods"])
        if len(tries) == 1:
            now.kept[:] = [quota("pods=2", "pods=2")]
            raise Conflict("changed")

    said = await admitted(PLUGIN, write("CREATE", "pods", pod(), lookup=now, charge=charge))

    assert tries == ["2"]
    assert (
        said == 'pods "p" is forbidden: exceeded quota: q, requested: pods=1, used: pods=2, limited: pods=2'
    )


async def test_a_quota_that_changes_often_is_charged_all_the_same() -> None:
    left = [Conflict("changed")] * 40

    async def charge(_changed: Raw) -> None:
        if left:
            raise left.pop()

    assert not await admitted(
        PLUGIN, write("CREATE", "pods", pod(), lookup=stored(quota("pods=2")), charge=charge)
    )
    assert not left


async def test_a_quota_that_changes_all_the_time_refuses_at_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource_quota, "PATIENCE", 0.0)

    async def charge(_changed: Raw) -> None:
        raise Conflict("changed")

    held: Objects = stored(quota("pods=2"))

    assert "it changes too often" in await admitted(
        PLUGIN, write("CREATE", "pods", pod(), lookup=held, charge=charge)
    )


async def test_a_claim_that_comes_into_a_scope_is_charged_whole() -> None:
    hard = {"requests.storage": "5Gi"}
    gold = named(
        "q", "x", spec={"hard": hard, **attributes("In", "gold")},
        status={"hard": hard, "used": {"requests.storage": "0"}},
    )  # fmt: skip
    charged: list[Raw] = []

    async def charge(quota: Raw) -> None:
        charged.append(quota)

    change = write(
        "UPDATE", "persistentvolumeclaims", of_classes("gold"), of_classes("silver"),
        namespace="x", lookup=stored(("resourcequotas", gold)), charge=charge,
    )  # fmt: skip

    assert await admitted(resource_quota.PLUGIN, change) == ""
    assert [one["status"]["used"] for one in charged] == [{"requests.storage": "1Gi"}]
