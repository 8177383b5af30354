"""Admission webhooks over the wire: who is called with what, and what an answer does to a write."""

import contextlib
import json
import threading
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from kybern.auth.x509 import Authority
from tests.protocol import webhook_server
from tests.protocol.apiserver_bed import Lab, Server
from tests.protocol.custom_bed import Kind
from tests.protocol.requests_bed import JSON_PATCH, MERGE, Api
from tests.protocol.webhook_place import MUTATING, VALIDATING, Place, adds, config_map, rule, until
from tests.protocol.webhook_server import Review, Webhooks, allow, deny, response

pytestmark = pytest.mark.etcd

SOON = 6  # seconds: a tenth of one, and what a busy machine adds; without word of a change it would be ten


@pytest.fixture(scope="module")
def lab(etcd: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    found = Lab(tmp_path_factory.mktemp("hooks"), etcd)
    hooks = Authority.create("hooks", datetime.now(UTC))
    names = ("hook.default.svc", "named.default.svc")
    pair = hooks.issue("hook", ips=("127.0.0.1",), dns=names, server=True, client=False)
    for name, content in {
        "hooks-ca.crt": hooks.cert_pem,
        "hook.crt": pair.cert_pem,
        "hook.key": pair.key_pem,
    }.items():
        found.write(name, content)
    yield found
    for process in found.started:
        process.terminate()
    for process in found.started:
        process.wait(10)


@pytest.fixture(scope="module")
def server(lab: Lab, free_ports: Any) -> Server:
    # Kept apart from what other tests store: a configuration here must ask nobody about their writes.
    return lab.start(free_ports(), "--endpoint-reconciler-type=none")


@pytest.fixture(scope="module")
def hooks(lab: Lab) -> Iterator[Webhooks]:
    found = webhook_server.start(lab.directory, "hook")
    yield found
    found.stop()


@pytest.fixture
def place(server: Server, hooks: Webhooks) -> Iterator[Place]:
    found = Place(server, hooks)
    yield found
    for path in found.made:
        server.ask("DELETE", path)


def test_a_validating_webhook_refuses_in_its_own_words(place: Place) -> None:
    place.configure(VALIDATING, place.hook("/deny", deny("not like this", code=418, reason="Teapot")))

    code, answer = place.create(config_map("a"))

    assert code == 418
    assert answer["reason"] == "Teapot"
    assert answer["message"] == 'admission webhook "deny.example.com" denied the request: not like this'
    assert place.server.ask("GET", place.path("configmaps/a"))[0] == 404


def test_a_refusal_without_a_word_is_a_bad_request(place: Place) -> None:
    place.configure(VALIDATING, place.hook("/deny", lambda review: response(review, allowed=False)))

    code, answer = place.create(config_map("a"))

    assert (code, answer.get("reason")) == (400, None)
    assert answer["message"] == 'admission webhook "deny.example.com" denied the request without explanation'


def test_a_webhook_sees_who_does_what_to_what(place: Place) -> None:
    place.configure(VALIDATING, place.hook("/see", allow, rules=[rule("*", "*")]))
    path = place.path("configmaps")

    place.create(config_map("a", v="1"), "?fieldManager=me&dryRun=All")
    made = place.create(config_map("a", v="1"))[1]
    place.server.ask("PUT", f"{path}/a", {**made, "data": {"v": "2"}})
    place.server.ask("DELETE", f"{path}/a", {"propagationPolicy": "Background"})
    dry, created, updated, deleted = place.seen("/see")

    assert created["kind"] == created["requestKind"] == {"group": "", "version": "v1", "kind": "ConfigMap"}
    assert created["resource"] == created["requestResource"]
    assert created["resource"] == {"group": "", "version": "v1", "resource": "configmaps"}
    assert (created["operation"], created["name"], created["namespace"]) == ("CREATE", "a", place.name)
    assert created["userInfo"]["username"] == "admin"
    assert set(created["userInfo"]["groups"]) == {"system:masters", "system:authenticated"}
    assert (created["object"]["data"], created["oldObject"], created["dryRun"]) == ({"v": "1"}, None, False)
    assert created["object"]["apiVersion"] == "v1"
    assert dry["dryRun"] is True
    assert dry["options"]["kind"] == "CreateOptions"
    assert (dry["options"]["fieldManager"], dry["options"]["dryRun"]) == ("me", ["All"])
    assert (updated["operation"], updated["options"]["kind"]) == ("UPDATE", "UpdateOptions")
    assert (updated["object"]["data"], updated["oldObject"]["data"]) == ({"v": "2"}, {"v": "1"})
    assert (deleted["operation"], deleted["object"]) == ("DELETE", None)
    assert deleted["oldObject"]["data"] == {"v": "2"}
    assert deleted["options"]["propagationPolicy"] == "Background"


def test_the_time_to_answer_is_told_in_the_url(place: Place) -> None:
    place.configure(VALIDATING, place.hook("/see", allow, timeoutSeconds=7))
    place.create(config_map("a"))

    assert place.hooks.seen[f"/{place.name}/see"][0]["path"].endswith("?timeout=7s")


def test_mutating_webhooks_change_what_is_stored_one_after_the_other(place: Place) -> None:
    second = place.hook(
        "/second", lambda review: adds("/data/two", review["request"]["object"]["data"]["one"])(review)
    )
    place.configure(MUTATING, place.hook("/first", adds("/data/one", "1")), second)

    code, answer = place.create(config_map("a", zero="0"))

    assert (code, answer["data"]) == (201, {"zero": "0", "one": "1", "two": "1"})


def test_configurations_take_turns_by_their_names(place: Place) -> None:
    place.configure(MUTATING, place.hook("/late", adds("/data/who", "late")), name=f"z-{place.name}")
    place.configure(MUTATING, place.hook("/early", adds("/data/who", "early")), name=f"a-{place.name}")

    assert place.create(config_map("a", x="1"))[1]["data"]["who"] == "late"


def test_what_a_webhook_adds_gets_defaults(place: Place) -> None:
    container = {"name": "added", "image": "registry.example.com/sidecar:1"}
    place.configure(
        MUTATING, place.hook("/pods", adds("/spec/initContainers", [container]), rules=[rule("pods")])
    )
    pod = {
        "metadata": {"name": "p"},
        "spec": {"containers": [{"name": "c", "image": "registry.example.com/app:1"}]},
    }

    code, answer = place.server.ask("POST", place.path("pods"), pod)

    assert code == 201
    added = answer["spec"]["initContainers"][0]
    assert added["terminationMessagePath"] == "/dev/termination-log"
    assert added["imagePullPolicy"] == "IfNotPresent"


def test_validating_webhooks_see_what_mutating_ones_made(place: Place) -> None:
    place.configure(MUTATING, place.hook("/change", adds("/data/made", "yes")))
    place.configure(VALIDATING, place.hook("/see", allow))
    place.create(config_map("a", x="1"))

    assert place.seen("/see")[0]["object"]["data"]["made"] == "yes"


@pytest.mark.parametrize(("policy", "times"), [("IfNeeded", 2), ("Never", 1)])
def test_who_wants_to_is_called_again_after_a_later_change(place: Place, policy: str, times: int) -> None:
    first = place.hook("/first", allow, reinvocationPolicy=policy)
    place.configure(MUTATING, first, place.hook("/second", adds("/data/later", "1")))
    place.create(config_map("a", x="1"))

    assert len(place.seen("/first")) == times
    assert len(place.seen("/second")) == 1
    if times == 2:
        assert place.seen("/first")[1]["object"]["data"] == {"x": "1", "later": "1"}


def test_nobody_is_called_again_when_nothing_changed_after_it(place: Place) -> None:
    last = place.hook("/last", adds("/data/x", "1"), reinvocationPolicy="IfNeeded")
    place.configure(MUTATING, place.hook("/first", allow, reinvocationPolicy="IfNeeded"), last)
    place.create(config_map("a", x="1"))

    assert len(place.seen("/first")) == len(place.seen("/last")) == 1


def test_a_webhook_that_cannot_be_called_refuses_or_does_not_matter(place: Place, free_ports: Any) -> None:
    url = f"https://127.0.0.1:{free_ports()}/"
    closed = {"clientConfig": {"url": url, "caBundle": place.authority}}
    place.configure(VALIDATING, place.hook("/open", allow, failurePolicy="Ignore", **closed))
    passed = place.create(config_map("a"))
    place.configure(VALIDATING, place.hook("/closed", allow, **closed))
    code, answer = place.create(config_map("b"))

    assert passed[0] == 201
    assert (code, answer["reason"]) == (500, "InternalError")
    port = url.rpartition(":")[2].rstrip("/")
    assert answer["message"] == (
        'Internal error occurred: failed calling webhook "closed.example.com": failed to call webhook: '
        f'Post "{url}?timeout=5s": dial tcp 127.0.0.1:{port}: connect: connection refused'
    )
    assert answer["details"]["causes"][0]["message"].startswith("failed calling webhook")


def test_a_certificate_of_another_authority_is_not_trusted(place: Place) -> None:
    bundle = b64encode((place.server.directory / "ca.crt").read_bytes()).decode()
    hook = place.hook("/far", allow)
    hook["clientConfig"]["caBundle"] = bundle
    place.configure(VALIDATING, hook)

    code, answer = place.create(config_map("a"))

    assert code == 500
    assert answer["message"].endswith(
        "tls: failed to verify certificate: x509: certificate signed by unknown authority"
    )
    assert place.seen("/far") == []


def test_a_webhook_that_takes_too_long_is_given_up(place: Place) -> None:
    answered = threading.Event()

    def slow(review: Review) -> Review:
        assert answered.wait(60), "the server waits for its webhook"
        return allow(review)

    place.configure(VALIDATING, place.hook("/slow", slow, timeoutSeconds=1))
    code, answer = place.create(config_map("a"))
    answered.set()

    assert code == 500
    assert answer["message"].endswith("context deadline exceeded")


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (lambda _review: b"nonsense", "failed calling webhook"),
        (lambda _review: {"kind": "AdmissionReview"}, "webhook response was absent"),
        (
            lambda review: {**response(review), "kind": "Other"},
            "expected webhook response of admission.k8s.io/v1",
        ),
        (
            lambda _review: (500, b"broken"),
            'an error on the server ("broken") has prevented the request from',
        ),
        (lambda _review: (404, b""), "the server could not find the requested resource"),
        (lambda review: response(review, patch=[]), "validating webhook may not return response.patch"),
    ],
)
def test_answers_that_are_none_refuse(place: Place, answer: Any, says: str) -> None:
    place.configure(VALIDATING, place.hook("/odd", answer))

    code, refusal = place.create(config_map("a"))

    assert code == 500
    assert says in refusal["message"]


