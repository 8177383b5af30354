"""Identity tokens of real issuers over TLS: keys found, fetched and exchanged, claims mapped, files that change."""

import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from kybern.auth.x509 import Authority
from tests import oidc_issuer
from tests.oidc_issuer import Issuer, SigningKey
from tests.protocol.apiserver_bed import Lab
from tests.protocol.review_bed import ask, metric, who

pytestmark = pytest.mark.etcd

RELOADS = "apiserver_authentication_config_controller_automatic_reloads_total{"
TOKEN_REVIEWS = "/apis/authentication.k8s.io/v1/tokenreviews"


@pytest.fixture(scope="module")
def pair(lab: Lab) -> None:
    """Certificates of issuers' servers, and their authority."""
    authority = Authority.create("issuers", datetime.now(UTC))
    made = authority.issue("issuer", ips=("127.0.0.1",), server=True, client=False)
    lab.write("issuers-ca.crt", authority.cert_pem)
    lab.write("issuer.crt", made.cert_pem)
    lab.write("issuer.key", made.key_pem)


@pytest.fixture(scope="module")
def issuer(lab: Lab, pair: None) -> Iterator[Issuer]:
    found = oidc_issuer.start(lab.directory, "issuer")
    yield found
    found.stop()


@pytest.fixture(scope="module")
def other(lab: Lab, pair: None) -> Iterator[Issuer]:
    """One whose discovery document lies elsewhere, and that holds claims for the first."""
    found = oidc_issuer.start(lab.directory, "issuer")
    found.keys = [SigningKey.make("PS256", "other")]
    document = {"issuer": found.url, "jwks_uri": f"{found.url}/keys"}
    found.pages["/elsewhere"] = lambda _authorization: (200, json.dumps(document).encode())
    yield found
    found.stop()


class Place:
    """A server whose issuers are in a file."""

    def __init__(self, lab: Lab, port: int, issuer: Issuer, other: Issuer) -> None:
        self.authority = (lab.directory / "issuers-ca.crt").read_text()
        self.issuer, self.other = issuer, other
        self.file = lab.directory / "authentication.yaml"
        self.file.write_bytes(self.usual())
        self.server = lab.start(port, f"--authentication-config={self.file}")
        self.wait_for(lambda: who(self.server, issuer.token(hd="example.org"))[0] == 201)
        self.wait_for(lambda: who(self.server, other.token(aud="b", name="n", roles=""))[0] == 201)

    def wait_for(self, holds: Callable[[], bool]) -> None:
        until = time.monotonic() + 60
        while not holds():
            assert time.monotonic() < until, self.server.log()
            time.sleep(0.1)

    def usual(self, **more: Any) -> bytes:
        return self.content(self.plain(), self.mapped(), **more)

    def plain(self) -> dict[str, Any]:
        return {
            "issuer": {
                "url": self.issuer.url,
                "audiences": ["kubernetes"],
                "certificateAuthority": self.authority,
            },
            "claimMappings": {
                "username": {"claim": "sub", "prefix": "one:"},
                "groups": {"claim": "groups", "prefix": "one:"},
            },
            "claimValidationRules": [{"claim": "hd", "requiredValue": "example.org"}],
        }

    def mapped(self) -> dict[str, Any]:
        return {
            "issuer": {
                "url": self.other.url,
                "discoveryURL": f"{self.other.url}/elsewhere",
                "audiences": ["a", "b"],
                "audienceMatchPolicy": "MatchAny",
                "certificateAuthority": self.authority,
            },
            "claimMappings": {
                "username": {"expression": "'two:' + claims.name"},
                "groups": {"expression": "claims.roles.split(',')"},
                "uid": {"claim": "sub"},
                "extra": [{"key": "example.org/team", "valueExpression": "claims.?team.orValue('')"}],
            },
            "userValidationRules": [
                {"expression": "user.username != 'two:root'", "message": "root is nobody's name"}
            ],
        }

    def content(self, *issuers: dict[str, Any], **more: Any) -> bytes:
        head = {"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthenticationConfiguration"}
        return yaml.safe_dump(head | {"jwt": list(issuers)} | more).encode()

    def write(self, content: bytes) -> None:
        """Exchange the file, and wait until the server has taken or refused it."""
        before = metric(self.server, RELOADS)
        beside = self.file.with_name("authentication.beside")
        beside.write_bytes(content)
        beside.rename(self.file)
        self.wait_for(lambda: metric(self.server, RELOADS) != before)

    def review(self, token: str) -> dict[str, Any]:
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token}}
        code, found = self.server.ask("POST", TOKEN_REVIEWS, body)
        assert code == 201, found
        status: dict[str, Any] = found["status"]
        return status


