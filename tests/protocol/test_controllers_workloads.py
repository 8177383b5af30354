"""Workloads as upstream's conformance tests drive them, up to the pods: a kubelet's part is written by the test."""

import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.protocol.apiserver_bed import Lab
from tests.protocol.controllers_bed import APPS, BATCH, CORE, Cluster, Raw, condition, manage, template

HASH = "controller-revision-hash"


@pytest.fixture(scope="module")
def cluster(lab: Lab, free_ports: Callable[[], int]) -> Callable[[str], Cluster]:
    """Makes a namespace for a test. There is one node, which is only an object, and which nobody misses."""
    server = lab.start(free_ports())
    manage(lab, server, free_ports(), "--controllers=*,-node-lifecycle-controller")
    assert server.ask("POST", f"{CORE}/nodes", {"metadata": {"name": "n1"}})[0] == 201
    untainted = {"spec": {"taints": None}}
    assert server.ask("PATCH", f"{CORE}/nodes/n1", untainted, form="merge-patch+json")[0] == 200
    return lambda name: Cluster(lab, server, name)


def spec(**more: Any) -> Raw:
    return {"selector": {"matchLabels": {"app": "web"}}, "template": template(app="web"), **more}


def run(bed: Cluster, count: int) -> list[Raw]:
    """Start pods until so many are ready."""
    path, deadline = bed.path(CORE, "pods"), time.monotonic() + 30
    while True:
        alive = [pod for pod in bed.items(path) if not pod["metadata"].get("deletionTimestamp")]
        if len(alive) == count and all(condition(pod, "Ready") for pod in alive):
            return alive
        assert time.monotonic() < deadline, alive
        for pod in alive:
            if not condition(pod, "Ready"):
                bed.run(pod)
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("plural", "more", "ready"),
    [
        ("deployments", {"replicas": 1}, "readyReplicas"),
        ("replicasets", {"replicas": 1}, "readyReplicas"),
        ("statefulsets", {"replicas": 1, "serviceName": "web"}, "readyReplicas"),
        ("daemonsets", {}, "numberReady"),
    ],
)
def test_a_status_that_somebody_else_writes_is_kept_and_put_right(
    cluster: Callable[[str], Cluster], plural: str, more: Raw, ready: str
) -> None:
    bed = cluster(f"status-{plural}")
    path = bed.path(APPS, plural, "web")
    bed.make(bed.path(APPS, plural), {"metadata": {"name": "web"}, "spec": spec(**more)})
    run(bed, 1)
    made = bed.until(path, lambda found: found["status"].get(ready) == 1)
    bed.patch(path, {"metadata": {"labels": {"e2e": "testing"}}})
    assert bed.get(f"{path}/status")["metadata"]["uid"] == made["metadata"]["uid"]

    # As a client in Go writes it: times that are not known are null.
    told = {"type": "StatusUpdate", "status": "True", "reason": "E2E", "lastTransitionTime": None}

    def tell(found: Raw) -> None:
        found["status"].setdefault("conditions", []).append(told)

    updated = bed.change(path, tell, "/status")
    assert condition(updated, "StatusUpdate")["reason"] == "E2E"
    patch = {"status": {"conditions": [{"type": "StatusPatched", "status": "True"}], ready: 0}}
    patched = bed.patch(f"{path}/status", patch, "merge")
    assert [one["type"] for one in patched["status"]["conditions"]] == ["StatusPatched"]

    again = bed.until(path, lambda found: found["status"].get(ready) == 1)
    assert condition(again, "StatusPatched")["status"] == "True"
    if plural == "deployments":
        bed.until(path, lambda found: condition(found, "Progressing") and condition(found, "Available"))
    everywhere = f"{APPS}/{plural}?labelSelector=e2e%3Dtesting"
    assert [one["metadata"]["name"] for one in bed.items(everywhere)] == ["web"]
    assert bed.ask("DELETE", bed.path(APPS, plural) + "?labelSelector=e2e%3Dtesting")[0] == 200
    assert bed.items(everywhere) == []
    bed.until(bed.path(CORE, "pods"), lambda found: not found["items"])


