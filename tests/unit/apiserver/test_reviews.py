"""Reviews: what is asked and what is answered, as upstream answers it."""

from base64 import b64encode
from typing import Any

import pytest

from kybern.apiserver.authorization import Authorization
from kybern.apiserver.reviews import Reviews
from kybern.auth import legacy_tokens
from kybern.auth.user import User
from kybern.machinery.errors import ApiError, BadRequest, Invalid
from tests.unit.apiserver.test_authentication import ISSUER, KEY, Clock, accounts, token, tokens
from tests.unit.apiserver.test_authorization import grant_reads, watching

ALICE = User("alice", ("devs", "system:authenticated"), "", {"scopes": ("view",)})
ROOT = User("root", ("system:masters",))
PODS = {"namespace": "x", "verb": "list", "resource": "pods"}
REASON = 'RBAC: allowed by ClusterRoleBinding "b" of ClusterRole "reader" to User "alice"'


def reviews(chain: Authorization | None = None) -> Reviews:
    if chain is None:
        chain, stored = watching()
        grant_reads(stored)
    return Reviews(chain, tokens(accounts(), Clock()), lambda: 0.0)


async def ask(plural: str, spec: Any, user: User = ALICE, **more: Any) -> dict[str, Any]:
    group = (
        "authentication.k8s.io"
        if plural in ("tokenreviews", "selfsubjectreviews")
        else "authorization.k8s.io"
    )
    body = {"kind": "K", "apiVersion": f"{group}/v1", "metadata": {}, **more}
    if spec is not None:
        body["spec"] = spec
    namespace = "x" if plural.startswith("local") else ""
    return (await reviews().create(group, plural, namespace, body, user))[0]


@pytest.mark.parametrize(
    ("plural", "spec", "status"),
    [
        ("selfsubjectaccessreviews", {"resourceAttributes": PODS}, {"allowed": True, "reason": REASON}),
        ("selfsubjectaccessreviews", {"resourceAttributes": PODS | {"verb": "delete"}}, {"allowed": False}),
        (
            "selfsubjectaccessreviews",
            {"nonResourceAttributes": {"path": "/x", "verb": "get"}},
            {"allowed": True, "reason": REASON},
        ),
        (
            "subjectaccessreviews",
            {"user": "alice", "resourceAttributes": PODS},
            {"allowed": True, "reason": REASON},
        ),
        ("subjectaccessreviews", {"user": "bob", "resourceAttributes": PODS}, {"allowed": False}),
        (
            "subjectaccessreviews",
            {"user": "x", "groups": ["system:masters"], "resourceAttributes": PODS},
            {"allowed": True},
        ),
        (
            "subjectaccessreviews",
            {"groups": ["g"], "nonResourceAttributes": {"path": "/h", "verb": "get"}},
            {"allowed": False},
        ),
        (
            "subjectaccessreviews",
            {
                "user": "system:node:n1",
                "groups": ["system:nodes"],
                "resourceAttributes": {"verb": "get", "resource": "nodes", "name": "n2"},
            },
            {"allowed": False, "reason": "node 'n1' cannot read 'n2', only its own Node object"},
        ),
        (
            "subjectaccessreviews",
            {
                "user": "bob",
                "resourceAttributes": PODS
                | {"labelSelector": {"requirements": [{"key": "a", "operator": "Bogus"}]}},
            },
            {
                "allowed": False,
                "evaluationError": "spec.resourceAttributes.labelSelector ignored due to parse error",
            },
        ),
        (
            "subjectaccessreviews",
            {
                "user": "system:node:n1",
                "groups": ["system:nodes"],
                "resourceAttributes": PODS | {"fieldSelector": {"rawSelector": "spec.nodeName==n1,a!=b"}},
            },
            {"allowed": True},
        ),
        (
            "subjectaccessreviews",
            {
                "user": "system:node:n1",
                "groups": ["system:nodes"],
                "resourceAttributes": PODS
                | {
                    "fieldSelector": {
                        "requirements": [{"key": "spec.nodeName", "operator": "In", "values": ["n1"]}]
                    }
                },
            },
            {"allowed": True},
        ),
        ("localsubjectaccessreviews", {"user": "bob", "resourceAttributes": PODS}, {"allowed": False}),
    ],
)
async def test_an_access_review_tells_verdict_and_reason(
    plural: str, spec: dict[str, Any], status: dict[str, Any]
) -> None:
    answer = await ask(plural, spec)

    assert answer["status"] == status
    assert answer["spec"] == spec


EITHER = "exactly one of nonResourceAttributes or resourceAttributes must be specified"


