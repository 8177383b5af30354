"""What clients written in Go do: protobuf in and out, watch lists, patches, reviews and tokens, as client-go sends them.

Bodies are made and read with google.protobuf (``oracle``), not with the server's own codec.
"""

import base64
import contextlib
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.protocol.apiserver_bed import Lab, Server
from tests.protocol.test_apiserver import config_map
from tests.unit.machinery import oracle

pytestmark = pytest.mark.etcd

AGENT = "kube-controller-manager/v1.36.2"
PROTOBUF = "application/vnd.kubernetes.protobuf"
ACCEPT = f"{PROTOBUF},application/json"
META = ";as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
META_LIST = ";as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
NAMESPACE = "/api/v1/namespaces/default"


@dataclass
class Answer:
    code: int
    media: str
    body: bytes
    tag: str = ""

    def opened(self, kind: str) -> Any:
        """The message, which must be of a kind."""
        assert self.media == PROTOBUF, (self.media, self.body)
        _, found, message = oracle.opened(self.body)
        assert found == kind, message
        return message


@dataclass
class Go:
    """A client as client-go makes them."""

    server: Server

    def send(
        self,
        method: str,
        path: str,
        body: Any = None,
        accept: str = ACCEPT,
        media: str = PROTOBUF,
        **more: str,
    ) -> Answer:
        data = oracle.envelope(body) if isinstance(body, dict) else body
        headers = {"Accept": accept, "Content-Type": media, "User-Agent": AGENT, **more}
        request = urllib.request.Request(self.server.url + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=10, context=self.server.context()) as answer:
                return Answer(
                    answer.status, answer.headers["Content-Type"], answer.read(), answer.headers["ETag"] or ""
                )
        except urllib.error.HTTPError as refused:
            return Answer(refused.code, refused.headers["Content-Type"] or "", refused.read())

    def make(self, plural: str, body: dict[str, Any], at: str = NAMESPACE) -> Any:
        found = self.send("POST", f"{at}/{plural}", body)
        assert found.code == 201, found.body
        return found.opened(body["kind"])


@pytest.fixture(scope="module")
def go(lab: Lab, free_ports: Any) -> Go:
    return Go(lab.start(free_ports()))


def pod(name: str) -> dict[str, Any]:
    container = {"name": "c", "image": "i", "resources": {"requests": {"cpu": "100m"}}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "containers": [container],
            "nodeSelector": {"a": "b"},
            "automountServiceAccountToken": False,
        },
    }


@pytest.fixture(scope="module", autouse=True)
def account(go: Go) -> None:
    go.server.ask("POST", f"{NAMESPACE}/serviceaccounts", {"metadata": {"name": "default"}})


def items(message: Any, name: str = "items") -> list[str]:
    return [item.metadata.name for item in getattr(message, name)]


