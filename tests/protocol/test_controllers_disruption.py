"""Disruption budgets and evictions, from the request to the pod that goes or stays."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.protocol.apiserver_bed import Lab
from tests.protocol.controllers_bed import APPS, CORE, POLICY, Cluster, condition, manage, template

NEVER = "Cannot evict pod as it would violate the pod's disruption budget."


@pytest.fixture(scope="module")
def cluster(lab: Lab, free_ports: Callable[[], int]) -> Callable[[str], Cluster]:
    server = lab.start(free_ports())
    manage(lab, server, free_ports())
    return lambda name: Cluster(lab, server, name)


def started(bed: Cluster, count: int) -> list[str]:
    """A replica set whose pods all run."""
    spec = {"replicas": count, "selector": {"matchLabels": {"app": "web"}}, "template": template(app="web")}
    bed.make(bed.path(APPS, "replicasets"), {"metadata": {"name": "web"}, "spec": spec})
    pods = bed.until(bed.path(CORE, "pods"), lambda found: len(found["items"]) == count)["items"]
    for pod in pods:
        bed.run(pod)
    return [pod["metadata"]["name"] for pod in pods]


def budget(bed: Cluster, allowed: int, **spec: Any) -> str:
    body = {"metadata": {"name": "web"}, "spec": {"selector": {"matchLabels": {"app": "web"}}, **spec}}
    bed.make(bed.path(POLICY, "poddisruptionbudgets"), body)
    path = bed.path(POLICY, "poddisruptionbudgets", "web")
    bed.until(
        path,
        lambda found: (
            found["status"].get("disruptionsAllowed") == allowed and condition(found, "DisruptionAllowed")
        ),
    )
    return path


def evict(bed: Cluster, pod: str, **options: Any) -> tuple[int, Any]:
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod}, **options}
    return bed.ask("POST", bed.path(CORE, "pods", pod) + "/eviction", body)


def test_an_eviction_is_refused_until_the_budget_allows_it(cluster: Callable[[str], Cluster]) -> None:
    bed = cluster("evicted")
    pods = started(bed, 3)
    path = budget(bed, 0, minAvailable=3)

    code, refused = evict(bed, pods[0])
    stays = bed.get(bed.path(CORE, "pods", pods[0]))
    bed.change(path, lambda found: found["spec"].update(minAvailable=2))
    bed.until(path, lambda found: found["status"]["disruptionsAllowed"] == 1)
    dry, _ = evict(bed, pods[0], deleteOptions={"dryRun": ["All"]})
    granted, answer = evict(bed, pods[0])

    assert (code, refused["message"], refused["reason"]) == (429, NEVER, "TooManyRequests")
    assert refused["details"]["causes"] == [
        {
            "reason": "DisruptionBudget",
            "message": "The disruption budget web needs 3 healthy pods and has 3 currently",
        }
    ]
    assert not condition(stays, "DisruptionTarget")
    assert (dry, granted, answer["status"]) == (201, 201, "Success")
    bed.until(bed.path(CORE, "pods", pods[0]), lambda found: not found)
    seen = bed.until(path, lambda found: not found["status"].get("disruptedPods"))
    assert seen["status"]["disruptionsAllowed"] == 0
    assert condition(seen, "DisruptionAllowed")["reason"] == "InsufficientPods"
    assert condition(seen, "DisruptionAllowed")["message"] == ""


def test_evictions_that_come_together_take_no_more_than_there_is(cluster: Callable[[str], Cluster]) -> None:
    bed = cluster("together")
    pods = started(bed, 6)
    budget(bed, 2, maxUnavailable=2)
    codes: list[int] = []

    asking = [threading.Thread(target=lambda pod=pod: codes.append(evict(bed, pod)[0])) for pod in pods]
    for one in asking:
        one.start()
    for one in asking:
        one.join(60)

    assert sorted(codes) == [201, 201, 429, 429, 429, 429]


def test_what_does_not_run_well_may_go_as_the_policy_says(cluster: Callable[[str], Cluster]) -> None:
    bed = cluster("unhealthy")
    pods = started(bed, 3)
    path = budget(bed, 0, minAvailable=3)
    broken = bed.get(bed.path(CORE, "pods", pods[0]))
    bed.run(broken, ready="False")
    bed.until(path, lambda found: found["status"]["currentHealthy"] == 2)

    refused, _ = evict(bed, pods[0])
    bed.change(path, lambda found: found["spec"].update(unhealthyPodEvictionPolicy="AlwaysAllow"))
    granted, _ = evict(bed, pods[0])
    healthy, _ = evict(bed, pods[1])

    assert (refused, granted, healthy) == (429, 201, 429)


def test_owners_of_custom_kinds_count_by_their_scale(cluster: Callable[[str], Cluster]) -> None:
    bed = cluster("custom")
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    sized = {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"}
    version = {
        "name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema},
        "subresources": {"status": {}, "scale": sized},
    }  # fmt: skip
    names = {"plural": "fleets", "singular": "fleet", "kind": "Fleet", "listKind": "FleetList"}
    spec = {"group": "x.test", "names": names, "scope": "Namespaced", "versions": [version]}
    crds = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    bed.make(crds, {"metadata": {"name": "fleets.x.test"}, "spec": spec})
    bed.until(f"{crds}/fleets.x.test", lambda found: condition(found, "Established").get("status") == "True")
    fleets = bed.path("/apis/x.test/v1", "fleets")
    bed.until(fleets, bool)
    fleet = bed.make(
        fleets,
        {"apiVersion": "x.test/v1", "kind": "Fleet", "metadata": {"name": "one"}, "spec": {"replicas": 4}},
    )
    owner = {
        "apiVersion": "x.test/v1", "kind": "Fleet", "name": "one", "uid": fleet["metadata"]["uid"], "controller": True,
    }  # fmt: skip
    for name in ("a", "b"):
        meta = {"name": name, "labels": {"app": "web"}, "ownerReferences": [owner]}
        bed.run(bed.make(bed.path(CORE, "pods"), {**template(), "metadata": meta}))

    path = budget(bed, 1, minAvailable="25%")

    assert bed.get(path)["status"]["expectedPods"] == 4


def test_a_budgets_status_allows_and_names_who_is_disrupted(cluster: Callable[[str], Cluster]) -> None:
    bed = cluster("disrupted")
    pods = started(bed, 3)
    path = budget(bed, 2, minAvailable=1)
    found = bed.get(path)
    assert condition(found, "DisruptionAllowed")["status"] == "True"

    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    disrupted = {"disruptedPods": {pods[0]: now}}
    updated = bed.change(path, lambda found: found["status"].update(disrupted), "/status")
    assert updated["status"]["disruptedPods"] == {pods[0]: now}
    # The pod is there still, and so the controller keeps it, and counts it out.
    bed.until(path, lambda found: found["status"]["disruptionsAllowed"] == 1)
    assert bed.get(path)["status"]["disruptedPods"] == {pods[0]: now}
    patched = bed.patch(f"{path}/status", {"status": {"disruptedPods": None}}, "merge")
    assert not patched["status"].get("disruptedPods")
    bed.until(path, lambda found: found["status"]["disruptionsAllowed"] == 2)