def test_warnings_reach_the_client(place: Place) -> None:
    place.configure(
        VALIDATING, place.hook("/warn", lambda review: response(review, warnings=["mind the gap"]))
    )

    request = urllib.request.Request(
        f"{place.server.url}{place.path('configmaps')}",
        json.dumps(config_map("a")).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10, context=place.server.context()) as answer:
        assert answer.headers["Warning"] == '299 - "mind the gap"'


def test_a_dry_run_does_not_call_who_leaves_traces(place: Place) -> None:
    # The marker of this configuration is asked first, and has none.
    v1beta1 = {"sideEffects": "NoneOnDryRun", "admissionReviewVersions": ["v1beta1"]}
    place.configure(VALIDATING, place.hook("/dry", allow, **v1beta1))

    assert place.create(config_map("a"), "?dryRun=All")[0] == 201
    assert place.hooks.seen[f"/{place.name}/dry"][0]["apiVersion"] == "admission.k8s.io/v1beta1"


def test_objects_are_selected_by_their_labels_as_they_were_or_shall_be(place: Place) -> None:
    selector = {"matchLabels": {"watched": "yes"}}
    place.configure(
        VALIDATING, place.hook("/see", allow, objectSelector=selector, rules=[rule("configmaps", "*")])
    )
    path = place.path("configmaps")
    made = place.create(config_map("a"))[1]
    made["metadata"]["labels"] = {"watched": "yes"}
    made = place.server.ask("PUT", f"{path}/a", made)[1]
    made["metadata"]["labels"] = {}
    made = place.server.ask("PUT", f"{path}/a", made)[1]
    place.server.ask("PUT", f"{path}/a", {**made, "data": {"x": "1"}})

    assert [review["operation"] for review in place.seen("/see")] == ["UPDATE", "UPDATE"]


