"""Volumes of a pool of libvirt's, in a small cluster of its own: they go where their pods go, and leave nothing behind."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from kybern.machines.plan import domain_name
from tests.cluster.conftest import Lab, made_apart

pytestmark = pytest.mark.small
TOPOLOGY = "cloud"
DRIVER = "volumes.kybern.io"
POOL = "kybern-tests"
FOLDER = Path("/var/lib/kybern/pools/tests")
MIB = 1 << 20

CLAIM = """
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: %s}
spec: {accessModes: [ReadWriteOnce], storageClassName: cloud, resources: {requests: {storage: %s}}}
"""
POD = """
apiVersion: v1
kind: Pod
metadata: {name: %s}
spec:
  nodeSelector: {kubernetes.io/hostname: %s}
  terminationGracePeriodSeconds: 1
  containers:
  - name: one
    image: busybox:1.36
    command: [sh, -c, "trap 'exit 0' TERM; while true; do sleep 0.1; done"]
    volumeMounts: [{name: data, mountPath: /data}]
  volumes: [{name: data, persistentVolumeClaim: {claimName: %s}}]
"""


def virsh(*words: str) -> str:
    command = ["virsh", "--connect", "lxc:///system", *words]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with made_apart(TOPOLOGY) as found:
        FOLDER.mkdir(parents=True, exist_ok=True)
        virsh("pool-create-as", POOL, "dir", "--target", str(FOLDER))
        try:
            found.deploy_with(tmp_path_factory.mktemp("volumes"), cloud_volumes=POOL)
            yield found
        finally:
            virsh("pool-destroy", POOL)


def pod(lab: Lab, name: str, node: str, claim: str = "data") -> None:
    lab.kubectl("apply", "-f", "-", stdin=POD % (name, node, claim))
    lab.kubectl("wait", "--for=condition=Ready", f"pod/{name}", "--timeout=90s", seconds=120)


def gone(lab: Lab, name: str) -> None:
    lab.kubectl("delete", "pod", name, "--wait=true", "--timeout=60s", seconds=90)
    lab.eventually("it is detached", lambda: not attachments(lab))


def inside(lab: Lab, name: str, command: str) -> str:
    return lab.kubectl("exec", name, "--", "sh", "-c", command).strip()


def attachments(lab: Lab) -> list[Any]:
    found = lab.get("volumeattachments")["items"]
    return [one for one in found if one["spec"]["attacher"] == DRIVER]


def volumes() -> list[str]:
    return sorted(path.name for path in FOLDER.iterdir())


def loops() -> list[str]:
    said = subprocess.run(["losetup", "--all"], check=True, capture_output=True, text=True, timeout=30).stdout
    return [line for line in said.splitlines() if str(FOLDER) in line]


def holders() -> list[str]:
    return [name for name in virsh("list", "--name").split() if name.startswith("kybern-volume-")]


def blocks(lab: Lab, name: str) -> int:
    return int(inside(lab, name, "df -k /data | tail -1 | awk '{print $2}'"))


def asked(lab: Lab, size: str) -> None:
    lab.kubectl(
        "patch", "pvc", "data", "-p", json.dumps({"spec": {"resources": {"requests": {"storage": size}}}})
    )


def test_the_scheduler_and_the_kubelets_know_the_driver(lab: Lab) -> None:
    def known() -> bool:
        nodes = lab.get("csinodes")["items"]
        return all(DRIVER in {one["name"] for one in node["spec"]["drivers"]} for node in nodes)

    lab.eventually("every kubelet knows it", known)
    lab.eventually(
        "the room of the zone is told",
        lambda: [
            one
            for one in lab.get("csistoragecapacities", "-n", "kube-system")["items"]
            if one["storageClassName"] == "cloud" and one["capacity"] != "0"
        ],
    )


def test_a_volume_goes_where_its_pod_goes_and_grows_on_the_way(lab: Lab) -> None:
    before = set(holders())
    lab.kubectl("apply", "-f", "-", stdin=CLAIM % ("data", "32Mi"))
    pod(lab, "first", "worker-1")
    inside(lab, "first", "echo kept > /data/file && sync")
    assert len(volumes()) == 1
    assert len(loops()) == 1
    assert domain_name(lab.cluster.name, "worker-1") in virsh("list", "--name")

    asked(lab, "96Mi")
    lab.eventually("the file is larger", lambda: [*FOLDER.iterdir()][0].stat().st_size == 96 * MIB)  # noqa: RUF015
    gone(lab, "first")
    assert (loops(), set(holders())) == ([], before)

    pod(lab, "second", "worker-2")
    assert inside(lab, "second", "cat /data/file") == "kept"
    lab.eventually("the file system is larger", lambda: blocks(lab, "second") > 64 * 1024)
    lab.eventually(
        "the claim has what it asked for",
        lambda: lab.get("pvc", "data")["status"]["capacity"] == {"storage": "96Mi"},
        90,
    )


def test_a_machine_that_starts_anew_gets_its_volume_back(lab: Lab) -> None:
    lab.kybern("machines", "kill", lab.cluster.name, "worker-2")
    lab.start("worker-2")
    # The attachment stood all the time: the pod's new container finds the device by it.
    lab.eventually("the data is there", lambda: inside(lab, "second", "cat /data/file") == "kept", 180)


SNAPSHOT = """
apiVersion: snapshot.storage.k8s.io/v1
kind: VolumeSnapshot
metadata: {name: before}
spec: {source: {persistentVolumeClaimName: data}}
"""
RESTORED = """
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: restored}
spec:
  accessModes: [ReadWriteOnce]
  storageClassName: cloud
  dataSource: {apiGroup: snapshot.storage.k8s.io, kind: VolumeSnapshot, name: before}
  resources: {requests: {storage: 128Mi}}