def test_a_pod_lives_in_protobuf(go: Go) -> None:
    made = go.make("pods", pod("life"))
    read = go.send("GET", f"{NAMESPACE}/pods/life").opened("Pod")
    listed = go.send("GET", f"{NAMESPACE}/pods").opened("PodList")
    gone = go.send(
        "DELETE",
        f"{NAMESPACE}/pods/life",
        {"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0},
    )

    assert made == read
    assert (read.spec.containers[0].resources.requests[0].value.string, read.status.qosClass) == (
        "100m",
        "Burstable",
    )
    assert read in listed.items
    assert int(listed.metadata.resourceVersion) >= int(read.metadata.resourceVersion)
    assert gone.code == 200
    assert gone.opened("Pod").metadata.name == "life"


def test_what_protobuf_and_json_say_is_the_same(go: Go) -> None:
    go.make("pods", pod("same"))
    code, said = go.server.ask("GET", f"{NAMESPACE}/pods/same")
    answer = go.send("GET", f"{NAMESPACE}/pods/same")

    assert code == 200
    assert answer.body == oracle.envelope(said)
    listed = go.send("GET", f"{NAMESPACE}/pods?fieldSelector=metadata.name%3Dsame")
    whole = go.server.ask("GET", f"{NAMESPACE}/pods?fieldSelector=metadata.name%3Dsame")[1]
    assert listed.body == oracle.envelope(whole)


def listable(go: Go) -> list[str]:
    """The paths of all lists of built-in kinds."""
    groups = go.server.ask("GET", "/apis")[1]["groups"]
    paths = ["/api/v1"]
    paths += [f"/apis/{version['groupVersion']}" for group in groups for version in group["versions"]]
    found = []
    for path in paths:
        resources = go.server.ask("GET", path)[1]["resources"]
        found += [f"{path}/{each['name']}" for each in resources if "list" in each["verbs"]]
    return [path for path in found if ".example" not in path and "example." not in path]


def test_lists_of_every_kind_say_the_same_in_both_forms(go: Go) -> None:
    paths = listable(go)
    assert len(paths) > 55
    full = 0
    for path in paths:
        # Leases and the like may change in between: both lists are of one state.
        _, said = go.server.ask("GET", path)
        exact = f"?resourceVersion={said['metadata']['resourceVersion']}&resourceVersionMatch=Exact"
        if path.endswith("componentstatuses"):
            exact = ""
        assert go.send("GET", path + exact).body == oracle.envelope(said), path
        full += bool(said["items"])
    assert full > 10


@pytest.mark.parametrize(
    ("accept", "media"),
    [
        (ACCEPT, PROTOBUF),
        (f"application/json,{PROTOBUF}", "application/json"),
        (f"{PROTOBUF};q=0.1,application/json;q=0.5", "application/json"),
        (f"application/json;q=0.1,{PROTOBUF};q=0.5", PROTOBUF),
        (f"application/json;as=Table;v=v1;g=meta.k8s.io,{PROTOBUF}", "application/json"),
        (f"{PROTOBUF};as=Table;v=v1;g=meta.k8s.io,{PROTOBUF}", PROTOBUF),
        (f"*/*,{PROTOBUF}", PROTOBUF),
        ("application/*", "application/json"),
    ],
)
def test_the_first_of_the_most_wanted_forms_is_answered(go: Go, accept: str, media: str) -> None:
    for path in ("/api/v1/namespaces", "/api/v1/namespaces/default"):
        assert go.send("GET", path, accept=accept).media == media


def test_errors_come_in_the_form_that_was_asked_for(go: Go) -> None:
    missing = go.send("GET", f"{NAMESPACE}/pods/none").opened("Status")
    refused = go.send("POST", f"{NAMESPACE}/configmaps", {"apiVersion": "v1", "kind": "ConfigMap"})
    table = go.send("GET", "/api/v1/namespaces", accept=f"{PROTOBUF};as=Table;v=v1;g=meta.k8s.io")

    assert (missing.code, missing.reason, missing.details.name) == (404, "NotFound", "none")
    assert missing.message == 'pods "none" not found'
    assert refused.code == 422
    assert refused.opened("Status").details.causes[0].field == "metadata.name"
    assert (table.code, table.media) == (406, "application/json")


def test_an_update_of_an_old_version_is_a_conflict(go: Go) -> None:
    made = go.make("configmaps", config_map("old", a="1"))
    body = config_map("old", a="2")
    body["metadata"]["resourceVersion"] = made.metadata.resourceVersion
    first = go.send("PUT", f"{NAMESPACE}/configmaps/old", body)
    second = go.send("PUT", f"{NAMESPACE}/configmaps/old", body)

    assert first.opened("ConfigMap").data[0].value == "2"
    assert (second.code, second.opened("Status").reason) == (409, "Conflict")


def test_leases_are_renewed(go: Go) -> None:
    spec = {"holderIdentity": "n", "leaseDurationSeconds": 40, "renewTime": "2026-01-01T00:00:00.000001Z"}
    lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "n"}, "spec": spec}
    path = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease"
    made = go.make("leases", lease, path)
    spec["renewTime"] = "2026-01-01T00:00:10.500000Z"
    lease["metadata"] = {"name": "n", "resourceVersion": made.metadata.resourceVersion}
    renewed = go.send("PUT", f"{path}/leases/n", lease).opened("Lease")

    assert renewed.spec.renewTime.nanos == 500_000_000
    assert renewed.spec.renewTime.seconds - made.spec.renewTime.seconds == 10
    assert renewed.metadata.managedFields[0].manager == "kube-controller-manager"


def test_a_status_is_patched(go: Go) -> None:
    go.make("pods", pod("patched"))
    patch = b'{"status":{"conditions":[{"type":"Ready","status":"True"}],"phase":"Running"}}'
    media = "application/strategic-merge-patch+json"
    found = go.send("PATCH", f"{NAMESPACE}/pods/patched/status", patch, media=media).opened("Pod")

    assert (found.status.phase, found.status.conditions[0].type) == ("Running", "Ready")
    assert found.spec.containers[0].image == "i"


