"""Priority and fairness on a real server: who runs, who waits, who is refused, and what clients are told of it.

A request holds its seat while its body is still coming; so tests decide how long it lasts.
"""

import http.client
import json
import re
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.protocol.apiserver_bed import Lab, Server

pytestmark = pytest.mark.etcd

GROUP = "/apis/flowcontrol.apiserver.k8s.io/v1"
MAPS = "/api/v1/namespaces/default/configmaps"
SCHEMA_UID, LEVEL_UID = "X-Kubernetes-PF-FlowSchema-UID", "X-Kubernetes-PF-PriorityLevel-UID"
DUMPS = "/debug/api_priority_and_fairness/dump_"


@pytest.fixture(scope="module")
def lab(etcd: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    found = Lab(tmp_path_factory.mktemp("fair"), etcd)
    yield found
    found.stop()


@pytest.fixture(scope="module")
def server(lab: Lab, free_ports: Any) -> Server:
    found = lab.start(free_ports(), "--endpoint-reconciler-type=none")
    binding = {
        "metadata": {"name": "nobody-may"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "nobody"}],
    }
    bindings = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings"
    assert found.ask("POST", bindings, binding)[0] == 201
    return found


class Asking:
    """One connection, and one request on it that may stay without its body for a while."""

    def __init__(self, server: Server, identity: str) -> None:
        context: ssl.SSLContext = server.context(identity)
        self._wire = http.client.HTTPSConnection("127.0.0.1", server.port, timeout=30, context=context)

    def begin(self, name: str) -> None:
        """All of a creation but its body."""
        self._body = json.dumps({"metadata": {"name": name}}).encode()
        self._wire.putrequest("POST", MAPS)
        self._wire.putheader("Content-Type", "application/json")
        self._wire.putheader("Content-Length", str(len(self._body)))
        self._wire.endheaders()

    def end(self) -> http.client.HTTPResponse:
        self._wire.send(self._body)
        return self.answer()

    def answer(self) -> http.client.HTTPResponse:
        found = self._wire.getresponse()
        found.body = found.read()  # type: ignore[attr-defined]
        return found

    def get(self, path: str) -> http.client.HTTPResponse:
        self._wire.request("GET", path)
        return self.answer()

    def close(self) -> None:
        self._wire.close()


@contextmanager
def asking(server: Server, count: int, identity: str = "nobody") -> Iterator[list[Asking]]:
    found = [Asking(server, identity) for _ in range(count)]
    try:
        yield found
    finally:
        for one in found:
            one.close()


@contextmanager
def level(server: Server, name: str, response: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """A level of which one request runs at a time, and a schema that puts user nobody into it; their UIDs."""
    limited = {"nominalConcurrencyShares": 0, "borrowingLimitPercent": 0, "limitResponse": response}
    level = {"metadata": {"name": name}, "spec": {"type": "Limited", "limited": limited}}
    everything = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"]}
    rule = {"subjects": [{"kind": "User", "user": {"name": "nobody"}}], "resourceRules": [everything]}
    schema = {
        "metadata": {"name": name},
        "spec": {
            "matchingPrecedence": 20,
            "priorityLevelConfiguration": {"name": name},
            "distinguisherMethod": {"type": "ByUser"},
            "rules": [rule],
        },
    }
    _, made_level = server.ask("POST", f"{GROUP}/prioritylevelconfigurations", level)
    _, made_schema = server.ask("POST", f"{GROUP}/flowschemas", schema)
    uids = made_schema["metadata"]["uid"], made_level["metadata"]["uid"]
    try:
        with asking(server, 1) as (one,):
            until(lambda: one.get(f"{MAPS}/none").headers[SCHEMA_UID] == uids[0])
        yield uids
    finally:
        server.ask("DELETE", f"{GROUP}/flowschemas/{name}")
        server.ask("DELETE", f"{GROUP}/prioritylevelconfigurations/{name}")


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.02)


def number(server: Server, name: str, level: str) -> float:
    """Of a metric of a level and its schema of the same name."""
    _, text = server.ask("GET", "/metrics")
    labels = f'flow_schema="{level}",priority_level="{level}"'
    found = re.search(rf"^apiserver_flowcontrol_{name}\{{{labels}.*\}} (\S+)$", str(text), re.MULTILINE)
    return float(found[1]) if found else 0.0


def test_clients_are_told_by_uids_what_they_belong_to(server: Server) -> None:
    uids = {}
    for plural in ("flowschemas", "prioritylevelconfigurations"):
        _, listed = server.ask("GET", f"{GROUP}/{plural}")
        uids[plural] = {one["metadata"]["name"]: one["metadata"]["uid"] for one in listed["items"]}
    for identity, path, name in (
        ("admin", f"{MAPS}/none", "exempt"),
        ("admin", MAPS, "exempt"),
        ("nobody", MAPS, "global-default"),
        ("nobody", "/version", "global-default"),
        ("nobody", f"{MAPS}?watch=1&timeoutSeconds=1", "global-default"),
    ):
        with asking(server, 1, identity) as (one,):
            found = one.get(path)
            assert found.headers[SCHEMA_UID] == uids["flowschemas"][name], path
            assert found.headers[LEVEL_UID] == uids["prioritylevelconfigurations"][name], path


