"""Service accounts, their tokens, and certificate signing requests, as upstream's conformance tests use them."""

import itertools
import ssl
import urllib.error
import urllib.request
from base64 import b64encode
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from kybern.auth.x509 import Authority
from tests.protocol.apiserver_bed import Lab, Server
from tests.protocol.requests_bed import MERGE, STRATEGIC, Api, Raw, names

pytestmark = pytest.mark.etcd

MOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
SIGNING = "/apis/certificates.k8s.io/v1/certificatesigningrequests"


@pytest.fixture(scope="module")
def api(lab: Lab, free_ports: Any) -> Api:
    server: Server = lab.start(free_ports(), "--endpoint-reconciler-type=none")
    return Api(server)


@pytest.fixture(scope="module")
def home(api: Api) -> str:
    return api.namespace("accounts")


def test_an_account_lives_from_create_to_delete(api: Api, home: str) -> None:
    everywhere, selected = "/api/v1/serviceaccounts", {"labelSelector": "test-account=true"}
    with api.watch(f"{home}/serviceaccounts", **selected) as events:
        body = {"metadata": {"name": "life", "labels": {"test-account": "true"}}}
        api.create(f"{home}/serviceaccounts", body)
        assert next(events)[0] == "ADDED"
        api.patch(f"{home}/serviceaccounts/life", {"automountServiceAccountToken": False}, STRATEGIC)
        kind, seen = next(events)
        assert (kind, seen["automountServiceAccountToken"]) == ("MODIFIED", False)
        assert names(api.get(everywhere, **selected)) == ["life"]
        api.delete(f"{home}/serviceaccounts", **selected)
        assert next(events)[0] == "DELETED"
    assert names(api.get(everywhere, **selected)) == []


def test_an_account_is_updated(api: Api, home: str) -> None:
    made = api.create(
        f"{home}/serviceaccounts", {"metadata": {"name": "up"}, "automountServiceAccountToken": False}
    )

    updated = api.update(f"{home}/serviceaccounts/up", {**made, "automountServiceAccountToken": True})
    assert updated["automountServiceAccountToken"] is True
    assert api.get(f"{home}/serviceaccounts/up") == updated


@pytest.mark.parametrize(("account", "pod"), list(itertools.product((None, True, False), repeat=2)), ids=str)
def test_pod_and_account_opt_out_of_the_token_and_the_pod_has_the_last_word(
    api: Api, home: str, account: bool | None, pod: bool | None
) -> None:
    name = f"mount-{account}-{pod}".lower()
    said = {} if account is None else {"automountServiceAccountToken": account}
    api.create(f"{home}/serviceaccounts", {"metadata": {"name": name}, **said})
    spec: Raw = {
        "serviceAccountName": name,
        "containers": [{"name": "c", "image": "registry.example.com/app:1"}],
    }
    if pod is not None:
        spec["automountServiceAccountToken"] = pod
    made = api.create(f"{home}/pods", {"metadata": {"name": name}, "spec": spec})

    mounted = [found["mountPath"] for found in made["spec"]["containers"][0].get("volumeMounts", ())]
    wanted = pod if pod is not None else account is not False
    assert (MOUNT in mounted) == wanted


def test_a_token_that_was_asked_for_is_reviewed_as_its_account(api: Api, home: str) -> None:
    made = api.create(f"{home}/serviceaccounts", {"metadata": {"name": "asks"}})
    request = {"spec": {"audiences": [], "expirationSeconds": 3600}}
    given = api.create(f"{home}/serviceaccounts/asks/token", request)
    review = {"spec": {"token": given["status"]["token"]}}
    status = api.create("/apis/authentication.k8s.io/v1/tokenreviews", review)["status"]

    assert "error" not in status
    assert status["authenticated"] is True
    assert status["user"]["username"] == "system:serviceaccount:accounts:asks"
    assert status["user"]["uid"] == made["metadata"]["uid"]
    assert set(status["user"]["groups"]) == {
        "system:serviceaccounts",
        "system:serviceaccounts:accounts",
        "system:authenticated",
    }
    assert given["status"]["expirationTimestamp"]


