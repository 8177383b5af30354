"""An Ingress that names no class gets the default one."""

from kybern.admission.framework import Plugin, Request
from kybern.admission.newest import newest

GROUP = "networking.k8s.io"
ANNOTATIONS = ("ingressclass.kubernetes.io/is-default-class",)
OLD = "kubernetes.io/ingress.class"


async def mutate(request: Request) -> None:
    ingress = request.new
    if ingress is None or request.subresource or request.operation != "CREATE":
        return
    spec = ingress.setdefault("spec", {})
    if spec.get("ingressClassName") is not None or OLD in (ingress["metadata"].get("annotations") or {}):
        return
    default = newest(await request.lookup.list(GROUP, "ingressclasses"), ANNOTATIONS)
    if default is not None:
        spec["ingressClassName"] = default["metadata"]["name"]


PLUGIN = Plugin("DefaultIngressClass", mutate=mutate, resources=frozenset({(GROUP, "ingresses")}))
