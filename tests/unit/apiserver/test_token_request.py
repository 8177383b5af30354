"""Tokens on request: what is asked for, what is signed, what is refused."""

from typing import Any

import pytest

from kybern.apiserver.token_request import Issuer
from kybern.auth.tokens import Claims, Ref, Verifier
from kybern.machinery.errors import ApiError
from kybern.machinery.kind import Raw
from tests.unit.apiserver.test_authentication import ISSUER, KEY, NOW, Objects


def objects() -> Objects:
    def named(name: str, uid: str, namespace: str = "x", **spec: Any) -> Raw:
        return {"metadata": {"name": name, "namespace": namespace, "uid": uid}, "spec": spec}

    return Objects(
        {
            ("serviceaccounts", "x", "robot"): named("robot", "u1"),
            ("pods", "x", "p"): named("p", "u2", serviceAccountName="robot", nodeName="n1"),
            ("pods", "x", "q"): named("q", "u3", serviceAccountName="other", nodeName=""),
            ("pods", "x", "r"): named("r", "u6", serviceAccountName="robot", nodeName="gone"),
            ("secrets", "x", "s"): named("s", "u4"),
            ("nodes", "", "n1"): named("n1", "u5", ""),
        }
    )


async def request(name: str = "robot", body: Any = None, **options: Any) -> Raw:
    issuer = Issuer(ISSUER, (ISSUER,), KEY, objects(), lambda: "id", lambda: NOW, **options)
    return await issuer.create("x", name, body or {})


def read(answer: Raw) -> Claims:
    audiences = tuple(answer["spec"]["audiences"])
    return Verifier((ISSUER,), (ISSUER,), (KEY.verifying,)).read(answer["status"]["token"], NOW, audiences)


def bound(kind: str, name: str, **more: str) -> Raw:
    return {"spec": {"boundObjectRef": {"apiVersion": "v1", "kind": kind, "name": name, **more}}}


async def test_an_empty_request_gets_an_hour_for_the_servers_own_audience() -> None:
    answer = await request()

    token = answer["status"].pop("token")
    assert answer == {
        "kind": "TokenRequest",
        "apiVersion": "authentication.k8s.io/v1",
        "metadata": {
            "name": "robot",
            "namespace": "x",
            "uid": "u1",
            "creationTimestamp": "2026-01-01T01:00:00Z",
        },
        "spec": {"audiences": [ISSUER], "expirationSeconds": 3600, "boundObjectRef": None},
        "status": {"expirationTimestamp": "2026-01-01T02:00:00Z"},
    }
    claims = Verifier((ISSUER,), (ISSUER,), (KEY.verifying,)).read(token, NOW)
    assert (claims.sub, claims.jti, claims.exp) == ("system:serviceaccount:x:robot", "id", int(NOW) + 3600)
    assert claims.kubernetes.serviceaccount == Ref("robot", "u1")


async def test_a_pods_token_names_pod_and_node() -> None:
    claims = read(await request(body=bound("Pod", "p", uid="u2")))

    assert (claims.kubernetes.pod, claims.kubernetes.node) == (Ref("p", "u2"), Ref("n1", "u5"))


async def test_the_node_of_a_pod_is_named_without_uid_when_it_is_gone() -> None:
    assert read(await request(body=bound("Pod", "r"))).kubernetes.node == Ref("gone")


@pytest.mark.parametrize(
    ("kind", "name", "ref"), [("Secret", "s", Ref("s", "u4")), ("Node", "n1", Ref("n1", "u5"))]
)
async def test_a_token_may_be_bound_to_a_secret_or_a_node(kind: str, name: str, ref: Ref) -> None:
    assert getattr(read(await request(body=bound(kind, name))).kubernetes, kind.lower()) == ref


async def test_a_projected_token_lives_a_year_and_warns_after_an_hour() -> None:
    body = bound("Pod", "p")
    body["spec"]["expirationSeconds"] = 3607

    answer = await request(body=body)

    claims = read(answer)
    assert (claims.exp, claims.kubernetes.warnafter) == (int(NOW) + 365 * 86400, int(NOW) + 3607)
    assert answer["status"]["expirationTimestamp"] == "2026-01-01T02:00:07Z"
    assert answer["spec"]["expirationSeconds"] == 3607


