"""Tokens: what they say, who verifies them, and which objects must still be there."""

import base64
import json
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from kybern.auth import bootstrap_token
from kybern.auth.jose import encode
from kybern.auth.keys import Private, SigningKey, VerifyingKey, discovery, key_set, load_verifying
from kybern.auth.tokens import (
    Claims,
    InvalidToken,
    Ref,
    Verifier,
    bound,
    check,
    sign,
    split_username,
    user_of,
)
from kybern.auth.tokens import Private as KubernetesClaim
from kybern.auth.user import User

ISSUER = "https://kubernetes.default.svc"
NOW = 1_700_000_000.0
CURVES = {"ES256": ec.SECP256R1(), "ES384": ec.SECP384R1(), "ES512": ec.SECP521R1()}


def pem(private: Private | ed25519.Ed25519PrivateKey) -> bytes:
    return private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def public_pem(key: SigningKey) -> bytes:
    return key.verifying.public.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


KEY = SigningKey.load(pem(ec.generate_private_key(ec.SECP256R1())))
OTHER = SigningKey.load(pem(ec.generate_private_key(ec.SECP256R1())))


@pytest.fixture(scope="module")
def rsa_key() -> SigningKey:
    return SigningKey.load(pem(rsa.generate_private_key(65537, 2048)))


def claims(**changes: Any) -> Claims:
    said: dict[str, Any] = {
        "aud": (ISSUER,),
        "exp": int(NOW) + 600,
        "iat": int(NOW),
        "iss": ISSUER,
        "jti": "j",
        "nbf": int(NOW),
        "sub": "system:serviceaccount:x:robot",
        "kubernetes": KubernetesClaim(namespace="x", serviceaccount=Ref("robot", "u1"), pod=Ref("p", "u2")),
    }
    return Claims(**(said | changes))


def verifier(*keys: VerifyingKey) -> Verifier:
    return Verifier((ISSUER,), (ISSUER,), keys or (KEY.verifying,))


def test_what_is_signed_is_read_back() -> None:
    assert verifier().read(sign(claims(), KEY), NOW) == claims()


def test_an_rsa_key_signs_rs256(rsa_key: SigningKey) -> None:
    token = sign(claims(), rsa_key)

    header = json.loads(base64.urlsafe_b64decode(token.split(".")[0] + "=="))
    assert header == {"alg": "RS256", "kid": rsa_key.verifying.id}
    assert verifier(OTHER.verifying, rsa_key.verifying).read(token, NOW) == claims()


@pytest.mark.parametrize("algorithm", CURVES)
def test_an_elliptic_key_signs_by_its_curve(algorithm: str) -> None:
    key = SigningKey.load(pem(ec.generate_private_key(CURVES[algorithm])))

    assert key.verifying.algorithm == algorithm
    assert verifier(key.verifying).read(sign(claims(), key), NOW) == claims()


def test_the_payload_is_written_as_upstream_writes_it() -> None:
    payload = sign(claims(), KEY).split(".")[1]

    assert base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)).decode() == (
        '{"aud":["https://kubernetes.default.svc"],"exp":1700000600,"iat":1700000000,'
        '"iss":"https://kubernetes.default.svc","jti":"j","kubernetes.io":{"namespace":"x",'
        '"pod":{"name":"p","uid":"u2"},"serviceaccount":{"name":"robot","uid":"u1"}},"nbf":1700000000,'
        '"sub":"system:serviceaccount:x:robot"}'
    )


@pytest.mark.parametrize(
    ("token", "says"),
    [
        ("bogus", "invalid bearer token"),
        ("a.b.c", "invalid bearer token"),
        ("", "invalid bearer token"),
        ("ä.ö.ü", "invalid bearer token"),
        (sign(claims(), OTHER), "invalid bearer token"),
        (sign(claims(iss="https://elsewhere"), KEY), "invalid bearer token"),
        (sign(claims(exp=int(NOW) - 61), KEY), "service account token has expired"),
        (sign(claims(nbf=int(NOW) + 62), KEY), "service account token is not valid yet"),
        (
            sign(claims(aud=("a", "b")), KEY),
            f'token audiences ["a" "b"] is invalid for the target audiences ["{ISSUER}"]',
        ),
    ],
)
def test_a_token_is_refused_with_upstreams_words(token: str, says: str) -> None:
    with pytest.raises(InvalidToken) as refused:
        verifier().read(token, NOW)

    assert str(refused.value) == says