def test_another_namespace_is_not_asked_about(place: Place) -> None:
    place.configure(VALIDATING, place.hook("/see", deny("no")))

    other = place.server.ask(
        "POST", "/api/v1/namespaces/default/configmaps", config_map(f"free-{place.name}")
    )

    assert other[0] == 201


def test_a_namespace_is_selected_by_its_own_labels(place: Place) -> None:
    place.configure(VALIDATING, place.hook("/spaces", deny("no more"), rules=[rule("namespaces")]))

    code, answer = place.server.ask(
        "POST", "/api/v1/namespaces", {"metadata": {"name": f"{place.name}-more", "labels": place.labels}}
    )

    assert (code, place.seen("/spaces")[0]["namespace"]) == (400, f"{place.name}-more")
    assert "no more" in answer["message"]


def test_rules_for_another_version_see_that_version(place: Place) -> None:
    hpa = {
        "apiVersion": "autoscaling/v1",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "h"},
        "spec": {
            "maxReplicas": 3,
            "targetCPUUtilizationPercentage": 50,
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"},
        },
    }
    v2 = rule("horizontalpodautoscalers", group="autoscaling", version="v2")
    place.configure(MUTATING, place.hook("/v2", adds("/spec/maxReplicas", 5), rules=[v2]))
    place.configure(VALIDATING, place.hook("/exact", deny("no"), rules=[v2], matchPolicy="Exact"))

    code, answer = place.server.ask(
        "POST", place.path("horizontalpodautoscalers", "/apis/autoscaling/v1"), hpa
    )
    review = place.seen("/v2")[0]

    assert (code, answer["spec"]["maxReplicas"]) == (201, 5)
    assert answer["spec"]["targetCPUUtilizationPercentage"] == 50
    assert review["kind"]["version"] == "v2"
    assert review["requestKind"]["version"] == "v1"
    assert review["object"]["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"] == 50
    assert place.seen("/exact") == []


