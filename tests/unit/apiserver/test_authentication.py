"""Requests to users: certificates, tokens, front proxies, nobody."""

from base64 import b64encode
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from kybern.apiserver.authentication import NOBODY, Authenticator, Tokens
from kybern.auth import legacy_labels, legacy_tokens
from kybern.auth.certificates import Certificates, ProxyHeaders
from kybern.auth.keys import SigningKey
from kybern.auth.tokens import Claims, InvalidToken, Private, Ref, Verifier, sign
from kybern.auth.user import User
from kybern.auth.x509 import Authority, signing_key
from kybern.machinery.errors import Unauthorized
from kybern.machinery.kind import Raw

ISSUER = "https://kubernetes.default.svc"
MADE = datetime(2026, 1, 1, tzinfo=UTC)
NOW = MADE.timestamp() + 3600
CLIENTS = Authority.create("kubernetes", MADE)
PROXIES = Authority.create("front-proxy", MADE)
KEY = SigningKey.load(signing_key().key_pem)


@dataclass
class Objects:
    """Stored objects by (plural, namespace, name); counts how often it is asked."""

    kept: dict[tuple[str, str, str], Raw] = field(default_factory=dict)
    asked: int = 0

    async def get(self, group: str, plural: str, namespace: str, name: str) -> Raw | None:
        self.asked += 1
        return self.kept.get((plural, namespace, name))

    async def labels(self, group: str, plural: str, namespace: str, name: str) -> dict[str, str] | None:
        found = await self.get(group, plural, namespace, name)
        return None if found is None else found["metadata"].get("labels") or {}

    async def get_live(self, group: str, plural: str, namespace: str, name: str) -> Raw | None:
        return self.kept.get((plural, namespace, name))

    async def list(self, group: str, plural: str, namespace: str = "") -> list[Raw]:
        return []


class Clock:
    now = NOW

    def __call__(self) -> float:
        return self.now


def der(authority: Authority, name: str, *groups: str) -> bytes:
    pair = authority.issue(name, groups, now=MADE)
    return x509.load_pem_x509_certificate(pair.cert_pem).public_bytes(Encoding.DER)


def accounts() -> Objects:
    return Objects({("serviceaccounts", "x", "robot"): {"metadata": {"name": "robot", "uid": "u"}}})


def token(**changes: Any) -> str:
    said: dict[str, Any] = {
        "aud": (ISSUER,),
        "iss": ISSUER,
        "exp": int(NOW) + 600,
        "kubernetes": Private(namespace="x", serviceaccount=Ref("robot", "u")),
    }
    return sign(Claims(**(said | changes)), KEY)


def tokens(objects: Objects, clock: Clock, *, bootstrap: bool = False) -> Tokens:
    return Tokens(Verifier((ISSUER,), (ISSUER,), (KEY.verifying,)), objects, bootstrap, clock)


def server(
    objects: Objects | None = None, *, anonymous: bool = True, clock: Clock | None = None
) -> Authenticator:
    time = clock or Clock()
    certificates = Certificates(
        (CLIENTS.certificate,), (PROXIES.certificate,), ProxyHeaders(names=("front",))
    )
    return Authenticator(certificates, tokens(objects or accounts(), time), anonymous, time)


async def test_a_client_certificate_gives_name_groups_and_its_hash() -> None:
    user = await server().user_of(der(CLIENTS, "bob", "devs", "ops"), None)

    assert (user.name, user.groups) == ("bob", ("devs", "ops", "system:authenticated"))
    (credential,) = user.extra["authentication.kubernetes.io/credential-id"]
    assert credential.startswith("X509SHA256=")
    assert len(credential) == len("X509SHA256=") + 64


async def test_a_certificate_is_read_once() -> None:
    authenticator, certificate = server(), der(CLIENTS, "bob")

    assert await authenticator.user_of(certificate, None) is await authenticator.user_of(certificate, None)


async def test_an_expired_certificate_stops_working_on_an_open_connection() -> None:
    clock = Clock()
    authenticator, certificate = server(clock=clock), der(CLIENTS, "bob")
    await authenticator.user_of(certificate, None)

    clock.now = MADE.timestamp() + 366 * 86400
    with pytest.raises(Unauthorized):
        await authenticator.user_of(certificate, None)


async def test_a_front_proxy_speaks_for_users_by_headers() -> None:
    headers = {
        "X-Remote-User": "alice",
        "X-Remote-Group": "devs",
        "X-Remote-Extra-Acme.Com%2Fproject": "p1",
        "X-Remote-Uid": "7",
    }

    user = await server().user_of(der(PROXIES, "front"), None, headers)

    assert user == User("alice", ("devs", "system:authenticated"), "7", {"acme.com/project": ("p1",)})


@pytest.mark.parametrize(
    "certificate",
    [
        der(PROXIES, "other"),
        der(PROXIES, "front"),
        der(Authority.create("rogue", MADE), "admin", "system:masters"),
    ],
)
async def test_a_certificate_of_no_client_is_refused_by_itself(certificate: bytes) -> None:
    with pytest.raises(Unauthorized):
        await server().user_of(certificate, None, {"X-Remote-User": ""})


async def test_remote_headers_of_an_ordinary_client_are_ignored() -> None:
    user = await server().user_of(
        der(CLIENTS, "bob"), None, {"X-Remote-User": "root", "X-Remote-Group": "system:masters"}
    )

    assert user.name == "bob"


async def test_a_service_account_token_gives_the_account() -> None:
    user = await server().user_of(None, f"Bearer {token()}")

    assert user == User(
        "system:serviceaccount:x:robot",
        ("system:serviceaccounts", "system:serviceaccounts:x", "system:authenticated"),
        "u",
    )