@pytest.mark.parametrize(
    ("plural", "spec", "field", "message"),
    [
        ("selfsubjectaccessreviews", {}, "spec.resourceAttributes", f"Invalid value: null: {EITHER}"),
        (
            "selfsubjectaccessreviews",
            {"resourceAttributes": PODS, "nonResourceAttributes": {"path": "/x"}},
            "spec.nonResourceAttributes",
            'Invalid value: {"Path":"/x","Verb":""}: cannot be specified in combination with resourceAttributes',
        ),
        (
            "subjectaccessreviews",
            {"resourceAttributes": PODS},
            "spec.user",
            'Invalid value: "": at least one of user or group must be specified',
        ),
        (
            "localsubjectaccessreviews",
            {"user": "a", "resourceAttributes": PODS | {"namespace": "other"}},
            "spec.resourceAttributes.namespace",
            'Invalid value: "other": must match metadata.namespace',
        ),
        (
            "localsubjectaccessreviews",
            {"user": "a", "nonResourceAttributes": {"path": "/x"}},
            "spec.nonResourceAttributes",
            'Invalid value: {"Path":"/x","Verb":""}: disallowed on this kind of request',
        ),
        (
            "selfsubjectaccessreviews",
            {"resourceAttributes": PODS | {"fieldSelector": {}}},
            "spec.resourceAttributes.fieldSelector.requirements",
            (
                "Required value: when spec.resourceAttributes.fieldSelector is specified, requirements or rawSelector is"
                " required"
            ),
        ),
        (
            "selfsubjectaccessreviews",
            {
                "resourceAttributes": PODS
                | {"labelSelector": {"rawSelector": "a", "requirements": [{"key": "a"}]}}
            },
            "spec.resourceAttributes.labelSelector.rawSelector",
            'Invalid value: "a": may not specified at the same time as requirements',
        ),
    ],
)
async def test_an_access_review_that_makes_no_sense_is_invalid(
    plural: str, spec: dict[str, Any], field: str, message: str
) -> None:
    with pytest.raises(Invalid) as refused:
        await ask(plural, spec)

    assert refused.value.message == f'.authorization.k8s.io "" is invalid: {field}: {message}'
    reason = "FieldValueRequired" if message.startswith("Required value") else "FieldValueInvalid"
    assert refused.value.status()["details"] == {
        "group": "authorization.k8s.io",
        "causes": [{"reason": reason, "message": message, "field": field}],
    }


async def test_metadata_of_an_access_review_must_be_empty() -> None:
    with pytest.raises(Invalid, match="must be empty"):
        await ask("selfsubjectaccessreviews", {"resourceAttributes": PODS}, metadata={"name": "x"})


async def test_who_am_i_is_answered_with_all_that_is_known() -> None:
    answer = await ask("selfsubjectreviews", None)

    assert answer == {
        "kind": "K",
        "apiVersion": "authentication.k8s.io/v1",
        "metadata": {"creationTimestamp": "1970-01-01T00:00:00Z"},
        "status": {
            "userInfo": {
                "username": "alice",
                "groups": ["devs", "system:authenticated"],
                "extra": {"scopes": ["view"]},
            }
        },
    }


async def test_what_may_i_lists_rules_by_sort() -> None:
    answer = await ask("selfsubjectrulesreviews", {"namespace": "x"})

    assert (answer["metadata"], answer["spec"]) == ({}, {})
    assert answer["status"] == {
        "resourceRules": [{"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods"]}],
        "nonResourceRules": [{"verbs": ["get"], "nonResourceURLs": ["/x"]}],
        "incomplete": False,
    }


async def test_what_may_i_of_a_node_is_incomplete() -> None:
    answer = await ask(
        "selfsubjectrulesreviews", {"namespace": "x"}, User("system:node:n1", ("system:nodes",))
    )

    assert answer["status"]["incomplete"] is True
    assert answer["status"]["evaluationError"] == "node authorizer does not support user rule resolution"


async def test_a_good_token_names_its_user_and_audiences() -> None:
    answer = await ask("tokenreviews", {"token": token()})

    assert answer["status"] == {
        "authenticated": True,
        "user": {
            "username": "system:serviceaccount:x:robot",
            "uid": "u",
            "groups": ["system:serviceaccounts", "system:serviceaccounts:x", "system:authenticated"],
        },
        "audiences": [ISSUER],
    }


@pytest.mark.parametrize(
    ("spec", "error"),
    [
        ({"token": "bogus"}, "invalid bearer token"),
        (
            {"token": token(), "audiences": ["other"]},
            f'[invalid bearer token, token audiences ["{ISSUER}"] is invalid for the target audiences ["other"]]',
        ),
    ],
)
async def test_a_bad_token_is_told_why(spec: dict[str, Any], error: str) -> None:
    assert (await ask("tokenreviews", spec))["status"] == {"user": {}, "error": error}


@pytest.mark.parametrize(
    ("plural", "message"),
    [
        ("tokenreviews", "token is required for TokenReview in authentication"),
        ("selfsubjectrulesreviews", "no namespace on request"),
    ],
)
async def test_an_empty_review_is_a_bad_request(plural: str, message: str) -> None:
    with pytest.raises(BadRequest) as refused:
        await ask(plural, {})

    assert refused.value.message == message


async def test_only_reviews_are_known() -> None:
    made = reviews()

    assert made.knows("authorization.k8s.io", "subjectaccessreviews")
    assert not made.knows("", "pods")
    assert issubclass(BadRequest, ApiError)


async def test_a_token_that_is_out_of_date_warns_whoever_asks_about_it() -> None:
    kept, found = legacy_tokens.made("x", "robot", "u", "key", KEY), accounts()
    found.kept["secrets", "x", "key"] = {
        "metadata": {"name": "key"}, "data": {"token": b64encode(kept.encode()).decode()}
    }  # fmt: skip
    found.kept["serviceaccounts", "x", "robot"]["secrets"] = [{"name": "key"}]
    asked = Reviews(watching()[0], tokens(found, Clock()), lambda: 0.0)
    body = {"kind": "TokenReview", "apiVersion": "v1", "metadata": {}, "spec": {"token": kept}}

    answer, warnings = await asked.create("authentication.k8s.io", "tokenreviews", "", body, ROOT)

    assert answer["status"]["authenticated"]
    assert warnings == (legacy_tokens.WARNING,)
