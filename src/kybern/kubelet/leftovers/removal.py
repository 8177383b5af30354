"""Removing a container, also one that containerd refuses to remove.

When a kubelet is killed while containerd starts a container, containerd 1.7 may keep a task that is known to nobody: its
CRI says that the container never ran, or that it ended, and yet refuses to remove it, until containerd is started
again. Then containerd's own API is asked to end that task; all other refusals stand. What CRI says of containers that run
is never doubted: those are stopped by CRI, which forgets no task that it started.
"""

import asyncio
import logging
from enum import IntEnum
from typing import Any

from kybern._proto import tasks_pb2 as pb
from kybern._proto import tasks_pb2_grpc as rpc
from kybern.kubelet.cri import Runtime, RuntimeFailure
from kybern.kubelet.runtime import RunState

log = logging.getLogger(__name__)

_KILL = 9
_AGAIN = 0.1
_PATIENCE = 10.0


class Task(IntEnum):
    """What containerd says of a task: containerd.v1.types.Status."""

    UNKNOWN = 0
    CREATED = 1
    RUNNING = 2
    STOPPED = 3
    PAUSED = 4
    PAUSING = 5


def concerns_a_task(refusal: RuntimeFailure, runtime: str) -> bool:
    """Whether a container may not be removed because it has a task (containerd's own words for it). Pure."""
    return runtime == "containerd" and "cannot delete running task" in str(refusal)


def to_end(state: RunState, task: Task) -> bool:
    """Whether a task is one that nobody knows of. Pure.

    Of a container that ended, by CRI's word, all tasks are; of one that did not begin, those that run nothing.
    """
    if state is RunState.EXITED:
        return task is not Task.UNKNOWN
    return state is RunState.CREATED and task in (Task.CREATED, Task.STOPPED)


async def remove_container(runtime: Runtime, identity: str) -> None:
    """Remove a container; raises RuntimeFailure."""
    try:
        await runtime.remove_container(identity)
    except RuntimeFailure as refusal:
        if not concerns_a_task(refusal, runtime.name):
            raise
        state = await runtime.state(identity)
        answer = await runtime.own(rpc.TasksStub, "Get", pb.GetRequest(container_id=identity))
        task = Task(answer.process.status)
        if not to_end(state, task):
            raise
        log.warning("ending a task of container %s that was left %s: %s", identity, task.name, refusal)
        await _end(runtime, identity, task)
        await runtime.remove_container(identity)


async def _end(runtime: Runtime, identity: str, task: Task) -> None:
    """End a task; one that is gone meanwhile is no error."""
    if task is not Task.STOPPED:
        await _ask(runtime, "Kill", pb.KillRequest(container_id=identity, signal=_KILL, all=True))
    limit = asyncio.get_running_loop().time() + _PATIENCE
    while True:
        try:
            await _ask(runtime, "Delete", pb.DeleteTaskRequest(container_id=identity))
        except RuntimeFailure as problem:
            # It takes a moment to be dead.
            if problem.code != "FAILED_PRECONDITION" or asyncio.get_running_loop().time() > limit:
                raise
            await asyncio.sleep(_AGAIN)
        else:
            return


async def _ask(runtime: Runtime, method: str, request: Any) -> None:
    try:
        await runtime.own(rpc.TasksStub, method, request)
    except RuntimeFailure as problem:
        if problem.code != "NOT_FOUND":
            raise
