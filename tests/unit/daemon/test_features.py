"""What a daemon tells of its features and of itself."""

from prometheus_client import CollectorRegistry

from kybern.daemon.features import Features
from kybern.daemon.version import VERSION


def told(**said: bool) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(Features(said))
    return registry


def test_a_feature_is_told_with_its_stage() -> None:
    found = told(ClusterTrustBundle=True)

    def on(name: str, stage: str) -> float | None:
        return found.get_sample_value("kubernetes_feature_enabled", {"name": name, "stage": stage})

    assert on("WatchListClient", "BETA") == 1
    assert on("APIServerTracing", "") == 1  # generally available
    assert on("AllowDNSOnlyNodeCSR", "DEPRECATED") == 0
    assert on("APIServingWithRoutine", "ALPHA") == 0
    assert on("ClusterTrustBundle", "BETA") == 1  # somebody switched it on
    assert on("AllAlpha", "ALPHA") == 0
    assert on("ClusterTrustBundleProjection", "BETA") == 0


def test_each_feature_is_told_once() -> None:
    features, _ = Features({}).collect()

    names = [sample.labels["name"] for sample in features.samples]
    assert len(names) == len(set(names)) > 200


def test_the_version_is_told_in_labels() -> None:
    _, build = Features({}).collect()

    (sample,) = build.samples
    assert sample.value == 1
    assert (sample.labels["major"], sample.labels["minor"], sample.labels["git_version"]) == (
        "1",
        "36",
        VERSION,
    )
    assert sample.labels["platform"].startswith("linux/")
