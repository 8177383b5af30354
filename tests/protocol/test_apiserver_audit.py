"""The audit log of a real server: who asked for what, and what came of it, as far as the policy wants it told."""

import http.server
import json
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.protocol.apiserver_bed import Lab, Server
from tests.protocol.conftest import free_port

POLICY: dict[str, Any] = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [
        {"level": "None", "nonResourceURLs": ["/readyz*"]},
        {"level": "Metadata", "resources": [{"resources": ["secrets"]}]},
        {"level": "Request", "resources": [{"resources": ["serviceaccounts"]}]},
        {"level": "RequestResponse", "omitManagedFields": True, "resources": [{"resources": ["configmaps"]}]},
        {"level": "Metadata", "verbs": ["watch"]},
        {"level": "Metadata", "users": ["nobody"]},
        {"level": "Metadata", "userGroups": ["system:masters"], "nonResourceURLs": ["/version"]},
    ],
}
CONFIGMAPS = "/api/v1/namespaces/default/configmaps"


class Log:
    """The events of a file, by the agent or name that the test knows them by."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def events(self, which: Callable[[dict[str, Any]], bool], count: int = 1) -> list[dict[str, Any]]:
        """Waits until there are so many: an answer is there a little before its event is."""
        deadline = time.monotonic() + 20
        while True:
            found = [
                one for one in map(json.loads, self.path.read_text().splitlines()) if which(one)
            ] if self.path.exists() else []  # fmt: skip
            if len(found) >= count or time.monotonic() > deadline:
                assert len(found) == count, found
                return found
            time.sleep(0.05)

    def named(self, name: str, verb: str, count: int = 1) -> list[dict[str, Any]]:
        return self.events(
            lambda one: one["verb"] == verb and (one.get("objectRef") or {}).get("name") == name, count
        )


class Hook:
    """A server that takes lists of events."""

    def __init__(self) -> None:
        self.taken: list[dict[str, Any]] = []
        taken = self.taken

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                taken.append({"path": self.path, **json.loads(body)})
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_words: object) -> None:
                return

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture(scope="module")
def hook() -> Iterator[Hook]:
    found = Hook()
    yield found
    found.close()


@pytest.fixture(scope="module")
def log(lab: Lab) -> Log:
    return Log(lab.directory / "audit/audit.log")


@pytest.fixture(scope="module")
def server(lab: Lab, log: Log, hook: Hook) -> Server:
    policy, config = lab.directory / "policy.yaml", lab.directory / "audit-hook.yaml"
    policy.write_text(yaml.safe_dump(POLICY))
    config.write_text(
        yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "x",
                "clusters": [
                    {"name": "x", "cluster": {"server": f"http://127.0.0.1:{hook.server.server_port}/audit"}}
                ],
                "users": [{"name": "x", "user": {}}],
                "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
            }
        )
    )
    return lab.start(
        free_port(),
        f"--audit-policy-file={policy}",
        f"--audit-log-path={log.path}",
        f"--audit-webhook-config-file={config}",
        "--audit-webhook-batch-max-wait=1s",
    )


def config_map(name: str) -> dict[str, Any]:
    return {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": name}, "data": {"a": "1"}}


def test_a_write_is_told_with_who_what_and_both_objects(server: Server, log: Log) -> None:
    server.ask("POST", CONFIGMAPS, config_map("told"))
    (event,) = log.named("told", "create")

    stored = server.ask("GET", f"{CONFIGMAPS}/told")[1]
    assert event["level"] == "RequestResponse"
    assert event["stage"] == "ResponseComplete"
    assert event["requestURI"] == CONFIGMAPS
    assert event["user"]["username"] == "admin"
    assert set(event["user"]["groups"]) == {"system:masters", "system:authenticated"}
    assert event["sourceIPs"] == ["127.0.0.1"]
    assert event["objectRef"] == {
        "resource": "configmaps", "namespace": "default", "name": "told", "apiVersion": "v1",
    }  # fmt: skip
    assert event["responseStatus"] == {"metadata": {}, "code": 201}
    assert event["requestObject"] == config_map("told")
    assert event["responseObject"]["metadata"]["uid"] == stored["metadata"]["uid"]
    assert "managedFields" in stored["metadata"]
    assert "managedFields" not in event["responseObject"]["metadata"]
    assert event["annotations"]["authorization.k8s.io/decision"] == "allow"
    assert event["requestReceivedTimestamp"] <= event["stageTimestamp"]


def test_secrets_are_told_without_what_is_in_them(server: Server, log: Log) -> None:
    secret = {"kind": "Secret", "apiVersion": "v1", "metadata": {"name": "quiet"}, "data": {"a": "c2VjcmV0"}}
    server.ask("POST", "/api/v1/namespaces/default/secrets", secret)
    (event,) = log.named("quiet", "create")

    assert event["level"] == "Metadata"
    assert "c2VjcmV0" not in log.path.read_text()
    assert not {"requestObject", "responseObject"} & event.keys()


def test_a_patch_is_told_as_it_was_sent_and_no_answer_at_the_level_request(server: Server, log: Log) -> None:
    path = "/api/v1/namespaces/default/serviceaccounts"
    account = {"kind": "ServiceAccount", "apiVersion": "v1", "metadata": {"name": "patched"}}
    server.ask("POST", path, account)
    patch = {"metadata": {"labels": {"a": "b"}}}
    server.ask("PATCH", f"{path}/patched", patch, form="merge-patch+json")
    (event,) = log.named("patched", "patch")

    assert event["requestObject"] == patch
    assert "responseObject" not in event


def test_refusals_are_told_with_their_reason(server: Server, log: Log) -> None:
    assert server.ask("GET", f"{CONFIGMAPS}/missing")[0] == 404
    (event,) = log.named("missing", "get")
    status = event["responseStatus"]
    assert (status["status"], status["reason"], status["code"]) == ("Failure", "NotFound", 404)

    assert server.ask("DELETE", "/api/v1/nodes/forbidden", identity="nobody")[0] == 403
    (event,) = log.named("forbidden", "delete")
    assert event["annotations"]["authorization.k8s.io/decision"] == "forbid"
    assert event["responseStatus"]["code"] == 403
    assert event["user"]["username"] == "nobody"


def test_somebody_unknown_is_told_when_he_is_refused(server: Server, log: Log) -> None:
    context = server.context()
    context.load_verify_locations(server.directory / "ca.crt")
    request = urllib.request.Request(
        f"{server.url}{CONFIGMAPS}/unknown", headers={"Authorization": "Bearer wrong"}
    )
    anonymous = type(context)(context.protocol)
    anonymous.load_verify_locations(server.directory / "ca.crt")
    with pytest.raises(urllib.error.HTTPError, match="401") as refused:
        urllib.request.urlopen(request, timeout=10, context=anonymous)
    refused.value.close()

    (event,) = log.named("unknown", "get")
    assert event["responseStatus"]["reason"] == "Unauthorized"
    assert event["user"] == {}
    assert event["stage"] == "ResponseStarted"


def test_acting_as_somebody_is_told_with_both(server: Server, log: Log) -> None:
    request = urllib.request.Request(
        f"{server.url}{CONFIGMAPS}/acting", headers={"Impersonate-User": "jane", "Audit-Id": "mine"}
    )
    with pytest.raises(urllib.error.HTTPError, match="403") as refused:
        urllib.request.urlopen(request, timeout=10, context=server.context())
    refused.value.close()

    (event,) = log.named("acting", "get")
    assert event["auditID"] == "mine"
    assert event["user"]["username"] == "admin"
    assert event["impersonatedUser"]["username"] == "jane"


def test_a_watch_is_told_when_it_begins_and_when_it_ends(server: Server, log: Log) -> None:
    path = (
        "/api/v1/namespaces/default/endpoints?watch=1&timeoutSeconds=1&fieldSelector=metadata.name%3Dwatched"
    )
    request = urllib.request.Request(server.url + path)
    with urllib.request.urlopen(request, timeout=20, context=server.context()) as answer:
        answer.read()
    found = log.events(lambda one: one["requestURI"] == path, 2)

    assert [one["stage"] for one in found] == ["ResponseStarted", "ResponseComplete"]
    assert len({one["auditID"] for one in found}) == 1
    assert found[0]["responseStatus"] == {"metadata": {}, "code": 200}


def test_a_deletion_is_told_with_the_status_that_was_answered(server: Server, log: Log) -> None:
    server.ask("POST", CONFIGMAPS, config_map("going"))
    server.ask("DELETE", f"{CONFIGMAPS}/going")
    (event,) = log.named("going", "delete")

    assert event["responseStatus"]["status"] == "Success"
    assert event["responseStatus"]["details"]["name"] == "going"


def test_what_no_rule_wants_is_not_told(server: Server, log: Log) -> None:
    server.ask("GET", "/api/v1/namespaces/default/pods")
    server.ask("GET", "/version")
    log.events(lambda one: one["requestURI"] == "/version")

    assert not any("/pods" in line or "/readyz" in line for line in log.path.read_text().splitlines())


def test_a_webhook_gets_the_same_events_in_lists(server: Server, log: Log, hook: Hook) -> None:
    server.ask("POST", CONFIGMAPS, config_map("posted"))
    (event,) = log.named("posted", "create")
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        items = [one for batch in hook.taken for one in batch["items"] if one["auditID"] == event["auditID"]]
        if items:
            break
        time.sleep(0.1)

    assert items == [event]
    assert {(batch["path"], batch["kind"]) for batch in hook.taken} == {("/audit", "EventList")}


def test_events_are_counted(server: Server) -> None:
    text = server.ask("GET", "/metrics")[1]

    assert 'apiserver_audit_level_total{level="RequestResponse"}' in text
    assert "apiserver_audit_event_total" in text


def test_a_wrong_policy_ends_the_server_with_a_line_that_says_why(lab: Lab) -> None:
    policy = lab.directory / "wrong.yaml"
    policy.write_text("{apiVersion: audit.k8s.io/v1, kind: Policy, rules: [{level: Everything}]}")
    with pytest.raises(AssertionError, match=r"cannot use --audit-policy-file .*Unsupported value"):
        lab.start(free_port(), f"--audit-policy-file={policy}", "--audit-log-path=-")


def test_a_strict_server_refuses_what_it_cannot_tell(lab: Lab) -> None:
    policy = lab.directory / "strict.yaml"
    policy.write_text(
        "{apiVersion: audit.k8s.io/v1, kind: Policy, rules: [{level: None, nonResourceURLs: ['/readyz']}, "
        "{level: Metadata, nonResourceURLs: ['/version']}]}"
    )
    strict = lab.start(
        free_port(),
        f"--audit-policy-file={policy}",
        "--audit-log-path=/dev/full",
        "--audit-log-maxsize=0",
        "--audit-log-mode=blocking-strict",
    )

    code, told = strict.ask("GET", "/version")
    assert (code, told["message"]) == (500, "Internal error occurred: failed to store audit event")