def test_events_are_made_and_counted_up(go: Go) -> None:
    event = {
        "apiVersion": "v1", "kind": "Event", "metadata": {"name": "p.1", "namespace": "default"}, "count": 1,
        "involvedObject": {"kind": "Pod", "name": "p", "namespace": "default"}, "reason": "Failed", "type": "Warning",
        "firstTimestamp": "2026-01-01T00:00:00Z", "lastTimestamp": "2026-01-01T00:00:00Z", "message": "m",
        "source": {"component": "kubelet", "host": "n"}, "reportingComponent": "kubelet", "reportingInstance": "n",
    }  # fmt: skip
    go.make("events", event)
    patch = b'{"count":2,"lastTimestamp":"2026-01-01T00:01:00Z"}'
    media = "application/strategic-merge-patch+json"
    found = go.send("PATCH", f"{NAMESPACE}/events/p.1", patch, media=media).opened("Event")
    newer = "/apis/events.k8s.io/v1/namespaces/default/events/p.1"

    assert (found.count, found.lastTimestamp.seconds - found.firstTimestamp.seconds) == (2, 60)
    assert go.send("GET", newer).opened("Event").deprecatedCount == 2


def test_a_pod_is_bound(go: Go) -> None:
    go.make("pods", pod("bound"))
    binding = {
        "apiVersion": "v1", "kind": "Binding", "metadata": {"name": "bound", "namespace": "default"},
        "target": {"kind": "Node", "name": "n"},
    }  # fmt: skip
    done = go.send("POST", f"{NAMESPACE}/pods/bound/binding", binding)

    assert (done.code, done.opened("Status").status) == (201, "Success")
    assert go.send("GET", f"{NAMESPACE}/pods/bound").opened("Pod").spec.nodeName == "n"
    assert go.send("POST", f"{NAMESPACE}/pods/bound/binding", binding).opened("Status").code == 409


def test_a_pod_is_evicted(go: Go) -> None:
    go.make("pods", pod("evicted"))
    eviction = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": "evicted", "namespace": "default"},
    }
    done = go.send("POST", f"{NAMESPACE}/pods/evicted/eviction", eviction)

    assert (done.code, done.opened("Status").status) == (201, "Success")


def test_a_scale_is_read_and_set(go: Go) -> None:
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    spec = {"replicas": 1, "selector": {"matchLabels": {"a": "b"}}, "template": template}
    body = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": spec}
    go.make("deployments", body, "/apis/apps/v1/namespaces/default")
    path = "/apis/apps/v1/namespaces/default/deployments/d/scale"
    scale = {
        "apiVersion": "autoscaling/v1",
        "kind": "Scale",
        "metadata": {"name": "d", "namespace": "default"},
    }

    assert go.send("GET", path).opened("Scale").status.selector == "a=b"
    assert go.send("PUT", path, {**scale, "spec": {"replicas": 4}}).opened("Scale").spec.replicas == 4
    read = go.send("GET", "/apis/apps/v1/namespaces/default/deployments/d").opened("Deployment")
    assert read.spec.replicas == 4


def test_a_token_is_given_and_reviewed(go: Go) -> None:
    request = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {"expirationSeconds": 3600},
    }
    given = go.send("POST", f"{NAMESPACE}/serviceaccounts/default/token", request).opened("TokenRequest")
    review = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenReview",
        "spec": {"token": given.status.token},
    }
    seen = go.send("POST", "/apis/authentication.k8s.io/v1/tokenreviews", review).opened("TokenReview")

    assert given.status.expirationTimestamp.seconds > 0
    assert (seen.status.authenticated, seen.status.user.username) == (
        True,
        "system:serviceaccount:default:default",
    )


def test_access_is_reviewed(go: Go) -> None:
    attributes = {"namespace": "default", "verb": "get", "resource": "pods"}
    review = {
        "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
        "spec": {"user": "nobody", "extra": {"k": ["a", "b"]}, "resourceAttributes": attributes},
    }  # fmt: skip
    found = go.send("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", review).opened(
        "SubjectAccessReview"
    )
    own = {
        "apiVersion": review["apiVersion"],
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": attributes},
    }
    mine = go.send("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", own)

    assert found.status.allowed is False
    assert list(found.spec.extra[0].value.items) == ["a", "b"]
    assert mine.opened("SelfSubjectAccessReview").status.allowed is True


