"""Pods stay five minutes on a node that went away, unless they say otherwise."""

from typing import Any

from kybern.admission.framework import Plugin, Request

KEYS = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
SECONDS = 300


async def mutate(request: Request) -> None:
    if request.new is None or request.subresource or request.operation not in ("CREATE", "UPDATE"):
        return
    spec = request.new.setdefault("spec", {})
    tolerations: list[Any] = spec.get("tolerations") or []
    missing = [key for key in KEYS if not any(_tolerates(toleration, key) for toleration in tolerations)]
    if missing:
        spec["tolerations"] = [*tolerations, *map(_toleration, missing)]


def _tolerates(toleration: Any, key: str) -> bool:
    return toleration.get("key", "") in (key, "") and toleration.get("effect", "") in ("NoExecute", "")


def _toleration(key: str) -> dict[str, Any]:
    return {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": SECONDS}


PLUGIN = Plugin("DefaultTolerationSeconds", mutate=mutate, resources=frozenset({("", "pods")}))
