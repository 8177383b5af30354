"""What happens under pressure: load that scales a deployment, and pods of weight that need room."""

from typing import Any

import pytest

from tests.cluster.conftest import Lab

# Busy while there is a file, so that a test says when.
LOADED = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: loaded}
spec:
  replicas: 1
  selector: {matchLabels: {app: loaded}}
  template:
    metadata: {labels: {app: loaded}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - name: c
        image: busybox:1.36
        command: [sh, -c, "while :; do if test -e /busy; then :; else sleep 0.2; fi; done"]
        resources: {requests: {cpu: 50m}, limits: {cpu: 150m}}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: loaded}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: loaded}
  minReplicas: 1
  maxReplicas: 3
  metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 60}}}]
  behavior: {scaleDown: {stabilizationWindowSeconds: 0}}
"""
POD = """
apiVersion: v1
kind: Pod
metadata: {name: NAME}
spec:
  priorityClassName: CLASS
  terminationGracePeriodSeconds: 1
  nodeSelector: {kubernetes.io/hostname: worker-1}
  containers:
  - {name: c, image: "busybox:1.36", command: [sleep, "600"], resources: {requests: {cpu: AMOUNT}}}
"""


def test_load_scales_a_deployment_up_and_rest_scales_it_down(lab: Lab, namespace: str) -> None:
    lab.kubectl("apply", "-n", namespace, "-f", "-", stdin=LOADED)
    lab.kubectl("rollout", "status", "deployment/loaded", "-n", namespace, "--timeout=60s", seconds=90)
    (pod,) = lab.running(namespace, "app=loaded")
    name = pod["metadata"]["name"]

    lab.kubectl("exec", name, "-n", namespace, "--", "touch", "/busy")
    lab.eventually("it is scaled up", lambda: len(lab.running(namespace, "app=loaded")) > 1, seconds=150)
    told = lab.kubectl("top", "pod", name, "-n", namespace, "--no-headers").split()
    assert int(told[1].removesuffix("m")) > 30
    assert "SuccessfulRescale" in lab.kubectl("describe", "hpa", "loaded", "-n", namespace)

    lab.kubectl("exec", name, "-n", namespace, "--", "rm", "/busy")
    lab.eventually("it is scaled down", lambda: len(lab.running(namespace, "app=loaded")) == 1, seconds=150)


def test_a_pod_of_high_priority_takes_the_room_of_a_low_one(lab: Lab, namespace: str) -> None:
    free = free_cpu(lab, "worker-1")
    classes = {f"{namespace}-low"[:60]: -1, f"{namespace}-high"[:60]: 1000}
    try:
        for name, value in classes.items():
            lab.kubectl("create", "priorityclass", name, f"--value={value}")
        low, high = classes
        for name, priority in (("low", low), ("high", high)):
            text = POD.replace("NAME", name).replace("CLASS", priority).replace("AMOUNT", f"{free * 2 // 3}m")
            lab.kubectl("apply", "-n", namespace, "-f", "-", stdin=text)
            lab.kubectl(
                "wait", f"pod/{name}", "-n", namespace, "--for=condition=Ready", "--timeout=60s", seconds=90
            )
    finally:
        lab.kubectl("delete", "priorityclass", *classes, check=False)

    assert lab.get("pod", "high", "-n", namespace)["spec"]["nodeName"] == "worker-1"
    assert "NotFound" in lab.kubectl("get", "pod", "low", "-n", namespace, check=False)
    events = lab.get("events", "-n", namespace)["items"]
    assert [one["involvedObject"]["name"] for one in events if one["reason"] == "Preempted"] == ["low"]


def free_cpu(lab: Lab, node: str) -> int:
    """Millicores that no pod of the node has asked for."""
    total = _milli(lab.get("node", node)["status"]["allocatable"]["cpu"])
    pods: list[dict[str, Any]] = lab.get("pods", "-A", f"--field-selector=spec.nodeName={node}")["items"]
    asked = (
        _milli((one.get("resources") or {}).get("requests", {}).get("cpu", "0"))
        for pod in pods
        for one in pod["spec"]["containers"]
    )
    left = total - sum(asked)
    if left < 100:
        pytest.fail(f"{node} has no room for this test: {left}m of {total}m are free")
    return left


def _milli(text: str) -> int:
    return int(text.removesuffix("m")) if text.endswith("m") else int(float(text) * 1000)
