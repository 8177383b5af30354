"""What pods ask for and may use, as upstream's /metrics/resources tells it (pkg/scheduler/metrics/resources).

One sample a pod and resource, of every pod that is not over, whoever schedules it. Only the scheduler that leads knows the
pods; another one shows none, as upstream's.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import override

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from kybern.api.core_v1 import Pod
from kybern.scheduler import requests

PATH = "/metrics/resources"
_LABELS = ("namespace", "pod", "node", "scheduler", "priority", "resource", "unit")
_BYTES = (requests.MEMORY, "storage", requests.EPHEMERAL)
_TOLD = (
    "broken down by pod. This shows the resource usage the scheduler and kubelet expect per pod for resources along "
    "with the unit for the resource if any."
)


class PodResources(Collector):
    """``pods`` gives those that are known now."""

    def __init__(self, pods: Callable[[], Iterable[Pod]]) -> None:
        self._pods = pods

    @override
    def collect(self) -> Iterator[GaugeMetricFamily]:
        asked = GaugeMetricFamily(
            "kube_pod_resource_request",
            f"Resources requested by workloads on the cluster, {_TOLD}",
            None,
            _LABELS,
        )
        most = GaugeMetricFamily(
            "kube_pod_resource_limit", f"Resources limit for workloads on the cluster, {_TOLD}", None, _LABELS
        )
        for pod in self._pods():
            _add(asked, pod, requests.wanted(pod))
            _add(most, pod, requests.limited(pod))
        yield asked
        yield most


def _add(family: GaugeMetricFamily, pod: Pod, amounts: requests.Amounts) -> None:
    spec, meta = pod.spec, pod.metadata
    priority = "" if spec.priority is None else str(spec.priority)
    who = (meta.namespace, meta.name, spec.node_name, spec.scheduler_name, priority)
    for name, number in amounts.items():
        if number:
            value = number / 1000 if name == requests.CPU else float(number)
            family.add_metric((*who, name, _unit(name)), value)


def _unit(name: str) -> str:
    if name == requests.CPU:
        return "cores"
    if name in _BYTES or name.startswith(requests.HUGE):
        return "bytes"
    return "integer" if name.startswith("attachable-volumes-") else ""
