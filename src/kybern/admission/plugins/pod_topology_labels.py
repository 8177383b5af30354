"""A pod learns the zone and region of its node as labels, when it is bound or made there."""

from kybern.admission.framework import Plugin, Request

LABELS = ("topology.kubernetes.io/zone", "topology.kubernetes.io/region")


async def mutate(request: Request) -> None:
    new = request.new
    if new is None or request.operation != "CREATE":
        return
    if request.subresource == "binding":
        node = (new.get("target") or {}).get("name", "")
    elif request.subresource:
        return
    else:
        node = (new.get("spec") or {}).get("nodeName", "")
    held = (await request.lookup.labels("", "nodes", "", node) if node else None) or {}
    labels = {name: held[name] for name in LABELS if name in held}
    if labels:
        new["metadata"]["labels"] = {**(new["metadata"].get("labels") or {}), **labels}


PLUGIN = Plugin("PodTopologyLabels", mutate=mutate, resources=frozenset({("", "pods")}))
