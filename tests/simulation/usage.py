"""What a metrics server says: a load that the running pods share, in the form of metrics.k8s.io/v1beta1."""

from collections.abc import Sequence
from typing import Any

type Raw = dict[str, Any]

METRICS = "/apis/metrics.k8s.io/v1beta1/namespaces/"


def used(pods: Sequence[Raw], load: int, now: str) -> Raw:
    """PodMetricsList of those that run; ``load`` is millicores for all of them together."""
    running = [pod for pod in pods if pod.get("status", {}).get("phase") == "Running"]
    return {
        "kind": "PodMetricsList",
        "apiVersion": "metrics.k8s.io/v1beta1",
        "metadata": {},
        "items": [
            {
                "metadata": {"name": pod["metadata"]["name"], "namespace": pod["metadata"]["namespace"]},
                "timestamp": now,
                "window": "10s",
                "containers": [
                    {"name": one["name"], "usage": {"cpu": f"{load // len(running)}m", "memory": "8Mi"}}
                    for one in pod["spec"]["containers"]
                ],
            }
            for pod in running
        ],
    }
