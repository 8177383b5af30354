"""Volumes of the nodes' own disks, on real nodes: who makes them, what keeps them, and what takes them back."""

import json
from functools import partial

from tests.cluster.conftest import Lab

VOLUMES = "/var/lib/kybern-volumes"

SET = """
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  serviceName: db
  replicas: 2
  podManagementPolicy: Parallel
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec:
      terminationGracePeriodSeconds: 1
      topologySpreadConstraints:
      - maxSkew: 1
        topologyKey: kubernetes.io/hostname
        whenUnsatisfiable: DoNotSchedule
        labelSelector: {matchLabels: {app: db}}
      securityContext: {runAsUser: 1000, fsGroup: 2000}
      containers:
      - name: db
        image: busybox:1.36
        command: [sh, -c, "trap 'exit 0' TERM; while true; do sleep 0.1; done"]
        volumeMounts: [{name: data, mountPath: /data}]
  volumeClaimTemplates:
  - metadata: {name: data}
    spec:
      accessModes: [ReadWriteOnce]
      resources: {requests: {storage: 8Mi}}
"""


def placed(lab: Lab, namespace: str) -> dict[str, str]:
    """The node of each running pod of the set."""
    found = lab.running(namespace, "app=db")
    return {pod["metadata"]["name"]: pod["spec"]["nodeName"] for pod in found}


def volumes(lab: Lab, namespace: str) -> dict[str, str]:
    """The volume of each claim."""
    found = lab.get("pvc", "-n", namespace)["items"]
    return {one["metadata"]["name"]: one["spec"].get("volumeName", "") for one in found}


def directories(lab: Lab, node: str) -> set[str]:
    return set(lab.ssh(node, f"ls -A {VOLUMES}").split())


def test_a_set_keeps_its_data_and_its_nodes_until_its_claims_go(lab: Lab, namespace: str) -> None:
    lab.kubectl("apply", "-n", namespace, "-f", "-", stdin=SET)
    lab.eventually("two pods", lambda: len(placed(lab, namespace)) == 2, 90)
    before, made = placed(lab, namespace), volumes(lab, namespace)
    for name in before:
        lab.kubectl("exec", "-n", namespace, name, "--", "sh", "-c", f"echo {name} > /data/file")

    assert len(set(before.values())) == 2
    for name, node in before.items():
        assert made[f"data-{name}"] in directories(lab, node)
    volume = lab.get("pv", made["data-db-0"])
    assert volume["spec"]["storageClassName"] == "local"

    lab.kubectl("delete", "pod", "-n", namespace, "-l", "app=db", "--wait=true")
    lab.eventually("the same pods, where they were", lambda: placed(lab, namespace) == before, 60)
    for name in before:
        assert lab.kubectl("exec", "-n", namespace, name, "--", "cat", "/data/file").strip() == name

    grown = json.dumps({"spec": {"resources": {"requests": {"storage": "16Mi"}}}})
    lab.kubectl("patch", "pvc", "data-db-0", "-n", namespace, "-p", grown)
    lab.eventually(
        "a larger volume",
        lambda: lab.get("pvc", "data-db-0", "-n", namespace)["status"]["capacity"] == {"storage": "16Mi"},
        30,
    )
    assert lab.get("pv", made["data-db-0"])["spec"]["capacity"] == {"storage": "16Mi"}

    lab.kubectl("delete", "statefulset", "db", "-n", namespace)
    lab.kubectl("delete", "pvc", "--all", "-n", namespace, "--wait=true", "--timeout=60s", seconds=90)
    for name, node in before.items():
        lab.eventually("its directory gone", partial(_is_gone, lab, node, made[f"data-{name}"]), 30)
    lab.eventually("no volumes", lambda: not set(made.values()) & _names(lab), 30)


def _is_gone(lab: Lab, node: str, volume: str) -> bool:
    return volume not in directories(lab, node)


def _names(lab: Lab) -> set[str]:
    return {one["metadata"]["name"] for one in lab.get("pv")["items"]}


CLAIM = """
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: large}
spec:
  accessModes: [ReadWriteOnce]
  resources: {requests: {storage: 900Ti}}
---
apiVersion: v1
kind: Pod
metadata: {name: user}
spec:
  terminationGracePeriodSeconds: 1
  containers: [{name: c, image: "busybox:1.36", command: [sleep, "600"]}]
  volumes: [{name: v, persistentVolumeClaim: {claimName: large}}]
"""


def test_a_claim_that_no_disk_has_room_for_is_told_so(lab: Lab, namespace: str) -> None:
    lab.kubectl("apply", "-n", namespace, "-f", "-", stdin=CLAIM)

    def told() -> bool:
        found = lab.get("events", "-n", namespace)["items"]
        return any(
            "not enough space" in one["message"] or "enough free storage" in one["message"] for one in found
        )

    lab.eventually("the event", told, 60)


def test_a_driver_that_is_killed_comes_back_and_volumes_stay_mounted(lab: Lab, namespace: str) -> None:
    lab.kubectl("apply", "-n", namespace, "-f", "-", stdin=SET)
    lab.eventually("two pods", lambda: len(placed(lab, namespace)) == 2, 90)
    node = placed(lab, namespace)["db-0"]
    lab.ssh(node, "systemctl kill -s KILL kybern-local-volumes.service")

    lab.kubectl("exec", "-n", namespace, "db-0", "--", "sh", "-c", "echo still > /data/file")
    lab.eventually(
        "the driver known again",
        lambda: [one["name"] for one in lab.get("csinode", node)["spec"]["drivers"]] == ["local.kybern.io"],
        30,
    )
    lab.kubectl("delete", "pod", "db-0", "-n", namespace, "--wait=true")
    lab.eventually("the pod again", lambda: placed(lab, namespace).get("db-0") == node, 60)
    assert lab.kubectl("exec", "-n", namespace, "db-0", "--", "cat", "/data/file").strip() == "still"
