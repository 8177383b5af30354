"""A pod that runs may be changed only in ways that the kubelet of its node says it knows (KEP-5328)."""

from kybern.admission.framework import Plugin, Request, refused
from kybern.api.declared_features import for_update


async def validate(request: Request) -> None:
    new, old = request.new, request.old
    if (
        new is None
        or old is None
        or request.operation != "UPDATE"
        or request.subresource not in ("", "resize")
    ):
        return
    node = (new.get("spec") or {}).get("nodeName", "")
    if not node or new["metadata"].get("generation") == old["metadata"].get("generation"):
        return
    needed = list(for_update(old, new))
    if not needed:
        return
    found = await request.lookup.get("", "nodes", "", node)
    if found is None:
        raise refused(request, f'node "{node}" not found')
    declared = (found.get("status") or {}).get("declaredFeatures") or ()
    missing = [name for name in needed if name not in declared]
    if missing:
        text = f"pod update requires features {', '.join(missing)} which are not available on node"
        raise refused(request, f'{text} "{node}"')


PLUGIN = Plugin("NodeDeclaredFeatureValidator", validate=validate, resources=frozenset({("", "pods")}))