def test_a_token_says_who_one_is(api: Api, home: str) -> None:
    api.create(f"{home}/serviceaccounts", {"metadata": {"name": "self"}})
    token = api.create(f"{home}/serviceaccounts/self/token", {"spec": {}})["status"]["token"]
    request = urllib.request.Request(
        f"{api.server.url}/apis/authentication.k8s.io/v1/selfsubjectreviews",
        b"{}",
        {"Content-Type": "application/json", "Authorization": f"Bearer {token}"},
    )
    context = ssl.create_default_context(cafile=str(api.server.directory / "ca.crt"))
    with urllib.request.urlopen(request, timeout=10, context=context) as answer:
        assert b'"username":"system:serviceaccount:accounts:self"' in answer.read().replace(b'": "', b'":"')


def test_openid_discovery_names_issuer_and_keys(api: Api) -> None:
    found = api.get("/.well-known/openid-configuration")

    assert found["issuer"] == "https://kubernetes.default.svc"
    assert found["jwks_uri"].endswith("/openid/v1/jwks")
    assert found["subject_types_supported"] == ["public"]
    key = api.send("GET", "/openid/v1/jwks", accept="*/*").ok()["keys"][0]
    assert key["use"] == "sig"
    assert key["alg"] in found["id_token_signing_alg_values_supported"]


def csr() -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "e2e-example")])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    return b64encode(request.public_bytes(serialization.Encoding.PEM)).decode()


def asked(api: Api, label: str) -> Raw:
    spec = {"request": csr(), "signerName": "example.com/e2e", "usages": ["digital signature", "server auth"]}
    made: Raw = api.create(
        SIGNING, {"metadata": {"generateName": "e2e-", "labels": {"csr": label}}, "spec": spec}
    )
    return made


def test_a_signing_request_stays_what_was_asked_for(api: Api) -> None:
    first, second, third = (asked(api, "life") for _ in range(3))
    one = f"{SIGNING}/{first['metadata']['name']}"
    selected = {"labelSelector": "csr=life"}
    assert first["spec"]["username"] == "admin"
    assert {"system:masters", "system:authenticated"} <= set(first["spec"]["groups"])
    listed = api.get(SIGNING, **selected)
    assert len(listed["items"]) == 3

    with api.watch(SIGNING, resourceVersion=listed["metadata"]["resourceVersion"], **selected) as events:
        patched = api.patch(
            one, {"metadata": {"annotations": {"patched": "true"}}, "spec": {"request": csr()}}
        )
        assert patched["metadata"]["annotations"] == {"patched": "true"}
        assert patched["spec"] == first["spec"]
        patched["metadata"]["annotations"]["updated"] = "true"
        api.update(one, patched)
        assert [next(events)[1]["metadata"]["annotations"] for _ in range(2)][-1] == {
            "patched": "true",
            "updated": "true",
        }

    api.delete(one)
    assert api.code(one) == 404
    rest = {found["metadata"]["name"] for found in (second, third)}
    assert set(names(api.get(SIGNING, **selected))) == rest
    api.delete(SIGNING, **selected)
    assert names(api.get(SIGNING, **selected)) == []


def condition(kind: str) -> Raw:
    return {"type": kind, "status": "True", "reason": "E2E", "message": "Set by a test"}


def test_a_signing_request_is_approved_and_answered_by_its_subresources(api: Api) -> None:
    first = asked(api, "parts")
    one = f"{SIGNING}/{first['metadata']['name']}"
    assert api.get(f"{one}/approval")["metadata"]["uid"] == first["metadata"]["uid"]
    conditions = {"conditions": [condition("Approved")]}
    change = {"metadata": {"annotations": {"patchedapproval": "true"}}, "status": conditions}
    # The object itself takes no approval.
    assert "conditions" not in api.patch(one, change).get("status", {})
    found = api.patch(f"{one}/approval", change)
    assert [each["type"] for each in found["status"]["conditions"]] == ["Approved"]
    assert found["metadata"]["annotations"]["patchedapproval"] == "true"

    assert api.get(f"{one}/status")["metadata"]["uid"] == first["metadata"]["uid"]
    answer = {"certificate": certificate()}
    status = {"metadata": {"annotations": {"patchedstatus": "true"}}, "status": answer}
    found = api.patch(f"{one}/status", status)
    assert found["status"]["certificate"] == answer["certificate"]
    assert found["metadata"]["annotations"]["patchedstatus"] == "true"
    found["status"]["conditions"].append(condition("StatusUpdate"))
    updated = api.update(f"{one}/status", found)
    assert [each["type"] for each in updated["status"]["conditions"]] == ["Approved", "StatusUpdate"]


