"""The five sources of metrics: what each proposes, what goes into the status, and how a failure is told.

``Found`` has the words by which upstream names a metric in events; ``Failed`` the reason of the condition ScalingActive,
the text in it, and the text by which the metric counts among the invalid ones.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from kybern.api.autoscaling_v2 import (
    ContainerResourceMetricStatus,
    ExternalMetricStatus,
    MetricSpec,
    MetricStatus,
    MetricTarget,
    MetricValueStatus,
    ObjectMetricStatus,
    PodsMetricStatus,
    ResourceMetricStatus,
)
from kybern.api.meta_v1 import LabelSelector
from kybern.controllers.horizontal_pod_autoscaler import metrics
from kybern.controllers.horizontal_pod_autoscaler.replicas import (
    Proposal,
    Sample,
    Target,
    Unknown,
    by_average,
    by_share,
    by_utilization,
    by_value,
)
from kybern.loop.controller import View
from kybern.machinery.quantity import Quantity, parse


@dataclass(frozen=True, slots=True)
class Found:
    replicas: int
    name: str
    status: MetricStatus


@dataclass(frozen=True, slots=True)
class Failed:
    reason: str
    text: str
    inner: str


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose metrics are asked for: pods by a selector in a namespace, ``running`` of them by the target's own count."""

    view: View
    namespace: str
    selector: str
    target: Target
    running: int


def measured(scope: Scope, spec: MetricSpec) -> Found | Failed:
    """What one metric proposes."""
    match spec.type:
        case "Resource":
            return _resource(scope, spec)
        case "ContainerResource":
            return _container(scope, spec)
        case "Pods":
            return _pods(scope, spec)
        case "Object":
            return _object(scope, spec)
        case "External":
            return _external(scope, spec)
    text = f'unknown metric source type "{spec.type}"'
    return Failed("InvalidMetricSourceType", text, text)


def _milli(text: str) -> int:
    return parse(text).milli()


def _quantity(milli: int) -> str:
    return str(Quantity(milli * 1_000_000))


def _current(found: Proposal, *, whole: bool = False) -> MetricValueStatus:
    amount = _quantity(found.amount)
    if whole:
        return MetricValueStatus(value=amount)
    return MetricValueStatus(average_value=amount, average_utilization=found.percent)


def _use(scope: Scope, wanted: MetricTarget, resource: str, container: str = "") -> Proposal:
    """By what pods use, raw or in percent of what they ask for."""
    raw = bool(wanted.average_value)
    if not raw and wanted.average_utilization is None:
        kind = "container resource" if container else "resource"
        raise Unknown(f"invalid {kind} metric source: neither an average utilization target nor an average value "
                      "(usage) target was set")  # fmt: skip
    try:
        samples = _samples(scope, resource, container)
        if raw:
            return by_average(scope.target, samples, _milli(wanted.average_value), resource)
        return by_utilization(scope.target, samples, resource, wanted.average_utilization or 0, container)
    except Unknown as problem:
        raise Unknown(f"failed to get {resource} {'usage' if raw else 'utilization'}: {problem}") from problem


def _samples(scope: Scope, resource: str, container: str) -> Mapping[str, Sample]:
    try:
        return metrics.of_resource(scope.view, scope.namespace, scope.selector, resource, container)
    except Unknown as problem:
        raise Unknown(f"unable to get metrics for resource {resource}: {problem}") from problem


def _used(name: str, kind: str, wanted: MetricTarget) -> str:
    return f"{name} {kind}" if wanted.average_value else f"{name} {kind} utilization (percentage of request)"


def _resource(scope: Scope, spec: MetricSpec) -> Found | Failed:
    source = spec.resource
    if source is None:
        return Failed("FailedGetResourceMetric", "no resource metric source", "no resource metric source")
    try:
        found = _use(scope, source.target, source.name)
    except Unknown as problem:
        text = f"failed to get {source.name} resource metric value: {problem}"
        return Failed("FailedGetResourceMetric", text, str(problem))
    status = ResourceMetricStatus(name=source.name, current=_current(found))
    name = _used(source.name, "resource", source.target)
    return Found(found.replicas, name, MetricStatus(type="Resource", resource=status))


def _container(scope: Scope, spec: MetricSpec) -> Found | Failed:
    source = spec.container_resource
    if source is None:
        text = "container resource metric source not set"
        return Failed("FailedGetContainerResourceMetric", text, text)
    try:
        found = _use(scope, source.target, source.name, source.container)
    except Unknown as problem:
        text = f"failed to get {source.name} container metric value: {problem}"
        return Failed("FailedGetContainerResourceMetric", text, str(problem))
    status = ContainerResourceMetricStatus(
        name=source.name, container=source.container, current=_current(found)
    )
    name = _used(source.name, "container resource", source.target)
    return Found(found.replicas, name, MetricStatus(type="ContainerResource", container_resource=status))


