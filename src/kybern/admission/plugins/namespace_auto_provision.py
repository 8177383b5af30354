"""A namespace that is absent is made when something is made in it. Off by default.

Upstream's ``plugin/pkg/admission/namespace/autoprovision``. It runs before NamespaceLifecycle, which then finds the
namespace; a dry run makes none, so NamespaceLifecycle refuses one in a namespace that is absent. The server makes the
namespace as itself: whoever may make something in a namespace need not be allowed to make namespaces.
"""

from kybern.admission.framework import Plugin, Request, refused
from kybern.admission.namespaces import is_namespace
from kybern.machinery.errors import AlreadyExists, ApiError


async def mutate(request: Request) -> None:
    if request.operation != "CREATE" or request.dry_run or not request.namespace or is_namespace(request):
        return
    if await request.lookup.get("", "namespaces", "", request.namespace) is not None:
        return
    if request.provision is None:
        raise refused(request, "not yet ready to handle request")
    try:
        await request.provision(request.namespace)
    except AlreadyExists:
        return  # the cache did not know it yet
    except ApiError as problem:
        raise refused(request, problem.message) from problem


PLUGIN = Plugin("NamespaceAutoProvision", mutate=mutate, default=False)