def test_a_signer_does_not_approve_and_an_approver_does_not_sign(api: Api) -> None:
    one = f"{SIGNING}/{asked(api, 'roles')['metadata']['name']}"
    approved = {"status": {"conditions": [condition("Approved")], "certificate": certificate()}}

    refused = api.send("PATCH", f"{one}/status", approved, media=MERGE)
    assert refused.code == 422
    assert 'updates may not add a condition of type "Approved"' in refused.body["message"]
    found = api.patch(f"{one}/approval", approved)["status"]
    assert "certificate" not in found
    assert {"lastUpdateTime", "lastTransitionTime"} <= found["conditions"][0].keys()
    refused = api.send("PATCH", f"{one}/approval", {"status": {"conditions": None}}, media=MERGE)
    assert refused.code == 422
    assert 'updates may not remove a condition of type "Approved"' in refused.body["message"]
    api.delete(one)


def test_signing_requests_are_found_by_their_signer(api: Api) -> None:
    spec = {"request": csr(), "signerName": "example.com/found", "usages": ["digital signature"]}
    made = [api.create(SIGNING, {"metadata": {"generateName": "found-"}, "spec": spec}) for _ in range(3)]
    one = f"{SIGNING}/{made[0]['metadata']['name']}"
    selected = {"fieldSelector": "spec.signerName=example.com/found"}
    assert len(api.get(SIGNING, **selected)["items"]) == 3
    assert api.get(SIGNING, fieldSelector="spec.signerName=example.com/other")["items"] == []

    # A condition that is neither approval nor denial, and says no more than its reason.
    bare = {"type": "ApprovalPatch", "status": "True", "reason": "e2e"}
    found = api.patch(f"{one}/approval", {"status": {"conditions": [bare]}})
    found["status"]["conditions"].append(condition("Approved"))
    found = api.update(f"{one}/approval", found)
    assert [each["type"] for each in found["status"]["conditions"]] == ["ApprovalPatch", "Approved"]
    api.delete(one)
    assert len(api.get(SIGNING, **selected)["items"]) == 2
    api.delete(SIGNING, **selected)
    assert api.get(SIGNING, **selected)["items"] == []


@pytest.mark.parametrize("local", [False, True])
def test_what_a_review_says_of_an_account_is_what_it_may(api: Api, home: str, local: bool) -> None:
    name = f"reviewed-{local}".lower()
    made = api.create(f"{home}/serviceaccounts", {"metadata": {"name": name}})
    attributes = {"verb": "list", "resource": "configmaps", "namespace": "accounts", "version": "v1"}
    spec = {
        "resourceAttributes": attributes,
        "user": f"system:serviceaccount:accounts:{name}",
        "groups": ["system:authenticated", "system:serviceaccounts", "system:serviceaccounts:accounts"],
        "uid": made["metadata"]["uid"],
    }
    reviews = "/apis/authorization.k8s.io/v1"
    path = (
        f"{reviews}/namespaces/accounts/localsubjectaccessreviews"
        if local
        else f"{reviews}/subjectaccessreviews"
    )
    metadata = {"metadata": {"namespace": "accounts"}} if local else {}

    assert api.create(path, {**metadata, "spec": spec})["status"]["allowed"] is False
    request = urllib.request.Request(
        f"{api.server.url}{home}/configmaps", headers={"Impersonate-User": spec["user"]}
    )
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=10, context=api.server.context())
    with refused.value:
        assert refused.value.code == 403


def certificate() -> str:
    """A certificate as a signer gives it: base64 of PEM."""
    return b64encode(Authority.create("signer", datetime.now(UTC)).cert_pem).decode()