async def test_a_token_is_remembered_for_ten_seconds_and_then_checked_again() -> None:
    clock, objects = Clock(), accounts()
    authenticator, header = server(objects, clock=clock), f"Bearer {token()}"
    await authenticator.user_of(None, header)
    objects.kept.clear()

    clock.now += 9
    assert (await authenticator.user_of(None, header)).uid == "u"
    assert objects.asked == 1
    clock.now += 2
    with pytest.raises(Unauthorized):
        await authenticator.user_of(None, header)


async def test_a_bound_object_that_the_cache_has_not_seen_yet_is_looked_up_in_storage() -> None:
    class Behind(Objects):
        async def get(self, group: str, plural: str, namespace: str, name: str) -> Raw | None:
            return None

    user = await server(Behind(accounts().kept)).user_of(None, f"Bearer {token()}")

    assert user.uid == "u"


@pytest.mark.parametrize(
    "header", ["Bearer bogus", "bearer bogus", f"Bearer {token(exp=1)}", "Bearer abcdef.0123456789abcdef"]
)
async def test_a_bad_token_is_unauthorized(header: str) -> None:
    with pytest.raises(Unauthorized) as refused:
        await server().user_of(None, header)

    assert refused.value.message == "Unauthorized"


@pytest.mark.parametrize("header", [None, "", "Basic YTpi", "Bearer", "Bearer "])
async def test_without_a_token_one_is_anonymous(header: str | None) -> None:
    assert await server().user_of(None, header) == NOBODY


async def test_anonymous_requests_can_be_forbidden() -> None:
    with pytest.raises(Unauthorized):
        await server(anonymous=False).user_of(None, None)


async def test_a_certificate_wins_over_a_token() -> None:
    assert (await server().user_of(der(CLIENTS, "bob"), "Bearer bogus")).name == "bob"


async def test_a_websocket_hands_its_token_over_as_a_protocol() -> None:
    import base64

    packed = base64.urlsafe_b64encode(token().encode()).decode().rstrip("=")
    headers = {"Sec-WebSocket-Protocol": f"v5.channel.k8s.io, base64url.bearer.authorization.k8s.io.{packed}"}

    assert (await server().user_of(None, None, headers)).uid == "u"


async def test_a_bootstrap_token_works_when_it_is_switched_on() -> None:
    import base64

    data = {
        "token-id": "abcdef",
        "token-secret": "0123456789abcdef",
        "usage-bootstrap-authentication": "true",
    }
    secret = {
        "metadata": {},
        "type": "bootstrap.kubernetes.io/token",
        "data": {key: base64.b64encode(value.encode()).decode() for key, value in data.items()},
    }
    objects, clock = Objects({("secrets", "kube-system", "bootstrap-token-abcdef"): secret}), Clock()
    joining = Authenticator(tokens=tokens(objects, clock, bootstrap=True), clock=clock)

    assert await joining.user_of(None, "Bearer abcdef.0123456789abcdef") == User(
        "system:bootstrap:abcdef", ("system:bootstrappers", "system:authenticated")
    )


async def test_a_token_of_a_file_is_its_users_and_meant_for_this_server_only() -> None:
    known = replace(tokens(Objects({}), Clock()), static={"t": User("jane", ("dev",), "7")})

    assert await Authenticator(tokens=known).user_of(None, "Bearer t") == User(
        "jane", ("dev", "system:authenticated"), "7"
    )
    assert (await known.authenticate("t", (ISSUER, "others")))[1] == (ISSUER,)
    with pytest.raises(InvalidToken):
        await known.authenticate("t", ("others",))


async def test_a_token_that_is_kept_in_a_secret_is_good_while_it_is_there() -> None:
    kept = legacy_tokens.made("x", "robot", "u", "key", KEY)
    found = accounts()
    found.kept["secrets", "x", "key"] = {
        "metadata": {"name": "key"}, "data": {"token": b64encode(kept.encode()).decode()}
    }  # fmt: skip
    tokens = Tokens(Verifier((ISSUER,), (ISSUER,), (KEY.verifying,)), found, clock=Clock())

    user, audiences = await tokens.authenticate(kept)
    del found.kept["secrets", "x", "key"]

    assert (user.name, audiences) == ("system:serviceaccount:x:robot", (ISSUER,))
    with pytest.raises(InvalidToken):
        await tokens.authenticate(kept)


async def test_uses_of_kept_tokens_are_told_with_their_sort_once_while_they_are_remembered() -> None:
    kept = legacy_tokens.made("x", "robot", "u", "key", KEY)
    found, told = accounts(), list[tuple[str, str]]()
    secret: Raw = {"metadata": {"name": "key"}, "data": {"token": b64encode(kept.encode()).decode()}}
    found.kept["secrets", "x", "key"] = secret

    async def used(item: Raw, sort: str) -> None:
        told.append((item["metadata"]["name"], sort))

    time = Clock()
    known = Authenticator(tokens=replace(tokens(found, time), used=used), clock=time)
    for _ in range(2):
        assert (await known.user_of(None, f"Bearer {kept}")).warnings == ()
    time.now += 60
    found.kept["serviceaccounts", "x", "robot"]["secrets"] = [{"name": "key"}]
    assert (await known.user_of(None, f"Bearer {kept}")).warnings == (legacy_tokens.WARNING,)
    time.now += 60
    secret["metadata"]["labels"] = {legacy_labels.INVALID_SINCE: "2026-01-01"}
    with pytest.raises(Unauthorized):
        await known.user_of(None, f"Bearer {kept}")

    assert told == [("key", "manual"), ("key", "auto"), ("key", "invalid")]