def _pods(scope: Scope, spec: MetricSpec) -> Found | Failed:
    source = spec.pods
    if source is None:
        return Failed("FailedGetPodsMetric", "no pods metric source", "no pods metric source")
    metric = source.metric
    try:
        samples = metrics.of_pods(scope.view, scope.namespace, scope.selector, metric)
    except Unknown as problem:
        return _unpods(f"unable to get metric {metric.name}: {problem}")
    try:
        found = by_average(scope.target, samples, _milli(source.target.average_value))
    except Unknown as problem:
        return _unpods(str(problem))
    status = PodsMetricStatus(metric=metric, current=_current(found))
    return Found(found.replicas, f"pods metric {metric.name}", MetricStatus(type="Pods", pods=status))


def _unpods(inner: str) -> Failed:
    return Failed("FailedGetPodsMetric", f"failed to get pods metric value: {inner}", inner)


def _whole(scope: Scope, value: int, wanted: MetricTarget) -> tuple[Proposal, bool]:
    """By one value for all pods: as it is, or each pod's share of it."""
    if wanted.average_value:
        return by_share(scope.target, scope.running, value, _milli(wanted.average_value)), False
    return by_value(scope.target, value, _milli(wanted.value)), True


def _object(scope: Scope, spec: MetricSpec) -> Found | Failed:
    source = spec.object
    if source is None:
        return Failed("FailedGetObjectMetric", "no object metric source", "no object metric source")
    metric, about = source.metric, source.described_object
    try:
        value = metrics.of_object(scope.view, scope.namespace, about, metric)
    except Unknown as problem:
        where = f"{about.kind} {scope.namespace}/{about.name}"
        return _unobject(f"unable to get metric {metric.name}: {where} {problem}")
    try:
        found, whole = _whole(scope, value, source.target)
    except Unknown as problem:
        return _unobject(str(problem))
    status = ObjectMetricStatus(metric=metric, described_object=about, current=_current(found, whole=whole))
    shared = f"external metric {metric.name}({shown(metric.selector)})"
    name = f"{about.kind} metric {metric.name}" if whole else shared
    return Found(found.replicas, name, MetricStatus(type="Object", object=status))


def _unobject(inner: str) -> Failed:
    return Failed("FailedGetObjectMetric", f"failed to get object metric value: {inner}", inner)


def _external(scope: Scope, spec: MetricSpec) -> Found | Failed:
    source = spec.external
    if source is None:
        return Failed("FailedGetExternalMetric", "no external metric source", "no external metric source")
    metric = source.metric
    try:
        value = _series(scope, metric.name, shown(metric.selector), spec)
        found, whole = _whole(scope, value, source.target)
    except Unknown as problem:
        shared = bool(source.target.average_value)
        named = f"{metric.name} external metric" if shared else f"external metric {metric.name}"
        inner = f"failed to get {named}: {problem}"
        text = f"failed to get {metric.name} external metric value: {inner}"
        return Failed("FailedGetExternalMetric", text, inner)
    status = ExternalMetricStatus(metric=metric, current=_current(found, whole=whole))
    name = f"external metric {metric.name}({shown(metric.selector)})"
    return Found(found.replicas, name, MetricStatus(type="External", external=status))


def _series(scope: Scope, name: str, selector: str, spec: MetricSpec) -> int:
    assert spec.external is not None
    try:
        return metrics.of_external(scope.view, scope.namespace, spec.external.metric)
    except Unknown as problem:
        raise Unknown(
            f"unable to get external metric {scope.namespace}/{name}/{selector}: {problem}"
        ) from problem


def shown(selector: LabelSelector | None) -> str:
    """A selector as upstream prints it into its messages."""
    if selector is None:
        return "nil"
    labels = "".join(f"{key}: {value}," for key, value in sorted(selector.match_labels.items()))
    expressions = "".join(
        f"LabelSelectorRequirement{{Key:{one.key},Operator:{one.operator},Values:[{' '.join(one.values)}],}},"
        for one in selector.match_expressions
    )
    return (
        f"&LabelSelector{{MatchLabels:map[string]string{{{labels}}},"
        f"MatchExpressions:[]LabelSelectorRequirement{{{expressions}}},}}"
    )