def test_a_changed_payload_breaks_the_signature() -> None:
    head, _, tail = sign(claims(), KEY).split(".")
    forged = encode(json.dumps({"iss": ISSUER, "aud": [ISSUER], "exp": NOW * 2}).encode())

    with pytest.raises(InvalidToken):
        verifier().read(f"{head}.{forged}.{tail}", NOW)


@pytest.mark.parametrize("algorithm", ["none", "HS256", "RS256", "ES384"])
def test_a_token_cannot_choose_its_algorithm(algorithm: str) -> None:
    _, payload, _ = sign(claims(), KEY).split(".")
    body = f"{encode(json.dumps({'alg': algorithm, 'kid': KEY.verifying.id}).encode())}.{payload}"

    with pytest.raises(InvalidToken):
        verifier().read(f"{body}.{encode(KEY.sign(body.encode()))}", NOW)


def test_clocks_may_differ_by_a_minute() -> None:
    late, early = (
        sign(claims(exp=int(NOW) - 59), KEY),
        sign(claims(nbf=int(NOW) + 59, iat=int(NOW) + 59), KEY),
    )

    assert verifier().read(late, NOW).exp == int(NOW) - 59
    assert verifier().read(early, NOW).nbf == int(NOW) + 59


def test_one_common_audience_is_enough() -> None:
    token = sign(claims(aud=("a", "b")), KEY)

    assert verifier().read(token, NOW, ("b", "c")).audiences == ("a", "b")


def test_a_key_is_known_by_the_hash_of_its_public_half() -> None:
    again = load_verifying(public_pem(KEY))

    assert again[0].id == KEY.verifying.id
    assert len(KEY.verifying.id) == 43


def test_a_file_may_hold_many_keys_public_and_private(rsa_key: SigningKey) -> None:
    keys = load_verifying(public_pem(KEY) + pem(rsa_key.private) + pem(OTHER.private))

    assert [key.id for key in keys] == [KEY.verifying.id, rsa_key.verifying.id, OTHER.verifying.id]


@pytest.mark.parametrize("text", [b"", b"hello", pem(ed25519.Ed25519PrivateKey.generate())])
def test_a_file_without_usable_keys_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError, match="key"):
        load_verifying(text)


def test_the_published_documents_name_keys_and_algorithms(rsa_key: SigningKey) -> None:
    keys = [rsa_key.verifying, KEY.verifying]

    first, second = key_set(keys)["keys"]
    assert (first["kty"], first["alg"], first["e"]) == ("RSA", "RS256", "AQAB")
    assert (second["kty"], second["alg"], second["crv"], len(second["x"])) == ("EC", "ES256", "P-256", 43)
    assert discovery(ISSUER, "https://h/openid/v1/jwks", [rsa_key.verifying]) == {
        "issuer": ISSUER,
        "jwks_uri": "https://h/openid/v1/jwks",
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
    }


def stored(uid: str, deleted: str = "") -> dict[str, Any]:
    metadata = {"uid": uid} | ({"deletionTimestamp": deleted} if deleted else {})
    return {"metadata": metadata}


OLD, RECENT = "2023-11-14T22:12:10Z", "2023-11-14T22:13:00Z"  # more and less than a minute before NOW


@pytest.mark.parametrize(
    ("account", "pod", "says"),
    [
        (stored("u1"), stored("u2"), ""),
        (stored("u1", RECENT), stored("u2", RECENT), ""),
        (None, stored("u2"), 'serviceaccount "robot" not found'),
        (stored("u1", OLD), stored("u2"), "service account x/robot has been deleted"),
        (stored("new"), stored("u2"), "service account UID (new) does not match claim (u1)"),
        (stored("u1"), None, "service account token has been invalidated"),
        (stored("u1"), stored("u2", OLD), "service account token has been invalidated"),
        (stored("u1"), stored("new"), "pod UID (new) does not match service account pod ref claim (u2)"),
    ],
)
def test_a_token_lives_as_long_as_what_it_is_bound_to(
    account: dict[str, Any] | None, pod: dict[str, Any] | None, says: str
) -> None:
    said = ""
    try:
        check(claims(), {"serviceaccounts": account, "pods": pod}, NOW)
    except InvalidToken as error:
        said = str(error)

    assert said == says


