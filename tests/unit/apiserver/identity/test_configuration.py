"""The AuthenticationConfiguration: what is wrong with one, in upstream's words, and the flags that stand for it."""

from typing import Any

import pytest
import yaml

from kybern.apiserver.config_file import Invalid
from kybern.apiserver.identity import flags
from kybern.apiserver.identity.configuration import parse
from kybern.daemon.flags import Flags
from kybern.daemon.run import Fatal

NAME = {"username": {"claim": "sub", "prefix": ""}}
ISSUER = {"url": "https://issuer.example", "audiences": ["api"]}


def jwt(**changes: Any) -> dict[str, Any]:
    return {"issuer": ISSUER, "claimMappings": NAME} | changes


def issuer(**changes: Any) -> dict[str, Any]:
    return jwt(issuer=ISSUER | changes)


def mapped(**changes: Any) -> dict[str, Any]:
    return jwt(claimMappings=NAME | changes)


def content(*issuers: dict[str, Any], **more: Any) -> bytes:
    head = {"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthenticationConfiguration"}
    return yaml.safe_dump(head | {"jwt": list(issuers)} | more).encode()


def test_all_of_it_at_once_is_fine() -> None:
    file = parse(
        content(
            jwt(
                issuer={
                    "url": "https://a/b", "discoveryURL": "https://c/d", "audiences": ["one", "two"],
                    "audienceMatchPolicy": "MatchAny",
                },
                claimValidationRules=[
                    {"claim": "hd", "requiredValue": "example.org"},
                    {"expression": "claims.?email_verified.orValue(true) == true", "message": "not verified"},
                ],
                claimMappings={
                    "username": {"expression": "claims.email + ':x'"},
                    "groups": {"expression": "claims.roles.split(',')"},
                    "uid": {"claim": "sub"},
                    "extra": [{"key": "example.org/team", "valueExpression": "claims.team"}],
                },
                userValidationRules=[{"expression": "!user.username.startsWith('system:')"}],
            ),
            anonymous={"enabled": True, "conditions": [{"path": "/livez"}]},
        )
    )  # fmt: skip

    assert file.jwt[0].issuer.discovery_url == "https://c/d"
    assert file.anonymous is not None
    assert file.anonymous.conditions[0].path == "/livez"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (content(*[jwt()] * 65), "jwt: Too many: 65: must have at most 64 items"),
        (content(jwt(), jwt()), 'jwt[1].issuer.url: Duplicate value: "https://issuer.example"'),
        (content(jwt(strange=1)), 'strict decoding error: unknown field "jwt[0].strange"'),
        (content(issuer(url="")), "jwt[0].issuer.url: Required value"),
        (content(issuer(url="http://x")), 'Invalid value: "http://x": URL scheme must be https'),
        (content(issuer(url="https://a:b@x")), "URL must not contain a username or password"),
        (content(issuer(url="https://x?a=b")), "URL must not contain a query"),
        (content(issuer(url="https://x#a")), "URL must not contain a fragment"),
        (content(issuer(url="https://own")), "URL must not overlap with disallowed issuers: [https://own]"),
        (
            content(issuer(discoveryURL="https://issuer.example/")),
            'jwt[0].issuer.discoveryURL: Invalid value: "https://issuer.example/": discoveryURL must be different',
        ),
        (
            content(issuer(audiences=[])),
            "jwt[0].issuer.audiences: Required value: at least one jwt[0].issuer.audiences is required",
        ),
        (
            content(issuer(audiences=["a", "a"], audienceMatchPolicy="MatchAny")),
            'audiences[1]: Duplicate value: "a"',
        ),
        (
            content(issuer(audiences=["a", "b"])),
            'audienceMatchPolicy: Invalid value: "": audienceMatchPolicy must be MatchAny for multiple audiences',
        ),
        (
            content(issuer(audienceMatchPolicy="All")),
            "audienceMatchPolicy must be empty or MatchAny for single audience",
        ),
        (
            content(issuer(certificateAuthority="nonsense")),
            'certificateAuthority: Invalid value: "<omitted>": data does not contain any valid',
        ),
        (
            content(issuer(egressSelectorType="cluster")),
            'oidc: egress lookup for "cluster" is not configured',
        ),
        (
            content(issuer(egressSelectorType="else")),
            "egress selector must be either controlplane or cluster",
        ),
        (
            content(jwt(claimValidationRules=[{"claim": "a", "expression": "true"}])),
            'claimValidationRules[0]: Invalid value: "a": claim and expression can\'t both be set',
        ),
        (
            content(jwt(claimValidationRules=[{}])),
            "jwt[0].claimValidationRules[0]: Required value: claim or expression is required",
        ),
        (
            content(jwt(claimValidationRules=[{"claim": "a", "message": "m"}])),
            'message: Invalid value: "m": may not be specified when claim is set',
        ),
        (
            content(jwt(claimValidationRules=[{"expression": "claims.a", "requiredValue": ""}])),
            'claimValidationRules[0].expression: Invalid value: "claims.a": must evaluate to bool',
        ),
        (
            content(jwt(claimValidationRules=[{"expression": "true"}, {"expression": "true"}])),
            'claimValidationRules[1].expression: Duplicate value: "true"',
        ),
        (
            content(jwt(claimMappings={})),
            "jwt[0].claimMappings.username: Required value: claim or expression is required",
        ),
        (
            content(jwt(claimMappings={"username": {"claim": "sub"}})),
            "username.prefix: Required value: prefix is required when claim is set",
        ),
        (
            content(jwt(claimMappings={"username": {"expression": "claims.a", "prefix": "x"}})),
            'username.prefix: Invalid value: "x": may not be specified when expression is set',
        ),
        (
            content(jwt(claimMappings={"username": {"expression": "nothing.a"}})),
            'username.expression: Invalid value: "nothing.a": compilation failed',
        ),
        (
            content(jwt(claimMappings={"username": {"expression": "claims.?email.orValue('x')"}})),
            "claims.email_verified must be used in claimMappings.username.expression",
        ),
        (content(mapped(uid={"claim": "a", "expression": "b"})), "claimMappings.uid: Invalid value"),
        (content(mapped(extra=[{"key": "", "valueExpression": "''"}])), "extra[0].key: Required value"),
        (
            content(mapped(extra=[{"key": "a/B", "valueExpression": "''"}])),
            'extra[0].key: Invalid value: "a/B": must be lowercase',
        ),
        (
            content(mapped(extra=[{"key": "x.k8s.io/b", "valueExpression": "''"}])),
            "k8s.io, kubernetes.io and their subdomains are reserved for Kubernetes use",
        ),
        (content(mapped(extra=[{"key": "a.org/b"}])), "extra[0].valueExpression: Required value"),
        (
            content(jwt(userValidationRules=[{"expression": ""}])),
            "jwt[0].userValidationRules[0].expression: Required value",
        ),
        (
            content(anonymous={"enabled": False, "conditions": [{"path": "/x"}]}),
            'anonymous.conditions: Invalid value: [{"path":"/x"}]: enabled should be set to true when conditions',
        ),
    ],
)
def test_what_is_wrong_is_told_in_upstreams_words(text: bytes, why: str) -> None:
    with pytest.raises(Invalid) as refused:
        parse(text, ("https://own",))
    assert why in str(refused.value)