@pytest.fixture(scope="module")
def place(lab: Lab, free_ports: Callable[[], int], issuer: Issuer, other: Issuer) -> Place:
    return Place(lab, free_ports(), issuer, other)


def good(issuer: Issuer, **claims: Any) -> str:
    return issuer.token(hd="example.org", **claims)


def test_claims_become_the_user(place: Place) -> None:
    token = good(place.issuer, sub="jane", groups=["dev"], jti="t1")
    assert who(place.server, token) == (
        201,
        {
            "username": "one:jane",
            "groups": ["one:dev", "system:authenticated"],
            "extra": {"authentication.kubernetes.io/credential-id": ["JTI=t1"]},
        },
    )
    assert place.review(token)["audiences"] == ["https://kubernetes.default.svc"]
    code, refused = ask(place.server, token, "GET", "/api/v1/namespaces")
    assert code == 403
    assert 'User "one:jane" cannot list' in refused["message"]


def test_expressions_map_claims_of_an_issuer_that_is_described_elsewhere(place: Place) -> None:
    token = place.other.token(aud=["b", "z"], sub="7", name="joe", roles="x,y", team="red")
    assert who(place.server, token) == (
        201,
        {
            "username": "two:joe", "uid": "7", "groups": ["x", "y", "system:authenticated"],
            "extra": {"example.org/team": ["red"]},
        },
    )  # fmt: skip
    assert "/elsewhere" in place.other.asked
    assert "/.well-known/openid-configuration" not in place.other.asked


@pytest.mark.parametrize(
    ("claims", "why"),
    [
        ({"exp": 1}, "oidc: verify token: oidc: token is expired"),
        ({"aud": "else"}, 'oidc: verify token: oidc: expected audience in ["kubernetes"] got ["else"]'),
        ({"hd": "else"}, "oidc: required claim hd value does not match. Got = else, want = example.org"),
        ({"sub": None}, 'oidc: parse username claims "sub": claim not present'),
    ],
)
def test_a_token_that_is_not_good_is_refused_and_reviewed(
    place: Place, claims: dict[str, Any], why: str
) -> None:
    token = place.issuer.token(**{"hd": "example.org"} | claims)
    assert who(place.server, token)[0] == 401
    assert why in place.review(token)["error"]


def test_rules_about_the_user_hold(place: Place) -> None:
    token = place.other.token(aud="a", name="root", roles="")
    assert who(place.server, token)[0] == 401
    assert "failed: root is nobody's name" in place.review(token)["error"]


def test_a_signature_of_somebody_else_is_refused(place: Place) -> None:
    claims = json.loads(
        json.dumps({"iss": place.issuer.url, "aud": "kubernetes", "sub": "jane", "hd": "example.org"})
    )
    stranger = SigningKey.make("ES256", place.issuer.keys[-1].id).token(
        claims | {"exp": int(time.time()) + 60}
    )
    assert who(place.server, stranger)[0] == 401
    assert "failed to verify id token signature" in place.review(stranger)["error"]


def test_new_keys_are_fetched_when_a_token_needs_them(place: Place) -> None:
    old = good(place.issuer, sub="old")
    place.issuer.keys.append(SigningKey.make("RS256", f"new-{len(place.issuer.keys)}"))
    before = place.issuer.asked.count("/keys")
    assert who(place.server, good(place.issuer, sub="new"))[1]["username"] == "one:new"
    assert who(place.server, old)[1]["username"] == "one:old"
    assert place.issuer.asked.count("/keys") == before + 1
    name = "apiserver_authentication_jwt_authenticator"
    assert metric(place.server, f"{name}_jwks_fetch_last_key_set_info") >= 1
    assert metric(place.server, f"{name}_latency_seconds_count") >= 2