def test_configurations_themselves_are_nobodys_business(place: Place) -> None:
    every = {"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*/*"]}
    only = {"key": "kubernetes.io/metadata.name", "operator": "In", "values": [place.name]}
    hook = place.hook("/all", deny("no"), rules=[every], namespaceSelector={"matchExpressions": [only]})
    narrow = {**hook, "rules": [{**every, "apiGroups": ["admissionregistration.k8s.io"]}]}
    path = place.configure(VALIDATING, narrow)
    place.configure(MUTATING, {**narrow, "name": "all-too.example.com"})

    code, answer = place.server.ask("PUT", path, place.server.ask("GET", path)[1])
    assert (code, answer["kind"]) == (200, VALIDATING)
    assert place.server.ask("DELETE", path)[0] == 200
    assert place.seen("/all") == []


@pytest.mark.parametrize("kind", [VALIDATING, MUTATING])
def test_a_changed_configuration_is_in_force_at_once(place: Place, kind: str) -> None:
    path = place.configure(kind, place.hook("/see", deny("no")))
    found = place.server.ask("GET", path)[1]

    def passes() -> bool:
        return place.create(config_map("a"), "?dryRun=All")[0] == 201

    assert not passes()
    found["webhooks"][1]["rules"][0]["operations"] = ["UPDATE"]
    code, found = place.server.ask("PUT", path, found)
    assert code == 200
    assert until(passes) < SOON
    back = {"op": "replace", "path": "/webhooks/1/rules/0/operations", "value": ["CREATE"]}
    Api(place.server).patch(path, [back], JSON_PATCH)
    assert until(lambda: not passes()) < SOON
    place.server.ask("DELETE", path)
    until(lambda: not place.marked(path.rpartition("/")[2]))


@pytest.mark.parametrize("kind", [VALIDATING, MUTATING])
def test_match_conditions_leave_writes_out_and_may_change(place: Place, kind: str) -> None:
    skip = {"name": "not-skipped", "expression": "object.metadata.name != 'skip-me'"}
    path = place.configure(kind, place.hook("/see", deny("no"), matchConditions=[skip]))
    assert place.server.ask("GET", path)[1]["webhooks"][1]["matchConditions"] == [skip]
    assert place.create(config_map("skip-me"))[0] == 201
    assert place.create(config_map("other"))[0] == 400

    none = {"name": "none", "expression": "object.kind != 'ConfigMap'"}
    add = {"op": "add", "path": "/webhooks/1/matchConditions/1", "value": none}
    patched = Api(place.server).patch(path, [add], JSON_PATCH)
    assert patched["webhooks"][1]["matchConditions"] == [skip, none]
    until(lambda: place.create(config_map("other"), "?dryRun=All")[0] == 201)
    place.server.ask("DELETE", path)


