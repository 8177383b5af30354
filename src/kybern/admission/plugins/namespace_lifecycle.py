"""Nothing is made in a namespace that is absent or ending, and some namespaces cannot be deleted."""

import asyncio

from kybern.admission.framework import Plugin, Request, refused
from kybern.admission.namespaces import is_namespace, namespace_of
from kybern.machinery.errors import Cause, Details
from kybern.machinery.kind import Raw

IMMORTAL = frozenset({"default", "kube-system", "kube-public"})
CACHE_DELAY = 0.05
"""How long a namespace that the cache does not know is waited for, before storage is asked (upstream's time)."""


async def check(request: Request) -> None:
    if is_namespace(request):
        if request.operation == "DELETE" and not request.subresource and request.name in IMMORTAL:
            raise refused(request, "this namespace may not be deleted")
        return
    if not request.namespace or request.operation not in ("CREATE", "UPDATE"):
        return
    if request.concerns("authorization.k8s.io", "localsubjectaccessreviews"):
        return
    namespace = await _namespace(request)
    if request.operation != "CREATE" or (namespace.get("status") or {}).get("phase") != "Terminating":
        return
    name = request.namespace
    error = refused(
        request, f"unable to create new content in namespace {name} because it is being terminated"
    )
    assert error.details is not None
    cause = Cause("metadata.namespace", "NamespaceTerminating", f"namespace {name} is being terminated")
    error.details = Details(error.details.name, error.details.group, error.details.kind, causes=(cause,))
    raise error


async def _namespace(request: Request) -> Raw:
    if request.operation == "CREATE":
        found = await request.lookup.get("", "namespaces", "", request.namespace)
        if found is not None:
            return found
        # It may have been made a moment ago by this very client.
        await asyncio.sleep(CACHE_DELAY)
    return await namespace_of(request)


PLUGIN = Plugin("NamespaceLifecycle", mutate=check)