@pytest.mark.parametrize(
    "changes", [{"audiences": ["vault"]}, {"boundObjectRef": None}, {"expirationSeconds": 3600}]
)
async def test_other_tokens_live_as_long_as_asked(changes: Raw) -> None:
    body = bound("Pod", "p")
    body["spec"] |= {"expirationSeconds": 3607} | changes

    claims = read(await request(body=body))

    assert (claims.exp, claims.kubernetes.warnafter) == (int(NOW) + body["spec"]["expirationSeconds"], None)


async def test_extension_can_be_switched_off_and_lifetimes_cut() -> None:
    body = bound("Pod", "p")
    body["spec"]["expirationSeconds"] = 3607

    assert read(await request(body=body, extend=False)).exp == int(NOW) + 3607
    assert (await request(body={"spec": {"expirationSeconds": 9000}}, longest=7200))["spec"][
        "expirationSeconds"
    ] == 7200


TOKEN_REQUEST = "TokenRequest.authentication.k8s.io"
TWO = "the UID in the bound object reference (zz) does not match the UID in record."


@pytest.mark.parametrize(
    ("name", "body", "code", "message"),
    [
        ("absent", {}, 404, 'serviceaccounts "absent" not found'),
        (
            "robot",
            {"spec": {"expirationSeconds": 60}},
            422,
            (
                f'{TOKEN_REQUEST} "" is invalid: spec.expirationSeconds: Invalid value: 60: may not specify a'
                " duration less than 10 minutes"
            ),
        ),
        (
            "robot",
            {"spec": {"expirationSeconds": 5000000000}},
            422,
            (
                f'{TOKEN_REQUEST} "" is invalid: spec.expirationSeconds: Invalid value: 5000000000: may not'
                " specify a duration larger than 2^32 seconds"
            ),
        ),
        (
            "robot",
            {"metadata": {"name": "other"}},
            422,
            (
                f'{TOKEN_REQUEST} "robot" is invalid: metadata.name: Invalid value: "other": must match the'
                " service account name if specified"
            ),
        ),
        ("robot", bound("Pod", "absent"), 404, 'pods "absent" not found'),
        ("robot", bound("Secret", "absent"), 404, 'secrets "absent" not found'),
        (
            "robot",
            {"spec": {"boundObjectRef": {"kind": "Bogus", "name": "x"}}},
            400,
            "cannot bind token to object of type /, Kind=Bogus",
        ),
        (
            "robot",
            {"spec": {"boundObjectRef": {"apiVersion": "apps/v1", "kind": "Pod", "name": "x"}}},
            400,
            "cannot bind token to object of type apps/v1, Kind=Pod",
        ),
        (
            "robot",
            bound("Pod", "q"),
            400,
            'cannot bind token for serviceaccount "robot" to pod running with serviceaccount "other"',
        ),
        (
            "robot",
            bound("Pod", "p", uid="zz"),
            409,
            f'Operation cannot be fulfilled on Pod "p": {TWO} The object might have been deleted and then recreated',
        ),
    ],
)
async def test_a_request_is_refused_in_upstreams_words(name: str, body: Raw, code: int, message: str) -> None:
    with pytest.raises(ApiError) as refused:
        await request(name, body)

    assert (refused.value.code, refused.value.message) == (code, message)


async def test_admission_sees_the_completed_request_before_it_is_signed() -> None:
    seen: list[Raw] = []

    async def admit(body: Raw) -> None:
        seen.append(body["spec"] | {"signed": "token" in body["status"]})

    await Issuer(ISSUER, (ISSUER,), KEY, objects(), lambda: "id", lambda: NOW).create("x", "robot", {}, admit)

    assert seen == [{"audiences": [ISSUER], "expirationSeconds": 3600, "signed": False}]
