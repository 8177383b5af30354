"""Write what was chosen, and wait until the devices are ready for the node.

Reads what the watches bring into the table. Writes claims, and for extended resources a claim of its own and its name
into the pod's status. What fails on the way is not undone here: the next attempt finds it, and gives it back.
"""

import asyncio
from datetime import UTC, datetime, timedelta

from kybern.api.resource_v1 import ResourceClaim
from kybern.machinery.errors import ApiError
from kybern.machinery.struct import Object
from kybern.scheduler.devices.conditions import BindingFailed, over, ready, waits
from kybern.scheduler.devices.extended import to_create
from kybern.scheduler.devices.found import Found
from kybern.scheduler.devices.offers import Kept
from kybern.scheduler.devices.writing import tell, write
from kybern.scheduler.framework import Attempt
from kybern.scheduler.handle import Handle
from kybern.scheduler.metrics import CLAIMS


async def prepare(found: Found, attempt: Attempt, node: str, handle: Handle, seconds: float) -> str:
    """Why the pod's devices are not ready in the end, "" when they are. Raises ApiError."""
    objects, pod = attempt.table.objects, attempt.facts.pod
    held = {one.metadata.uid: one for one in found.held}
    now = handle.binder.clock().replace(microsecond=0)
    names = []
    for claim in found.claims:
        going = held.get(claim.metadata.uid)
        told = await write(claim, going.status.allocation if going else None, pod, handle.client, now)
        objects.written(told)
        names.append(told.metadata.name)
    chosen = found.chosen.get(node)
    if chosen is not None and chosen.mapped:
        names.append(await _special(found, attempt, node, handle, now))
    return await _ready(names, attempt, node, handle, seconds)


async def _special(found: Found, attempt: Attempt, node: str, handle: Handle, now: datetime) -> str:
    """Make the claim for extended resources; gives its name."""
    objects, pod, chosen = attempt.table.objects, attempt.facts.pod, found.chosen[node]
    going = found.held[-1]
    try:
        made = await handle.client.create(to_create(going))
    except ApiError:
        CLAIMS.labels("failure").inc()
        raise
    CLAIMS.labels("success").inc()
    objects.restore(ResourceClaim, going.metadata.name, going.metadata.namespace)
    shown = ResourceClaim(metadata=made.metadata, spec=made.spec, status=going.status)
    objects.hold(shown)
    found.held = (*found.held[:-1], shown)
    told = await write(made, going.status.allocation, pod, handle.client, now)
    objects.written(told)
    await tell(pod, told, chosen.mapped, handle.client)
    return told.metadata.name


async def _ready(names: list[str], attempt: Attempt, node: str, handle: Handle, seconds: float) -> str:
    table, pod = attempt.table, attempt.facts.pod
    namespace = pod.metadata.namespace
    changed = asyncio.Event()

    def hear(item: Object | None) -> None:
        if item is None or isinstance(item, ResourceClaim):
            changed.set()

    def claims() -> list[ResourceClaim]:
        found = (table.objects.get(ResourceClaim, name, namespace) for name in names)
        return [one for one in found if one is not None]

    if not waits(claims()):
        return ""
    said = f"waiting for binding conditions for device on node {node}"
    handle.recorder.emit(pod, "Normal", "BindingConditionsPending", said)
    table.listeners[attempt.facts.uid] = hear
    try:
        async with asyncio.timeout(_left(claims(), seconds, handle.binder.clock())):
            while (why := _standing(names, attempt, seconds, handle.binder.clock())) is None:
                changed.clear()
                await changed.wait()
            return why
    except TimeoutError:
        return _late(claims(), attempt)
    finally:
        del table.listeners[attempt.facts.uid]


def _standing(names: list[str], attempt: Attempt, seconds: float, now: datetime) -> str | None:
    """Why the devices will not be ready, "" when they are, None: not yet."""
    table, namespace = attempt.table, attempt.facts.pod.metadata.namespace
    if not table.placed_on(attempt.facts.uid):
        return "pod does not exist any more"
    waiting = False
    for name in names:
        claim = table.objects.get(ResourceClaim, name, namespace)
        if claim is None:
            return f'resourceclaim "{name}" not found'
        try:
            done = ready(claim)
        except BindingFailed as problem:
            return str(problem)
        if not done and over(claim, seconds, now):
            return _late([claim], attempt)
        waiting = waiting or not done
    return None if waiting else ""


def _late(claims: list[ResourceClaim], attempt: Attempt) -> str:
    """Remember whose devices took too long: they are given back by the next attempt."""
    late = [one for one in claims if waits((one,)) and not ready(one)]
    given_up = Kept.of(attempt.table.objects).given_up
    given_up |= {one.metadata.uid: one.status.allocation for one in late if one.status.allocation}
    return f"claim {late[0].metadata.name} binding timeout" if late else "device binding timeout"


def _left(claims: list[ResourceClaim], seconds: float, now: datetime) -> float:
    """Until the first of the claims has had its time."""
    allocated = [one.status.allocation for one in claims if waits((one,)) and one.status.allocation]
    since = min((one.allocation_timestamp or now for one in allocated), default=now)
    return max((since.astimezone(UTC) + timedelta(seconds=seconds) - now).total_seconds(), 0.0)