def test_pods_and_patches_may_be_refused_but_for_a_namespace_that_is_left_out(place: Place) -> None:
    only = {"key": "kubernetes.io/metadata.name", "operator": "In", "values": [place.name]}
    rules = [rule("pods", "CREATE"), rule("configmaps", "CREATE", "UPDATE")]
    conditions = [
        {"name": "bad", "expression": "object.metadata.name == 'p' || object.data[?'a'].orValue('') == 'bad'"}
    ]
    hook = place.hook("/no", deny("bad"), rules=rules, namespaceSelector={"matchExpressions": [only]})
    place.configure(VALIDATING, {**hook, "matchConditions": conditions})
    api = Api(place.server)

    assert place.server.ask("GET", _pod(place))[0] == 404
    assert "denied the request: bad" in place.create(config_map("c", a="bad"))[1]["message"]
    assert place.create(config_map("c", a="good"))[0] == 201
    for method, media in (("PUT", "application/json"), ("PATCH", MERGE)):
        body = config_map("c", a="bad")
        refused = api.send(method, place.path("configmaps/c"), body, media)
        assert (refused.code, "denied the request: bad" in refused.body["message"]) == (400, True)
    other = "/api/v1/namespaces/default/configmaps?dryRun=All"
    assert place.server.ask("POST", other, config_map("c", a="bad"))[0] == 201


def test_what_is_done_to_custom_objects_may_be_refused(place: Place) -> None:
    kind = Kind(Api(place.server)).define()
    rules = [rule(kind.plural, "CREATE", "UPDATE", "DELETE", group=kind.group)]
    text = "(request.operation == 'DELETE' ? oldObject : object).?data.orValue('') == 'unwanted'"
    conditions = [{"name": "unwanted", "expression": text}]
    hook = place.hook("/custom", deny("unwanted"), rules=rules, matchConditions=conditions)
    head = {"apiVersion": f"{kind.group}/v1", "kind": kind.kind}

    def body(name: str, data: str) -> Review:
        return {**head, "metadata": {"name": name}, "data": data}

    kind.api.create(kind.path(), body("old", "unwanted"))
    kind.api.create(kind.path(), body("good", "wanted"))
    place.configure(VALIDATING, {**hook, "namespaceSelector": {}})
    path = kind.path()
    for refused in (
        kind.api.send("POST", path, body("new", "unwanted")),
        kind.api.send("PATCH", f"{path}/good", {"data": "unwanted"}, MERGE),
        kind.api.send("DELETE", f"{path}/old"),
    ):
        assert (refused.code, "denied the request: unwanted" in refused.body["message"]) == (400, True)
    kind.api.patch(f"{path}/old", {"data": "wanted"})
    kind.api.delete(f"{path}/old")
    assert kind.api.code(f"{path}/old") == 404


def test_parts_of_objects_are_seen_as_what_travels(place: Place) -> None:
    deployment = {
        "metadata": {"name": "d"},
        "spec": {
            "selector": {"matchLabels": {"a": "b"}},
            "template": {
                "metadata": {"labels": {"a": "b"}},
                "spec": {"containers": [{"name": "c", "image": "registry.example.com/app:1"}]},
            },
        },
    }
    path = place.path("deployments", "/apis/apps/v1")
    place.server.ask("POST", path, deployment)
    place.configure(
        MUTATING,
        place.hook(
            "/scale", adds("/spec/replicas", 4), rules=[rule("deployments/scale", "UPDATE", group="apps")]
        ),
    )
    place.configure(
        VALIDATING, place.hook("/status", allow, rules=[rule("deployments/status", "UPDATE", group="apps")])
    )
    code, scaled = place.server.ask(
        "PUT", f"{path}/d/scale", {"metadata": {"name": "d"}, "spec": {"replicas": 2}}
    )
    found = place.server.ask("GET", f"{path}/d")[1]
    place.server.ask("PUT", f"{path}/d/status", {**found, "status": {"replicas": 1}})
    review = place.seen("/scale")[0]

    assert (code, scaled["spec"]["replicas"], found["spec"]["replicas"]) == (200, 4, 4)
    assert review["kind"] == {"group": "autoscaling", "version": "v1", "kind": "Scale"}
    assert (review["subResource"], review["object"]["kind"]) == ("scale", "Scale")
    assert (review["object"]["spec"], review["oldObject"]["spec"]) == ({"replicas": 2}, {"replicas": 1})
    assert place.seen("/status")[0]["object"]["status"] == {"replicas": 1}
    assert place.seen("/status")[0]["kind"]["kind"] == "Deployment"


