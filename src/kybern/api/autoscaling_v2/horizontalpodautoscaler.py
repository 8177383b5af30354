"""HorizontalPodAutoscaler: how many replicas, by metrics."""

from kybern.api.rules import hpa, hpatable, scaling
from kybern.api.rules.emptylists import null_when_empty
from kybern.api.rules.subresources import status
from kybern.machinery.kind import Kind, Rules

KIND = Kind(
    group="autoscaling",
    version="v2",
    kind="HorizontalPodAutoscaler",
    plural="horizontalpodautoscalers",
    namespaced=True,
    schema="io.k8s.api.autoscaling.v2.HorizontalPodAutoscaler",
    singular="horizontalpodautoscaler",
    short_names=("hpa",),
    categories=("all",),
    storage="horizontalpodautoscalers",
    subresources=(status("HorizontalPodAutoscaler", "autoscaling", "v2"),),
    table=hpatable.TABLE,
    rules=Rules(
        default=hpa.default_v2, forget=null_when_empty("status.currentMetrics"), validate=scaling.validate
    ),
    storage_version_hash="qwQve8ut294=",
)