def test_claims_that_another_holds_are_asked_for(place: Place) -> None:
    def held(authorization: str) -> tuple[int, bytes]:
        if authorization != "Bearer secret":
            return 403, b""
        return 200, place.issuer.token(groups=["held"]).encode()

    place.issuer.pages["/held"] = held
    endpoint = {"endpoint": f"{place.issuer.url}/held", "access_token": "secret"}

    def far(source: dict[str, str]) -> str:
        said = {"_claim_names": {"groups": "s"}, "_claim_sources": {"s": source}}
        return good(place.issuer, sub="far", **said)

    code, user = who(place.server, far(endpoint))
    assert (code, user["groups"]) == (201, ["one:held", "system:authenticated"])

    token = far(endpoint | {"access_token": "wrong"})
    assert who(place.server, token)[0] == 401
    assert (
        "oidc: could not expand distributed claims: while getting distributed claim"
        in place.review(token)["error"]
    )


def test_accounts_of_the_cluster_go_on_beside_issuers(place: Place) -> None:
    path = "/api/v1/namespaces/default/serviceaccounts/default/token"
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    place.wait_for(lambda: place.server.ask("GET", "/api/v1/namespaces/default")[0] == 200)
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
    assert place.server.ask("POST", "/api/v1/namespaces/default/serviceaccounts", account)[0] in (201, 409)
    code, made = place.server.ask("POST", path, body)
    assert code == 201, made
    assert (
        who(place.server, made["status"]["token"])[1]["username"] == "system:serviceaccount:default:default"
    )


def test_files_are_exchanged_and_bad_ones_change_nothing(place: Place) -> None:
    try:
        place.write(
            place.content(place.mapped(), anonymous={"enabled": True, "conditions": [{"path": "/livez"}]})
        )
        assert who(place.server, good(place.issuer, sub=f"gone-{time.time()}"))[0] == 401
        assert who(place.server, place.other.token(aud="a", name="stays", roles=""))[0] == 201
        assert ask(place.server, "", "GET", "/livez")[0] == 200
        assert ask(place.server, "", "GET", "/readyz")[0] == 401
        place.write(b"kind: Nonsense")
        assert who(place.server, place.other.token(aud="a", name="still", roles=""))[0] == 201
    finally:
        place.write(place.usual())
    assert who(place.server, good(place.issuer, sub="back"))[0] == 201
    assert ask(place.server, "", "GET", "/readyz")[0] == 200


def test_flags_do_for_one_issuer(lab: Lab, free_ports: Callable[[], int], issuer: Issuer, pair: None) -> None:
    server = lab.start(
        free_ports(),
        f"--oidc-issuer-url={issuer.url}",
        "--oidc-client-id=kubernetes",
        f"--oidc-ca-file={lab.directory}/issuers-ca.crt",
        "--oidc-username-claim=email",
        "--oidc-groups-claim=groups",
        "--oidc-signing-algs=ES256,RS256",
        "--oidc-required-claim=hd=example.org",
    )

    def let_in() -> bool:
        code, user = who(server, good(issuer, email="a@example.org", groups="dev"))
        return code == 201 and user["username"] == "a@example.org" and "dev" in user["groups"]

    until = time.monotonic() + 60
    while not let_in():
        assert time.monotonic() < until, server.log()
        time.sleep(0.1)
    assert who(server, good(issuer, email="b@example.org", email_verified=False))[0] == 401


def test_files_and_flags_that_cannot_work_are_refused(
    lab: Lab, place: Place, free_ports: Callable[[], int], tmp_path: Path
) -> None:
    assert "authentication-config file and oidc-* flags are mutually exclusive" in lab.refused(
        free_ports(), f"--authentication-config={place.file}", "--oidc-issuer-url=https://x"
    )
    file = tmp_path / "authentication.yaml"
    file.write_bytes(place.usual(anonymous={"enabled": False}))
    assert "--anonymous-auth flag cannot be set when anonymous field is configured" in lab.refused(
        free_ports(), f"--authentication-config={file}", "--anonymous-auth=true"
    )
