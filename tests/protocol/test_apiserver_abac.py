"""Mode ABAC on a real server: what its file allows, beside RBAC, and files that cannot be used."""

import json
from collections.abc import Sequence
from typing import Any

import pytest

from tests.protocol.apiserver_bed import Lab

pytestmark = pytest.mark.etcd

MAPS = "/api/v1/namespaces/{}/configmaps"
POLICY = {
    "apiVersion": "abac.authorization.kubernetes.io/v1beta1",
    "kind": "Policy",
    "spec": {"user": "nobody", "namespace": "default", "resource": "configmaps", "readonly": True},
}


def flags(lab: Lab, port: int, *more: str) -> Sequence[str]:
    usual = lab.flags(port, "--endpoint-reconciler-type=none")
    return [*(flag for flag in usual if not flag.startswith("--authorization-mode")), *more]


def test_a_rule_allows_what_rbac_does_not(lab: Lab, free_ports: Any) -> None:
    lab.write("rules.jsonl", f"# who reads\n{json.dumps(POLICY)}\n".encode())
    file = f"--authorization-policy-file={lab.directory}/rules.jsonl"
    port = free_ports()
    server = lab.start_with(port, *flags(lab, port, "--authorization-mode=RBAC,ABAC", file))
    assert server.ask("GET", MAPS.format("default"), identity="nobody")[0] == 200
    assert server.ask("GET", MAPS.format("kube-system"), identity="nobody")[0] == 403
    code, refused = server.ask("POST", MAPS.format("default"), {"metadata": {"name": "a"}}, identity="nobody")
    assert code == 403
    assert refused["message"].endswith('in the namespace "default": No policy matched.')
    review = {"spec": {"namespace": "default"}}
    path = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews"
    _, told = server.ask("POST", path, review, identity="nobody")
    assert {"verbs": ["get", "list", "watch"], "apiGroups": [""], "resources": ["configmaps"]} in told[
        "status"
    ]["resourceRules"]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--authorization-mode=ABAC"], "authorization-mode ABAC's authorization policy file not passed"),
        (
            ["--authorization-mode=RBAC", "--authorization-policy-file=/nowhere"],
            "cannot specify --authorization-policy-file without mode ABAC",
        ),
        (["--authorization-mode=ABAC", "--authorization-policy-file=/nowhere"], "No such file or directory"),
    ],
)
def test_what_cannot_be_used_is_said(lab: Lab, free_ports: Any, more: list[str], said: str) -> None:
    assert said in lab.refused(free_ports(), *more)
