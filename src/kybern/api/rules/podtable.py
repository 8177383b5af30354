"""How a pod prints: one word for the state of all its containers, and how often they were restarted.

The word is the pod's reason or phase until containers say more. Init containers speak first and in order: the first
that is neither done nor a started sidecar. Once they are done the last container that waits or ended wins.
"""

from dataclasses import dataclass
from typing import Any

from kybern.api.rules.tables import AGE, NAME, NONE, age, condition, deleting, dig, name, seconds, wide
from kybern.machinery.duration import human
from kybern.machinery.kind import Column, Raw, Table

_COLUMNS = (
    NAME,
    Column("Ready"),
    Column("Status"),
    Column("Restarts"),
    AGE,
    wide("IP"),
    wide("Node"),
    wide("Nominated Node"),
    wide("Readiness Gates"),
)
_TERMINAL = {
    "Succeeded": "The pod has completed successfully.",
    "Failed": "The pod failed.",
}


@dataclass(slots=True)
class _Tally:
    """What the statuses of containers add up to."""

    reason: str
    ready: int = 0
    restarts: int = 0
    last: float = 0.0

    def count(self, status: Raw) -> None:
        self.restarts += status.get("restartCount") or 0
        finished = dig(status, "lastState", "terminated", "finishedAt")
        if finished:
            self.last = max(self.last, seconds(finished))


def _ended(terminated: Raw) -> str:
    if terminated.get("reason"):
        return str(terminated["reason"])
    if terminated.get("signal"):
        return f"Signal:{terminated['signal']}"
    return f"ExitCode:{terminated.get('exitCode', 0)}"


def _holds(raw: Raw, kind: str) -> bool:
    return (condition(raw, kind) or {}).get("status") == "True"


def _init_word(status: Raw, position: int, total: int) -> str:
    """Why an init container is not done yet."""
    state = status.get("state") or {}
    if state.get("terminated"):
        return f"Init:{_ended(state['terminated'])}"
    waiting = dig(state, "waiting", "reason")
    if waiting and waiting != "PodInitializing":
        return f"Init:{waiting}"
    return f"Init:{position}/{total}"


def _go_over_init(raw: Raw, sidecars: set[str], tally: _Tally, of_sidecars: _Tally) -> bool:
    """Tally init containers up to the first that is not done; true when there is one."""
    total = len(dig(raw, "spec", "initContainers") or ())
    for position, status in enumerate(dig(raw, "status", "initContainerStatuses") or ()):
        sidecar = status.get("name") in sidecars
        tally.count(status)
        if sidecar:
            of_sidecars.count(status)
        terminated = dig(status, "state", "terminated")
        if terminated is not None and not terminated.get("exitCode"):
            continue
        if sidecar and status.get("started"):
            tally.ready += bool(status.get("ready"))
            continue
        tally.reason = _init_word(status, position, total)
        return True
    return False


def _go_over_containers(raw: Raw, tally: _Tally) -> None:
    running, failure = False, ""
    for status in reversed(dig(raw, "status", "containerStatuses") or ()):
        tally.count(status)
        state = status.get("state") or {}
        terminated = state.get("terminated")
        if dig(state, "waiting", "reason"):
            tally.reason = state["waiting"]["reason"]
        elif terminated is not None:
            tally.reason = _ended(terminated)
            if terminated.get("exitCode"):
                failure = tally.reason
        elif status.get("ready") and state.get("running") is not None:
            running = True
            tally.ready += 1
    if tally.reason == "Completed":
        tally.reason = _completed(running, _holds(raw, "Ready"), failure)


def _completed(running: bool, ready: bool, failure: str) -> str:
    if running and ready:
        return "Running"
    return failure or ("NotReady" if running else "Completed")


def _first_word(raw: Raw) -> str:
    scheduled = condition(raw, "PodScheduled") or {}
    if scheduled.get("reason") == "SchedulingGated":
        return "SchedulingGated"
    return str(dig(raw, "status", "reason") or dig(raw, "status", "phase") or "")


def _tally(raw: Raw) -> tuple[_Tally, int]:
    sidecars = {
        container.get("name", "")
        for container in dig(raw, "spec", "initContainers") or ()
        if container.get("restartPolicy") == "Always"
    }
    tally, of_sidecars = _Tally(_first_word(raw)), _Tally("")
    initialising = _go_over_init(raw, sidecars, tally, of_sidecars)
    if not initialising or _holds(raw, "Initialized"):
        tally.restarts, tally.last = of_sidecars.restarts, of_sidecars.last
        _go_over_containers(raw, tally)
    if deleting(raw):
        if dig(raw, "status", "reason") == "NodeLost":
            tally.reason = "Unknown"
        elif dig(raw, "status", "phase") not in _TERMINAL:
            tally.reason = "Terminating"
    return tally, len(dig(raw, "spec", "containers") or ()) + len(sidecars)


def _gates(raw: Raw) -> str:
    gates = dig(raw, "spec", "readinessGates") or ()
    if not gates:
        return NONE
    true = sum(_holds(raw, gate.get("conditionType", "")) for gate in gates)
    return f"{true}/{len(gates)}"


def _cells(raw: Raw, now: float) -> list[Any]:
    tally, total = _tally(raw)
    restarts = str(tally.restarts)
    if tally.restarts and tally.last:
        restarts += f" ({human(now - tally.last)} ago)"
    addresses = dig(raw, "status", "podIPs") or ({"ip": NONE},)
    return [
        name(raw),
        f"{tally.ready}/{total}",
        tally.reason,
        restarts,
        age(raw, now),
        addresses[0].get("ip") or NONE,
        dig(raw, "spec", "nodeName") or NONE,
        dig(raw, "status", "nominatedNodeName") or NONE,
        _gates(raw),
    ]


def _conditions(raw: Raw) -> list[Raw]:
    phase = dig(raw, "status", "phase")
    if phase not in _TERMINAL:
        return []
    return [{"type": "Completed", "status": "True", "reason": phase, "message": _TERMINAL[phase]}]


TABLE = Table(_COLUMNS, _cells, _conditions)
