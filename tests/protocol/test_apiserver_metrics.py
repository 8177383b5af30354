"""What /metrics of a real API server tells of requests, admission and storage, as a scraper reads it."""

from collections.abc import Iterator
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.protocol.apiserver_bed import Lab, Server

CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"


@pytest.fixture(scope="module")
def server(lab: Lab, free_ports: Any) -> Server:
    return lab.start(free_ports())


def samples(server: Server) -> Iterator[tuple[str, dict[str, str], float]]:
    code, text = server.ask("GET", "/metrics")
    assert code == 200
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            yield sample.name, dict(sample.labels), sample.value


def value(server: Server, name: str, /, **labels: str) -> float:
    """The sum of all series that have these labels; there must be one."""
    found = [
        number
        for known, having, number in samples(server)
        if known == name and labels.items() <= having.items()
    ]
    assert found, f"no {name} with {labels}"
    return sum(found)


def test_a_write_a_read_and_what_is_deprecated_are_told_of(server: Server) -> None:
    made = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "told"}, "data": {"a": "b" * 2000}}

    assert server.ask("POST", CONFIG_MAPS, made)[0] == 201
    assert server.ask("GET", f"{CONFIG_MAPS}/told")[0] == 200
    assert server.ask("GET", "/api/v1/componentstatuses")[0] == 200

    prefix = "apiserver_admission"
    step = f"{prefix}_step_admission_duration_seconds_count"
    plugin = f"{prefix}_controller_admission_duration_seconds_count"
    assert value(server, step, type="admit", operation="CREATE", rejected="false") >= 1
    assert (
        value(server, plugin, name="NamespaceLifecycle", type="admit", operation="CREATE", rejected="false")
        >= 1
    )
    read = {"verb": "GET", "resource": "configmaps", "scope": "resource", "component": "apiserver"}
    assert value(server, "apiserver_response_sizes_sum", **read) > 2000
    assert value(server, "apiserver_request_total", verb="POST", resource="configmaps", code="201") >= 1
    assert (
        value(server, "apiserver_requested_deprecated_apis", version="v1", resource="componentstatuses") == 1
    )


def test_what_is_stored_is_told_of(server: Server) -> None:
    assert value(server, "apiserver_storage_objects", resource="namespaces") >= 4
    assert value(server, "apiserver_resource_objects", group="rbac.authorization.k8s.io") > 50
    assert value(server, "apiserver_storage_size_bytes", storage_cluster_id="etcd-0") > 4096
