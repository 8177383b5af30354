"""The AuthorizationConfiguration: what it comes to, and what is wrong with it, in upstream's words."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from kybern.apiserver.config_file import Invalid
from kybern.apiserver.rights import flags
from kybern.apiserver.rights.configuration import Wanted, Webhook, parse
from kybern.daemon.flags import Flags
from kybern.daemon.run import Fatal


def webhook(**changes: Any) -> dict[str, Any]:
    return {
        "timeout": "3s",
        "subjectAccessReviewVersion": "v1",
        "failurePolicy": "NoOpinion",
        "connectionInfo": {"type": "InClusterConfig"},
    } | changes


def content(*authorizers: dict[str, Any], **more: Any) -> bytes:
    head = {"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthorizationConfiguration"}
    return yaml.safe_dump(head | {"authorizers": list(authorizers)} | more).encode()


def one(**changes: Any) -> bytes:
    return content({"type": "Webhook", "name": "w", "webhook": webhook(**changes)})


NODE, RBAC = {"type": "Node", "name": "node"}, {"type": "RBAC", "name": "rbac"}


def test_authorizers_keep_their_order_and_get_upstreams_defaults() -> None:
    found = parse(content(NODE, {"type": "Webhook", "name": "w", "webhook": webhook()}, RBAC))

    assert [(wanted.type, wanted.name) for wanted in found] == [
        ("Node", "node"),
        ("Webhook", "w"),
        ("RBAC", "rbac"),
    ]
    assert found[1].webhook == Webhook("", "v1", 3.0, 300.0, 30.0)


def test_a_webhook_may_keep_nothing_and_deny(tmp_path: Path) -> None:
    file = tmp_path / "kubeconfig"
    file.touch()
    (found,) = parse(
        one(
            cacheAuthorizedRequests=False, unauthorizedTTL="1m30s", failurePolicy="Deny",
            connectionInfo={"type": "KubeConfigFile", "kubeConfigFile": str(file)},
        )
    )  # fmt: skip

    assert found.webhook == Webhook(str(file), "v1", 3.0, 0.0, 90.0, denies=True)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"[]", "it is empty"),
        (b"kind: Other", "it is not a AuthorizationConfiguration of apiserver.config.k8s.io/v1"),
        (content(), "authorizers: Required value: at least one authorization mode must be defined"),
        (content(NODE, surplus=1), 'strict decoding error: unknown field "surplus"'),
        (
            content(NODE | {"label": "x"}),
            'strict decoding error: unknown field "authorizers[0].label"',
        ),
        (content({"name": "x"}), "authorizers[0].type: Required value"),
        (
            content({"type": "Magic", "name": "x"}),
            (
                'authorizers[0].type: Unsupported value: "Magic": supported values: "ABAC", "AlwaysAllow", '
                '"AlwaysDeny", "Node", "RBAC", "Webhook"'
            ),
        ),
        (content(RBAC, RBAC), 'authorizers[1].type: Duplicate value: "RBAC"'),
        (content({"type": "RBAC"}), "authorizers[0].name: Required value"),
        (
            content(RBAC | {"name": "mine"}),
            "expected name rbac for authorizer RBAC instead of mine",
        ),
        (
            content({"type": "Webhook", "name": "W_", "webhook": webhook()}),
            'authorizers[0].name: Invalid value: "W_": authorizer name is invalid: a lowercase RFC 1123 subdomain must',
        ),
        (
            content({"type": "Webhook", "name": "w"}),
            "authorizers[0].webhook: Required value: required when type=Webhook",
        ),
        (
            content(RBAC | {"webhook": webhook()}),
            'authorizers[0].webhook: Invalid value: "non-null": may only be specified when type=Webhook',
        ),
        (one(timeout=""), "authorizers[0].timeout: Required value"),
        (one(timeout="31s"), 'authorizers[0].timeout: Invalid value: "31s": must be > 0s and <= 30s'),
        (one(authorizedTTL="-1s"), 'authorizers[0].authorizedTTL: Invalid value: "-1s": must be > 0s'),
        (one(unauthorizedTTL="soon"), 'authorizers[0].unauthorizedTTL: "soon" is no duration'),
        (
            one(subjectAccessReviewVersion="v2"),
            'authorizers[0].subjectAccessReviewVersion: Unsupported value: "v2": supported values: "v1", "v1beta1"',
        ),
        (
            one(matchConditions=[{"expression": "true"}]),
            "authorizers[0].matchConditionSubjectAccessReviewVersion: Required value: required if match conditions are",
        ),
        (one(failurePolicy="Maybe"), 'authorizers[0].failurePolicy: Unsupported value: "Maybe": supported'),
        (one(connectionInfo={}), "authorizers[0].connectionInfo.type: Required value"),
        (
            one(connectionInfo={"type": "InClusterConfig", "kubeConfigFile": "/x"}),
            'connectionInfo.kubeConfigFile: Invalid value: "/x": can only be set when type=KubeConfigFile',
        ),
        (
            one(connectionInfo={"type": "KubeConfigFile", "kubeConfigFile": "x"}),
            'connectionInfo.kubeConfigFile: Invalid value: "x": must be an absolute path',
        ),
        (
            one(connectionInfo={"type": "KubeConfigFile", "kubeConfigFile": "/nowhere"}),
            'Invalid value: "/nowhere": error loading file: stat /nowhere: no such file or directory',
        ),
        (
            one(
                matchConditions=[{"expression": "request.nothing"}],
                matchConditionSubjectAccessReviewVersion="v1",
            ),
            "authorizers[0].matchConditions[0].expression: Invalid value",
        ),
        (
            one(matchConditions=[{"expression": "1"}], matchConditionSubjectAccessReviewVersion="v1"),
            'matchConditions[0].expression: Invalid value: "1": must evaluate to bool but got int',
        ),
        (
            one(matchConditions=[{"expression": "true"}] * 2, matchConditionSubjectAccessReviewVersion="v1"),
            'authorizers[0].matchConditions[1].expression: Duplicate value: "true"',
        ),
        (
            one(matchConditions=[{"expression": "true"}] * 65, matchConditionSubjectAccessReviewVersion="v1"),
            "authorizers[0].matchConditions: Too many: 65: must have at most 64 items",
        ),
    ],
)
def test_what_is_wrong_is_told_in_upstreams_words(text: bytes, why: str) -> None:
    with pytest.raises(Invalid) as refused:
        parse(text)
    assert why in str(refused.value)


def test_types_of_the_first_file_must_stay() -> None:
    with pytest.raises(Invalid, match=r"missing required types: \[Node RBAC\]"):
        parse(content({"type": "AlwaysAllow", "name": "alwaysallow"}), {"Node", "RBAC"})


def given(*arguments: str) -> Any:
    return flags.rights_flags(Flags("kube-apiserver", "")).read(arguments)


def test_flags_name_authorizers_too() -> None:
    assert flags.by_flags(given()) == (Wanted("AlwaysAllow", "alwaysallow"),)
    assert flags.by_flags(
        given("--authorization-mode=RBAC,Webhook", "--authorization-webhook-config-file=/k",
              "--authorization-webhook-cache-authorized-ttl=0s")
    ) == (Wanted("RBAC", "rbac"), Wanted("Webhook", "default", Webhook("/k", authorized=0.0)))  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("--authorization-mode=Magic",), 'authorization-mode "Magic" is not a valid mode'),
        (
            ("--authorization-mode=Webhook",),
            "authorization-mode Webhook's authorization config file not passed",
        ),
        (
            ("--authorization-webhook-config-file=/k",),
            "cannot specify --authorization-webhook-config-file without mode Webhook",
        ),
        (
            ("--authorization-mode=RBAC,RBAC",),
            'authorization-mode ["RBAC" "RBAC"] has mode specified more than once',
        ),
        (
            (
                "--authorization-mode=Webhook",
                "--authorization-webhook-config-file=/k",
                "--authorization-webhook-version=v2",
            ),
            'unsupported webhook authorizer version "v2", supported versions are "v1", "v1beta1"',
        ),
    ],
)
def test_flags_that_cannot_work_are_refused(arguments: tuple[str, ...], why: str) -> None:
    with pytest.raises(Fatal) as refused:
        flags.by_flags(given(*arguments))
    assert why in str(refused.value)


@pytest.mark.parametrize("flag", ["--authorization-mode=RBAC", "--authorization-webhook-version=v1"])
def test_a_file_and_flags_exclude_each_other(flag: str) -> None:
    with pytest.raises(Fatal) as refused:
        flags.check_together(given("--authorization-config=/f", flag))
    assert str(refused.value) == (
        "kube-apiserver: --authorization-config can not be specified when --authorization-mode or "
        "--authorization-webhook-* flags are defined"
    )
    flags.check_together(given("--authorization-config=/f"))