def _pod(place: Place) -> str:
    spec = {"containers": [{"name": "c", "image": "registry.example.com/app:1"}]}
    place.server.ask("POST", place.path("pods"), {"metadata": {"name": "p"}, "spec": spec})
    return place.path("pods/p")


def test_binding_and_eviction_are_seen_once_as_themselves(place: Place) -> None:
    pod = _pod(place)
    place.configure(
        VALIDATING, place.hook("/see", allow, rules=[rule("pods/binding", "*"), rule("pods/eviction", "*")])
    )
    place.configure(VALIDATING, place.hook("/pods", deny("no"), rules=[rule("pods", "DELETE")]))

    target = {"metadata": {"name": "p"}, "target": {"name": "n"}}
    assert place.server.ask("POST", f"{pod}/binding", target)[0] == 201
    assert place.server.ask("POST", f"{pod}/eviction", {"metadata": {"name": "p"}})[0] == 201
    bound, evicted = place.seen("/see")

    assert (bound["operation"], bound["kind"]["kind"], bound["object"]["target"]["name"]) == (
        "CREATE",
        "Binding",
        "n",
    )
    assert (evicted["kind"]["group"], evicted["object"]["kind"]) == ("policy", "Eviction")


def test_exec_may_be_refused(place: Place) -> None:
    pod = _pod(place)
    place.configure(VALIDATING, place.hook("/exec", deny("no shells"), rules=[rule("pods/*", "CONNECT")]))

    code, answer = place.server.ask("POST", f"{pod}/exec?command=ls&command=-l&stdout=1&container=c")
    assert "no shells" in answer["message"]
    review = place.seen("/exec")[0]

    assert code == 400
    assert "no shells" in answer["message"]
    assert review["operation"] == "CONNECT"
    assert review["object"] == {
        "kind": "PodExecOptions", "apiVersion": "v1", "stdout": True, "container": "c", "command": ["ls", "-l"],
    }  # fmt: skip


def test_every_object_of_a_collection_is_asked_about(place: Place) -> None:
    for name in ("a", "b"):
        place.create(config_map(name))
    place.configure(VALIDATING, place.hook("/see", allow, rules=[rule("configmaps", "DELETE")]))
    place.server.ask("DELETE", place.path("configmaps"))

    seen = place.seen("/see")
    assert {review["oldObject"]["metadata"]["name"] for review in seen} >= {"a", "b"}
    assert all("name" not in review for review in seen)


def test_a_patch_of_a_deletion_is_an_error(place: Place) -> None:
    place.create(config_map("a"))
    place.configure(MUTATING, place.hook("/late", adds("/data/x", "1"), rules=[rule("configmaps", "DELETE")]))

    code, answer = place.server.ask("DELETE", place.path("configmaps/a"))

    assert code == 500
    assert 'admission webhook "late.example.com" attempted to modify the object' in answer["message"]


def test_a_service_is_called_by_its_name_where_its_endpoints_are(place: Place) -> None:
    service = {
        "metadata": {"name": "named"},
        "spec": {"type": "ExternalName", "externalName": "localhost", "ports": []},
    }
    with contextlib.suppress(AssertionError):
        assert place.server.ask("POST", "/api/v1/namespaces/default/services", service)[0] == 201
    hook = place.hook("/called", deny("reached"))
    where = {
        "namespace": "default",
        "name": "named",
        "path": f"/{place.name}/called",
        "port": place.hooks.port,
    }
    hook["clientConfig"] = {"service": where, "caBundle": place.authority}
    place.configure(VALIDATING, hook)
    reached = place.create(config_map("a"))
    missing = {**hook, "name": "missing.example.com", "clientConfig": {**hook["clientConfig"]}}
    missing["clientConfig"]["service"] = {**where, "name": "absent"}
    place.configure(VALIDATING, missing, name=f"{place.name}-missing")
    place.server.ask("DELETE", place.made[0])
    until(lambda: "absent" in place.create(config_map("b"))[1].get("message", ""))

    assert "reached" in reached[1]["message"]
    assert place.create(config_map("b"))[1]["message"].endswith(
        f'failed to call webhook: Post "https://absent.default.svc:{place.hooks.port}/{place.name}/called?timeout=5s": '
        'service "absent" not found'
    )


