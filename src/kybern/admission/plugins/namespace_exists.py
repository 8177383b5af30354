"""Nothing is made, changed or deleted in a namespace that is absent. Off by default: NamespaceLifecycle does more.

Upstream's ``plugin/pkg/admission/namespace/exists``.
"""

from kybern.admission.framework import Plugin, Request
from kybern.admission.namespaces import is_namespace, namespace_of


async def validate(request: Request) -> None:
    if request.operation == "CONNECT" or not request.namespace or is_namespace(request):
        return
    await namespace_of(request)


PLUGIN = Plugin("NamespaceExists", validate=validate, default=False)
