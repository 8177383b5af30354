"""The documents of metrics.k8s.io/v1beta1, as metrics-server writes them: discovery, objects, lists, tables. Pure.

Upstream: k8s.io/metrics/pkg/apis/metrics/v1beta1/types.go.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from kybern.machinery import duration
from kybern.machinery.quantity import Format, Quantity, parse
from kybern.metrics.usage import Use

GROUP, VERSION = "metrics.k8s.io", "v1beta1"
API_VERSION = f"{GROUP}/{VERSION}"
_NANO = 10**9

type Raw = dict[str, Any]

RESOURCES: Raw = {
    "kind": "APIResourceList",
    "apiVersion": "v1",
    "groupVersion": API_VERSION,
    "resources": [
        {"name": "nodes", "singularName": "", "namespaced": False, "kind": "NodeMetrics", "verbs": ["get", "list"]},
        {"name": "pods", "singularName": "", "namespaced": True, "kind": "PodMetrics", "verbs": ["get", "list"]},
    ],
}  # fmt: skip
_PREFERRED = {"groupVersion": API_VERSION, "version": VERSION}
API_GROUP: Raw = {
    "kind": "APIGroup",
    "apiVersion": "v1",
    "name": GROUP,
    "versions": [_PREFERRED],
    "preferredVersion": _PREFERRED,
}
GROUPS: Raw = {"kind": "APIGroupList", "apiVersion": "v1", "groups": [API_GROUP]}


def node(name: str, labels: Mapping[str, str], use: Use) -> Raw:
    """A NodeMetrics."""
    return {**_head("NodeMetrics", {"name": name}, labels, use), "usage": _usage(use)}


def pod(namespace: str, name: str, labels: Mapping[str, str], uses: Mapping[str, Use]) -> Raw:
    """A PodMetrics; the time is that of the container that was measured first."""
    oldest = min(uses.values(), key=lambda use: use.at)
    head = _head("PodMetrics", {"name": name, "namespace": namespace}, labels, oldest)
    return {**head, "containers": [{"name": one, "usage": _usage(use)} for one, use in uses.items()]}


def listed(kind: str, items: Sequence[Raw]) -> Raw:
    return {"kind": f"{kind}List", "apiVersion": API_VERSION, "metadata": {}, "items": items}


def table(items: Iterable[Raw], version: str) -> Raw:
    """For `kubectl get`: what each uses, and over which time."""
    columns = (
        ("Name", "name", "Name of the resource"),
        ("cpu", "", ""),
        ("memory", "", ""),
        ("Window", "", ""),
    )
    return {
        "kind": "Table",
        "apiVersion": f"meta.k8s.io/{version}",
        "metadata": {},
        "columnDefinitions": [
            {"name": name, "type": "string", "format": form, "description": about, "priority": 0}
            for name, form, about in columns
        ],
        "rows": [_row(item, version) for item in items],
    }  # fmt: skip


def _row(item: Raw, version: str) -> Raw:
    uses = [part["usage"] for part in item.get("containers", [item])]
    cpu = Quantity(sum(_nano(use["cpu"]) for use in uses), Format.DECIMAL)
    memory = Quantity(sum(_nano(use["memory"]) for use in uses), Format.BINARY)
    part = {
        "kind": "PartialObjectMetadata",
        "apiVersion": f"meta.k8s.io/{version}",
        "metadata": item["metadata"],
    }
    return {"cells": [item["metadata"]["name"], str(cpu), str(memory), item["window"]], "object": part}


def _nano(text: str) -> int:
    return parse(text).nano


def _head(kind: str, metadata: Raw, labels: Mapping[str, str], use: Use) -> Raw:
    moment = datetime.fromtimestamp(use.at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    metadata = {**metadata, "creationTimestamp": moment, **({"labels": dict(labels)} if labels else {})}
    window = duration.form(round(use.window * 1000) * 1_000_000)
    return {
        "kind": kind,
        "apiVersion": API_VERSION,
        "metadata": metadata,
        "timestamp": moment,
        "window": window,
    }


def _usage(use: Use) -> Raw:
    cpu, memory = (
        Quantity(round(use.cpu * _NANO), Format.DECIMAL),
        Quantity(use.memory * _NANO, Format.BINARY),
    )
    return {"cpu": str(cpu), "memory": str(memory)}
