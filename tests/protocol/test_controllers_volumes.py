"""Claims, volumes and attachments on a real API server, with only the rights of each loop's own account."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.protocol.apiserver_bed import Lab
from tests.protocol.controllers_bed import CORE, Cluster, manage

VOLUMES = f"{CORE}/persistentvolumes"
STORAGE = "/apis/storage.k8s.io/v1"
SIZE = {"storage": "1Gi"}


@pytest.fixture(scope="module")
def cluster(lab: Lab, free_ports: Callable[[], int]) -> Callable[[str], Cluster]:
    server = lab.start(free_ports())
    manage(lab, server, free_ports())
    return lambda name: Cluster(lab, server, name)


def volume(bed: Cluster, name: str, **spec: Any) -> str:
    found = {
        "capacity": SIZE,
        "accessModes": ["ReadWriteOnce"],
        "csi": {"driver": "csi.example.com", "volumeHandle": name},
        **spec,
    }
    bed.make(VOLUMES, {"metadata": {"name": name}, "spec": found})
    return f"{VOLUMES}/{name}"


def claim(bed: Cluster, name: str, **spec: Any) -> str:
    found = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": SIZE}, **spec}
    bed.make(bed.path(CORE, "persistentvolumeclaims"), {"metadata": {"name": name}, "spec": found})
    return bed.path(CORE, "persistentvolumeclaims", name)


def phase(wanted: str) -> Callable[[dict[str, Any]], bool]:
    return lambda found: (found.get("status") or {}).get("phase") == wanted


def test_a_claim_is_bound_and_its_volume_released(cluster: Callable[[str], Cluster]) -> None:
    bed = cluster("static")
    path = claim(bed, "data", storageClassName="static")
    at = volume(bed, "static-1", storageClassName="static")

    bound = bed.until(path, phase("Bound"))
    seen = bed.until(at, phase("Bound"))
    assert (bound["spec"]["volumeName"], bound["status"]["capacity"]) == ("static-1", SIZE)
    assert bound["metadata"]["annotations"]["pv.kubernetes.io/bind-completed"] == "yes"
    assert seen["spec"]["claimRef"]["uid"] == bound["metadata"]["uid"]

    bed.ask("DELETE", path)
    bed.until(path, lambda found: not found)
    bed.until(at, phase("Released"))


def test_a_path_is_emptied_by_a_pod_and_then_free_again(cluster: Callable[[str], Cluster]) -> None:
    bed = cluster("emptied")
    path = claim(bed, "data", storageClassName="emptied")
    source = {"csi": None, "hostPath": {"path": "/srv/data"}}
    at = volume(
        bed, "emptied-1", storageClassName="emptied", persistentVolumeReclaimPolicy="Recycle", **source
    )
    bed.until(path, phase("Bound"))

    bed.ask("DELETE", path)
    pod = bed.until(f"{CORE}/namespaces/default/pods/recycler-for-emptied-1", bool)
    assert pod["spec"]["volumes"][0]["hostPath"]["path"] == "/srv/data"
    bed.until(at, phase("Released"))
    bed.run(pod, "Succeeded", "False")

    free = bed.until(at, phase("Available"))
    assert "claimRef" not in free["spec"]
    bed.until(f"{CORE}/namespaces/default/pods/recycler-for-emptied-1", lambda found: not found)


def test_a_driver_is_asked_for_a_volume(cluster: Callable[[str], Cluster]) -> None:
    bed = cluster("dynamic")
    default = {"storageclass.kubernetes.io/is-default-class": "true"}
    path = claim(bed, "data")
    bed.until(
        bed.path(CORE, "events"), lambda _: any(one[1] == "FailedBinding" for one in bed.events("data"))
    )

    body = {"metadata": {"name": "std", "annotations": default}, "provisioner": "csi.example.com"}
    bed.make(f"{STORAGE}/storageclasses", body)

    key = "volume.kubernetes.io/storage-provisioner"
    seen = bed.until(path, lambda found: key in found["metadata"].get("annotations", {}))
    assert seen["spec"]["storageClassName"] == "std"
    bed.until(
        bed.path(CORE, "events"),
        lambda _: any(one[1] == "ExternalProvisioning" for one in bed.events("data")),
    )


def test_a_pod_gets_its_claim_and_its_node_the_volume(cluster: Callable[[str], Cluster]) -> None:
    bed = cluster("attached")
    managed = {"volumes.kubernetes.io/controller-managed-attach-detach": "true"}
    bed.make(f"{CORE}/nodes", {"metadata": {"name": "n1", "annotations": managed}})
    volume(bed, "attached-1", storageClassName="here")
    wanted = {"accessModes": ["ReadWriteOnce"], "storageClassName": "here", "resources": {"requests": SIZE}}
    spec = {
        "nodeName": "n1",
        "containers": [{"name": "c", "image": "example.test/none"}],
        "volumes": [{"name": "v", "ephemeral": {"volumeClaimTemplate": {"spec": wanted}}}],
    }
    pod = bed.make(bed.path(CORE, "pods"), {"metadata": {"name": "p"}, "spec": spec})

    made = bed.until(bed.path(CORE, "persistentvolumeclaims", "p-v"), phase("Bound"))
    assert made["metadata"]["ownerReferences"][0]["uid"] == pod["metadata"]["uid"]

    found = bed.until(f"{STORAGE}/volumeattachments", lambda found: found["items"])["items"][0]
    assert (found["spec"]["attacher"], found["spec"]["nodeName"]) == ("csi.example.com", "n1")
    at = f"{STORAGE}/volumeattachments/{found['metadata']['name']}"
    bed.change(at, lambda raw: raw.update(status={"attached": True}), "/status")
    unique = "kubernetes.io/csi/csi.example.com^attached-1"
    bed.until(
        f"{CORE}/nodes/n1",
        lambda node: unique in [one["name"] for one in node["status"].get("volumesAttached", ())],
    )

    bed.run(pod, "Succeeded", "False")
    bed.until(at, lambda raw: not raw)
    assert not bed.get(f"{CORE}/nodes/n1")["status"].get("volumesAttached")