@pytest.mark.parametrize(
    ("private", "names"),
    [
        ({}, []),
        ({"secret": Ref("s", "u")}, [("secrets", "x", "s")]),
        ({"pod": Ref("p", "u"), "node": Ref("n", "u")}, [("pods", "x", "p")]),
        ({"node": Ref("n", "u")}, [("nodes", "", "n")]),
    ],
)
def test_a_token_names_what_it_is_bound_to(
    private: dict[str, Ref], names: list[tuple[str, str, str]]
) -> None:
    said = claims(kubernetes=msgspec.structs.replace(claims().kubernetes, **({"pod": None} | private)))

    assert list(bound(said)) == [("serviceaccounts", "x", "robot"), *names]


def test_the_user_of_a_token_carries_pod_node_and_token_id() -> None:
    said = claims(
        kubernetes=KubernetesClaim(
            namespace="x", serviceaccount=Ref("robot", "u1"), pod=Ref("p", "u2"), node=Ref("n", "u3")
        )
    )

    assert user_of(said) == User(
        "system:serviceaccount:x:robot",
        ("system:serviceaccounts", "system:serviceaccounts:x"),
        "u1",
        {
            "authentication.kubernetes.io/credential-id": ("JTI=j",),
            "authentication.kubernetes.io/node-name": ("n",),
            "authentication.kubernetes.io/node-uid": ("u3",),
            "authentication.kubernetes.io/pod-name": ("p",),
            "authentication.kubernetes.io/pod-uid": ("u2",),
        },
    )


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("system:serviceaccount:x:y", ("x", "y")),
        ("system:serviceaccount:bad", None),
        ("system:serviceaccount::y", None),
        ("system:serviceaccount:x:y:z", None),
        ("alice", None),
    ],
)
def test_service_accounts_are_known_by_their_user_name(name: str, parts: tuple[str, str] | None) -> None:
    assert split_username(name) == parts


def secret(**changes: str) -> dict[str, Any]:
    data = {
        "token-id": "abcdef",
        "token-secret": "0123456789abcdef",
        "usage-bootstrap-authentication": "true",
    } | {key.replace("_", "-"): value for key, value in changes.items()}
    encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
    return {"metadata": {"name": "bootstrap-token-abcdef"}, "type": bootstrap_token.TYPE, "data": encoded}


TOKEN = "abcdef.0123456789abcdef"


def test_a_bootstrap_token_stands_for_its_id_and_groups() -> None:
    extra = secret(auth_extra_groups="system:bootstrappers:kubeadm:default-node-token")

    assert bootstrap_token.secret_name(TOKEN) == "bootstrap-token-abcdef"
    assert bootstrap_token.user_of(TOKEN, extra, NOW) == User(
        "system:bootstrap:abcdef", ("system:bootstrappers:kubeadm:default-node-token", "system:bootstrappers")
    )


@pytest.mark.parametrize(
    "held",
    [
        None,
        secret() | {"type": "Opaque"},
        secret() | {"metadata": {"deletionTimestamp": RECENT}},
        secret(token_secret="fedcba9876543210"),
        secret(token_id="zzzzzz"),
        secret(usage_bootstrap_authentication="false"),
        secret(expiration="2023-11-14T22:13:19Z"),
        secret(expiration="soon"),
        secret(auth_extra_groups="system:masters"),
        {"metadata": {}, "type": bootstrap_token.TYPE},
    ],
)
def test_a_secret_that_does_not_bear_a_bootstrap_token_out_gives_nobody(held: dict[str, Any] | None) -> None:
    assert bootstrap_token.user_of(TOKEN, held, NOW) is None


def test_a_bootstrap_token_works_until_it_expires() -> None:
    assert bootstrap_token.user_of(TOKEN, secret(expiration="2023-11-14T22:13:21Z"), NOW) is not None


@pytest.mark.parametrize("token", ["abcdef", "ABCDEF.0123456789abcdef", "abcdef.0123456789abcde", "a.b.c"])
def test_other_tokens_are_no_bootstrap_tokens(token: str) -> None:
    assert bootstrap_token.secret_name(token) == ""
