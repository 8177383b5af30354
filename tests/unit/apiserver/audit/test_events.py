"""Events as they are written."""

from typing import Any

import msgspec
import pytest
from multidict import CIMultiDict

from kybern.apiserver.audit import events
from kybern.auth.attributes import Attributes
from kybern.auth.user import User


@pytest.mark.parametrize(
    ("headers", "remote", "found"),
    [
        ({}, "10.0.0.1", ["10.0.0.1"]),
        ({"X-Forwarded-For": "1.2.3.4, 5.6.7.8"}, "10.0.0.1", ["1.2.3.4", "5.6.7.8", "10.0.0.1"]),
        ({"X-Forwarded-For": "1.2.3.4, 10.0.0.1"}, "10.0.0.1", ["1.2.3.4", "10.0.0.1"]),
        ({"X-Forwarded-For": "nonsense"}, "10.0.0.1", ["10.0.0.1"]),
        ({"X-Real-Ip": "1.2.3.4"}, "10.0.0.1", ["1.2.3.4", "10.0.0.1"]),
        ({"X-Forwarded-For": "1.2.3.4", "X-Real-Ip": "1.2.3.4"}, "::1", ["1.2.3.4", "::1"]),
        ({}, "", []),
    ],
)
def test_sources_are_the_client_then_proxies_then_who_is_connected(
    headers: dict[str, str], remote: str, found: list[str]
) -> None:
    assert events.sources(CIMultiDict(headers), remote) == found


def test_a_long_agent_is_cut() -> None:
    assert events.agent("x" * 2000) == "x" * 1024 + "...TRUNCATED"
    assert events.agent("kubectl") == "kubectl"


def test_a_status_keeps_its_bounded_parts() -> None:
    given = {"kind": "Status", "metadata": {"a": 1}, "status": "Failure", "reason": "NotFound", "code": 404}

    assert events.status(given) == {"metadata": {}, "status": "Failure", "reason": "NotFound", "code": 404}


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({"metadata": {"name": "a", "managedFields": [1]}}, {"metadata": {"name": "a"}}),
        ({"items": [{"metadata": {"managedFields": []}}]}, {"items": [{"metadata": {}}]}),
        (
            {"rows": [{"cells": [1], "object": {"metadata": {"managedFields": []}}}]},
            {"rows": [{"cells": [1], "object": {"metadata": {}}}]},
        ),
        ([{"op": "add"}], [{"op": "add"}]),
    ],
)
def test_managed_fields_are_taken_out_of_objects_lists_and_tables(given: Any, found: Any) -> None:
    assert events.unmanaged(given) == found


def test_fields_are_in_upstreams_order_and_empty_ones_left_out() -> None:
    asked = Attributes(User("jane", ("devs",)), "create", "apps", "v1", "deployments", "", "ns")
    event = events.Event(
        "Event", "audit.k8s.io/v1", "Metadata", "id", "ResponseComplete", "/apis/x", asked.verb,
        events.who(asked.user), source_ips=["::1"], object_ref=events.reference(asked),
        response_status={"metadata": {}, "code": 201}, stage_timestamp=events.moment(0.5),
    )  # fmt: skip

    assert msgspec.json.encode(event).decode() == (
        '{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"id","stage":"ResponseComplete",'
        '"requestURI":"/apis/x","verb":"create","user":{"username":"jane","groups":["devs"]},"sourceIPs":["::1"],'
        '"objectRef":{"resource":"deployments","namespace":"ns","apiGroup":"apps","apiVersion":"v1"},'
        '"responseStatus":{"metadata":{},"code":201},"stageTimestamp":"1970-01-01T00:00:00.500000Z"}'
    )
