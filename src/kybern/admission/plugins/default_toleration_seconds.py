"""Pods stay five minutes on a node that went away, unless they, or the server's flags, say otherwise."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from kybern.admission.framework import Plugin, Request
from kybern.machinery.kind import Raw

NOT_READY, UNREACHABLE = "node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"
SECONDS = 300


def configured(seconds: Raw) -> Plugin:
    """``seconds`` by the taint of such a node."""
    usual: Mapping[str, int] = {key: seconds.get(key, SECONDS) for key in (NOT_READY, UNREACHABLE)}

    async def mutate(request: Request) -> None:
        if request.new is None or request.subresource or request.operation not in ("CREATE", "UPDATE"):
            return
        spec = request.new.setdefault("spec", {})
        tolerations: list[Any] = spec.get("tolerations") or []
        missing = [key for key in usual if not any(_tolerates(one, key) for one in tolerations)]
        if missing:
            spec["tolerations"] = [*tolerations, *(_toleration(key, usual[key]) for key in missing)]

    return replace(PLUGIN, mutate=mutate, configure=None)


def _tolerates(toleration: Any, key: str) -> bool:
    return toleration.get("key", "") in (key, "") and toleration.get("effect", "") in ("NoExecute", "")


def _toleration(key: str, seconds: int) -> dict[str, Any]:
    return {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": seconds}


PLUGIN = Plugin("DefaultTolerationSeconds", resources=frozenset({("", "pods")}), configure=configured)
