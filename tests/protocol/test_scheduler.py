"""Our scheduler on a real API server, with nodes that are only objects."""

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from tests.protocol.apiserver_bed import Lab
from tests.protocol.controllers_bed import APPS, CORE, Cluster, Raw, condition, manage

pytestmark = [pytest.mark.etcd]
CONFIG = """
apiVersion: kubescheduler.config.k8s.io/v1
kind: KubeSchedulerConfiguration
profiles:
- schedulerName: default-scheduler
- schedulerName: picky
  pluginConfig:
  - name: NodeAffinity
    args:
      addedAffinity:
        requiredDuringSchedulingIgnoredDuringExecution:
          nodeSelectorTerms:
          - matchExpressions: [{key: disk, operator: In, values: [ssd]}]
"""
SCHEDULING = "/apis/scheduling.k8s.io/v1/priorityclasses"


@pytest.fixture(scope="module")
def cluster(lab: Lab, free_ports: Callable[[], int]) -> Cluster:
    """One ready node of four processors, and a scheduler with a scheduler's rights only."""
    server = lab.start(free_ports())
    manage(
        lab,
        server,
        free_ports(),
        "--controllers=serviceaccount-controller,namespace-controller,disruption-controller,replicaset-controller",
    )
    found = Cluster(lab, server, "placed")
    found.make(f"{CORE}/nodes", {"metadata": {"name": "n1"}})
    sizes = {"cpu": "4", "memory": "8Gi", "pods": "110"}
    ready = [{"type": "Ready", "status": "True"}]
    status = {"capacity": sizes, "allocatable": sizes, "conditions": ready}
    found.change(f"{CORE}/nodes/n1", lambda node: node.update(status=status), "/status")
    found.change(f"{CORE}/nodes/n1", lambda node: node["spec"].pop("taints", None))
    config = lab.directory / "scheduler.yaml"
    config.write_text(CONFIG)
    command = [
        sys.executable, "-c", "from kybern.cli.scheduler import main; main()",
        f"--kubeconfig={lab.kubeconfig(server, 'scheduler')}", f"--config={config}", "--leader-elect=false",
        "--bind-address=127.0.0.1",
        f"--secure-port={free_ports()}",
    ]  # fmt: skip
    with (lab.directory / "scheduler.log").open("wb") as log:
        lab.started.append(subprocess.Popen(command, stdout=log, stderr=log))
    return found


def pod(cluster: Cluster, name: str, cpu: str, level: str = "", **more: Any) -> Raw:
    container = {"name": "c", "image": "example.test/none", "resources": {"requests": {"cpu": cpu}}}
    spec = {"containers": [container], "terminationGracePeriodSeconds": 0, "priorityClassName": level, **more}
    labels = {"app": name}
    return cluster.make(
        cluster.path(CORE, "pods"), {"metadata": {"name": name, "labels": labels}, "spec": spec}
    )


def bound(found: Raw) -> bool:
    return bool(found and found["spec"].get("nodeName"))


def test_a_pod_of_higher_priority_takes_the_place_of_a_lower_one(cluster: Cluster) -> None:
    for name, value in (("low", 1), ("high", 1000)):
        cluster.make(SCHEDULING, {"metadata": {"name": name}, "value": value})
    cluster.make(SCHEDULING, {"metadata": {"name": "patient"}, "value": 2000, "preemptionPolicy": "Never"})
    stays, goes = cluster.path(CORE, "pods", "stays"), cluster.path(CORE, "pods", "goes")
    pod(cluster, "stays", "1", "high")
    # A finalizer holds it, so that what it was told can be read.
    pod(cluster, "goes", "3", "low")
    cluster.until(stays, bound)
    cluster.until(goes, bound)
    cluster.change(goes, lambda found: found["metadata"].update(finalizers=["example.test/held"]))

    never = cluster.path(CORE, "pods", "patient")
    pod(cluster, "patient", "2", "patient")
    refused = cluster.until(never, lambda found: condition(found, "PodScheduled"))
    assert condition(refused, "PodScheduled")["message"] == (
        "0/1 nodes are available: 1 Insufficient cpu. preemption: not eligible due to preemptionPolicy=Never."
    )
    cluster.ask("DELETE", never)

    path = cluster.path(CORE, "pods", "urgent")
    urgent = pod(cluster, "urgent", "2", "high")
    told = cluster.until(goes, lambda found: found["metadata"].get("deletionTimestamp"))
    target = condition(told, "DisruptionTarget")
    assert (target["status"], target["reason"]) == ("True", "PreemptionByScheduler")
    assert target["message"] == "default-scheduler: preempting to accommodate a higher priority pod"
    waiting = cluster.until(path, lambda found: found["status"].get("nominatedNodeName"))
    assert waiting["status"]["nominatedNodeName"] == "n1"

    cluster.change(goes, lambda found: found["metadata"].update(finalizers=[]))
    placed = cluster.until(path, bound)
    assert "nominatedNodeName" not in placed["status"], "what was expected has come to pass"
    assert bound(cluster.get(stays))
    assert (
        "Normal", "Preempted", f"Preempted by pod {urgent['metadata']['uid']} on node n1"
    ) in cluster.events("goes")  # fmt: skip