def test_where_nobody_waits_the_next_is_refused(server: Server) -> None:
    with level(server, "rejects", {"type": "Reject"}) as uids, asking(server, 2) as (first, second):
        first.begin("rejects-first")
        until(lambda: number(server, "current_executing_requests", "rejects") == 1)
        refused = second.get(f"{MAPS}/none")
        assert (refused.status, refused.headers["Retry-After"]) == (429, "1")
        assert refused.body == b"Too many requests, please try again later.\n"  # type: ignore[attr-defined]
        assert (refused.headers[SCHEMA_UID], refused.headers[LEVEL_UID]) == uids
        assert number(server, "rejected_requests_total", "rejects") == 1
        # Others do not notice.
        assert server.ask("GET", MAPS)[0] == 200
        assert first.end().status == 201
        until(lambda: number(server, "current_executing_requests", "rejects") == 0)
        assert second.get(f"{MAPS}/none").status == 404


def test_where_there_are_queues_the_next_waits(server: Server) -> None:
    queuing = {"type": "Queue", "queuing": {"queues": 4, "handSize": 1, "queueLengthLimit": 1}}
    with level(server, "queues", queuing), asking(server, 3) as (first, second, third):
        first.begin("queues-first")
        until(lambda: number(server, "current_executing_requests", "queues") == 1)
        second.begin("queues-second")
        until(lambda: number(server, "current_inqueue_requests", "queues") == 1)
        assert third.get(f"{MAPS}/none").status == 429
        _, levels = server.ask("GET", f"{DUMPS}priority_levels")
        assert re.search(r"^queues, +1, +false, +false, +1, +1$", str(levels), re.MULTILINE), levels
        _, requests = server.ask("GET", f"{DUMPS}requests")
        waiting = r"^queues, +queues, +\d, +0, +nobody, +\d{4}-\d\d-\d\dT[\d:.]+Z, +1$"
        assert re.search(waiting, str(requests), re.MULTILINE), requests
        assert first.end().status == 201
        assert second.end().status == 201
        until(lambda: number(server, "current_executing_requests", "queues") == 0)
        assert number(server, "dispatched_requests_total", "queues") >= 2


def test_who_goes_away_leaves_the_queue(server: Server) -> None:
    queuing = {"type": "Queue", "queuing": {"queues": 4, "handSize": 1, "queueLengthLimit": 5}}
    with level(server, "leaves", queuing), asking(server, 2) as (first, third):
        first.begin("leaves-first")
        until(lambda: number(server, "current_executing_requests", "leaves") == 1)
        with asking(server, 1) as (second,):
            second.begin("leaves-second")
            until(lambda: number(server, "current_inqueue_requests", "leaves") == 1)
        third.begin("leaves-third")
        assert first.end().status == 201
        assert third.end().status == 201
        until(lambda: number(server, "current_inqueue_requests", "leaves") == 0)


def test_watches_hold_no_seat_once_they_have_begun(server: Server) -> None:
    with level(server, "watches", {"type": "Reject"}), asking(server, 2) as (first, second):
        first._wire.request("GET", f"{MAPS}?watch=1")
        assert first._wire.getresponse().status == 200
        assert second.get(f"{MAPS}/none").status == 404


def test_without_it_the_two_limits_count(lab: Lab, server: Server, free_ports: Any) -> None:
    flags = ("--enable-priority-and-fairness=false", "--max-mutating-requests-inflight=1")
    other = lab.start(free_ports(), "--endpoint-reconciler-type=none", *flags)
    with asking(other, 2) as (first, second):
        assert SCHEMA_UID not in first.get(f"{MAPS}/none").headers
        first.begin("counted-first")

        def inflight() -> bool:
            _, text = other.ask("GET", "/metrics")
            return 'apiserver_current_inflight_requests{request_kind="mutating"} 1.0' in str(text)

        until(inflight)
        second.begin("counted-second")
        assert second.answer().status == 429
        assert first.end().status == 201


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (
            ("--max-requests-inflight=0", "--max-mutating-requests-inflight=0"),
            "MaxRequestsInFlight=0 and MaxMutatingRequestsInFlight=0; they must add up to something positive",
        ),
        (("--max-requests-inflight=-1",), "--max-requests-inflight can not be negative value"),
    ],
)
def test_seats_that_make_no_sense_are_refused(
    lab: Lab, free_ports: Any, flags: tuple[str, ...], said: str
) -> None:
    assert said in lab.refused(free_ports(), *flags)
