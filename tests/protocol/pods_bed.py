"""What tests of pods share beside the bed: what a pod printed, whether it is over, and objects that it refers to."""

import asyncio
import base64
from collections.abc import Awaitable, Mapping
from pathlib import Path
from typing import Any

from kybern.api.core_v1 import Pod
from kybern.kubelet.logline import parse
from tests.protocol.containerd_bed import OneNode

IMAGE = "busybox:1.36"
CORE = "/api/v1/namespaces"


def over(pod: Pod) -> bool:
    return pod.status.phase in ("Succeeded", "Failed")


def said(node: OneNode, pod: Pod, container: str = "c", attempt: int = 0) -> str:
    """What a container printed so far."""
    meta = pod.metadata
    path = Path(node.bed.at, "logs", f"{meta.namespace}_{meta.name}_{meta.uid}", container, f"{attempt}.log")
    entries = map(parse, path.read_bytes().splitlines(keepends=True)) if path.exists() else ()
    return b"".join(entry.content for entry in entries if entry is not None).decode()


async def outputs(node: OneNode, *names: str) -> dict[str, str]:
    """What pods that end by themselves printed; they must have ended well."""
    found = {}
    for name in names:
        pod = await node.until(name, over, 60)
        assert pod.status.phase == "Succeeded", (name, pod.status, said(node, pod))
        found[name] = said(node, pod)
    return found


def shell(script: str, **more: Any) -> dict[str, Any]:
    """A container that runs a script."""
    return {"name": "c", "command": ["sh", "-c", script], **more}


async def config_map(node: OneNode, name: str, data: Mapping[str, str], namespace: str = "default") -> None:
    raw = {"metadata": {"name": name, "namespace": namespace}, "data": dict(data)}
    await node.api.request("POST", f"{CORE}/{namespace}/configmaps", raw)


async def secret(node: OneNode, name: str, data: Mapping[str, str], namespace: str = "default") -> None:
    encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
    raw = {"metadata": {"name": name, "namespace": namespace}, "data": encoded}
    await node.api.request("POST", f"{CORE}/{namespace}/secrets", raw)


async def until(check: Any, seconds: float = 20.0) -> Any:
    """Wait for what no status tells; ``check`` may be a coroutine function."""
    limit = asyncio.get_running_loop().time() + seconds
    while True:
        found = check()
        found = await found if isinstance(found, Awaitable) else found
        if found:
            return found
        assert asyncio.get_running_loop().time() < limit, "it did not come to that"
        await asyncio.sleep(0.1)
