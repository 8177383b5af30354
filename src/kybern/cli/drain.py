"""Emptying a node: cordon, evict within what disruption budgets allow, wait; then forget it, or let it take pods again."""

import asyncio
import time
from collections.abc import Callable, Iterable

from kybern.api.core_v1 import Node, NodeSpec, PersistentVolume, Pod
from kybern.api.meta_v1 import ObjectMeta
from kybern.client.paths import one
from kybern.client.rest import Client
from kybern.machinery.errors import Conflict, NotFound, TooManyRequests
from kybern.machinery.struct import replace
from kybern.machines.errors import MachineError
from kybern.machines.leaving import bound_here, to_evict
from kybern.machines.upgrading import CORDONED, UPGRADE, is_ours

AGAIN = 1.0  # seconds between two looks at what is still there
SHOWN = 5  # pods that are named
ATTEMPTS = 10  # to write to a node that its kubelet writes to as well

type Say = Callable[[str], None]
type Choice = Callable[[Iterable[Pod]], tuple[Pod, ...]]


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
    if why := await emptied(api, name, seconds, say):
        raise MachineError(
            f"cannot empty {name}: {why}; it takes no new ones; make room for them elsewhere, and run the same command again"
        )


async def emptied(api: Client, name: str, seconds: float, say: Say, chosen: Choice = to_evict) -> str:
    """Evict the ``chosen`` pods of a node; why they are not gone in time, or nothing when they are."""
    until = time.monotonic() + seconds
    refused: dict[str, str] = {}
    while pods := await _left(api, name, chosen):
        if time.monotonic() > until:
            names = ", ".join(_named(pod) for pod in pods[:SHOWN])
            held = "; ".join(f"{pod}: {why}" for pod, why in list(refused.items())[:SHOWN])
            return f"after {seconds:.0f} s there are still {len(pods)} pods: {names}" + (
                f" ({held})" if held else ""
            )
        waiting = [pod for pod in pods if pod.metadata.deletion_timestamp is None]
        answers = [(_named(pod), await _evict(api, pod)) for pod in waiting]
        refused = {pod: why for pod, why in answers if why}
        held = f"; {next(iter(refused.values()))}" if refused else ""
        say(f"{len(pods)} pods to go{held}")
        await asyncio.sleep(AGAIN)  # the next look, and not a guess of when it is over
    return ""


async def cordon(api: Client, name: str) -> None:
    """Let a node take no new pods, and note that an upgrade did. One that somebody else has cordoned stays as it is."""
    for _ in range(ATTEMPTS):
        node = await api.get(Node, name)
        if node.spec.unschedulable:
            return
        marked = {**node.metadata.annotations, CORDONED: UPGRADE}
        if await _written(
            api, node, replace(node.metadata, annotations=marked), replace(node.spec, unschedulable=True)
        ):
            return
    raise MachineError(f"cannot cordon {name}: others write to it all the time; run the same command again")


async def uncordon(api: Client, name: str) -> None:
    """Let a node take pods again that an upgrade has cordoned; no other."""
    for _ in range(ATTEMPTS):
        node = await api.get(Node, name)
        if not is_ours(node):
            return
        kept = {key: value for key, value in node.metadata.annotations.items() if key != CORDONED}
        if await _written(
            api, node, replace(node.metadata, annotations=kept), replace(node.spec, unschedulable=None)
        ):
            return
    raise MachineError(f"cannot uncordon {name}: others write to it all the time; run the same command again")


async def _written(api: Client, node: Node, metadata: ObjectMeta, spec: NodeSpec) -> bool:
    try:
        await api.patch(node, replace(node, metadata=metadata, spec=spec))
    except Conflict:
        return False
    return True


async def forget(api: Client, name: str) -> None:
    """Delete the Node; its pods that nobody ends any more go with it."""
    try:
        await api.delete(Node, name)
    except NotFound:
        return


async def _left(api: Client, node: str, chosen: Choice) -> tuple[Pod, ...]:
    pods, _ = await api.list(Pod, field_selector=f"spec.nodeName={node}")
    return chosen(pods)


def _named(pod: Pod) -> str:
    return f"{pod.metadata.namespace}/{pod.metadata.name}"


async def _evict(api: Client, pod: Pod) -> str:
    """Why the pod may not go now; empty when it goes."""
    name, namespace = pod.metadata.name, pod.metadata.namespace
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": namespace}}
    try:
        await api.request("POST", one(Pod, namespace, name, "eviction"), body)
    except NotFound:
        return ""
    except TooManyRequests as later:
        # The cause names the budget, and says what it needs and has.
        causes = later.details.causes if later.details else ()
        return causes[0].message if causes else later.message
    return ""
