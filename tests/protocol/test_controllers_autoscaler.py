"""An autoscaler from the load that a metrics server tells of to the pods that are made, and back to rest."""

import base64
import json
import os
import shutil
import ssl
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.protocol.apiserver_bed import Lab
from tests.protocol.backends import ADDRESS, Handler, Serving, backend, network
from tests.protocol.conftest import Etcd, etcd_binary, free_port
from tests.protocol.controllers_bed import APPS, CORE, Cluster, condition, manage, template
from tests.protocol.test_apiserver_aggregation import certificates, slice_of, stop

pytestmark = [
    pytest.mark.etcd,
    pytest.mark.netfilter,
    pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("ip"), reason="needs root and iproute2"),
]
HPA = "/apis/autoscaling/v2"
METRICS = "/apis/metrics.k8s.io/v1beta1"
RESOURCES = [
    {"name": "pods", "singularName": "", "namespaced": True, "kind": "PodMetrics", "verbs": ["get", "list"]}
]


class Metrics(Handler):
    """metrics.k8s.io, of which every pod of the list uses as much as the test says."""

    pods: dict[str, str]

    def answer(self) -> None:
        path = self.path.partition("?")[0]
        if path == METRICS:
            listed = {
                "kind": "APIResourceList",
                "groupVersion": "metrics.k8s.io/v1beta1",
                "resources": RESOURCES,
            }
            self.send(json.dumps(listed).encode())
        elif path.startswith(f"{METRICS}/namespaces/") and path.endswith("/pods"):
            self.server.asked.append(self.path)
            self.send(json.dumps({"kind": "PodMetricsList", "items": self.items()}).encode())
        else:
            self.send(b"{}", 404)

    def items(self) -> list[dict[str, Any]]:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return [
            {"metadata": {"name": name}, "timestamp": now, "window": "1s",
             "containers": [{"name": "c", "usage": {"cpu": used, "memory": "1Mi"}}]}
            for name, used in self.pods.items()
        ]  # fmt: skip


@dataclass
class World:
    bed: Cluster
    served: Serving
    used: dict[str, str]


@pytest.fixture
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    binary = etcd_binary()
    if not binary:
        pytest.skip("no etcd of at least 3.5: run scripts/fetch-etcd, or set KYBERN_ETCD")
    directory = tmp_path_factory.mktemp("autoscaler")
    with ExitStack() as undo:
        undo.enter_context(network())
        etcd = Etcd(binary, directory, free_port(), free_port())
        etcd.start()
        undo.callback(etcd.stop)
        lab = Lab(directory, etcd)
        authorities = certificates(directory)
        used: dict[str, str] = {}
        handler = type("One", (Metrics,), {"pods": used})
        served = undo.enter_context(backend("metrics", pair=directory / "wardle", handler=handler))
        served.context.load_verify_locations(directory / "front-ca.crt")
        served.context.verify_mode = ssl.CERT_REQUIRED
        undo.callback(stop, lab)
        server = lab.start(
            free_port(),
            f"--proxy-client-cert-file={directory}/front.crt",
            f"--proxy-client-key-file={directory}/front.key",
            f"--requestheader-client-ca-file={directory}/front-ca.crt",
        )
        manage(
            lab,
            server,
            free_port(),
            "--horizontal-pod-autoscaler-sync-period=1s",
            "--horizontal-pod-autoscaler-downscale-stabilization=2s",
            "--horizontal-pod-autoscaler-cpu-initialization-period=0s",
        )
        bed = Cluster(lab, server, "scaled")
        serve(bed, served, authorities["servers"])
        yield World(bed, served, used)


def serve(bed: Cluster, served: Serving, trust: bytes) -> None:
    """Have the API server ask the metrics server for its group."""
    port = {"ports": [{"port": 443}]}
    bed.make(f"{CORE}/namespaces/default/services", {"metadata": {"name": "api"}, "spec": port})
    slices = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"
    bed.make(slices, slice_of("api", ADDRESS, served.server_port))
    spec = {
        "group": "metrics.k8s.io", "version": "v1beta1", "groupPriorityMinimum": 100, "versionPriority": 100,
        "service": {"name": "api", "namespace": "default", "port": 443},
        "caBundle": base64.b64encode(trust).decode(),
    }  # fmt: skip
    path = "/apis/apiregistration.k8s.io/v1/apiservices"
    bed.make(path, {"metadata": {"name": "v1beta1.metrics.k8s.io"}, "spec": spec})
    bed.until(
        f"{path}/v1beta1.metrics.k8s.io", lambda found: condition(found, "Available").get("status") == "True"
    )


def run(world: World, count: int, used: str) -> None:
    """Bring all pods of the deployment up, each with this load."""
    bed = world.bed
    pods = bed.until(
        bed.path(CORE, "pods"),
        lambda found: (
            len([one for one in found["items"] if "deletionTimestamp" not in one["metadata"]]) == count
        ),
    )["items"]
    world.used.clear()
    for pod in pods:
        if "deletionTimestamp" not in pod["metadata"]:
            if (pod.get("status") or {}).get("phase") != "Running":
                started(bed, pod)
            world.used[pod["metadata"]["name"]] = used


def started(bed: Cluster, pod: dict[str, Any]) -> None:
    status = {
        "phase": "Running",
        "startTime": "2026-01-01T00:00:00Z",
        "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}],
    }
    bed.change(
        bed.path(CORE, "pods", pod["metadata"]["name"]), lambda found: found.update(status=status), "/status"
    )


def test_a_deployment_follows_its_load(world: World) -> None:
    bed = world.bed
    pods = template(app="web")
    pods["spec"]["containers"][0]["resources"] = {"requests": {"cpu": "1"}}
    spec = {"replicas": 2, "selector": {"matchLabels": {"app": "web"}}, "template": pods}
    bed.make(bed.path(APPS, "deployments"), {"metadata": {"name": "web"}, "spec": spec})
    target = {"type": "Utilization", "averageUtilization": 50}
    scaler = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
        "minReplicas": 1,
        "maxReplicas": 5,
        "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": target}}],
    }
    run(world, 2, "900m")
    bed.make(bed.path(HPA, "horizontalpodautoscalers"), {"metadata": {"name": "web"}, "spec": scaler})
    path = bed.path(HPA, "horizontalpodautoscalers", "web")

    seen = bed.until(path, lambda found: (found.get("status") or {}).get("desiredReplicas") == 4)
    assert condition(seen, "ScalingActive")["reason"] == "ValidMetricFound"
    assert any("labelSelector=app%3Dweb" in asked for asked in world.served.asked)
    why = "cpu resource utilization (percentage of request) above target"

    run(world, 4, "450m")
    seen = bed.until(path, lambda found: (found.get("status") or {}).get("currentReplicas") == 4)
    assert condition(seen, "AbleToScale")["status"] == "True"
    assert seen["spec"]["maxReplicas"] == 5

    run(world, 4, "100m")
    bed.until(path, lambda found: (found.get("status") or {}).get("desiredReplicas") == 1)
    bed.until(bed.path(APPS, "deployments", "web"), lambda found: found["spec"]["replicas"] == 1)
    events = bed.events("web")
    assert ("Normal", "SuccessfulRescale", f"New size: 4; reason: {why}") in events
    assert ("Normal", "SuccessfulRescale", "New size: 1; reason: All metrics below target") in events
