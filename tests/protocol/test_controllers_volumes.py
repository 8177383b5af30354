"""Claims, volumes and attachments on a real API server, with only the rights of each loop's own account."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.protocol.apiserver_bed import Lab
from tests.protocol.controllers_bed import CORE, Cluster, manage
from tests.protocol.requests_bed import STRATEGIC, Api

VOLUMES = f"{CORE}/persistentvolumes"
STORAGE = "/apis/storage.k8s.io/v1"
SIZE = {"storage": "1Gi"}
MANAGED = "volumes.kubernetes.io/controller-managed-attach-detach"


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
    bed.make(f"{CORE}/nodes", {"metadata": {"name": "n1", "annotations": {MANAGED: "true"}}})
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


def test_an_attachment_of_somebody_else_is_left_to_them(cluster: Callable[[str], Cluster]) -> None:
    bed = cluster("others")
    ready = {"conditions": [{"type": "Ready", "status": "True"}]}
    bed.make(f"{CORE}/nodes", {"metadata": {"name": "others"}, "status": ready})
    spec = {
        "attacher": "e2e-test.example.com",
        "nodeName": "others",
        "source": {"persistentVolumeName": "pv"},
    }
    path = f"{STORAGE}/volumeattachments"
    made = bed.make(
        path, {"metadata": {"name": "va-e2e", "uid": "va-e2e"}, "spec": spec, "status": {"attached": False}}
    )
    assert made["metadata"]["uid"] != "va-e2e"  # Names of that kind are the server's to give.
    # The same loop gives another node its volume after it: so it has looked at both.
    bed.make(f"{CORE}/nodes", {"metadata": {"name": "last", "annotations": {MANAGED: "true"}}})
    volume(bed, "last-1", storageClassName="last")
    claim(bed, "last", storageClassName="last")
    use = {"name": "v", "persistentVolumeClaim": {"claimName": "last"}}
    containers = [{"name": "c", "image": "example.test/none"}]
    bed.make(
        bed.path(CORE, "pods"),
        {"metadata": {"name": "p"}, "spec": {"nodeName": "last", "containers": containers, "volumes": [use]}},
    )
    bed.until(path, lambda found: any(one["spec"]["nodeName"] == "last" for one in found["items"]))

    api = Api(bed.server)
    assert api.patch(f"{path}/va-e2e/status", {"status": {"attached": True}})["status"]["attached"] is True
    found = api.changed(f"{path}/va-e2e/status", lambda one: {**one, "status": {"attached": False}})
    assert found["status"]["attached"] is False
    api.delete(f"{path}/va-e2e")
    assert api.code(f"{path}/va-e2e") == 404


@pytest.mark.parametrize("together", [False, True], ids=["one-by-one", "together"])
def test_a_volume_and_its_claim_are_changed_and_go(cluster: Callable[[str], Cluster], together: bool) -> None:
    bed = cluster(f"pv-life-{together}".lower())
    api, name = Api(bed.server), bed.namespace
    at, path = volume(bed, name, storageClassName=name), claim(bed, "life", storageClassName=name)
    for one in (at, path):
        found = api.patch(one, {"metadata": {"labels": {"life": "patched"}}}, STRATEGIC)
        assert found["metadata"]["labels"]["life"] == "patched"
        found = api.changed(
            one, lambda raw: {**raw, "metadata": {**raw["metadata"], "labels": {"life": name}}}
        )
        assert found["metadata"]["labels"] == {"life": name}
    everywhere = f"{CORE}/persistentvolumeclaims"
    assert [
        one["metadata"]["name"] for one in api.get(everywhere, labelSelector=f"life={name}")["items"]
    ] == ["life"]
    bed.until(at, phase("Bound"))

    for one in (path, at):  # Protected while it is used; it goes as soon as it is not.
        if together:
            api.delete(one.rpartition("/")[0], labelSelector=f"life={name}")
        else:
            api.delete(one)
        bed.until(one, lambda raw: not raw)


def test_the_status_of_a_volume_and_of_a_claim_take_what_others_say(
    cluster: Callable[[str], Cluster],
) -> None:
    bed = cluster("pv-status")
    api = Api(bed.server)
    at, path = (
        volume(bed, "pv-status", storageClassName="stays"),
        claim(bed, "life", storageClassName="stays"),
    )
    bed.until(path, phase("Bound"))
    assert (
        api.get(f"{at}/status")["status"]["phase"] == api.get(f"{path}/status")["status"]["phase"] == "Bound"
    )

    said = {
        "type": "StatusPatched",
        "status": "True",
        "reason": "E2E patchedStatus",
        "message": "Set by a test",
    }
    found = api.patch(f"{path}/status", {"status": {"conditions": [said]}})
    assert [one["reason"] for one in found["status"]["conditions"]] == ["E2E patchedStatus"]
    found["status"]["conditions"].append({**said, "type": "StatusUpdated"})
    found = api.update(f"{path}/status", found)
    assert [one["type"] for one in found["status"]["conditions"]] == ["StatusPatched", "StatusUpdated"]
    found = api.patch(f"{at}/status", {"status": {"message": "StatusPatched", "reason": "E2E patchStatus"}})
    assert (found["status"]["message"], found["status"]["reason"]) == ("StatusPatched", "E2E patchStatus")