def test_a_stateful_set_is_scaled_and_patched(cluster: Callable[[str], Cluster]) -> None:
    bed = cluster("scaled")
    path = bed.path(APPS, "statefulsets", "web")
    bed.make(
        bed.path(APPS, "statefulsets"),
        {"metadata": {"name": "web"}, "spec": spec(replicas=1, serviceName="web")},
    )
    run(bed, 1)
    bed.until(path, lambda found: found["status"].get("readyReplicas") == 1)
    scale = bed.get(f"{path}/scale")
    assert (scale["spec"]["replicas"], scale["status"]["replicas"]) == (1, 1)

    # Without a version the write is unconditional.
    scale["metadata"].pop("resourceVersion")
    scale["spec"]["replicas"] = 2
    code, answer = bed.ask("PUT", f"{path}/scale", scale)
    assert (code, answer["spec"]["replicas"], bed.get(path)["spec"]["replicas"]) == (200, 2, 2)
    # As a client in Go writes a scale of which only one field is set.
    patch = {"metadata": {"creationTimestamp": None}, "spec": {"replicas": 3}, "status": {"replicas": 0}}
    bed.patch(f"{path}/scale", patch)
    assert bed.get(path)["spec"]["replicas"] == 3

    # A container that was not there goes before those that were; a field of a wrong name is left out.
    added = {
        "TerminationGracePeriodSeconds": 1,
        "containers": [{"name": "more", "image": "example.test/more"}],
    }
    patch = {
        "metadata": {"labels": {"test-ss": "patched"}},
        "spec": {"replicas": 2, "template": {"spec": added}},
    }
    patched = bed.patch(path, patch)
    assert [one["name"] for one in patched["spec"]["template"]["spec"]["containers"]] == ["more", "c"]
    generation = patched["metadata"]["generation"]
    bed.until(path, lambda found: found["status"].get("observedGeneration", 0) >= generation)


@pytest.mark.parametrize("plural", ["deployments", "replicasets"])
def test_a_workload_is_scaled_by_its_subresource(cluster: Callable[[str], Cluster], plural: str) -> None:
    bed = cluster(f"scaled-{plural}")
    path = bed.path(APPS, plural, "web")
    made = bed.make(bed.path(APPS, plural), {"metadata": {"name": "web"}, "spec": spec(replicas=1)})
    run(bed, 1)
    bed.until(path, lambda found: found["status"].get("availableReplicas") == 1)

    scale = bed.get(f"{path}/scale")
    assert (scale["apiVersion"], scale["kind"]) == ("autoscaling/v1", "Scale")
    assert scale["metadata"]["uid"] == made["metadata"]["uid"]
    assert (scale["spec"]["replicas"], scale["status"]) == (1, {"replicas": 1, "selector": "app=web"})
    # Without a version the write is unconditional.
    scale["metadata"]["resourceVersion"] = ""
    scale["spec"]["replicas"] = 2
    code, answer = bed.ask("PUT", f"{path}/scale", scale)
    assert (code, answer["spec"]["replicas"], bed.get(path)["spec"]["replicas"]) == (200, 2, 2)
    run(bed, 2)

    # As a client in Go writes a scale of which only one field is set.
    patch = {"metadata": {"creationTimestamp": None}, "spec": {"replicas": 4}, "status": {"replicas": 0}}
    assert bed.patch(f"{path}/scale", patch)["spec"]["replicas"] == 4
    assert bed.get(path)["spec"]["replicas"] == 4
    run(bed, 4)
    bed.until(path, lambda found: found["status"].get("readyReplicas") == 4)