def test_metadata_is_all_that_metadata_clients_get(go: Go) -> None:
    go.make("configmaps", config_map("meta", a="1"))
    one = go.send(
        "GET",
        f"{NAMESPACE}/configmaps/meta",
        accept=f"{PROTOBUF}{META},application/json{META},application/json",
    )
    accept = f"{PROTOBUF}{META_LIST},application/json{META_LIST},application/json"
    many = go.send("GET", f"{NAMESPACE}/configmaps", accept=accept)

    assert one.opened("PartialObjectMetadata").metadata.name == "meta"
    assert "meta" in items(many.opened("PartialObjectMetadataList"))


def test_pages_of_a_list_follow_each_other(go: Go) -> None:
    for name in ("page-a", "page-b", "page-c"):
        body = config_map(name)
        body["metadata"]["labels"] = {"page": "1"}
        go.make("configmaps", body)
    path = f"{NAMESPACE}/configmaps?" + urlencode({"labelSelector": "page=1", "limit": 2})
    first = go.send("GET", path).opened("ConfigMapList")
    following = urlencode({"continue": getattr(first.metadata, "continue")})
    second = go.send("GET", f"{path}&{following}").opened("ConfigMapList")

    assert items(first) + items(second) == ["page-a", "page-b", "page-c"]
    assert second.metadata.resourceVersion == first.metadata.resourceVersion


CRD = {
    "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
    "metadata": {"name": "widgets.example.com"},
    "spec": {
        "group": "example.com", "scope": "Namespaced",
        "names": {"plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList"},
        "versions": [{
            "name": "v1", "served": True, "storage": True,
            "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": {
                "type": "object", "properties": {"size": {"type": "integer", "default": 3}},
            }}}},
        }],
    },
}  # fmt: skip