def given(*arguments: str) -> Any:
    return flags.identity_flags(Flags("kube-apiserver", "")).read(arguments)


OIDC = ("--oidc-issuer-url=https://i", "--oidc-client-id=c")


@pytest.mark.parametrize(
    ("arguments", "prefix"),
    [
        ((), "https://i#"),
        (("--oidc-username-claim=email",), ""),
        (("--oidc-username-prefix=-",), ""),
        (("--oidc-username-prefix=x:",), "x:"),
    ],
)
def test_flags_stand_for_a_file(arguments: tuple[str, ...], prefix: str) -> None:
    file, algorithms = flags.by_flags(
        given(
            *OIDC,
            *arguments,
            "--oidc-groups-claim=g",
            "--oidc-required-claim=a=b,c",
            "--oidc-required-claim=d=e",
        ),
        (),
    )

    (found,) = file.jwt
    assert found.claim_mappings.username.prefix == prefix
    assert (found.claim_mappings.groups.claim, found.claim_mappings.groups.prefix) == ("g", "")
    assert [(rule.claim, rule.required_value) for rule in found.claim_validation_rules] == [
        ("a", "b,c"),
        ("d", "e"),
    ]
    assert algorithms == ("RS256",)


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (
            ("--oidc-issuer-url=https://i",),
            "oidc-issuer-url and oidc-client-id must be specified together when any oidc-* flags are set",
        ),
        (
            (*OIDC, "--authentication-config=/f"),
            "authentication-config file and oidc-* flags are mutually exclusive",
        ),
    ],
)
def test_flags_that_exclude_each_other_are_refused(arguments: tuple[str, ...], why: str) -> None:
    with pytest.raises(Fatal) as refused:
        flags.checked(given(*arguments))
    assert why in str(refused.value)


def test_algorithms_and_issuers_of_flags_are_checked() -> None:
    with pytest.raises(Invalid, match='oidc: unsupported signing alg: "HS256"'):
        flags.by_flags(given(*OIDC, "--oidc-signing-algs=RS256,HS256"), ())
    with pytest.raises(Invalid, match="disallowed issuers"):
        flags.by_flags(given(*OIDC), ("https://i",))