def test_custom_objects_are_asked_about_as_well(place: Place) -> None:
    schema = {
        "type": "object",
        "properties": {"data": {"type": "object", "additionalProperties": {"type": "string"}}},
    }
    group = f"{place.name}.example.com"
    definition = {
        "metadata": {"name": f"toys.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"plural": "toys", "kind": "Toy"},
            "versions": [
                {"name": name, "served": True, "storage": name == "v2", "schema": {"openAPIV3Schema": schema}}
                for name in ("v1", "v2")
            ],
        },
    }
    definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    assert place.server.ask("POST", definitions, definition)[0] == 201
    path = place.path("toys", f"/apis/{group}/v2")
    until(lambda: place.server.ask("GET", path)[0] == 200)
    patch = [{"op": "add", "path": "/data/made", "value": "1"}, {"op": "add", "path": "/odd", "value": {}}]
    hook = place.hook(
        "/toys", lambda review: response(review, patch=patch), rules=[rule("toys", group=group, version="v1")]
    )
    place.configure(MUTATING, hook)

    toy = {"apiVersion": f"{group}/v2", "kind": "Toy", "metadata": {"name": "t"}, "data": {"x": "1"}}
    code, answer = place.server.ask("POST", path, toy)
    review = place.seen("/toys")[0]
    place.server.ask("DELETE", f"{definitions}/toys.{group}")

    assert (code, answer["data"], answer["apiVersion"]) == (201, {"x": "1", "made": "1"}, f"{group}/v2")
    assert "odd" not in answer
    assert (review["kind"]["version"], review["object"]["apiVersion"]) == ("v1", f"{group}/v1")
    assert review["requestKind"]["version"] == "v2"


def test_custom_objects_are_changed_while_their_stored_version_changes(place: Place) -> None:
    schema = {
        "type": "object",
        "properties": {"data": {"type": "object", "additionalProperties": {"type": "string"}}},
    }
    kind = Kind(Api(place.server), schema, schema).define()
    one = f"{kind.path()}/t"
    toy = {
        "apiVersion": f"{kind.group}/v1",
        "kind": kind.kind,
        "metadata": {"name": "t"},
        "data": {"start": "yes"},
    }
    rules = [rule(kind.plural, "CREATE", "UPDATE", group=kind.group)]
    hook = place.hook("/stored", adds("/data/stage-1", "yes"), rules=rules)
    place.configure(MUTATING, {**hook, "namespaceSelector": {}})
    assert kind.api.create(kind.path(), toy)["data"] == {"start": "yes", "stage-1": "yes"}

    versions = [{**found, "storage": found["name"] == "v2"} for found in kind.body["spec"]["versions"]]
    kind.api.patch(kind.definition, {"spec": {"versions": versions}})
    until(lambda: kind.api.get(kind.definition)["status"]["storedVersions"] == ["v1", "v2"])
    patched = kind.api.patch(one, {"data": {"stage-1": None, "later": "yes"}})
    assert patched["data"] == {"start": "yes", "later": "yes", "stage-1": "yes"}
    assert kind.api.get(f"{kind.path('v2')}/t")["data"] == patched["data"]


def test_a_definition_may_be_refused(place: Place) -> None:
    crds = rule("customresourcedefinitions", group="apiextensions.k8s.io")
    selector = {"matchLabels": {"refuse": place.name}}
    place.configure(VALIDATING, place.hook("/crds", deny("no kinds"), rules=[crds], objectSelector=selector))
    definition = {
        "metadata": {"name": "no.refused.example.com", "labels": {"refuse": place.name}},
        "spec": {
            "group": "refused.example.com",
            "scope": "Cluster",
            "names": {"plural": "no", "kind": "No"},
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": {"type": "object"}},
                }
            ],
        },
    }
    code, answer = place.server.ask(
        "POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition
    )

    assert code == 400
    assert "no kinds" in answer["message"]


def test_metrics_count_calls_and_refusals(place: Place) -> None:
    name = f"{place.name}.example.com"
    place.configure(VALIDATING, place.hook("/count", deny("no", code=403), name))
    place.create(config_map("a"))
    text = place.server.ask("GET", "/metrics")[1]

    labels = f'name="{name}",operation="CREATE"'
    assert (
        f'apiserver_admission_webhook_request_total{{code="403",{labels},rejected="true",type="validating"}} 1.0'
        in text
    )
    assert f'error_type="no_error",{labels},rejection_code="403",type="validating"}}' in text
