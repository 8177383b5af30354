"""A new node takes no pods until the node lifecycle controller has seen that it is ready."""

from kybern.admission.framework import Plugin, Request

KEY, EFFECT = "node.kubernetes.io/not-ready", "NoSchedule"


async def mutate(request: Request) -> None:
    if request.new is None or request.subresource or request.operation != "CREATE":
        return
    spec = request.new.setdefault("spec", {})
    taints = spec.get("taints") or []
    if not any((taint.get("key"), taint.get("effect")) == (KEY, EFFECT) for taint in taints):
        spec["taints"] = [*taints, {"key": KEY, "effect": EFFECT}]


PLUGIN = Plugin("TaintNodesByCondition", mutate=mutate, resources=frozenset({("", "nodes")}))