def test_a_pod_waits_until_its_claim_has_a_volume(cluster: Cluster) -> None:
    path, claim = cluster.path(CORE, "pods", "keeps"), cluster.path(CORE, "persistentvolumeclaims", "data")
    volumes = [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]
    pod(cluster, "keeps", "10m", volumes=volumes)

    def said(text: str) -> Callable[[Raw], bool]:
        head, last = "0/1 nodes are available: ", "1 Preemption is not helpful for scheduling."
        told = f"{head}{text}. preemption: {head}{last}"
        return lambda found: condition(found, "PodScheduled").get("message") == told

    cluster.until(path, said('persistentvolumeclaim "data" not found'))
    asked = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1Gi"}},
        "storageClassName": "",
    }
    cluster.make(cluster.path(CORE, "persistentvolumeclaims"), {"metadata": {"name": "data"}, "spec": asked})
    cluster.until(path, said("pod has unbound immediate PersistentVolumeClaims"))

    term = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n1"]}]}
    spec = {
        "capacity": {"storage": "1Gi"},
        "accessModes": ["ReadWriteOnce"],
        "local": {"path": "/mnt/data"},
        "nodeAffinity": {"required": {"nodeSelectorTerms": [term]}},
    }
    cluster.make(f"{CORE}/persistentvolumes", {"metadata": {"name": "on-n1"}, "spec": spec})
    # What the controller that binds volumes does.
    cluster.change(claim, lambda found: found["spec"].update(volumeName="on-n1"))
    done = {"pv.kubernetes.io/bind-completed": "yes"}
    cluster.change(claim, lambda found: found["metadata"].update(annotations=done))
    cluster.change(claim, lambda found: found["status"].update(phase="Bound"), "/status")

    assert cluster.until(path, bound)["spec"]["nodeName"] == "n1"


def test_only_as_many_replica_sets_lose_a_pod_as_must(cluster: Cluster) -> None:
    """As upstream's test of the path of preemption has it: of 1000 are 950 taken, and 500 are asked for."""
    fake = {"example.com/fakecpu": "1000"}
    cluster.patch(f"{CORE}/nodes/n1/status", {"status": {"capacity": fake, "allocatable": fake}})
    for value in (1, 2, 3, 4):
        cluster.make(SCHEDULING, {"metadata": {"name": f"p{value}"}, "value": value})

    def replicas(number: int, amount: str) -> None:
        asked = {"example.com/fakecpu": amount}
        resources = {"requests": asked, "limits": asked}
        container = {"name": "c", "image": "example.test/none", "resources": resources}
        spec = {
            "containers": [container],
            "priorityClassName": f"p{number}",
            "terminationGracePeriodSeconds": 0,
        }
        labels = {"app": f"rs{number}"}
        body = {"replicas": 1, "selector": {"matchLabels": labels}}
        body["template"] = {"metadata": {"labels": labels}, "spec": spec}
        cluster.make(cluster.path(APPS, "replicasets"), {"metadata": {"name": f"rs{number}"}, "spec": body})

    def pods(number: int) -> list[Raw]:
        return cluster.items(cluster.path(CORE, "pods") + f"?labelSelector=app%3Drs{number}")

    for number, amount in ((1, "200"), (2, "300"), (3, "450")):
        replicas(number, amount)
        selected = cluster.path(CORE, "pods") + f"?labelSelector=app%3Drs{number}"
        cluster.until(selected, lambda found: found["items"] and all(map(bound, found["items"])))
    before = {number: pods(number)[0]["metadata"]["uid"] for number in (1, 2, 3)}

    replicas(4, "500")
    selected = cluster.path(CORE, "pods") + "?labelSelector=app%3Drs4"
    cluster.until(selected, lambda found: found["items"] and all(map(bound, found["items"])))
    for number in (1, 2):
        selected = cluster.path(CORE, "pods") + f"?labelSelector=app%3Drs{number}"
        (found,) = cluster.until(selected, lambda found: len(found["items"]) == 1)["items"]
        cluster.until(
            cluster.path(CORE, "pods", found["metadata"]["name"]), lambda pod: condition(pod, "PodScheduled")
        )
        # Made anew, and waiting: it makes nobody leave.
        assert found["metadata"]["uid"] != before[number]
        assert not bound(found)
    assert [one["metadata"]["uid"] for one in pods(3)] == [before[3]]
    assert len(pods(4)) == 1


