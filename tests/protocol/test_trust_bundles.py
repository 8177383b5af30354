"""Trust bundles on a real API server and etcd, with their controller: who may publish, what is kept, and how it is found."""

import base64
import hashlib
import json
import time
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from kybern.auth.x509 import Authority
from tests.protocol.apiserver_bed import Lab, Server
from tests.protocol.controllers_bed import CORE, Cluster, manage
from tests.protocol.test_storage_migration import stored

pytestmark = pytest.mark.etcd

GATES = "--feature-gates=ClusterTrustBundle=true,ClusterTrustBundleProjection=true"
GATE = "--feature-gates=ClusterTrustBundle=true"
SWITCH = "--runtime-config=certificates.k8s.io/v1beta1=true,certificates.k8s.io/v1alpha1=true"
GROUP = "/apis/certificates.k8s.io"
BETA, ALPHA = f"{GROUP}/v1beta1/clustertrustbundles", f"{GROUP}/v1alpha1/clustertrustbundles"
RBAC = "/apis/rbac.authorization.k8s.io/v1"
SIGNER = "kubernetes.io/kube-apiserver-serving"
PEM = Authority.create("anchor", datetime.now(UTC)).cert_pem.decode()


@pytest.fixture(scope="module")
def cluster(lab: Lab, free_ports: Callable[[], int]) -> Cluster:
    server = lab.start(free_ports(), GATES, SWITCH)
    manage(lab, server, free_ports(), GATE)
    return Cluster(lab, server, "trust")


@pytest.fixture
def off(lab: Lab, free_ports: Callable[[], int]) -> Iterator[Callable[..., Server]]:
    """Another cluster's server: one of the same would take back the APIService of what it does not serve."""
    before = len(lab.started)
    yield lambda *flags: lab.start(free_ports(), f"--etcd-prefix=/{time.monotonic_ns()}", *flags)
    for process in lab.started[before:]:
        process.terminate()
        process.wait(30)


def bundle(name: str, signer: str = "", text: str = PEM, **labels: str) -> dict[str, Any]:
    spec = {"trustBundle": text} | ({"signerName": signer} if signer else {})
    return {"metadata": {"name": name, "labels": labels}, "spec": spec}


def read(server: Server, path: str, accept: str) -> bytes:
    request = urllib.request.Request(server.url + path, headers={"Accept": accept})
    with urllib.request.urlopen(request, timeout=10, context=server.context()) as answer:
        return bytes(answer.read())


def names(cluster: Cluster, path: str) -> list[str]:
    return [one["metadata"]["name"] for one in cluster.items(path)]


def test_a_bundle_is_one_object_in_both_versions(cluster: Cluster, lab: Lab) -> None:
    code, made = cluster.ask("POST", ALPHA, bundle("both"))
    assert code == 201, made
    assert (made["apiVersion"], made["kind"]) == ("certificates.k8s.io/v1alpha1", "ClusterTrustBundle")
    newer = cluster.get(f"{BETA}/both")
    assert newer["apiVersion"] == "certificates.k8s.io/v1beta1"
    assert newer["spec"] == {"trustBundle": PEM}
    assert newer["metadata"]["uid"] == made["metadata"]["uid"]

    lines = stored(lab, "clustertrustbundles")

    assert lines["both"][1].startswith(b'{"apiVersion":"certificates.k8s.io/v1beta1",')
    changed = cluster.change(f"{ALPHA}/both", lambda raw: raw["metadata"].update(labels={"a": "b"}))
    assert changed["metadata"]["labels"] == {"a": "b"}
    assert cluster.ask("DELETE", f"{BETA}/both")[0] == 200
    assert cluster.ask("GET", f"{ALPHA}/both")[0] == 404


def test_a_bundle_travels_as_protobuf(cluster: Cluster) -> None:
    cluster.make(BETA, bundle("wire"))

    body = read(cluster.server, f"{BETA}/wire", "application/vnd.kubernetes.protobuf")

    assert body.startswith(b"k8s\x00")
    assert b"certificates.k8s.io/v1beta1" in body
    assert PEM.encode() in body


def test_those_of_a_signer_are_found_by_field(cluster: Cluster) -> None:
    cluster.make(BETA, bundle("example.com:found:a", "example.com/found"))
    cluster.make(BETA, bundle("lost"))

    for path in (ALPHA, BETA):
        assert names(cluster, f"{path}?fieldSelector=spec.signerName=example.com/found") == [
            "example.com:found:a"
        ]
    code, refused = cluster.ask("GET", f"{BETA}?fieldSelector=spec.trustBundle=x")
    assert (code, refused["message"]) == (400, "field label not supported: spec.trustBundle")


