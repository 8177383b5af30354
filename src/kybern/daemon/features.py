"""Upstream's features at this version, and what a daemon tells of them: kubernetes_feature_enabled, kubernetes_build_info.

Names, labels and stages are those of component-base/metrics/prometheus/feature and component-base/metrics/version; a feature
that is generally available has no stage.
"""

import json
from collections.abc import Iterator, Mapping
from importlib import resources
from typing import override

from prometheus_client import REGISTRY
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from kybern.daemon.version import MINOR, build

_KNOWN: Mapping[str, Mapping[str, bool | str]] = json.loads(
    resources.files("kybern.daemon").joinpath("data/feature_gates.json").read_text()
)
ALL: Mapping[str, str] = {"AllAlpha": "ALPHA", "AllBeta": "BETA"}
"""Gates that stand for all of a stage, which no daemon here switches on."""
DEFAULTS: Mapping[str, bool] = {name: bool(one["default"]) for name, one in _KNOWN.items()}
"""Whether a feature is on when nobody says anything."""
STAGES: Mapping[str, str] = {**{name: str(one["stage"]) for name, one in _KNOWN.items()}, **ALL}
"""ALPHA, BETA, DEPRECATED, or nothing."""
_LABELS = {
    "gitVersion": "git_version",
    "gitCommit": "git_commit",
    "gitTreeState": "git_tree_state",
    "buildDate": "build_date",
    "goVersion": "go_version",
    "compiler": "compiler",
    "platform": "platform",
}


class Features(Collector):
    """``said``: the gates that act in this daemon and may be otherwise than by default."""

    def __init__(self, said: Mapping[str, bool]) -> None:
        self._on = {**dict.fromkeys(ALL, False), **DEFAULTS, **said}

    @override
    def collect(self) -> Iterator[GaugeMetricFamily]:
        features = GaugeMetricFamily(
            "kubernetes_feature_enabled",
            "This metric records the data about the stage and enablement of a k8s feature.",
            labels=("name", "stage"),
        )
        for name, on in self._on.items():
            features.add_metric((name, STAGES[name]), on)
        yield features
        major, minor = MINOR.split(".")
        labels = {"major": major, "minor": minor, **{_LABELS[key]: text for key, text in build().items()}}
        told = GaugeMetricFamily(
            "kubernetes_build_info",
            "A metric with a constant '1' value labeled by major, minor, git version, git commit, git tree state, "
            "build date, Go version, and compiler from which Kubernetes was built, and platform on which it is running.",
            labels=tuple(labels),
        )
        told.add_metric(tuple(labels.values()), 1)
        yield told


def show(said: Mapping[str, bool] | None = None) -> None:
    """Put both into the metrics of this process; once, when it is known what the daemon runs with."""
    REGISTRY.register(Features(said or {}))
