"""Ask ``post_filter`` what could help a pod that nobody takes, and do it: promise the node, see those off who leave it."""

import asyncio
from time import perf_counter

from kybern.api.core_v1 import Pod
from kybern.scheduler.framework import Attempt, Relief
from kybern.scheduler.handle import Handle
from kybern.scheduler.metrics import EVICTIONS, VICTIMS
from kybern.scheduler.outcomes import Refused
from kybern.scheduler.timing import UNSCHEDULABLE


async def seek(
    attempt: Attempt, refused: Refused, handle: Handle, tasks: asyncio.TaskGroup
) -> tuple[str, str]:
    """What to say of the pod, and the node that it is promised ("" for none).

    The first plugin that found a node ends the search. Raises ExtenderFailed.
    """
    said: list[str] = []
    attempt.timing.start()
    cleared = not attempt.profile.at["postFilter"]
    for plugin in attempt.profile.at["postFilter"]:
        if plugin.post_filter is None:
            continue
        found = await plugin.post_filter(attempt, refused, handle)
        if found.node:
            attempt.timing.passed("PostFilter")
            VICTIMS.of().observe(len(found.leaving))
            _promise(attempt, found, handle, tasks)
            return refused.saying(found.said), found.node
        cleared = cleared or found.node is not None
        said += [found.said] if found.said else []
    if attempt.profile.at["postFilter"]:
        attempt.timing.passed("PostFilter", UNSCHEDULABLE)
    if cleared:
        attempt.promises.end(attempt.facts.uid)
    return refused.saying(", ".join(said)), attempt.promises.of(attempt.facts.uid)


def _promise(attempt: Attempt, found: Relief, handle: Handle, tasks: asyncio.TaskGroup) -> None:
    for void in attempt.promises.make(found.node or "", attempt.facts):
        tasks.create_task(handle.binder.unpromise(void))
    attempt.promises.leaving |= {one.metadata.uid for one in found.leaving}
    tasks.create_task(_see_off(attempt, found, handle, attempt.facts.pod))


async def _see_off(attempt: Attempt, found: Relief, handle: Handle, pod: Pod) -> None:
    began, stays = perf_counter(), False
    for victim in found.leaving:
        uid = victim.metadata.uid
        if attempt.parked.of(uid) is not None:
            attempt.parked.reject(uid, "", "preempted")
            attempt.promises.leaving.discard(uid)
        elif not await handle.binder.evict(victim, pod):
            stays = True
            attempt.promises.leaving.discard(uid)
    EVICTIONS.of("error" if stays else "success").observe(perf_counter() - began)