def test_a_replica_set_is_replaced_and_patched(cluster: Callable[[str], Cluster]) -> None:
    bed = cluster("rs-replaced")
    path, pods = bed.path(APPS, "replicasets", "web"), bed.path(CORE, "pods")
    bed.make(pods, {**template(app="web"), "metadata": {"name": "one", "labels": {"app": "web"}}})
    labels = {"test-rs": "set"}
    bed.make(bed.path(APPS, "replicasets"), {"metadata": {"name": "web", "labels": labels}, "spec": spec()})
    run(bed, 1)

    bed.change(path, lambda found: found["spec"].update(replicas=2))
    run(bed, 2)
    bed.until(path, lambda found: found["status"].get("readyReplicas") == 2)
    added = {"terminationGracePeriodSeconds": 0, "containers": [{"name": "c", "image": "example.test/more"}]}
    patch = {
        "metadata": {"labels": {"test-rs": "patched"}},
        "spec": {"replicas": 3, "template": {"spec": added}},
    }
    patched = bed.patch(path, patch)
    assert patched["metadata"]["labels"] == {"test-rs": "patched"}
    assert patched["spec"]["template"]["spec"]["containers"][0]["image"] == "example.test/more"
    run(bed, 3)
    found = bed.until(path, lambda found: found["status"].get("readyReplicas") == 3)
    assert found["metadata"]["labels"] == {"test-rs": "patched"}
    assert found["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] == 0


def test_a_replication_controller_lives_from_create_to_delete(cluster: Callable[[str], Cluster]) -> None:
    bed = cluster("rc-lives")
    path, all_of_it = (
        bed.path(CORE, "replicationcontrollers", "web"),
        bed.path(CORE, "replicationcontrollers"),
    )
    body = {"replicas": 1, "selector": {"app": "web"}, "template": template(app="web")}
    bed.make(all_of_it, {"metadata": {"name": "web", "labels": {"static": "true"}}, "spec": body})
    run(bed, 1)
    bed.until(path, lambda found: found["status"].get("readyReplicas") == found["status"]["replicas"] == 1)

    assert (
        bed.patch(path, {"metadata": {"labels": {"rc": "patched"}}})["metadata"]["labels"]["rc"] == "patched"
    )
    nothing = {"status": {"readyReplicas": 0, "availableReplicas": 0}}
    assert not bed.patch(f"{path}/status", nothing)["status"].get("readyReplicas")
    bed.until(path, lambda found: found["status"].get("availableReplicas") == 1)
    assert bed.get(f"{path}/status")["status"]["replicas"] == 1

    bed.patch(f"{path}/scale", {"metadata": {}, "spec": {"replicas": 2}, "status": {"replicas": 0}})
    run(bed, 2)
    bed.until(path, lambda found: found["status"].get("readyReplicas") == found["status"]["replicas"] == 2)
    scale = bed.get(f"{path}/scale")
    assert (scale["spec"]["replicas"], scale["status"]["selector"]) == (2, "app=web")
    bed.change(path, lambda found: found["status"].update(availableReplicas=1, readyReplicas=1), "/status")

    listed = bed.items(f"{CORE}/replicationcontrollers?labelSelector=static%3Dtrue")
    assert [one["metadata"]["labels"] for one in listed] == [{"static": "true", "rc": "patched"}]
    assert bed.ask("DELETE", f"{all_of_it}?labelSelector=static%3Dtrue")[0] == 200
    bed.until(path, lambda found: not found)


def test_a_replica_set_adopts_and_lets_go(cluster: Callable[[str], Cluster]) -> None:
    bed = cluster("rs-adopts")
    pods = bed.path(CORE, "pods")
    bed.make(pods, {**template(app="web"), "metadata": {"name": "one", "labels": {"app": "web"}}})
    made = bed.make(bed.path(APPS, "replicasets"), {"metadata": {"name": "web"}, "spec": spec(replicas=1)})

    owner = {"kind": "ReplicaSet", "uid": made["metadata"]["uid"], "controller": True}
    adopted = bed.until(f"{pods}/one", lambda found: found["metadata"].get("ownerReferences"))
    assert owner.items() <= adopted["metadata"]["ownerReferences"][0].items()
    bed.change(f"{pods}/one", lambda found: found["metadata"].update(labels={"app": "other"}))

    bed.until(f"{pods}/one", lambda found: not found["metadata"].get("ownerReferences"))
    bed.until(pods, lambda found: len(found["items"]) == 2)


def test_revisions_of_a_daemon_set_are_made_changed_and_deleted(cluster: Callable[[str], Cluster]) -> None:
    bed = cluster("revisions")
    path, revisions = bed.path(APPS, "daemonsets", "web"), bed.path(APPS, "controllerrevisions")
    wanted = bed.make(bed.path(APPS, "daemonsets"), {"metadata": {"name": "web"}, "spec": spec()})
    run(bed, 1)
    (first,) = bed.until(revisions, lambda found: found["items"])["items"]
    everywhere = bed.items(f"{APPS}/controllerrevisions?labelSelector=app%3Dweb")
    assert first["metadata"]["uid"] in {one["metadata"]["uid"] for one in everywhere}
    name = first["metadata"]["name"]
    assert first["metadata"]["ownerReferences"][0]["uid"] == wanted["metadata"]["uid"]
    assert first["revision"] == 1
    bed.patch(f"{revisions}/{name}", {"metadata": {"labels": {name: "patched"}}})

    # A second one of the same data is nobody's to delete, and restarts no pod.
    (pod,) = run(bed, 1)
    labels = {"app": "web", HASH: "again"}
    owners = first["metadata"]["ownerReferences"]
    again = {"metadata": {"name": "web-again", "labels": labels, "ownerReferences": owners}}
    bed.make(revisions, {**again, "data": first["data"], "revision": 2})
    bed.patch(path, {"metadata": {"labels": {"seen": "yes"}}})
    time.sleep(0.5)
    assert len(bed.items(revisions)) == 2
    assert [one["metadata"]["uid"] for one in run(bed, 1)] == [pod["metadata"]["uid"]]

    assert bed.ask("DELETE", f"{revisions}/{name}")[0] == 200
    bed.until(revisions, lambda found: len(found["items"]) == 1)
    bed.change(
        f"{revisions}/web-again", lambda found: found["metadata"]["labels"].update({"web-again": "updated"})
    )
    # As upstream's test has it, with a field in the wrong place.
    patch = {"spec": {"template": {"spec": {"terminationGracePeriodSeconds": 1}}}, "updateStrategy": {}}
    bed.patch(path, patch)
    bed.until(revisions, lambda found: len(found["items"]) == 2)
    assert bed.ask("DELETE", f"{revisions}?labelSelector=web-again%3Dupdated")[0] == 200
    left = bed.until(revisions, lambda found: len(found["items"]) == 1)
    assert [one["revision"] for one in left["items"]] == [3]


def work(**more: Any) -> Raw:
    pod = template(job="work")
    pod["spec"] = {**pod["spec"], "restartPolicy": "Never"}
    return {"parallelism": 2, "completions": 4, "template": pod, **more}


def test_a_job_is_made_suspended_changed_run_and_deleted(cluster: Callable[[str], Cluster]) -> None:
    bed = cluster("job-lives")
    path, jobs, pods = bed.path(BATCH, "jobs", "work"), bed.path(BATCH, "jobs"), bed.path(CORE, "pods")
    bed.make(jobs, {"metadata": {"name": "work", "labels": {"e2e": "work"}}, "spec": work(suspend=True)})
    bed.until(path, lambda found: condition(found, "Suspended"))
    assert bed.items(pods) == []
    assert (
        bed.patch(path, {"metadata": {"labels": {"work": "patched"}}})["metadata"]["labels"]["work"]
        == "patched"
    )

    def resume(found: Raw) -> None:
        found["spec"]["suspend"] = False
        found["metadata"]["annotations"] = {"updated": "true"}

    bed.change(path, resume)
    deadline = time.monotonic() + 30
    while bed.get(path)["status"].get("succeeded") != 4:
        assert time.monotonic() < deadline, bed.get(path)
        for pod in bed.items(pods):
            if pod["status"]["phase"] == "Pending":
                bed.run(pod, "Succeeded", "False")
        time.sleep(0.05)
    done = bed.until(path, lambda found: condition(found, "Complete"))
    assert condition(done, "Complete")["reason"] == "CompletionsReached"
    assert (done["status"]["ready"], done["status"]["terminating"]) == (0, 0)

    assert [one["metadata"]["name"] for one in bed.items(f"{BATCH}/jobs?labelSelector=e2e%3Dwork")] == [
        "work"
    ]
    options = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"}
    assert bed.ask("DELETE", f"{jobs}?labelSelector=e2e%3Dwork", options)[0] == 200
    bed.until(jobs, lambda found: not found["items"])
    bed.until(pods, lambda found: not found["items"])


def test_a_job_takes_back_a_pod_and_lets_one_go(cluster: Callable[[str], Cluster]) -> None:
    bed = cluster("job-adopts")
    pods = bed.path(CORE, "pods")
    bed.make(bed.path(BATCH, "jobs"), {"metadata": {"name": "work"}, "spec": work()})
    pod = f"{pods}/{run(bed, 2)[0]['metadata']['name']}"

    bed.change(pod, lambda found: found["metadata"].pop("ownerReferences"))
    bed.until(pod, lambda found: found["metadata"].get("ownerReferences"))
    bed.change(pod, lambda found: found["metadata"].pop("labels"))
    bed.until(pod, lambda found: not found["metadata"].get("ownerReferences"))

    # A limit for each index is the only one when no other is named.
    per_index = work(completionMode="Indexed", backoffLimitPerIndex=1, suspend=True)
    made = bed.make(bed.path(BATCH, "jobs"), {"metadata": {"name": "each"}, "spec": per_index})
    assert made["spec"]["backoffLimit"] == 2**31 - 1


def test_a_condition_of_a_job_that_somebody_else_writes_is_kept(cluster: Callable[[str], Cluster]) -> None:
    bed = cluster("job-status")
    path = bed.path(BATCH, "jobs", "work")
    made = bed.make(bed.path(BATCH, "jobs"), {"metadata": {"name": "work"}, "spec": work()})
    run(bed, 2)

    def told(when: str) -> Raw:
        return {"type": "CustomConditionType", "status": "True", "lastTransitionTime": when}

    # As a client in Go writes it: times that are not known are null, structs that are empty are there.
    one = {**told("2026-01-02T03:04:05Z"), "lastProbeTime": None}
    body = {"metadata": {"annotations": {"patchedstatus": "true"}}, "status": {"conditions": [one]}}
    patched = bed.patch(f"{path}/status", body, "merge")
    assert condition(patched, "CustomConditionType")["lastTransitionTime"] == "2026-01-02T03:04:05Z"
    assert patched["metadata"]["annotations"]["patchedstatus"] == "true"

    def later(found: Raw) -> None:
        condition(found, "CustomConditionType")["lastTransitionTime"] = "2026-01-02T03:04:06Z"

    updated = bed.change(path, later, "/status")
    assert condition(updated, "CustomConditionType")["lastTransitionTime"] == "2026-01-02T03:04:06Z"
    assert bed.get(f"{path}/status")["metadata"]["uid"] == made["metadata"]["uid"]
    bed.until(path, lambda found: found["status"].get("active") == 2)
    assert condition(bed.get(path), "CustomConditionType")["status"] == "True"


def test_a_job_fails_early_by_an_exit_code(cluster: Callable[[str], Cluster]) -> None:
    """One pod fails with the code of the policy; the other, which runs still, is ended and counted."""
    bed = cluster("job-exit-code")
    path, pods = bed.path(BATCH, "jobs", "work"), bed.path(CORE, "pods")
    rule = {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [1]}}
    policy = {"rules": [rule]}
    bed.make(
        bed.path(BATCH, "jobs"),
        {"metadata": {"name": "work"}, "spec": work(backoffLimit=1, podFailurePolicy=policy)},
    )
    made = bed.get(path)["spec"]["podFailurePolicy"]["rules"][0]
    assert made["onExitCodes"] == {"operator": "In", "values": [1]}
    first, *_ = run(bed, 2)

    ended = {"terminated": {"exitCode": 1, "reason": "Error"}}
    status = {"name": "c", "image": "a", "imageID": "", "ready": False, "restartCount": 0, "state": ended}
    bed.change(
        f"{pods}/{first['metadata']['name']}",
        lambda found: found["status"].update(phase="Failed", containerStatuses=[status]),
        "/status",
    )
    target = bed.until(path, lambda found: condition(found, "FailureTarget"))
    assert condition(target, "FailureTarget")["reason"] == "PodFailurePolicy"
    failed = bed.until(path, lambda found: condition(found, "Failed"))
    assert condition(failed, "Failed")["reason"] == "PodFailurePolicy"
    assert "exit code 1 matching FailJob rule at index 0" in condition(failed, "Failed")["message"]
