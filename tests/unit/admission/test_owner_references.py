"""OwnerReferencesPermissionEnforcement: who may change owners, and who may have an owner wait."""

from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from kybern.admission.framework import Request
from kybern.admission.plugins import owner_references_permission_enforcement
from kybern.auth.attributes import Attributes, Decision, Verdict
from kybern.machinery.kind import Kind, Raw
from tests.unit.admission.writes import admitted, named, write

PLUGIN = owner_references_permission_enforcement.PLUGIN
SERVED = {
    ("v1", "ReplicationController"): Kind(
        "", "v1", "ReplicationController", "replicationcontrollers", True, ""
    ),
    ("v1", "Node"): Kind("", "v1", "Node", "nodes", False, ""),
    ("apps/v1", "DaemonSet"): Kind("apps", "v1", "DaemonSet", "daemonsets", True, ""),
}
CONFIGURED: Any = SimpleNamespace(
    versions=SimpleNamespace(named=lambda version, kind: SERVED.get((version, kind)))
)


@dataclass
class Rights:
    """Allows what a rule allows, and remembers what was asked."""

    allows: Callable[[Attributes], bool]
    asked: list[Attributes] = field(default_factory=list)

    def __call__(self, asked: Attributes) -> Decision:
        self.asked.append(asked)
        return Decision(Verdict.ALLOW) if self.allows(asked) else Decision(Verdict.NO_OPINION, "no rule")


def owner(kind: str = "ReplicationController", version: str = "v1", *, block: bool | None = None) -> Raw:
    found: Raw = {"apiVersion": version, "kind": kind, "name": "o", "uid": f"uid-{kind}"}
    return found if block is None else found | {"blockOwnerDeletion": block}


def pod(*owners: Raw) -> Raw:
    return named("p", metadata={"ownerReferences": list(owners)} if owners else {})


def nothing(_asked: Attributes) -> bool:
    return False


def all_but_the_owner(asked: Attributes) -> bool:
    return asked.verb == "delete"


def deleting_and(*resources: str) -> Callable[[Attributes], bool]:
    return lambda asked: asked.verb == "delete" or asked.resource in resources


NO_DELETE = 'pods "p" is forbidden: cannot set an ownerRef on a resource you can\'t delete: no rule, <nil>'
NO_BLOCK = (
    'pods "p" is forbidden: cannot set blockOwnerDeletion if an ownerReference refers to a resource you can\'t set '
    "finalizers on: no rule, <nil>"
)
UNKNOWN = (
    'pods "p" is forbidden: cannot set blockOwnerDeletion in this case because cannot find RESTMapping for APIVersion '
    'x.io/v1 Kind Toy: no matches for kind "Toy" in version "x.io/v1"'
)
BLOCKS, TOY = owner(block=True), owner("Toy", "x.io/v1", block=True)


@pytest.mark.parametrize(
    ("request_", "allows", "says"),
    [
        (write("CREATE", "pods", pod()), nothing, ""),
        (write("CREATE", "pods", pod(owner())), nothing, ""),
        (write("CREATE", "pods", pod(owner(block=False))), nothing, ""),
        (write("CREATE", "pods", pod(BLOCKS)), nothing, NO_BLOCK),
        (write("CREATE", "pods", pod(BLOCKS)), deleting_and("replicationcontrollers"), ""),
        (write("UPDATE", "pods", pod(), pod()), nothing, ""),
        (write("UPDATE", "pods", pod(owner()), pod(owner())), nothing, ""),
        (write("UPDATE", "pods", pod(owner()), pod()), nothing, NO_DELETE),
        (write("UPDATE", "pods", pod(), pod(owner())), nothing, NO_DELETE),
        (write("UPDATE", "pods/status", pod(owner()), pod()), nothing, ""),
        (write("UPDATE", "pods/finalize", pod(owner()), pod()), nothing, NO_DELETE),
        (write("UPDATE", "pods", pod(owner()), pod()), all_but_the_owner, ""),
        (write("UPDATE", "pods", pod(BLOCKS), pod(BLOCKS)), nothing, ""),
        (write("UPDATE", "pods", pod(BLOCKS), pod(owner())), all_but_the_owner, NO_BLOCK),
        (write("UPDATE", "pods", pod(BLOCKS), pod(owner(block=False))), all_but_the_owner, NO_BLOCK),
        (write("UPDATE", "pods", pod(owner(block=False)), pod(BLOCKS)), all_but_the_owner, ""),
        (write("UPDATE", "pods", pod(BLOCKS, owner("Node")), pod(BLOCKS)), all_but_the_owner, ""),
        (
            write("UPDATE", "pods", pod(BLOCKS, owner("DaemonSet", "apps/v1", block=True)), pod(BLOCKS)),
            deleting_and("replicationcontrollers"),
            NO_BLOCK,
        ),
        (write("CREATE", "pods", pod(TOY)), all_but_the_owner, UNKNOWN),
        (write("CREATE", "pods", pod(TOY)), deleting_and("*"), ""),
        (write("DELETE", "pods", old=pod(BLOCKS)), nothing, ""),
    ],
)
async def test_owners_are_changed_by_those_who_could_delete(
    request_: Request, allows: Callable[[Attributes], bool], says: str
) -> None:
    request_.authorize, request_.configured = Rights(allows), CONFIGURED

    assert await admitted(PLUGIN, request_) == says


async def test_what_is_asked_names_the_object_and_its_owner() -> None:
    rights = Rights(lambda asked: asked.resource != "*")
    new = pod(BLOCKS, owner("Node", block=True))
    request = write("UPDATE", "pods", new, pod(), authorize=rights, configured=CONFIGURED)

    assert await admitted(PLUGIN, request) == ""

    assert [(one.verb, one.resource, one.subresource, one.namespace, one.name) for one in rights.asked] == [
        ("delete", "pods", "", "x", "p"),
        ("update", "*", "finalizers", "", "*"),
        ("update", "replicationcontrollers", "finalizers", "x", "o"),
        ("update", "nodes", "finalizers", "", "o"),  # it has no namespace
    ]


async def test_nobody_is_allowed_anything_where_nobody_can_be_asked() -> None:
    assert await admitted(PLUGIN, write("UPDATE", "pods", pod(owner()), pod())) == (
        'pods "p" is forbidden: cannot set an ownerRef on a resource you can\'t delete: , <nil>'
    )
