"""From a decision to a binding: reserve, permit, wait, prepare, bind; and everything back when one of them says no.

    reserve ──> permit ──> (waits for it) ──> pre_bind ──> bind ──> post_bind
       └──────────┴───────────────┴──────────────┴──────────┴── no ──> unreserve, in reverse

Upstream's words and order (pkg/scheduler: schedulingCycle, bindingCycle). A refusal by ``reserve`` or ``permit`` makes the
pod unschedulable until something changes; a failure after that is tried again after the back-off. Where the pod is going
shows in its status.nominatedNodeName as long as that takes (upstream: NominatedNodeNameForExpectation).
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from kybern.machinery.errors import ApiError
from kybern.scheduler.framework import Attempt, Plugin
from kybern.scheduler.handle import Handle
from kybern.scheduler.metrics import PERMITS
from kybern.scheduler.outcomes import Refused, turned_down
from kybern.scheduler.parked import Waiter
from kybern.scheduler.timing import ERROR, SUCCESS, UNSCHEDULABLE, WAITS

LONGEST = 15 * 60.0  # seconds that a permit may let a pod wait (upstream: maxTimeout)


@dataclass(frozen=True, slots=True)
class Failed:
    """The attempt failed for a reason that is not the pod's: it is tried again."""

    reason: str


def reserve(attempt: Attempt, node: str) -> Refused | None:
    """Take what the pod uses, and ask whether it may go there. A pod that has to wait is parked."""
    attempt.timing.start()
    for plugin in attempt.profile.at["reserve"]:
        if plugin.reserve and (why := plugin.reserve(attempt, node)):
            attempt.timing.passed("Reserve", UNSCHEDULABLE)
            unreserve(attempt, node)
            return turned_down(plugin.name, why)
    attempt.timing.passed("Reserve")
    waits: dict[str, float] = {}
    for plugin in attempt.profile.at["permit"]:
        verdict = plugin.permit(attempt, node) if plugin.permit else None
        if verdict is None:
            continue
        if verdict.reason:
            attempt.timing.passed("Permit", UNSCHEDULABLE)
            unreserve(attempt, node)
            return turned_down(plugin.name, verdict.reason)
        if verdict.wait > 0:
            waits[plugin.name] = min(verdict.wait, LONGEST)
    attempt.timing.passed("Permit", WAITS if waits else SUCCESS)
    if waits:
        attempt.parked.park(attempt.facts, node, waits)
    return None


def unreserve(attempt: Attempt, node: str) -> None:
    attempt.timing.start()
    for plugin in reversed(attempt.profile.at["reserve"]):
        if plugin.unreserve:
            plugin.unreserve(attempt, node)
    attempt.timing.passed("Unreserve")


async def settle(attempt: Attempt, node: str, handle: Handle) -> Refused | Failed | None:
    """Everything from waiting to the binding; None when the pod is bound."""
    preparing = [
        one for one in attempt.profile.at["preBind"] if one.prepares is None or one.prepares(attempt, node)
    ]
    waits = attempt.parked.of(attempt.facts.uid) is not None
    told = waits or any(one.prepares for one in preparing)
    if told:
        await handle.binder.expect(attempt.facts.pod, node)
    refused = await _permitted(attempt)
    problem = (
        refused or await _prepared(preparing, attempt, node, handle) or await _bound(attempt, node, handle)
    )
    if problem is not None:
        unreserve(attempt, node)
        if told:
            await handle.binder.unpromise(attempt.facts.pod)
        return problem
    attempt.timing.start()
    for plugin in attempt.profile.at["postBind"]:
        if plugin.post_bind:
            plugin.post_bind(attempt, node)
    attempt.timing.passed("PostBind")
    return None


async def _permitted(attempt: Attempt) -> Refused | None:
    waiter = attempt.parked.of(attempt.facts.uid)
    if waiter is None:
        return None
    began = asyncio.get_running_loop().time()
    try:
        await _wait(waiter, attempt.parked.reject)
    finally:
        attempt.parked.leave(attempt.facts.uid)
    result = UNSCHEDULABLE if waiter.rejected else SUCCESS
    PERMITS.of(result).observe(asyncio.get_running_loop().time() - began)
    return turned_down(*waiter.rejected) if waiter.rejected else None


async def _wait(waiter: Waiter, reject: Callable[[str, str, str], None]) -> None:
    """Until it is decided. Each plugin has its own time; the first that runs out rejects (upstream: waiting_pods_map)."""
    decided = asyncio.Event()
    waiter.decided = decided.set
    plugin, seconds = min(waiter.pending.items(), key=lambda one: one[1], default=("", 0.0))
    if waiter.over:
        return
    try:
        async with asyncio.timeout(seconds):
            await decided.wait()
    except TimeoutError:
        reason = f"rejected due to timeout after waiting {_go(seconds)} at plugin {plugin}"
        reject(waiter.facts.uid, plugin, reason)


def _go(seconds: float) -> str:
    """Seconds as Go prints a duration of whole ones."""
    minutes, rest = divmod(seconds, 60)
    return f"{int(minutes)}m{rest:g}s" if minutes else f"{rest:g}s"


async def _prepared(plugins: Iterable[Plugin], attempt: Attempt, node: str, handle: Handle) -> Failed | None:
    attempt.timing.start()
    for plugin in plugins:
        why = await _tried(plugin.pre_bind(attempt, node, handle)) if plugin.pre_bind else ""
        if why:
            attempt.timing.passed("PreBind", ERROR)
            return Failed(f'running PreBind plugin "{plugin.name}": {why}')
    attempt.timing.passed("PreBind")
    return None


async def _bound(attempt: Attempt, node: str, handle: Handle) -> Failed | None:
    said = await _bound_by_extender(attempt, node, handle)
    if said is not None:
        return Failed(said) if said else None
    attempt.timing.start()
    for plugin in attempt.profile.at["bind"]:
        said = await _tried(plugin.bind(attempt, node, handle)) if plugin.bind else None
        if said is not None:
            attempt.timing.passed("Bind", ERROR if said else SUCCESS)
            return Failed(f'running Bind plugin "{plugin.name}": {said}') if said else None
    return Failed("no bind plugin took the pod")


async def _bound_by_extender(attempt: Attempt, node: str, handle: Handle) -> str | None:
    """None when none wants to, or only such failed that may."""
    pod = attempt.facts.pod
    for extender in handle.extenders:
        if extender.binds and extender.is_interested(pod):
            why = await extender.bind(pod, node)
            if not why or not extender.settings.ignorable:
                return why
    return None


async def _tried[T](hook: Awaitable[T]) -> T | str:
    try:
        return await hook
    except ApiError as problem:
        return str(problem)
