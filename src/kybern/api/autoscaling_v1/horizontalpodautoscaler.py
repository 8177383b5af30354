"""HorizontalPodAutoscaler in its older form, which knows only CPU. Stored as autoscaling/v2."""

from collections.abc import Iterator

from kybern.api.rules import hpa, hpaconversion, hpatable, scaling
from kybern.api.rules.subresources import status
from kybern.machinery.errors import Cause
from kybern.machinery.kind import Conversion, Kind, Raw, Rules, Table


def _default(raw: Raw) -> None:
    """By the other version: what nothing asks for is 80 percent of the CPU."""
    newer = hpaconversion.to_v2(raw)
    hpa.default_v2(newer)
    older = hpaconversion.to_v1(newer)
    raw.update({key: older[key] for key in ("metadata", "spec", "status")})
    raw["status"].setdefault("desiredReplicas", 0)


def _validate(new: Raw, _old: Raw | None) -> Iterator[Cause]:
    return scaling.validate(hpaconversion.to_v2(new), None)


KIND = Kind(
    group="autoscaling",
    version="v1",
    kind="HorizontalPodAutoscaler",
    plural="horizontalpodautoscalers",
    namespaced=True,
    schema="io.k8s.api.autoscaling.v1.HorizontalPodAutoscaler",
    singular="horizontalpodautoscaler",
    short_names=("hpa",),
    categories=("all",),
    storage="horizontalpodautoscalers",
    subresources=(status("HorizontalPodAutoscaler", "autoscaling"),),
    table=Table(hpatable.TABLE.columns, lambda raw, now: hpatable.TABLE.cells(hpaconversion.to_v2(raw), now)),
    conversion=Conversion("autoscaling", "v2", hpaconversion.to_v2, hpaconversion.to_v1),
    rules=Rules(default=_default, validate=_validate),
    storage_version_hash="qwQve8ut294=",
)
