"""Versions of custom kinds that a webhook converts: reads, lists, watches and writes in any of them."""

import itertools
import json
import threading
import urllib.request
from base64 import b64encode
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from kybern.auth.x509 import Authority
from tests.protocol import webhook_server
from tests.protocol.apiserver_bed import Lab, Server
from tests.protocol.requests_bed import Api
from tests.protocol.webhook_place import until
from tests.protocol.webhook_server import Webhooks

pytestmark = pytest.mark.etcd

DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_NUMBERS = itertools.count()

type Raw = dict[str, Any]


@pytest.fixture(scope="module")
def lab(etcd: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    found = Lab(tmp_path_factory.mktemp("conversion"), etcd)
    authority = Authority.create("hooks", datetime.now(UTC))
    pair = authority.issue("hook", ips=("127.0.0.1",), server=True, client=False)
    found.write("hooks-ca.crt", authority.cert_pem)
    found.write("hook.crt", pair.cert_pem)
    found.write("hook.key", pair.key_pem)
    yield found
    for process in found.started:
        process.terminate()
    for process in found.started:
        process.wait(10)


@pytest.fixture(scope="module")
def server(lab: Lab, free_ports: Any) -> Server:
    return lab.start(free_ports(), "--endpoint-reconciler-type=none")


@pytest.fixture(scope="module")
def hooks(lab: Lab) -> Iterator[Webhooks]:
    found = webhook_server.start(lab.directory, "hook")
    yield found
    found.stop()


def swap(raw: Raw, version: str) -> Raw:
    """v1 has ``hostPort``, v2 has ``host`` and ``port``."""
    found = {**raw, "apiVersion": version}
    if version.endswith("/v2") and "hostPort" in found:
        host, _, port = found.pop("hostPort").partition(":")
        found |= {"host": host, "port": port}
    elif version.endswith("/v1") and "host" in found:
        found["hostPort"] = f"{found.pop('host')}:{found.pop('port')}"
    return found


def convert(change: Callable[[Raw], Raw] = lambda raw: raw) -> Callable[[Raw], Raw]:
    def answer(review: Raw) -> Raw:
        request = review["request"]
        objects = [change(swap(one, request["desiredAPIVersion"])) for one in request["objects"]]
        said = {"uid": request["uid"], "convertedObjects": objects, "result": {"status": "Success"}}
        return {"apiVersion": review["apiVersion"], "kind": "ConversionReview", "response": said}

    return answer


class Kind:
    """A definition with two versions, and its webhook."""

    def __init__(self, server: Server, hooks: Webhooks) -> None:
        self.server = server
        self.hooks = hooks
        self.group = f"c{next(_NUMBERS)}.example.com"
        self.hook = f"/{self.group}"
        strings = {key: {"type": "string"} for key in ("hostPort", "host", "port", "odd")}
        schema = {"openAPIV3Schema": {"type": "object", "properties": strings}}
        url = hooks.on(self.hook, convert())
        bundle = b64encode((server.directory / "hooks-ca.crt").read_bytes()).decode()
        selectable = {"v1": "hostPort", "v2": "host"}
        self.definition = {
            "metadata": {"name": f"ends.{self.group}"},
            "spec": {
                "group": self.group,
                "scope": "Namespaced",
                "names": {"plural": "ends", "kind": "End"},
                "versions": [
                    {
                        "name": name,
                        "served": True,
                        "storage": name == "v1",
                        "schema": schema,
                        "selectableFields": [{"jsonPath": f".{selectable[name]}"}],
                    }
                    for name in ("v1", "v2")
                ],
                "conversion": {
                    "strategy": "Webhook",
                    "webhook": {
                        "clientConfig": {"url": url, "caBundle": bundle},
                        "conversionReviewVersions": ["v1"],
                    },
                },
            },
        }
        assert server.ask("POST", DEFINITIONS, self.definition)[0] == 201
        until(lambda: server.ask("GET", self.path("v1"))[0] == 200)

    def path(self, version: str, name: str = "") -> str:
        return f"/apis/{self.group}/{version}/namespaces/default/ends{'/' if name else ''}{name}"

    def create(self, version: str, name: str, **fields: str) -> tuple[int, Any]:
        body = {"apiVersion": f"{self.group}/{version}", "kind": "End", "metadata": {"name": name}, **fields}
        return self.server.ask("POST", self.path(version), body)

    def store_as(self, version: str) -> None:
        found = self.server.ask("GET", f"{DEFINITIONS}/ends.{self.group}")[1]
        for one in found["spec"]["versions"]:
            one["storage"] = one["name"] == version
        assert self.server.ask("PUT", f"{DEFINITIONS}/ends.{self.group}", found)[0] == 200


@pytest.fixture
def kind(server: Server, hooks: Webhooks) -> Iterator[Kind]:
    found = Kind(server, hooks)
    yield found
    server.ask("DELETE", f"{DEFINITIONS}/ends.{found.group}")


def test_an_object_is_read_and_written_in_any_version(kind: Kind) -> None:
    made = kind.create("v1", "a", hostPort="h:1")[1]
    read = kind.server.ask("GET", kind.path("v2", "a"))[1]
    written = kind.server.ask("PUT", kind.path("v2", "a"), {**read, "port": "2"})
    again = kind.server.ask("GET", kind.path("v1", "a"))[1]

    assert (made["hostPort"], read["host"], read["port"]) == ("h:1", "h", "1")
    assert read["apiVersion"] == f"{kind.group}/v2"
    assert read["metadata"]["uid"] == made["metadata"]["uid"]
    assert read["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]
    assert (written[0], again["hostPort"]) == (200, "h:2")


def test_a_list_is_converted_in_one_call(kind: Kind) -> None:
    for name in ("a", "b", "c"):
        kind.create("v1", name, hostPort=f"{name}:1")
    kind.hooks.seen[kind.hook].clear()
    found = kind.server.ask("GET", kind.path("v2"))[1]["items"]

    assert [one["host"] for one in found] == ["a", "b", "c"]
    assert [len(request["objects"]) for request in kind.hooks.requests(kind.hook)] == [3]


def test_objects_stored_in_several_versions_are_one_list(kind: Kind) -> None:
    def kept_as() -> str:
        (resource,) = kind.server.ask("GET", f"/apis/{kind.group}/v2")[1]["resources"]
        return str(resource["storageVersionHash"])

    kind.create("v1", "old", hostPort="old:1")
    before = kept_as()
    kind.store_as("v2")
    until(lambda: kept_as() != before)
    assert kind.create("v2", "new", host="new", port="2")[0] == 201

    first = kind.server.ask("GET", kind.path("v1"))[1]["items"]
    second = kind.server.ask("GET", kind.path("v2"))[1]["items"]
    assert [one["hostPort"] for one in first] == ["new:2", "old:1"]
    assert [(one["host"], one["port"]) for one in second] == [("new", "2"), ("old", "1")]
    assert kind.server.ask("GET", kind.path("v2", "old"))[1]["host"] == "old"


def test_a_watch_sees_its_own_version(kind: Kind) -> None:
    seen: list[Raw] = []
    ready = threading.Event()

    def watch() -> None:
        url = f"{kind.server.url}{kind.path('v2')}?watch=1&timeoutSeconds=10&resourceVersion=0"
        with urllib.request.urlopen(url, timeout=15, context=kind.server.context()) as answer:
            ready.set()
            for line in answer:
                seen.append(json.loads(line))
                if len(seen) == 2:
                    return

    kind.create("v1", "a", hostPort="a:1")
    thread = threading.Thread(target=watch)
    thread.start()
    assert ready.wait(10)
    kind.create("v1", "b", hostPort="b:2")
    thread.join(15)

    assert [(event["type"], event["object"]["host"]) for event in seen] == [("ADDED", "a"), ("ADDED", "b")]


def test_fields_are_selected_as_they_are_after_conversion(kind: Kind) -> None:
    kind.create("v1", "a", hostPort="a:1")
    kind.create("v2", "b", host="b", port="2")

    def names(version: str, selector: str) -> list[str]:
        found = kind.server.ask("GET", f"{kind.path(version)}?fieldSelector={selector}")[1]
        return [one["metadata"]["name"] for one in found["items"]]

    assert names("v2", "host%3Da") == ["a"]
    assert names("v2", "host%3Db") == ["b"]
    assert names("v1", "hostPort%3Db:2") == ["b"]


def test_a_watch_by_a_field_sees_what_begins_and_ceases_to_match(kind: Kind) -> None:
    api = Api(kind.server)
    with (
        api.watch(kind.path("v2"), fieldSelector="host=host1") as newer,
        api.watch(kind.path("v1"), fieldSelector="hostPort=host1:80") as older,
    ):
        kind.create("v1", "a", hostPort="host1:80")
        kind.create("v1", "b", hostPort="host2:80")
        kind.create("v2", "c", host="host1", port="81")
        api.patch(kind.path("v2", "b"), {"host": "host1"})
        api.patch(kind.path("v2", "a"), {"host": "host2"})
        api.delete(kind.path("v1"), fieldSelector="hostPort=host1:80")
        seen = [next(newer) for _ in range(5)], [next(older) for _ in range(4)]

    told = [[(type_, one["metadata"]["name"]) for type_, one in events] for events in seen]
    assert told == [
        [("ADDED", "a"), ("ADDED", "c"), ("ADDED", "b"), ("DELETED", "a"), ("DELETED", "b")],
        [("ADDED", "a"), ("ADDED", "b"), ("DELETED", "a"), ("DELETED", "b")],
    ]


def test_labels_and_annotations_may_change_and_nothing_else_of_metadata(kind: Kind) -> None:
    def change(raw: Raw) -> Raw:
        metadata = {**raw["metadata"], "labels": {"by": "hook"}, "finalizers": ["no.example.com/x"]}
        return {**raw, "metadata": metadata}

    kind.create("v1", "a", hostPort="a:1")
    kind.hooks.answers[kind.hook] = convert(change)
    metadata = kind.server.ask("GET", kind.path("v2", "a"))[1]["metadata"]

    assert metadata["labels"] == {"by": "hook"}
    assert "finalizers" not in metadata


def _renamed(raw: Raw) -> Raw:
    return {**raw, "metadata": {**raw["metadata"], "name": "other"}}


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (lambda _review: (500, b"no"), "failed: an error on the server"),
        (lambda review: {**review, "response": None}, "failed: no response provided"),
        (
            convert(_renamed),
            "returned invalid converted object at index 0: must have the same name: a != other",
        ),
        (convert(lambda raw: {**raw, "kind": "Other"}), "invalid kind (expected End, received Other)"),
        (convert(lambda raw: {**raw, "apiVersion": "x/v9"}), "invalid groupVersion (expected"),
    ],
)
def test_an_answer_that_is_none_is_an_error_with_its_reason(kind: Kind, answer: Any, says: str) -> None:
    kind.create("v1", "a", hostPort="a:1")
    kind.hooks.answers[kind.hook] = answer
    code, refused = kind.server.ask("GET", kind.path("v2", "a"))

    assert code == 500
    assert refused["message"].startswith(f"conversion webhook for {kind.group}/v1, Kind=End ")
    assert says in refused["message"]
    assert kind.server.ask("GET", kind.path("v1", "a"))[0] == 200


def test_a_refusal_of_the_webhook_is_told(kind: Kind) -> None:
    def refuse(review: Raw) -> Raw:
        said = {"uid": review["request"]["uid"], "result": {"status": "Failure", "message": "not today"}}
        return {"apiVersion": review["apiVersion"], "kind": "ConversionReview", "response": said}

    kind.create("v1", "a", hostPort="a:1")
    kind.hooks.answers[kind.hook] = refuse

    assert kind.server.ask("GET", kind.path("v2", "a"))[1]["message"].endswith("failed: not today")
    assert "not today" in kind.server.ask("GET", kind.path("v2"))[1]["message"]
    assert kind.create("v2", "b", host="b", port="1")[0] == 500
    kind.hooks.answers[kind.hook] = convert()
    until(lambda: kind.server.ask("GET", kind.path("v2"))[0] == 200)