"""


def snapshot(lab: Lab) -> dict[str, Any]:
    found: dict[str, Any] = lab.get("volumesnapshot", "before").get("status", {})
    return found


def test_a_snapshot_waits_for_its_volume_and_is_restored_as_it_was(lab: Lab) -> None:
    lab.kubectl("apply", "-f", "-", stdin=SNAPSHOT)
    lab.eventually("who has it is told", lambda: "worker-2 has it" in snapshot(lab)["error"]["message"])
    gone(lab, "second")
    lab.eventually("it is taken", lambda: snapshot(lab).get("readyToUse"), 90)

    pod(lab, "third", "worker-1")
    inside(lab, "third", "echo later > /data/file && sync")
    lab.kubectl("apply", "-f", "-", stdin=RESTORED)
    pod(lab, "fourth", "worker-2", "restored")
    assert inside(lab, "fourth", "cat /data/file") == "kept"
    assert inside(lab, "third", "cat /data/file") == "later"
    assert blocks(lab, "fourth") > 100 * 1024
    assert len(volumes()) == 3

    lab.kubectl("delete", "pod/fourth", "pvc/restored", "volumesnapshot/before", "--wait=true", seconds=90)
    lab.eventually("snapshot and copy go", lambda: len(volumes()) == 1)
    assert lab.get("volumesnapshotcontents")["items"] == []


def test_what_cannot_be_is_told_by_name(lab: Lab) -> None:
    lab.kubectl("apply", "-f", "-", stdin=CLAIM % ("huge", "900Ti"))
    lab.kubectl("apply", "-f", "-", stdin=yaml.safe_dump(yaml.safe_load(POD % ("waits", "worker-1", "huge"))))
    lab.eventually(
        "the scheduler says so",
        lambda: [
            one
            for one in lab.get("events")["items"]
            if one["involvedObject"]["name"] == "waits"
            and "did not have enough free storage" in one["message"]
        ],
    )
    lab.kubectl("delete", "pod/waits", "pvc/huge")


FOREIGN = """
apiVersion: v1
kind: PersistentVolume
metadata: {name: foreign}
spec: {capacity: {storage: 1Gi}, accessModes: [ReadWriteOnce], csi: {driver: %s, volumeHandle: x}}
"""


@pytest.mark.parametrize(("driver", "said"), [("csi.example.com", "can be written"), (DRIVER, "created")])
def test_the_daemon_is_held_to_its_own_volumes(lab: Lab, driver: str, said: str) -> None:
    user = ("--as=system:kybern-cloud-volumes", "--dry-run=server")
    assert said in lab.kubectl("create", *user, "-f", "-", check=False, stdin=FOREIGN % driver)


def test_nothing_is_left_when_its_claim_goes(lab: Lab) -> None:
    gone(lab, "third")
    lab.kubectl("delete", "pvc", "data")
    lab.eventually("no volume is left", lambda: not volumes())

    assert (loops(), holders()) == ([], [])
    assert not [one for one in lab.get("pv")["items"] if one["spec"].get("csi", {}).get("driver") == DRIVER]
