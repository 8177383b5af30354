"""Control loops against a real API server, each with its own account's rights only."""

from collections.abc import Callable

import pytest

from tests.protocol.apiserver_bed import Lab
from tests.protocol.controllers_bed import CORE, Cluster, condition, manage, template


@pytest.fixture(scope="module")
def cluster(lab: Lab, free_ports: Callable[[], int]) -> Callable[[str], Cluster]:
    """Makes a namespace for a test."""
    server = lab.start(free_ports())
    manage(lab, server, free_ports())
    return lambda name: Cluster(lab, server, name)


def test_a_replication_controller_says_that_quota_stops_it_until_it_needs_no_more(
    cluster: Callable[[str], Cluster],
) -> None:
    bed = cluster("rc")
    bed.make(bed.path(CORE, "resourcequotas"), {"metadata": {"name": "two"}, "spec": {"hard": {"pods": "2"}}})
    bed.until(bed.path(CORE, "resourcequotas", "two"), lambda found: found["status"].get("hard"))
    spec = {"replicas": 3, "selector": {"app": "web"}, "template": template(app="web")}
    bed.make(bed.path(CORE, "replicationcontrollers"), {"metadata": {"name": "web"}, "spec": spec})
    path = bed.path(CORE, "replicationcontrollers", "web")

    failed = bed.until(path, lambda found: condition(found, "ReplicaFailure"))
    scale = bed.get(f"{path}/scale")
    scale["spec"]["replicas"] = 2
    code, _ = bed.ask("PUT", f"{path}/scale", scale)

    assert code == 200
    assert condition(failed, "ReplicaFailure")["reason"] == "FailedCreate"
    bed.until(
        path,
        lambda found: not condition(found, "ReplicaFailure") and found["status"]["observedGeneration"] == 2,
    )


def test_a_replication_controller_adopts_counts_and_lets_go(cluster: Callable[[str], Cluster]) -> None:
    bed = cluster("rc-adopts")
    bed.make(
        bed.path(CORE, "pods"), {**template(app="web"), "metadata": {"name": "one", "labels": {"app": "web"}}}
    )
    spec = {"replicas": 1, "selector": {"app": "web"}, "template": template(app="web")}
    bed.make(bed.path(CORE, "replicationcontrollers"), {"metadata": {"name": "web"}, "spec": spec})
    path, pod = bed.path(CORE, "replicationcontrollers", "web"), bed.path(CORE, "pods", "one")

    adopted = bed.until(pod, lambda found: found["metadata"].get("ownerReferences"))
    bed.run(adopted)
    bed.until(path, lambda found: found["status"].get("readyReplicas") == 1)
    bed.change(pod, lambda found: found["metadata"]["labels"].update(app="other"))

    assert adopted["metadata"]["ownerReferences"][0]["kind"] == "ReplicationController"
    bed.until(pod, lambda found: not found["metadata"].get("ownerReferences"))
    bed.until(bed.path(CORE, "pods"), lambda found: len(found["items"]) == 2)
