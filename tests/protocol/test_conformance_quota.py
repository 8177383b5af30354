"""What upstream's conformance tests ask of quotas: what is used is counted soon, and no more than allowed is let in."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.protocol.apiserver_bed import Lab
from tests.protocol.controllers_bed import APPS, CORE, Cluster, manage, template
from tests.protocol.requests_bed import STRATEGIC, Api, Raw, names

pytestmark = pytest.mark.etcd

DONGLES = "example.com/dongle"
HARD = {
    "pods": "5", "services": "10", "services.nodeports": "1", "services.loadbalancers": "1",
    "replicationcontrollers": "10", "resourcequotas": "1", "cpu": "1", "memory": "500Mi", "configmaps": "2",
    "secrets": "1", "persistentvolumeclaims": "10", "requests.storage": "10Gi",
    "requests.ephemeral-storage": "50Gi", "gold.storageclass.storage.k8s.io/persistentvolumeclaims": "10",
    "gold.storageclass.storage.k8s.io/requests.storage": "10Gi", "count/replicasets.apps": "5",
    f"requests.{DONGLES}": "3",
}  # fmt: skip
SPEC = {"selector": {"matchLabels": {"a": "b"}}, "template": template(a="b"), "replicas": 0}
CLAIM = {
    "accessModes": ["ReadWriteOnce"],
    "storageClassName": "gold",
    "resources": {"requests": {"storage": "1Gi"}},
}


@pytest.fixture(scope="module")
def cluster(lab: Lab, free_ports: Callable[[], int]) -> Callable[[str], Cluster]:
    server = lab.start(free_ports())
    manage(lab, server, free_ports())
    return lambda name: Cluster(lab, server, name)


def quota(bed: Cluster, name: str = "test-quota", **spec: Any) -> Callable[..., Raw]:
    """Make one, and give what waits until it counts so much."""
    body = {"metadata": {"name": name}, "spec": {"hard": HARD, **spec}}
    bed.make(bed.path(CORE, "resourcequotas"), body)
    path = bed.path(CORE, "resourcequotas", name)

    def used(**wanted: str) -> Raw:
        found = {key.replace("__", "/").replace("_", "."): value for key, value in wanted.items()}
        return bed.until(path, lambda one: found.items() <= one.get("status", {}).get("used", {}).items())

    return used


def pod(name: str, requests: Raw | None = None, limits: Raw | None = None, **spec: Any) -> Raw:
    found: Raw = template()
    container = {
        **found["spec"]["containers"][0],
        "resources": {"requests": requests or {}, "limits": limits or {}},
    }
    return {"metadata": {"name": name}, "spec": {**found["spec"], "containers": [container], **spec}}


def gone(bed: Cluster, path: str, **options: Any) -> None:
    code, answer = bed.ask("DELETE", path, options or None)
    assert code == 200, answer


@pytest.mark.parametrize(
    ("root", "plural", "body", "before", "after"),
    [
        (CORE, "secrets", {"data": {"data": "dmFsdWUtMQo="}}, {"secrets": "0"}, {"secrets": "1"}),
        (CORE, "configmaps", {"data": {"a": "b"}}, {"configmaps": "1"}, {"configmaps": "2"}),
        (
            CORE, "replicationcontrollers", {"spec": {**SPEC, "selector": {"a": "b"}}},
            {"replicationcontrollers": "0"}, {"replicationcontrollers": "1"},
        ),
        (APPS, "replicasets", {"spec": SPEC}, {"count__replicasets_apps": "0"}, {"count__replicasets_apps": "1"}),
        (
            CORE, "persistentvolumeclaims", {"spec": CLAIM},
            {"persistentvolumeclaims": "0", "requests_storage": "0"},
            {
                "persistentvolumeclaims": "1", "requests_storage": "1Gi",
                "gold_storageclass_storage_k8s_io__persistentvolumeclaims": "1",
                "gold_storageclass_storage_k8s_io__requests_storage": "1Gi",
            },
        ),
    ],
    ids=lambda found: found if isinstance(found, str) and not found.startswith("/") else "",
)  # fmt: skip
def test_objects_are_counted_while_they_live(
    cluster: Callable[[str], Cluster], root: str, plural: str, body: Raw, before: Raw, after: Raw
) -> None:
    bed = cluster(f"quota-{plural}")
    used = quota(bed)
    used(resourcequotas="1", **before)

    bed.make(bed.path(root, plural), {"metadata": {"name": "one"}, **body})
    used(**after)
    gone(bed, bed.path(root, plural, "one"), propagationPolicy="Background")
    used(**before)


def test_services_are_counted_by_what_they_take(cluster: Callable[[str], Cluster]) -> None:
    bed = cluster("quota-services")
    used = quota(bed)
    used(resourcequotas="1")
    path = bed.path(CORE, "services")

    def service(name: str, kind: str, **more: Any) -> Raw:
        ports = [{"port": 80, "targetPort": 80}]
        return {"metadata": {"name": name}, "spec": {"type": kind, "ports": ports, **more}}

    bed.make(path, service("plain", "ClusterIP"))
    bed.make(path, service("node", "NodePort"))
    code, refused = bed.ask("POST", path, service("lb", "LoadBalancer", allocateLoadBalancerNodePorts=True))
    assert code == 403
    assert (
        "exceeded quota: test-quota, requested: services.nodeports=1, used: services.nodeports=1"
        in refused["message"]
    )
    used(services="2", services_nodeports="1", services_loadbalancers="0")
    gone(bed, f"{path}/plain")
    gone(bed, f"{path}/node")
    used(services="0", services_nodeports="0")


def test_what_pods_ask_for_is_counted_and_no_more_is_let_in(cluster: Callable[[str], Cluster]) -> None:
    bed = cluster("quota-pods")
    used = quota(bed)
    used(resourcequotas="1")
    path = bed.path(CORE, "pods")
    asked = {"cpu": "500m", "memory": "252Mi", "ephemeral-storage": "30Gi", DONGLES: "2"}
    bed.make(path, pod("fits", asked, {DONGLES: "2"}))
    counted = {
        "pods": "1", "cpu": "500m", "memory": "252Mi", "requests.ephemeral-storage": "30Gi", f"requests.{DONGLES}": "2",
    }  # fmt: skip
    at = bed.path(CORE, "resourcequotas", "test-quota")
    bed.until(at, lambda one: counted.items() <= one["status"]["used"].items())

    assert bed.ask("POST", path, pod("too-much", {"cpu": "600m", "memory": "100Mi"}))[0] == 403
    asked = {"cpu": "500m", "memory": "100Mi", "ephemeral-storage": "30Gi", DONGLES: "2"}
    assert bed.ask("POST", path, pod("too-many", asked, {DONGLES: "2"}))[0] == 403
    changed = bed.get(f"{path}/fits")
    changed["spec"]["containers"][0]["resources"]["requests"] = {
        "cpu": "100m", "memory": "100Mi", "ephemeral-storage": "10Gi",
    }  # fmt: skip
    assert bed.ask("PUT", f"{path}/fits", changed)[0] == 422
    assert counted.items() <= bed.get(at)["status"]["used"].items()
    gone(bed, f"{path}/fits", gracePeriodSeconds=0)
    used(pods="0", cpu="0", memory="0")


@pytest.mark.parametrize(
    ("scope", "other", "hard", "matching", "plain"),
    [
        (
            "Terminating", "NotTerminating",
            {"pods": "5", "requests.cpu": "1", "requests.memory": "500Mi", "limits.cpu": "2", "limits.memory": "1Gi"},
            {"activeDeadlineSeconds": 3600}, {},
        ),
        ("NotBestEffort", "BestEffort", {"pods": "5"}, {}, None),
    ],
    ids=["Terminating", "NotBestEffort"],
)  # fmt: skip
def test_a_scope_counts_the_pods_in_it(
    cluster: Callable[[str], Cluster], scope: str, other: str, hard: Raw, matching: Raw, plain: Raw | None
) -> None:
    bed = cluster(f"quota-{scope.lower()}")
    inside = quota(bed, "inside", hard=hard, scopes=[scope])
    outside = quota(bed, "outside", hard=hard, scopes=[other])
    none = {key.replace(".", "_"): "0" for key in hard}
    inside(**none)
    outside(**none)
    path = bed.path(CORE, "pods")
    requests, limits = {"cpu": "500m", "memory": "200Mi"}, {"cpu": "1", "memory": "400Mi"}
    amounts = {
        "pods": "1", "requests_cpu": "500m", "requests_memory": "200Mi", "limits_cpu": "1", "limits_memory": "400Mi",
    }  # fmt: skip
    amounts = {key: value for key, value in amounts.items() if key in none}

    bed.make(path, pod("in", requests, limits, **matching))
    inside(**amounts)
    outside(**none)
    gone(bed, f"{path}/in", gracePeriodSeconds=0)
    inside(**none)
    bed.make(path, pod("out") if plain is None else pod("out", requests, limits))
    outside(**amounts)
    inside(**none)
    gone(bed, f"{path}/out", gracePeriodSeconds=0)
    outside(**none)


def test_a_quota_is_changed_and_deleted(cluster: Callable[[str], Cluster]) -> None:
    bed = cluster("quota-change")
    quota(bed, hard={"cpu": "1", "memory": "500Mi"})(cpu="0")
    api, path = Api(bed.server), bed.path(CORE, "resourcequotas")

    # Without a version, whoever wrote in between is overwritten.
    body = {
        "metadata": {"name": "test-quota", "labels": {"a": "b"}},
        "spec": {"hard": {"cpu": "2", "memory": "1Gi"}},
    }
    assert api.update(f"{path}/test-quota", body)["spec"]["hard"] == {"cpu": "2", "memory": "1Gi"}
    assert names(api.get(f"{CORE}/resourcequotas", labelSelector="a=b")) == ["test-quota"]
    change = {"metadata": {"labels": {"c": "patched"}}, "spec": {"hard": {"memory": "750Mi"}}}
    patched = api.patch(f"{path}/test-quota", change, STRATEGIC)
    assert patched["spec"]["hard"] == {"cpu": "2", "memory": "750Mi"}
    api.delete(path, labelSelector="c=patched")
    assert api.code(f"{path}/test-quota") == 404


def test_the_status_of_a_quota_follows_who_wrote_last_and_its_spec_in_the_end(
    cluster: Callable[[str], Cluster],
) -> None:
    bed = cluster("quota-status")
    hard = {"cpu": "500m", "memory": "500Mi"}
    quota(bed, hard=hard)(cpu="0")
    api, path = Api(bed.server), bed.path(CORE, "resourcequotas", "test-quota")
    assert (
        bed.change(path, lambda one: one.update(status={"hard": hard}), "/status")["status"]["hard"] == hard
    )
    more = {"cpu": "1", "memory": "1Gi"}
    api.patch(path, {"spec": {"hard": more}}, STRATEGIC)
    assert api.patch(f"{path}/status", {"status": {"hard": more}}, STRATEGIC)["status"]["hard"] == more
    assert api.get(f"{path}/status")["spec"]["hard"] == more

    twice = {"cpu": "2", "memory": "2Gi"}
    patched = api.patch(f"{path}/status", {"status": {"hard": twice}}, STRATEGIC)
    assert (patched["status"]["hard"], patched["spec"]["hard"]) == (twice, more)
    bed.until(path, lambda one: one["status"]["hard"] == more)
