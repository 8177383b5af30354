"""What an autoscaler asks, does and says."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest

from kybern.api.autoscaling_v1 import Scale, ScaleSpec, ScaleStatus
from kybern.api.autoscaling_v2 import (
    ContainerResourceMetricSource,
    CrossVersionObjectReference,
    ExternalMetricSource,
    HorizontalPodAutoscaler,
    HorizontalPodAutoscalerSpec,
    MetricIdentifier,
    MetricSpec,
    MetricTarget,
    ObjectMetricSource,
    PodsMetricSource,
    ResourceMetricSource,
)
from kybern.api.meta_v1 import LabelSelector, ObjectMeta
from kybern.controllers import horizontal_pod_autoscaler as autoscaler
from kybern.controllers.horizontal_pod_autoscaler.behaviour import Moment
from kybern.controllers.horizontal_pod_autoscaler.sources import shown
from kybern.loop.controller import Again, Controller, Emit, Failure, Key, PatchStatus, Rescale
from kybern.loop.settings import Settings
from kybern.machinery.errors import Conflict, NotFound
from kybern.machinery.struct import replace
from tests.unit.controllers.making import NOW, only, view
from tests.unit.controllers.test_autoscaler_replicas import made

KEY = Key("a", "web")
REF = CrossVersionObjectReference(api_version="apps/v1", kind="Deployment", name="web")
CPU = MetricSpec(type="Resource", resource=ResourceMetricSource(
    name="cpu", target=MetricTarget(type="Utilization", average_utilization=50)))  # fmt: skip
RAW = MetricSpec(type="Resource", resource=ResourceMetricSource(
    name="cpu", target=MetricTarget(type="AverageValue", average_value="500m")))  # fmt: skip
PART = MetricSpec(type="ContainerResource", container_resource=ContainerResourceMetricSource(
    name="cpu", container="c", target=MetricTarget(type="Utilization", average_utilization=50)))  # fmt: skip
HITS = MetricIdentifier(name="hits")
EACH = MetricSpec(type="Pods", pods=PodsMetricSource(
    metric=HITS, target=MetricTarget(type="AverageValue", average_value="10")))  # fmt: skip
ABOUT = CrossVersionObjectReference(api_version="networking.k8s.io/v1", kind="Ingress", name="main")
ONE = MetricSpec(type="Object", object=ObjectMetricSource(
    metric=HITS, described_object=ABOUT, target=MetricTarget(type="Value", value="10")))  # fmt: skip
SELECTED = MetricIdentifier(name="queue", selector=LabelSelector(match_labels={"q": "a"}))
QUEUE = MetricSpec(type="External", external=ExternalMetricSource(
    metric=SELECTED, target=MetricTarget(type="AverageValue", average_value="30")))  # fmt: skip

SELECTOR = "?labelSelector=app%3Dweb"
USES = f"/apis/metrics.k8s.io/v1beta1/namespaces/a/pods{SELECTOR}"
CUSTOM = "/apis/custom.metrics.k8s.io"
AT = "2026-01-01T12:00:00Z"


def uses(*found: int) -> dict[str, Any]:
    return {"items": [
        {"metadata": {"name": f"p{number}"}, "timestamp": AT, "window": "30s",
         "containers": [{"name": "c", "usage": {"cpu": f"{use}m"}}]}
        for number, use in enumerate(found)
    ]}  # fmt: skip


ANSWERS: Mapping[str, Any] = {
    USES: uses(900, 900),
    CUSTOM: {"preferredVersion": {"groupVersion": "custom.metrics.k8s.io/v1beta2"}},
    f"{CUSTOM}/v1beta2/namespaces/a/pods/*/hits{SELECTOR}": {"items": [
        {"describedObject": {"name": f"p{number}"}, "value": "20", "timestamp": AT} for number in range(2)]},
    "/apis/networking.k8s.io/v1": {"resources": [{"name": "ingresses", "kind": "Ingress"}]},
    f"{CUSTOM}/v1beta2/namespaces/a/ingresses.networking.k8s.io/main/hits": {"items": [{"value": "15"}]},
    "/apis/external.metrics.k8s.io/v1beta1/namespaces/a/queue?labelSelector=q%3Da": {
        "items": [{"value": "70"}, {"value": "50"}]},
}  # fmt: skip


def scaler(*metrics: MetricSpec, least: int = 1, most: int = 10, **spec: Any) -> HorizontalPodAutoscaler:
    found = HorizontalPodAutoscalerSpec(
        scale_target_ref=REF, min_replicas=least, max_replicas=most, metrics=metrics, **spec
    )
    return HorizontalPodAutoscaler(
        metadata=ObjectMeta(name="web", namespace="a", uid="u", generation=1), spec=found
    )


def scale(count: int = 2, selector: str = "app=web") -> Scale:
    return Scale(
        metadata=ObjectMeta(name="web", namespace="a"),
        spec=ScaleSpec(replicas=count),
        status=ScaleStatus(replicas=count, selector=selector),
    )


class Bed:
    """One autoscaler over rounds."""

    def __init__(self, found: HorizontalPodAutoscaler, size: Scale | str | None, **answers: Any) -> None:
        self.found, self.size = found, size
        self.answers = {**ANSWERS, **answers}
        self.controller: Controller[Any] = autoscaler.controller(Settings())
        self.pods = [made("p0"), made("p1")]

    def round(self, after: float = 0.0, failure: Failure | None = None) -> list[Any]:
        seen = view(self.controller, self.found, *self.pods, failure=failure, live=self.answer)
        seen.now = NOW + timedelta(seconds=after)
        state = self.controller.observe(seen, KEY)
        assert state is not None
        actions = list(self.controller.diff(state))
        for action in only(actions, PatchStatus):
            self.found = action.new
        return actions

    def answer(self, question: tuple[Any, ...]) -> Any:
        if len(question) == 1:
            missing = NotFound("the server could not find the requested resource")
            return self.answers.get(question[0], missing)
        return self.size

    def conditions(self) -> list[tuple[str, str, str]]:
        return [(one.type, one.status, one.reason) for one in self.found.status.conditions]


def said(actions: list[Any]) -> list[tuple[str, str]]:
    return [(one.reason, one.message) for one in only(actions, Emit)]


HEALTHY = [("AbleToScale", "True", "SucceededRescale"), ("ScalingActive", "True", "ValidMetricFound"),
           ("ScalingLimited", "False", "DesiredWithinRange")]  # fmt: skip
EXTERNAL = (
    "external metric queue(&LabelSelector{MatchLabels:map[string]string{q: a,},"
    "MatchExpressions:[]LabelSelectorRequirement{},})"
)


@pytest.mark.parametrize(
    ("metrics", "count", "name"),
    [
        ([CPU], 4, "cpu resource utilization (percentage of request)"),
        ([RAW], 4, "cpu resource"),
        ([PART], 4, "cpu container resource utilization (percentage of request)"),
        ([EACH], 4, "pods metric hits"),
        ([ONE], 3, "Ingress metric hits"),
        ([QUEUE], 4, EXTERNAL),
        ([ONE, CPU], 4, "cpu resource utilization (percentage of request)"),
    ],
)
def test_every_source_of_metrics_scales(metrics: list[MetricSpec], count: int, name: str) -> None:
    bed = Bed(scaler(*metrics), scale())
    actions = bed.round()

    (rescale,) = only(actions, Rescale)
    assert (rescale.api_version, rescale.kind, rescale.replicas) == ("apps/v1", "Deployment", count)
    assert said(actions) == [("SuccessfulRescale", f"New size: {count}; reason: {name} above target")]
    assert bed.conditions() == HEALTHY
    status = bed.found.status
    assert (status.current_replicas, status.desired_replicas, status.last_scale_time) == (2, count, NOW)
    assert [one.type for one in status.current_metrics] == [one.type for one in metrics]


def test_the_status_says_what_was_measured() -> None:
    bed = Bed(scaler(CPU), scale())
    bed.round()

    (found,) = bed.found.status.current_metrics
    assert found.resource is not None
    current = found.resource.current
    assert (current.average_utilization, current.average_value) == (90, "900m")


@pytest.mark.parametrize(
    ("size", "least", "count", "reason"),
    [(12, 1, 10, "Current number of replicas above Spec.MaxReplicas"),
     (1, 3, 3, "Current number of replicas below Spec.MinReplicas")],
)  # fmt: skip
def test_bounds_count_before_metrics(size: int, least: int, count: int, reason: str) -> None:
    actions = Bed(scaler(CPU, least=least), scale(size), **{USES: NotFound("no")}).round()

    assert [one.replicas for one in only(actions, Rescale)] == [count]
    assert said(actions) == [("SuccessfulRescale", f"New size: {count}; reason: {reason}")]


def test_a_target_of_zero_is_switched_off() -> None:
    bed = Bed(scaler(CPU), scale(0))

    assert not only(bed.round(), Rescale)
    assert ("ScalingActive", "False", "ScalingDisabled") in bed.conditions()


@pytest.mark.parametrize(
    ("size", "text"),
    [(None, 'deployments.apps "web" not found'), ("no scale here", "no scale here")],
)
def test_no_scale_is_said(size: str | None, text: str) -> None:
    bed = Bed(scaler(CPU), size)

    assert said(bed.round()) == [("FailedGetScale", text)]
    assert bed.conditions() == [("AbleToScale", "False", "FailedGetScale")]


INNER = (
    "failed to get cpu utilization: unable to get metrics for resource cpu: "
    "no metrics returned from resource metrics API"
)


def test_missing_metrics_are_said_and_change_nothing() -> None:
    bed = Bed(scaler(CPU), scale(), **{USES: {"items": []}})
    actions = bed.round()

    assert not only(actions, Rescale)
    first = f"failed to get cpu resource metric value: {INNER}"
    assert said(actions) == [
        ("FailedGetResourceMetric", INNER),
        ("FailedComputeMetricsReplicas", f"invalid metrics (1 invalid out of 1), first error is: {first}"),
    ]
    assert bed.conditions()[-1] == ("ScalingActive", "False", "FailedGetResourceMetric")
    assert (
        bed.found.status.conditions[-1].message == f"the HPA was unable to compute the replica count: {INNER}"
    )


def test_one_missing_metric_forbids_shrinking_only() -> None:
    idle = Bed(scaler(CPU, EACH), scale(), **{USES: uses(1, 1), CUSTOM: NotFound("no")})
    busy = Bed(scaler(CPU, EACH), scale(), **{CUSTOM: NotFound("no")})

    assert not only(idle.round(), Rescale)
    assert [one.replicas for one in only(busy.round(), Rescale)] == [4]


@pytest.mark.parametrize(("selector", "event"), [("", "SelectorRequired"), ("a in", "InvalidSelector")])
def test_a_target_that_does_not_say_which_pods_it_has(selector: str, event: str) -> None:
    bed = Bed(scaler(CPU), scale(2, selector))

    assert said(bed.round())[0][0] == event
    assert bed.conditions()[-1] == ("ScalingActive", "False", "InvalidSelector")


def test_it_shrinks_only_after_the_window() -> None:
    bed = Bed(scaler(CPU), scale(), **{USES: uses(10, 10)})

    assert not only(bed.round(), Rescale)
    assert bed.conditions()[0] == ("AbleToScale", "True", "ScaleDownStabilized")
    assert not only(bed.round(200), Rescale)
    actions = bed.round(301)
    assert [one.replicas for one in only(actions, Rescale)] == [1]
    assert said(actions)[0] == ("SuccessfulRescale", "New size: 1; reason: All metrics below target")


def test_it_looks_once_a_period_unless_it_was_changed() -> None:
    bed = Bed(scaler(CPU), scale())
    bed.round()

    assert bed.round(5) == [Again(10.0)]
    bed.found = replace(bed.found, metadata=replace(bed.found.metadata, generation=2))
    assert only(bed.round(5), Rescale)


def test_a_failed_rescale_is_said_and_does_not_count() -> None:
    bed = Bed(scaler(CPU), scale())
    (rescale,) = only(bed.round(), Rescale)
    memory = bed.controller.observe.__self__.memory[KEY]  # type: ignore[attr-defined]
    assert memory.changes == (Moment(NOW, 2),)

    actions = bed.round(1, Failure(rescale, Conflict("it has changed")))

    why = "cpu resource utilization (percentage of request) above target"
    assert said(actions) == [("FailedRescale", f"New size: 4; reason: {why}; error: it has changed")]
    assert bed.conditions()[0] == ("AbleToScale", "False", "FailedUpdateScale")
    assert memory.changes == ()


def test_a_second_look_at_a_settled_target_finds_nothing_to_do() -> None:
    bed = Bed(scaler(CPU), scale(), **{USES: uses(500, 500)})
    bed.round()

    assert [type(one) for one in bed.round(15)] == [Again]


def test_how_selectors_are_shown() -> None:
    assert shown(None) == "nil"
