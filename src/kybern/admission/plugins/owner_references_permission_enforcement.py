"""Who gives an object another owner must be allowed to delete it, since its owner's end is its own. Off by default.

Upstream's ``plugin/pkg/admission/gc``. Who lets it delay an owner's deletion (blockOwnerDeletion) must be allowed to set
that owner's finalizers, which would delay it as well.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any

from kybern.admission.framework import Plugin, Request, refused
from kybern.auth.attributes import Attributes, Decision, Verdict
from kybern.auth.unsettled import settled
from kybern.machinery.kind import Raw

_NOBODY = Decision(Verdict.NO_OPINION)


async def validate(request: Request) -> None:
    if request.new is None or request.operation not in ("CREATE", "UPDATE"):
        return
    if request.concerns("", "pods", "status"):
        return  # a status leaves the owners alone
    new, old = _owners(request.new), _owners(request.old)
    if new == old:
        return
    if request.operation != "CREATE":
        await _require(request, _deletion(request), "cannot set an ownerRef on a resource you can't delete")
    blocking = list(_blocking(new, old))
    if not blocking or (await _decided(request, _finalizing_anything(request))).verdict is Verdict.ALLOW:
        return
    for owner in blocking:
        await _require(
            request,
            _finalizing(request, owner),
            "cannot set blockOwnerDeletion if an ownerReference refers to a resource you can't set finalizers on",
        )


def _owners(raw: Raw | None) -> list[Any]:
    return ((raw or {}).get("metadata") or {}).get("ownerReferences") or []


def _blocking(new: list[Any], old: list[Any]) -> Iterator[Any]:
    """Those that delay an owner's deletion now and did not before."""
    before = {owner.get("uid", ""): owner for owner in old}
    for owner in new:
        known = before.get(owner.get("uid", "")) or {}
        if owner.get("blockOwnerDeletion") is True and known.get("blockOwnerDeletion") is not True:
            yield owner


def _deletion(request: Request) -> Attributes:
    kind = request.kind
    return Attributes(
        request.user,
        "delete",
        kind.group,
        kind.version,
        kind.plural,
        request.subresource,
        request.namespace,
        request.name,
    )


def _finalizing_anything(request: Request) -> Attributes:
    """Who may do this needs no look at the owner's kind, which may be one that nobody serves."""
    return Attributes(request.user, "update", "*", "*", "*", "finalizers", name="*")


def _finalizing(request: Request, owner: Any) -> Attributes:
    """Raises Forbidden when the owner's kind is none that is served."""
    version, kind = owner.get("apiVersion", ""), owner.get("kind", "")
    found = request.configured.versions.named(version, kind) if request.configured else None
    if found is None:
        raise refused(
            request,
            f"cannot set blockOwnerDeletion in this case because cannot find RESTMapping for APIVersion {version} "
            f'Kind {kind}: no matches for kind "{kind}" in version "{version}"',
        )
    # An owner that has a namespace has that of what it owns.
    namespace = request.namespace if found.namespaced else ""
    return Attributes(
        request.user,
        "update",
        found.group,
        found.version,
        found.plural,
        "finalizers",
        namespace,
        owner.get("name", ""),
    )


async def _require(request: Request, asked: Attributes, without: str) -> None:
    decision = await _decided(request, asked)
    if decision.verdict is not Verdict.ALLOW:
        raise refused(request, f"{without}: {decision.reason}, {decision.error or '<nil>'}")


async def _decided(request: Request, asked: Attributes) -> Decision:
    if request.authorize is None:
        return _NOBODY
    return await settled(partial(request.authorize, asked))


PLUGIN = Plugin("OwnerReferencesPermissionEnforcement", validate=validate, default=False)