def test_a_table_names_the_signer(cluster: Cluster) -> None:
    cluster.make(BETA, bundle("example.com:shown:a", "example.com/shown"))
    cluster.make(BETA, bundle("nobodys"))

    table = json.loads(read(cluster.server, BETA, "application/json;as=Table;v=v1;g=meta.k8s.io"))

    assert [one["name"] for one in table["columnDefinitions"]] == ["Name", "SignerName"]
    rows = [one["cells"] for one in table["rows"]]
    assert ["example.com:shown:a", "example.com/shown"] in rows
    assert ["nobodys", "<none>"] in rows


def test_what_is_no_authority_is_refused(cluster: Cluster) -> None:
    code, refused = cluster.ask("POST", BETA, bundle("bad", text="words"))

    assert code == 422
    assert refused["message"] == (
        'ClusterTrustBundle.certificates.k8s.io "bad" is invalid: spec.trustBundle: Invalid value: "<value omitted>": '
        "at least one trust anchor must be provided"
    )
    code, refused = cluster.ask("POST", BETA, bundle("bad", "example.com/s"))
    assert code == 422
    assert [one["field"] for one in refused["details"]["causes"]] == ["metadata.name"]


def test_an_update_names_the_version_that_it_was_made_of(cluster: Cluster) -> None:
    cluster.make(BETA, bundle("blind"))

    code, refused = cluster.ask("PUT", f"{BETA}/blind", bundle("blind"))

    assert code == 422
    assert "metadata.resourceVersion: Invalid value: 0: must be specified for an update" in refused["message"]


def test_who_may_write_bundles_may_not_speak_for_a_signer(cluster: Cluster, lab: Lab) -> None:
    subject = {"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "nobody"}
    rules = [
        {
            "apiGroups": ["certificates.k8s.io"],
            "resources": ["clustertrustbundles"],
            "verbs": ["create", "update"],
        }
    ]

    def grant() -> None:
        role = cluster.get(f"{RBAC}/clusterroles/writer")
        if role:
            cluster.change(f"{RBAC}/clusterroles/writer", lambda raw: raw.update(rules=rules))
        else:
            cluster.make(f"{RBAC}/clusterroles", {"metadata": {"name": "writer"}, "rules": rules})

    grant()
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "writer"}
    binding = {"metadata": {"name": "writer"}, "roleRef": reference, "subjects": [subject]}
    cluster.make(f"{RBAC}/clusterrolebindings", binding)

    def tried(made: dict[str, Any], wanted: int) -> Any:
        """Rights reach the authorizer a moment after they are written."""
        deadline = time.monotonic() + 10
        while True:
            code, answer = cluster.server.ask("POST", BETA, made, identity="nobody")
            if code == wanted or time.monotonic() > deadline:
                assert code == wanted, answer
                return answer
            time.sleep(0.05)

    tried(bundle("free"), 201)
    refused = tried(bundle("example.com:held:a", "example.com/held"), 403)
    assert refused["message"] == (
        'clustertrustbundles.certificates.k8s.io "example.com:held:a" is forbidden: '
        'user not permitted to attest for signerName "example.com/held"'
    )
    rules.append(
        {
            "apiGroups": ["certificates.k8s.io"],
            "resources": ["signers"],
            "resourceNames": ["example.com/*"],
            "verbs": ["attest"],
        }
    )
    grant()
    tried(bundle("example.com:held:a", "example.com/held"), 201)


def test_service_accounts_and_nodes_may_read_them(cluster: Cluster) -> None:
    for user, groups in (
        ("system:serviceaccount:trust:default", ["system:serviceaccounts"]),
        ("system:node:n1", ["system:nodes"]),
    ):
        for verb in ("get", "list", "watch"):
            attributes = {"group": "certificates.k8s.io", "resource": "clustertrustbundles", "verb": verb}
            review = {"spec": {"user": user, "groups": groups, "resourceAttributes": attributes}}
            found = cluster.make("/apis/authorization.k8s.io/v1/subjectaccessreviews", review)
            assert found["status"]["allowed"], (user, verb)


def test_the_servers_own_authority_is_published_and_kept(cluster: Cluster, lab: Lab) -> None:
    authority = (lab.directory / "ca.crt").read_text()
    name = f"kubernetes.io:kube-apiserver-serving:{hashlib.sha256(authority.encode()).hexdigest()[:24]}"
    path = f"{BETA}?fieldSelector=spec.signerName={SIGNER}"

    first = cluster.until(f"{BETA}/{name}", bool)
    assert first["spec"] == {"signerName": SIGNER, "trustBundle": authority}

    cluster.make(BETA, bundle("kubernetes.io:kube-apiserver-serving:other", SIGNER))
    cluster.until(path, lambda found: [one["metadata"]["name"] for one in found["items"]] == [name])
    cluster.change(f"{BETA}/{name}", lambda raw: raw["spec"].update(trustBundle=PEM))
    cluster.until(f"{BETA}/{name}", lambda raw: raw["spec"]["trustBundle"] == authority)
    assert cluster.ask("DELETE", f"{BETA}/{name}")[0] == 200
    again = cluster.until(f"{BETA}/{name}", bool)
    assert again["metadata"]["uid"] != first["metadata"]["uid"]


