"""No API server answers for longer than nodes may be silent: pods run on and are run again, and all is told afterwards."""

import time
from typing import Any

from tests.cluster.conftest import Lab

# Longer than a node may be silent (--node-monitor-grace-period), so that whoever believes old leases would call it dead.
AWAY = 75.0
PODS = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: calm}
spec:
  replicas: 4
  selector: {matchLabels: {app: calm}}
  template:
    metadata: {labels: {app: calm}}
    spec:
      terminationGracePeriodSeconds: 0
      # They would go at once from a node that is called dead.
      tolerations:
      - {key: node.kubernetes.io/unreachable, operator: Exists, effect: NoExecute, tolerationSeconds: 1}
      - {key: node.kubernetes.io/not-ready, operator: Exists, effect: NoExecute, tolerationSeconds: 1}
      containers:
      - name: c
        image: busybox:1.36
        command: [sh, -c, "mkdir /www; hostname >/www/index.html; exec httpd -f -p 8080 -h /www"]
        readinessProbe: {httpGet: {path: /, port: 8080}, periodSeconds: 1}
---
apiVersion: v1
kind: Pod
metadata: {name: crashes}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: c
    image: busybox:1.36
    command: [sh, -c, "echo started >>/kept/starts; sleep 8; exit 1"]
    volumeMounts: [{name: kept, mountPath: /kept}]
  volumes: [{name: kept, emptyDir: {}}]
"""


def servers(lab: Lab, verb: str) -> None:
    for machine in lab.cluster.masters:
        lab.ssh(machine.name, f"systemctl {verb} kube-apiserver")


def of_crashes(lab: Lab, namespace: str) -> Any:
    (status,) = lab.get("pod", "crashes", "-n", namespace)["status"]["containerStatuses"]
    return status


def test_pods_run_on_and_all_is_told_when_it_is_back(lab: Lab, namespace: str) -> None:
    lab.kubectl("apply", "-n", namespace, "-f", "-", stdin=PODS)
    lab.kubectl("rollout", "status", "deployment/calm", "-n", namespace, "--timeout=60s", seconds=90)
    lab.eventually("it runs", lambda: of_crashes(lab, namespace)["state"].get("running"))
    before = {pod["metadata"]["uid"]: pod for pod in lab.running(namespace, "app=calm")}
    crashed = lab.get("pod", "crashes", "-n", namespace)
    starts = f"/var/lib/kubelet/pods/{crashed['metadata']['uid']}/volumes/kubernetes.io~empty-dir/kept/starts"
    nodes = lab.nodes_ready()

    servers(lab, "stop")
    try:
        time.sleep(AWAY)
        for pod in before.values():
            url = f"http://{pod['status']['podIP']}:8080"
            assert pod["metadata"]["name"] in lab.ssh(
                pod["spec"]["nodeName"], f"curl -fsS --max-time 3 {url}"
            )
        meanwhile = int(lab.ssh(crashed["spec"]["nodeName"], f"wc -l <{starts}"))
        assert meanwhile > 2, "it is run again, with nobody to ask"
    finally:
        servers(lab, "start --no-block")
    lab.eventually("all nodes are ready", lambda: lab.nodes_ready() == nodes, seconds=120)

    def told() -> bool:
        """How often it was started, by its own word, by its status and by its events."""
        lines = int(lab.ssh(crashed["spec"]["nodeName"], f"wc -l <{starts}"))
        events = lab.get("events", "-n", namespace, "--field-selector=involvedObject.name=crashes")["items"]
        started = sum(event["count"] for event in events if event["reason"] == "Started")
        assert (of_crashes(lab, namespace)["restartCount"] + 1, started) == (lines, lines)
        return lines >= meanwhile

    lab.eventually("it is told how often it ran", told, seconds=60)
    # Longer than a pod bears a node that is called dead.
    time.sleep(10)
    after = {pod["metadata"]["uid"]: pod for pod in lab.running(namespace, "app=calm")}
    assert after.keys() == before.keys(), "nothing is evicted, and nothing is doubled"
    assert {len(lab.pods(namespace, "app=calm"))} == {4}
    for pod in after.values():
        assert [one["restartCount"] for one in pod["status"]["containerStatuses"]] == [0]
