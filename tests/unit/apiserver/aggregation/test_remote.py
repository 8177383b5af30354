"""What an APIService says, what is missing before its server can be asked, and for whom we speak to it."""

from typing import Any

import pytest

from kybern.apiserver.aggregation.registered import Registered, prefix
from kybern.apiserver.aggregation.remote import (
    LOCAL,
    PASSED,
    Remote,
    Trust,
    Verdict,
    endpoints,
    judged,
    remote,
    speaks_for,
)
from kybern.auth.user import User
from kybern.storage.value import encoded


def raw(**spec: Any) -> dict[str, Any]:
    service = {"namespace": "a", "name": "b"}
    spec = {"group": "g", "version": "v1", "service": service, **spec}
    return {"metadata": {"name": "v1.g"}, "spec": spec}


def here(**more: Any) -> Remote:
    found = remote(raw(**more))
    assert found is not None
    return found


def test_an_apiservice_without_a_service_is_our_own() -> None:
    assert remote(raw(service=None)) is None


def test_an_apiservice_names_its_server_and_whom_to_trust() -> None:
    found = here(caBundle="Y2E=", groupPriorityMinimum=3, versionPriority=4)
    assert (found.port, found.path, found.name) == (443, "/apis/g/v1", "v1.g")
    assert found.trust == Trust("b.a.svc", b"ca", verify=True)
    assert (found.group_priority, found.version_priority, found.available) == (3, 4, False)
    assert not here(insecureSkipTLSVerify=True).trust.verify


def test_a_verdict_is_written_once_and_keeps_since_when_it_holds() -> None:
    first = judged(raw(), Verdict("A", "a"), "then")
    assert first is not None
    condition = {
        "type": "Available",
        "status": "False",
        "lastTransitionTime": "then",
        "reason": "A",
        "message": "a",
    }
    assert first["status"]["conditions"] == [condition]
    assert judged(first, Verdict("A", "a"), "now") is None
    other = judged(first, Verdict("B", "b"), "now")
    assert other is not None
    assert other["status"]["conditions"][0]["lastTransitionTime"] == "then"
    passed = judged(other, PASSED, "now")
    assert passed is not None
    assert passed["status"]["conditions"][0]["lastTransitionTime"] == "now"
    assert remote(passed) == Remote("g", "v1", "a", "b", 443, Trust("b.a.svc"), True, 0, 0)
    assert (LOCAL.available, PASSED.available) == (True, True)


PORT = {"name": "https", "port": 443}
READY = {"addresses": ["10.0.0.1"], "conditions": {"ready": True}}
UNREADY = {"addresses": ["10.0.0.1"], "conditions": {"ready": False}}


@pytest.mark.parametrize(
    ("spec", "slices", "wanted"),
    [
        ({"ports": [PORT]}, [{"endpoints": [READY], "ports": [PORT]}], ""),
        ({"ports": [PORT]}, [{"endpoints": [{"addresses": ["10.0.0.1"]}], "ports": [PORT]}], ""),
        ({"ports": [{"port": 80}]}, [{"endpoints": [READY], "ports": [PORT]}], "ServicePortError"),
        ({"ports": [PORT]}, [], "EndpointsNotFound"),
        ({"ports": [PORT]}, [{"endpoints": [UNREADY], "ports": [PORT]}], "MissingEndpoints"),
        ({"ports": [PORT]}, [{"endpoints": [READY], "ports": [{"port": 443}]}], "MissingEndpoints"),
        ({"ports": [PORT]}, [{"endpoints": None, "ports": None}], "MissingEndpoints"),
        ({"type": "ExternalName", "externalName": "x"}, [], ""),
        ({"type": "NodePort", "ports": []}, [], ""),
    ],
)
def test_what_is_missing_has_upstreams_reason(spec: Any, slices: Any, wanted: str) -> None:
    found = endpoints({"spec": spec}, here(), slices)
    assert (found.reason if found else "") == wanted


def test_users_are_told_with_all_that_is_known_of_them() -> None:
    user = User("jane", ("a", "b"), "7", {"x/y": ("1", "2"), "50%": ("3",)})
    assert speaks_for(user) == [
        ("X-Remote-User", "jane"),
        ("X-Remote-Uid", "7"),
        ("X-Remote-Group", "a"),
        ("X-Remote-Group", "b"),
        ("X-Remote-Extra-x%2Fy", "1"),
        ("X-Remote-Extra-x%2Fy", "2"),
        ("X-Remote-Extra-50%25", "3"),
    ]


@pytest.mark.parametrize("path", ["/apis/g/v1", "/apis/g/v1/", "/apis/g/v1/namespaces/a/things/b"])
def test_remotes_are_known_by_group_and_version_of_a_path(path: str) -> None:
    registered, told = Registered(), []
    registered.changed.append(lambda: told.append(1))
    body = encoded(raw())
    registered.take(None, body)
    assert registered.remotes[prefix(path)].service == "b"
    registered.take(body, encoded(raw(service={"namespace": "a", "name": "c"})))
    assert registered.remotes[prefix(path)].service == "c"
    registered.take(body, None)
    assert not registered.remotes
    assert not registered.services
    assert len(told) == 3


@pytest.mark.parametrize("path", ["/", "/apis/g", "/apis/g/v2/x", "/api/v1/pods"])
def test_other_paths_are_not_theirs(path: str) -> None:
    registered = Registered()
    registered.take(None, encoded(raw()))
    assert prefix(path) not in registered.remotes
