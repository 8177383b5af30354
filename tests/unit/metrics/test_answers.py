"""What is used in, documents of metrics.k8s.io out."""

from kybern.metrics import answers
from kybern.metrics.usage import Use

EARLY, LATE = Use(1700000000.2, 15.0, 0.123456789, 25165824), Use(1700000003.0, 14.25, 0.5, 1000)


def test_a_node_is_told_in_nanocores_and_binary_bytes() -> None:
    assert answers.node("n1", {"zone": "a"}, EARLY) == {
        "kind": "NodeMetrics",
        "apiVersion": "metrics.k8s.io/v1beta1",
        "metadata": {"name": "n1", "creationTimestamp": "2023-11-14T22:13:20Z", "labels": {"zone": "a"}},
        "timestamp": "2023-11-14T22:13:20Z",
        "window": "15s",
        "usage": {"cpu": "123456789n", "memory": "24Mi"},
    }


def test_a_pod_bears_the_time_of_the_container_measured_first() -> None:
    found = answers.pod("shop", "web", {}, {"late": LATE, "early": EARLY})

    assert (found["timestamp"], found["window"]) == ("2023-11-14T22:13:20Z", "15s")
    assert "labels" not in found["metadata"]
    assert found["containers"] == [
        {"name": "late", "usage": {"cpu": "500m", "memory": "1k"}},
        {"name": "early", "usage": {"cpu": "123456789n", "memory": "24Mi"}},
    ]


def test_nothing_used_is_zero() -> None:
    assert answers.node("n", {}, Use(1.0, 1.0, 0.0, 0))["usage"] == {"cpu": "0", "memory": "0"}


def test_a_table_adds_up_containers() -> None:
    found = answers.table([answers.pod("shop", "web", {}, {"a": LATE, "b": LATE})], "v1")

    assert [column["name"] for column in found["columnDefinitions"]] == ["Name", "cpu", "memory", "Window"]
    assert found["rows"][0]["cells"] == ["web", "1", "2000", "14.25s"]
    assert found["rows"][0]["object"]["kind"] == "PartialObjectMetadata"
