"""The audit policy that a cluster gets: what people do is told, what daemons do all day is not."""

from typing import Any

import pytest

from kybern.apiserver.audit.policy import Level, Policy, read
from kybern.auth.attributes import Attributes
from kybern.auth.user import MASTERS, User
from roles.apiserver import DAEMONS
from roles.templates import render

ADMIN = User("kubernetes-admin", (MASTERS, "system:authenticated"))
NODE = User("system:node:worker-1", ("system:nodes", "system:authenticated"))
PLUGIN = User("system:serviceaccount:kube-system:x", ("system:serviceaccounts:kube-system",))
SCHEDULER = User("system:kube-scheduler", ("system:authenticated",))


@pytest.fixture(scope="module")
def policy() -> Policy:
    return read(render("apiserver/audit-policy.yaml", daemons=DAEMONS).decode())


@pytest.mark.parametrize(
    ("user", "verb", "of", "told"),
    [
        (ADMIN, "delete", {"resource": "pods"}, True),
        (ADMIN, "get", {"resource": "secrets"}, True),
        (ADMIN, "create", {"resource": "pods", "subresource": "exec"}, True),
        (User("system:anonymous"), "list", {"resource": "pods"}, True),
        (SCHEDULER, "watch", {"resource": "pods"}, False),
        (SCHEDULER, "create", {"resource": "pods", "subresource": "binding"}, True),
        (SCHEDULER, "update", {"resource": "leases", "group": "coordination.k8s.io"}, False),
        (NODE, "patch", {"resource": "nodes", "subresource": "status"}, False),
        (NODE, "patch", {"resource": "nodes"}, True),
        (NODE, "get", {"resource": "configmaps"}, False),
        (NODE, "create", {"resource": "serviceaccounts", "subresource": "token"}, True),
        (PLUGIN, "watch", {"resource": "services"}, False),
        (PLUGIN, "delete", {"resource": "services"}, True),
        (SCHEDULER, "create", {"resource": "events", "group": "events.k8s.io"}, False),
        (ADMIN, "get", {"path": "/readyz"}, False),
        (ADMIN, "get", {"path": "/api/v1"}, False),
        (ADMIN, "get", {"path": "/logs/"}, True),
    ],
)
def test_who_is_told(policy: Policy, user: User, verb: str, of: dict[str, Any], told: bool) -> None:
    found = policy.tell(Attributes(user, verb, **of))

    assert found.level is (Level.Metadata if told else Level.None_)


def test_all_daemons_with_a_certificate_of_their_own_are_known() -> None:
    assert {"system:kube-scheduler", "system:kybern-dns"} <= set(DAEMONS)
    assert "kubernetes-admin" not in DAEMONS