def test_a_pod_goes_where_a_label_was_put_and_nowhere_else(cluster: Cluster) -> None:
    path = cluster.path(CORE, "pods", "choosy")
    pod(cluster, "choosy", "10m", nodeSelector={"label": "nonempty"})
    told = cluster.until(path, lambda found: condition(found, "PodScheduled"))
    assert condition(told, "PodScheduled")["reason"] == "Unschedulable"
    assert any(
        kind == "Warning" and reason == "FailedScheduling" for kind, reason, _ in cluster.events("choosy")
    )

    cluster.patch(f"{CORE}/nodes/n1", {"metadata": {"labels": {"label": "nonempty"}}})
    cluster.until(path, bound)
    said = ("Normal", "Scheduled", f"Successfully assigned {cluster.namespace}/choosy to n1")
    assert said in cluster.events("choosy")


def test_a_pod_that_asks_for_more_than_is_left_waits_for_it(cluster: Cluster) -> None:
    fake = {"example.com/beardsecond": "1000"}
    cluster.patch(f"{CORE}/nodes/n1/status", {"status": {"capacity": fake, "allocatable": fake}})

    def asking(name: str, amount: str) -> str:
        asked = {"example.com/beardsecond": amount}
        container = {
            "name": "c",
            "image": "example.test/none",
            "resources": {"requests": asked, "limits": asked},
        }
        pod(cluster, name, "0", containers=[container])
        return cluster.path(CORE, "pods", name)

    cluster.until(asking("filler", "700"), bound)
    additional = asking("additional", "400")
    told = cluster.until(additional, lambda found: condition(found, "PodScheduled"))
    assert "Insufficient example.com/beardsecond" in condition(told, "PodScheduled")["message"]
    assert cluster.ask("DELETE", cluster.path(CORE, "pods", "filler"))[0] == 200
    cluster.until(additional, bound)


def test_a_profile_has_rules_of_its_own(cluster: Cluster) -> None:
    path = cluster.path(CORE, "pods", "picky")
    pod(cluster, "picky", "10m", schedulerName="picky")

    refused = cluster.until(path, lambda found: condition(found, "PodScheduled"))
    head = "0/1 nodes are available: "
    assert condition(refused, "PodScheduled")["message"] == (
        f"{head}1 node(s) didn't match scheduler-enforced node affinity. "
        f"preemption: {head}1 Preemption is not helpful for scheduling."
    )
    cluster.change(f"{CORE}/nodes/n1", lambda found: found["metadata"].update(labels={"disk": "ssd"}))

    cluster.until(path, bound)


def test_devices_are_given_for_an_extended_resource(cluster: Cluster) -> None:
    resources = "/apis/resource.k8s.io/v1"
    meta = {"metadata": {"name": "gpus"}}
    cluster.make(f"{resources}/deviceclasses", {**meta, "spec": {"extendedResourceName": "example.com/gpu"}})
    pool = {"name": "n1", "generation": 1, "resourceSliceCount": 1}
    devices = [{"name": "d0"}]
    slices = {"driver": "gpu.example.com", "nodeName": "n1", "pool": pool, "devices": devices}
    cluster.make(f"{resources}/resourceslices", {**meta, "spec": slices})
    amounts = {"example.com/gpu": "1"}
    container = {"name": "c", "image": "x", "resources": {"requests": amounts, "limits": amounts}}
    wanted = {"metadata": {"name": "fast"}, "spec": {"containers": [container]}}
    cluster.make(cluster.path(CORE, "pods"), wanted)

    found = cluster.until(cluster.path(CORE, "pods", "fast"), bound)

    told = found["status"]["extendedResourceClaimStatus"]
    request = {
        "containerName": "c",
        "resourceName": "example.com/gpu",
        "requestName": "container-0-request-0",
    }
    assert told["requestMappings"] == [request]
    claim = cluster.get(cluster.path(resources, "resourceclaims", told["resourceClaimName"]))
    assert claim["metadata"]["generateName"] == "fast-extended-resources-"
    assert claim["metadata"]["annotations"] == {"resource.kubernetes.io/extended-resource-claim": "true"}
    assert [one["device"] for one in claim["status"]["allocation"]["devices"]["results"]] == ["d0"]
    assert [one["name"] for one in claim["status"]["reservedFor"]] == ["fast"]