def test_custom_kinds_have_metadata_in_protobuf_and_nothing_else(go: Go) -> None:
    made = go.send("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", CRD)
    go.server.wait("/apis/example.com/v1")
    path = "/apis/example.com/v1/namespaces/default/widgets"
    widget = {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "w"}, "spec": {}}
    assert go.server.ask("POST", path, widget)[0] == 201

    schema = made.opened("CustomResourceDefinition").spec.versions[0].schema.openAPIV3Schema
    assert schema.properties[0].value.properties[0].value.default.raw == b"3"
    refused = go.send("GET", f"{path}/w", accept=PROTOBUF)
    assert refused.code == 406
    assert refused.opened("Status").message == (
        f"only the following media types are accepted: application/json, application/yaml, {PROTOBUF}"
    )
    assert go.send("GET", f"{path}/w").media == "application/json"
    assert (
        go.send("GET", f"{path}/w", accept=PROTOBUF + META).opened("PartialObjectMetadata").metadata.name
        == "w"
    )
    metas = go.send("GET", path, accept=PROTOBUF + META_LIST).opened("PartialObjectMetadataList")
    assert items(metas) == ["w"]
    body = oracle.envelope({**config_map("w")})
    assert go.send("POST", path, body, accept="application/json").code == 415
    go.send("DELETE", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/widgets.example.com")


def test_discovery_is_there_in_protobuf(go: Go) -> None:
    versions = go.send("GET", "/api").opened("APIVersions")
    groups = go.send("GET", "/apis").opened("APIGroupList")
    core = go.send("GET", "/api/v1").opened("APIResourceList")
    group = go.send("GET", "/apis/apps").opened("APIGroup")

    assert list(versions.versions) == ["v1"]
    assert "apps" in [each.name for each in groups.groups]
    assert group.preferredVersion.groupVersion == "apps/v1"
    pods = next(each for each in core.resources if each.name == "pods")
    assert "watch" in pods.verbs.items
    assert (pods.kind, pods.namespaced, list(pods.shortNames)) == ("Pod", True, ["po"])


def test_all_of_discovery_in_one_document(go: Go) -> None:
    accept = f"{PROTOBUF};g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    answer = go.send("GET", "/apis", accept=accept)
    _, kind, found = oracle.opened(answer.body)

    assert answer.media == accept
    assert kind == "APIGroupDiscoveryList"
    later = go.send("GET", "/apis", accept=f"application/json,{accept}", **{"If-None-Match": answer.tag})
    # What a client kept takes over the headers of this answer.
    assert (later.code, later.media, later.body) == (304, accept, b"")
    apps = next(group for group in found.items if group.metadata.name == "apps")
    deployments = next(each for each in apps.versions[0].resources if each.resource == "deployments")
    assert (deployments.responseKind.kind, deployments.scope) == ("Deployment", "Namespaced")
    assert [each.subresource for each in deployments.subresources] == ["scale", "status"]


def test_the_openapi_document_is_there_as_clients_ask_for_it(go: Go) -> None:
    accept = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
    found = go.send("GET", "/openapi/v2", accept=accept)

    assert (found.code, found.media.startswith("application/com.github.proto-openapi.spec.v2")) == (200, True)
    assert found.body.startswith(b"\n\x032.0")


class Watch:
    """A stream of events, taken apart by their lengths."""

    def __init__(self, response: Any) -> None:
        self.response = response

    def next(self) -> tuple[str, str, Any]:
        head = self.response.read(4)
        body = self.response.read(int.from_bytes(head, "big"))
        return oracle.events(head + body)[0]


@contextlib.contextmanager
def watched(go: Go, path: str, accept: str = ACCEPT, **query: str) -> Iterator[Watch]:
    parameters = urlencode({"watch": "true", "timeoutSeconds": "20", **query})
    request = urllib.request.Request(f"{go.server.url}{path}?{parameters}", headers={"Accept": accept})
    with urllib.request.urlopen(request, timeout=10, context=go.server.context()) as response:
        yield Watch(response)


def test_a_reflector_lists_by_watching(go: Go) -> None:
    go.make("secrets", secret("one"))
    with watched(
        go,
        f"{NAMESPACE}/secrets",
        sendInitialEvents="true",
        resourceVersionMatch="NotOlderThan",
        allowWatchBookmarks="true",
    ) as stream:
        assert stream.response.headers["Content-Type"] == f"{PROTOBUF};stream=watch"
        event, kind, found = stream.next()
        while event != "BOOKMARK":
            assert (event, kind) == ("ADDED", "Secret")
            event, kind, found = stream.next()
        assert {entry.key: entry.value for entry in found.metadata.annotations} == {
            "k8s.io/initial-events-end": "true"
        }
        go.make("secrets", secret("two"))
        event, _, found = stream.next()
        assert (event, found.metadata.name, found.data[0].value) == ("ADDED", "two", b"\x00\xff")
        go.send("DELETE", f"{NAMESPACE}/secrets/two")
        event, _, found = stream.next()
        assert (event, found.metadata.name) == ("DELETED", "two")


def secret(name: str) -> dict[str, Any]:
    data = {"k": base64.b64encode(b"\x00\xff").decode()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": data}


def test_a_watch_goes_on_from_a_list(go: Go) -> None:
    listed = go.send("GET", f"{NAMESPACE}/pods?resourceVersion=0").opened("PodList")
    with watched(
        go,
        f"{NAMESPACE}/pods",
        resourceVersion=listed.metadata.resourceVersion,
        fieldSelector="metadata.name=followed",
        allowWatchBookmarks="true",
    ) as stream:
        go.make("pods", pod("followed"))
        event, _, found = stream.next()
        assert (event, found.metadata.name) == ("ADDED", "followed")
        read = go.send("GET", f"{NAMESPACE}/pods/followed")
        assert read.opened("Pod") == found


def test_a_watch_of_metadata_is_for_collectors_of_garbage(go: Go) -> None:
    with watched(
        go, f"{NAMESPACE}/configmaps", f"{PROTOBUF}{META}", fieldSelector="metadata.name=litter"
    ) as stream:
        go.make("configmaps", config_map("litter", a="1"))
        event, kind, found = stream.next()
        assert (event, kind, found.metadata.name) == ("ADDED", "PartialObjectMetadata", "litter")


def test_a_watch_from_too_long_ago_is_told_so(go: Go) -> None:
    with watched(go, f"{NAMESPACE}/configmaps", resourceVersion="1") as stream:
        event, kind, status = stream.next()
        assert (event, kind, status.code, status.reason) == ("ERROR", "Status", 410, "Expired")


def test_bodies_that_are_no_protobuf_are_refused_in_upstreams_words(go: Go) -> None:
    found = go.send("POST", f"{NAMESPACE}/configmaps", b"{}").opened("Status")

    assert found.code == 400
    assert (
        "provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]"
        in found.message
    )
