"""What the APIs of metrics say: metrics.k8s.io, custom.metrics.k8s.io and external.metrics.k8s.io, behind aggregation.

Whoever serves them, the answers have one form; what cannot be had raises Unknown with upstream's text.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlencode

from kybern.api.autoscaling_v2 import CrossVersionObjectReference, MetricIdentifier
from kybern.api.meta_v1 import LabelSelector
from kybern.client import paths
from kybern.controllers.horizontal_pod_autoscaler.replicas import Sample, Unknown
from kybern.loop.controller import View
from kybern.loop.owners import selector_of
from kybern.machinery import duration
from kybern.machinery.errors import ApiError
from kybern.machinery.quantity import parse

_CUSTOM = "/apis/custom.metrics.k8s.io"


def _asked(view: View, path: str, api: str) -> list[Mapping[str, Any]]:
    found = view.answer(path)
    if isinstance(found, ApiError):
        raise Unknown(f"unable to fetch metrics from {api} metrics API: {found}")
    items = found.get("items") or []
    if not items:
        raise Unknown(f"no metrics returned from {api} metrics API")
    return list(items)


def _query(**given: str) -> str:
    found = {key: value for key, value in given.items() if value}
    return f"?{urlencode(found)}" if found else ""


def _moment(item: Mapping[str, Any]) -> datetime | None:
    found = item.get("timestamp")
    return datetime.fromisoformat(found) if found else None


def _labels(selector: LabelSelector | None) -> str:
    return str(selector_of(selector)) if selector is not None else ""


def of_resource(
    view: View, namespace: str, selector: str, resource: str, container: str = ""
) -> dict[str, Sample]:
    """What each pod, or one container of it, uses; a pod that says nothing of one of its containers is left out."""
    path = f"/apis/metrics.k8s.io/v1beta1/namespaces/{quote(namespace)}/pods{_query(labelSelector=selector)}"
    found = {}
    for item in _asked(view, path, "resource"):
        name, parts = item["metadata"]["name"], item.get("containers") or ()
        if container:
            parts = [one for one in parts if one["name"] == container]
            if not parts:
                raise Unknown(f"container {container} not present in metrics for pod {namespace}/{name}")
        used = [one["usage"].get(resource) for one in parts]
        if used and None not in used:
            total = sum(parse(str(one)).milli() for one in used)
            found[name] = Sample(total, _moment(item), duration.parse(item.get("window") or "1m") / 1e9)
    return found


def _custom(view: View) -> str:
    """Where the custom metrics are, in the version that their server likes best."""
    found = view.answer(_CUSTOM)
    if isinstance(found, ApiError):
        raise Unknown(f"unable to fetch metrics from custom metrics API: {found}")
    return f"/apis/{found['preferredVersion']['groupVersion']}"


def of_pods(view: View, namespace: str, selector: str, metric: MetricIdentifier) -> dict[str, Sample]:
    query = _query(labelSelector=selector, metricLabelSelector=_labels(metric.selector))
    path = f"{_custom(view)}/namespaces/{quote(namespace)}/pods/*/{quote(metric.name)}{query}"
    return {
        item["describedObject"]["name"]: Sample(
            parse(str(item["value"])).milli(), _moment(item), float(item.get("windowSeconds") or 60)
        )
        for item in _asked(view, path, "custom")
    }


def of_object(
    view: View, namespace: str, about: CrossVersionObjectReference, metric: MetricIdentifier
) -> int:
    query, name = _query(metricLabelSelector=_labels(metric.selector)), quote(metric.name)
    if about.kind == "Namespace":
        below = f"namespaces/{quote(about.name)}/metrics/{name}"
    else:
        resource = _resource(view, about)
        below = f"namespaces/{quote(namespace)}/{resource}/{quote(about.name)}/{name}"
    items = _asked(view, f"{_custom(view)}/{below}{query}", "custom")
    return parse(str(items[0]["value"])).milli()


def _resource(view: View, about: CrossVersionObjectReference) -> str:
    """The plural of a kind with its group: what custom metrics call it."""
    api_version = about.api_version or "v1"
    listed = view.answer(paths.root(api_version))
    resources = [] if isinstance(listed, ApiError) else listed.get("resources") or []
    plural = next(
        (one["name"] for one in resources if one["kind"] == about.kind and "/" not in one["name"]), ""
    )
    if not plural:
        raise Unknown(f'no matches for kind "{about.kind}" in version "{api_version}"')
    group = api_version.rpartition("/")[0]
    return f"{plural}.{group}" if group else plural


def of_external(view: View, namespace: str, metric: MetricIdentifier) -> int:
    """The sum of all series that match."""
    query = _query(labelSelector=_labels(metric.selector))
    path = f"/apis/external.metrics.k8s.io/v1beta1/namespaces/{quote(namespace)}/{quote(metric.name)}{query}"
    return sum(parse(str(item["value"])).milli() for item in _asked(view, path, "external"))
