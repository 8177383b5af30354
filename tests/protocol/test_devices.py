"""Device claims from a pod's template to its end: API server, controllers and scheduler; drivers are only their slices."""

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from tests.protocol.apiserver_bed import Lab
from tests.protocol.controllers_bed import CORE, Cluster, Raw, condition, manage

pytestmark = [pytest.mark.etcd]
DEVICES = "/apis/resource.k8s.io/v1"
DRIVER = "gpu.example.com"


@pytest.fixture(scope="module")
def cluster(lab: Lab, free_ports: Callable[[], int]) -> Cluster:
    """Two ready nodes, of which the second has one device, and a scheduler with a scheduler's rights only."""
    server = lab.start(free_ports())
    loops = "serviceaccount-controller,namespace-controller,resourceclaim-controller,device-taint-eviction-controller"
    manage(lab, server, free_ports(), f"--controllers={loops}")
    found = Cluster(lab, server, "devices")
    sizes = {"cpu": "4", "memory": "8Gi", "pods": "110"}
    status = {"capacity": sizes, "allocatable": sizes, "conditions": [{"type": "Ready", "status": "True"}]}
    for name in ("n1", "n2"):
        found.make(f"{CORE}/nodes", {"metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}}})
        found.change(f"{CORE}/nodes/{name}", lambda node: node.update(status=status), "/status")
        found.change(f"{CORE}/nodes/{name}", lambda node: node["spec"].pop("taints", None))
    found.make(f"{DEVICES}/deviceclasses", {
        "metadata": {"name": "gpu"},
        "spec": {"selectors": [{"cel": {"expression": f'device.driver == "{DRIVER}"'}}]},
    })  # fmt: skip
    found.make(f"{DEVICES}/resourceslices", {
        "metadata": {"name": "n2-gpus"},
        "spec": {
            "driver": DRIVER, "nodeName": "n2", "pool": {"name": "n2", "generation": 1, "resourceSliceCount": 1},
            "devices": [{"name": "gpu-0", "attributes": {"model": {"string": "big"}}}],
        },
    })  # fmt: skip
    expression = f'device.attributes["{DRIVER}"].model == "big"'
    exactly = {"deviceClassName": "gpu", "selectors": [{"cel": {"expression": expression}}]}
    found.make(found.path(DEVICES, "resourceclaimtemplates"), {
        "metadata": {"name": "one-gpu"},
        "spec": {"spec": {"devices": {"requests": [{"name": "gpu", "exactly": exactly}]}}},
    })  # fmt: skip
    command = [
        sys.executable, "-c", "from kybern.cli.scheduler import main; main()",
        f"--kubeconfig={lab.kubeconfig(server, 'scheduler')}", "--leader-elect=false", "--bind-address=127.0.0.1",
        f"--secure-port={free_ports()}",
    ]  # fmt: skip
    with (lab.directory / "scheduler.log").open("wb") as log:
        lab.started.append(subprocess.Popen(command, stdout=log, stderr=log))
    return found


def pod(cluster: Cluster, name: str) -> Raw:
    container = {"name": "c", "image": "example.test/none", "resources": {"claims": [{"name": "gpu"}]}}
    spec = {
        "containers": [container],
        "terminationGracePeriodSeconds": 0,
        "resourceClaims": [{"name": "gpu", "resourceClaimTemplateName": "one-gpu"}],
    }
    return cluster.make(cluster.path(CORE, "pods"), {"metadata": {"name": name}, "spec": spec})


def end(cluster: Cluster, name: str) -> None:
    """What a kubelet says when a pod is done."""
    cluster.change(
        cluster.path(CORE, "pods", name), lambda found: found["status"].update(phase="Succeeded"), "/status"
    )


def of(listed: Raw, pod: str) -> list[Raw]:
    """The claims of a list that were made for a pod."""
    return [one for one in listed["items"] if one["metadata"]["name"].startswith(f"{pod}-")]


def placed(found: Raw) -> Any:
    return found and found["spec"].get("nodeName")


def test_pods_take_turns_with_a_device(cluster: Cluster) -> None:
    first, second = cluster.path(CORE, "pods", "first"), cluster.path(CORE, "pods", "second")
    made = pod(cluster, "first")
    found = cluster.until(first, placed)
    assert found["spec"]["nodeName"] == "n2"
    (status,) = found["status"]["resourceClaimStatuses"]
    assert (status["name"], status["resourceClaimName"][:10]) == ("gpu", "first-gpu-")

    every = cluster.path(DEVICES, "resourceclaims")
    (claim,) = of(cluster.get(every), "first")
    assert claim["metadata"]["annotations"]["resource.kubernetes.io/pod-claim-name"] == "gpu"
    assert claim["metadata"]["finalizers"] == ["resource.kubernetes.io/delete-protection"]
    assert claim["status"]["reservedFor"] == [
        {"resource": "pods", "name": "first", "uid": made["metadata"]["uid"]}
    ]
    allocation = claim["status"]["allocation"]
    assert allocation["devices"]["results"] == [
        {"request": "gpu", "driver": DRIVER, "pool": "n2", "device": "gpu-0"}
    ]
    (term,) = allocation["nodeSelector"]["nodeSelectorTerms"]
    assert term["matchFields"] == [{"key": "metadata.name", "operator": "In", "values": ["n2"]}]

    pod(cluster, "second")
    waiting = cluster.until(second, lambda one: condition(one, "PodScheduled").get("message"))
    assert condition(waiting, "PodScheduled")["message"].startswith(
        "0/2 nodes are available: 2 cannot allocate all claims."
    )

    end(cluster, "first")
    assert cluster.until(second, placed)["spec"]["nodeName"] == "n2"
    cluster.until(every, lambda found: not of(found, "first"))
    (left,) = of(cluster.get(every), "second")
    assert left["status"]["reservedFor"][0]["name"] == "second"
    end(cluster, "second")
    cluster.until(every, lambda found: not of(found, "second"), seconds=40)


def test_a_tainted_device_loses_its_pod(cluster: Cluster) -> None:
    path = cluster.path(CORE, "pods", "unlucky")
    pod(cluster, "unlucky")
    cluster.until(path, placed)
    cluster.change(path, lambda found: found["metadata"].update(finalizers=["example.test/held"]))

    taint = {"key": "broken", "effect": "NoExecute"}
    cluster.change(
        f"{DEVICES}/resourceslices/n2-gpus", lambda found: found["spec"]["devices"][0].update(taints=[taint])
    )
    try:
        told = cluster.until(path, lambda found: found["metadata"].get("deletionTimestamp"))
        assert condition(told, "DisruptionTarget")["reason"] == "DeletionByDeviceTaintManager"
        assert ("Normal", "DeviceTaintManagerEviction", "Marking for deletion") in cluster.events("unlucky")
    finally:
        cluster.change(path, lambda found: found["metadata"].update(finalizers=[]))
        cluster.change(
            f"{DEVICES}/resourceslices/n2-gpus", lambda found: found["spec"]["devices"][0].pop("taints")
        )