def pod(*sources: dict[str, Any]) -> dict[str, Any]:
    volume = {"name": "v", "projected": {"sources": list(sources)}}
    container = {"name": "c", "image": "busybox"}
    return {"metadata": {"generateName": "p-"}, "spec": {"containers": [container], "volumes": [volume]}}


TRUST = {"clusterTrustBundle": {"name": "b", "path": "ca.pem"}}
CERTIFICATE = {"podCertificate": {"signerName": "a.b/c", "keyType": "ED25519", "credentialBundlePath": "x"}}


def sources(made: dict[str, Any]) -> list[dict[str, Any]]:
    found = next(one for one in made["spec"]["volumes"] if one["name"] == "v")
    return list(found["projected"]["sources"])


def test_a_pod_may_want_a_bundle_where_that_is_switched_on(cluster: Cluster) -> None:
    path = cluster.path(CORE, "pods")

    assert sources(cluster.make(path, pod(TRUST, CERTIFICATE))) == [TRUST, {}]
    code, refused = cluster.ask("POST", path, pod({"clusterTrustBundle": {"path": "ca.pem"}}))
    assert code == 422
    assert refused["details"]["causes"][0]["field"].endswith("sources[0].clusterTrustBundlePEM")


@pytest.mark.parametrize("flags", [(), (GATE,), (SWITCH,)])
def test_it_is_served_only_when_both_switches_are_on(
    off: Callable[..., Server], flags: tuple[str, ...]
) -> None:
    server = off(*flags)
    groups = {one["name"]: one for one in server.ask("GET", "/apis")[1]["groups"]}

    assert server.ask("GET", BETA)[0] == 404
    assert [one["version"] for one in groups["certificates.k8s.io"]["versions"]] == ["v1"]
    assert server.ask("GET", f"{RBAC}/clusterroles/system:cluster-trust-bundle-discovery")[0] == (
        200 if GATE in flags else 404
    )
    assert server.ask("POST", f"{CORE}/namespaces", {"metadata": {"name": "off"}})[0] == 201
    account = {"metadata": {"name": "default"}}
    assert server.ask("POST", f"{CORE}/namespaces/off/serviceaccounts", account)[0] == 201
    code, made = server.ask("POST", f"{CORE}/namespaces/off/pods", pod(TRUST))
    assert code == 201, made
    assert sources(made) == [{}]


def test_the_older_version_alone_is_stored_in_the_newer(
    off: Callable[..., Server],
) -> None:
    server = off(GATE, "--runtime-config=certificates.k8s.io/v1alpha1/clustertrustbundles=true")

    code, made = server.ask("POST", ALPHA, bundle("alone"))

    assert code == 201, made
    assert server.ask("GET", f"{ALPHA}/alone")[1]["spec"] == {"trustBundle": PEM}
    assert [one["metadata"]["name"] for one in server.ask("GET", ALPHA)[1]["items"]] == ["alone"]
    assert server.ask("GET", BETA)[0] == 404


def test_it_is_described_where_it_is_served(cluster: Cluster) -> None:
    groups = {one["name"]: one for one in cluster.get("/apis")["groups"]}
    listed = cluster.get(f"{GROUP}/v1beta1")
    document = cluster.get("/openapi/v3/apis/certificates.k8s.io/v1beta1")

    group = groups["certificates.k8s.io"]
    assert [one["version"] for one in group["versions"]] == ["v1", "v1beta1", "v1alpha1"]
    assert group["preferredVersion"]["version"] == "v1"
    (resource,) = listed["resources"]
    assert (resource["name"], resource["singularName"]) == ("clustertrustbundles", "clustertrustbundle")
    hashed = hashlib.sha256(b"certificates.k8s.io/v1beta1/ClusterTrustBundle").digest()[:8]
    assert resource["storageVersionHash"] == base64.b64encode(hashed).decode()
    assert "io.k8s.api.certificates.v1beta1.ClusterTrustBundle" in document["components"]["schemas"]
    for version, priority in (("v1beta1", 9), ("v1alpha1", 1)):
        service = cluster.until(
            f"/apis/apiregistration.k8s.io/v1/apiservices/{version}.certificates.k8s.io", bool
        )
        found = (service["spec"]["groupPriorityMinimum"], service["spec"]["versionPriority"])
        assert found == (17300, priority)
