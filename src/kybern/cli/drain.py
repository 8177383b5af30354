"""Emptying a node before its machine leaves: cordon, evict within what disruption budgets allow, wait, forget the node."""

import asyncio
import time
from collections.abc import Callable

from kybern.api.core_v1 import Node, PersistentVolume, Pod
from kybern.client.paths import one
from kybern.client.rest import Client
from kybern.machinery.errors import NotFound, TooManyRequests
from kybern.machinery.struct import replace
from kybern.machines.errors import MachineError
from kybern.machines.leaving import bound_here, to_evict

AGAIN = 1.0  # seconds between two looks at what is still there

type Say = Callable[[str], None]


async def volumes_lost_with(api: Client, name: str) -> tuple[str, ...]:
    """The claims whose volumes only this node has, as NAMESPACE/NAME."""
    nodes, _ = await api.list(Node)
    volumes, _ = await api.list(PersistentVolume)
    here = [node for node in nodes if node.metadata.name == name]
    others = [node for node in nodes if node.metadata.name != name]
    lost = [volume for node in here for volume in bound_here(volumes, node, others)]
    return tuple(
        f"{claim.namespace}/{claim.name}" if (claim := volume.spec.claim_ref) else volume.metadata.name
        for volume in lost
    )


async def drain(api: Client, name: str, seconds: float, say: Say) -> None:
    """Leave no pod on a node that another could run. Raises MachineError when they are not gone in time."""
    try:
        node = await api.get(Node, name)
    except NotFound:
        return
    if not node.spec.unschedulable:
        await api.patch(node, replace(node, spec=replace(node.spec, unschedulable=True)))
    until = time.monotonic() + seconds
    refused = ""
    while pods := await _left(api, name):
        if time.monotonic() > until:
            names = ", ".join(f"{pod.metadata.namespace}/{pod.metadata.name}" for pod in pods[:5])
            why = f" ({refused})" if refused else ""
            raise MachineError(
                f"cannot empty {name}: after {seconds:.0f} s there are still {len(pods)} pods: {names}{why}; "
                "it takes no new ones; make room for them elsewhere, and run the same command again"
            )
        say(f"{len(pods)} pods to go")
        for pod in pods:
            if pod.metadata.deletion_timestamp is None:
                refused = await _evict(api, pod) or refused
        await asyncio.sleep(AGAIN)  # the next look, and not a guess of when it is over


async def forget(api: Client, name: str) -> None:
    """Delete the Node; its pods that nobody ends any more go with it."""
    try:
        await api.delete(Node, name)
    except NotFound:
        return


async def _left(api: Client, node: str) -> tuple[Pod, ...]:
    pods, _ = await api.list(Pod, field_selector=f"spec.nodeName={node}")
    return to_evict(pods)


async def _evict(api: Client, pod: Pod) -> str:
    """Why the pod may not go now; empty when it goes."""
    name, namespace = pod.metadata.name, pod.metadata.namespace
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": namespace}}
    try:
        await api.request("POST", one(Pod, namespace, name, "eviction"), body)
    except NotFound:
        return ""
    except TooManyRequests as later:
        return str(later)
    return ""
