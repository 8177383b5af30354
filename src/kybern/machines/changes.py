"""What a deploy would change, as data: made by ``kybern plan``, kept in a file, held against the machines again. Pure.

A change names what it is about (machine, role, action, kind, subject) and bears digests of what is there (``before``) and
of what is wanted (``after``). So a plan that is made again differs from a saved one where a machine's facts or the wanted
files have changed meanwhile, and only there.

``wait`` is the one kind that does nothing: something is not ready. It is shown, and no reason for a plan to be stale.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

VERSION = 1
VARIABLE = "KYBERN_PLAN"  # in the environment of a dry run: the file that gets its changes
ONLY = "KYBERN_ONLY"  # in that of a deploy: the plan beyond which it may do nothing
WAIT = "wait"
UNIT = "unit"
# Kinds in the order in which a reader wants them, and what several of them are called.
KINDS = {
    "member": "members of etcd",
    "package": "packages",
    "user": "users",
    "release": "releases",
    "file": "files",
    UNIT: "units",
    "pod": "pods",
    "image": "images",
    "command": "commands",
    "operator": "files of this computer",
    WAIT: "not ready",
}
SECRET = "secret content differs"  # noqa: S105  # what is shown instead of one


class Unreadable(ValueError):
    """A text is not a plan of ours; the message says why."""


@dataclass(frozen=True, slots=True)
class Change:
    """One thing on one machine that is not as wanted. ``diff`` is a unified diff's lines, or says why there is none."""

    machine: str
    role: str
    action: str
    kind: str
    subject: str
    verb: str
    before: str = ""
    after: str = ""
    diff: tuple[str, ...] = ()

    @property
    def key(self) -> tuple[str, ...]:
        return (self.machine, self.role, self.action, self.kind, self.subject)

    @property
    def place(self) -> str:
        return f"{self.machine}: {self.role}: {self.subject}"


@dataclass(frozen=True, slots=True)
class Plan:
    """All changes, in the order of the deploy. ``made`` is a time in ISO 8601, ``silent`` are machines that do not answer.

    ``strangers`` are members of etcd that the topology does not have: removing one is ``kybern remove``'s work.
    """

    cluster: str
    topology: str
    made: str
    machines: tuple[str, ...]
    silent: tuple[str, ...] = ()
    strangers: tuple[str, ...] = ()
    changes: tuple[Change, ...] = ()

    @property
    def is_empty(self) -> bool:
        return not self.changes and not self.strangers


def written(plan: Plan) -> str:
    """A plan as JSON."""
    return json.dumps({"version": VERSION, **asdict(plan)}, indent=2) + "\n"


def read(text: str) -> Plan:
    """A plan from its JSON. Raises Unreadable."""
    try:
        found: dict[str, Any] = json.loads(text)
        version = found.pop("version")
        if version != VERSION:
            raise Unreadable(f"it is of version {version}, and this kybern reads version {VERSION}")
        found["changes"] = tuple(changes(found["changes"]))
        lists = {key: tuple(found[key]) for key in ("machines", "silent", "strangers")}
        return Plan(**{**found, **lists})
    except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise Unreadable(f"it is no plan: {error}") from error


def changes(found: Iterable[dict[str, Any]]) -> Iterator[Change]:
    """Changes from JSON values, each once: what several masters would do for all is told by each of them."""
    known: set[tuple[str, ...]] = set()
    for one in found:
        change = Change(**{**one, "diff": tuple(one["diff"])})
        if change.key not in known:
            known.add(change.key)
            yield change


def differing(changes: Iterable[Change]) -> set[str]:
    """The machines on which something is to be done; waiting is nothing done."""
    return {one.machine for one in changes if one.kind != WAIT}


def strangers(answer: str, members: Iterable[str]) -> tuple[str, ...]:
    """Members in an answer of ``etcdctl member list -w json`` that are none of ``members``; without a name, by address."""
    wanted = set(members)
    listed: list[dict[str, Any]] = json.loads(answer).get("members", []) if answer else []
    names = (one.get("name") or " ".join(one.get("peerURLs", ())) for one in listed)
    return tuple(sorted(name for name in names if name not in wanted))


def stale(saved: Plan, now: Plan, begun: bool = False) -> tuple[str, ...]:
    """Why a saved plan is none any more, a line for each thing that changed; none when it still holds.

    ``begun`` is a plan of which a run that broke has done a part.
    """
    lost = [f"{name}: does not answer any more" for name in saved.machines if name not in now.machines]
    before, after = _by_key(saved), _by_key(now)
    gone = [f"{one.place}: is as wanted now" for key, one in before.items() if key not in after and not begun]
    new = [
        f"{one.place}: {one.verb} is to be done now, too" for key, one in after.items() if key not in before
    ]
    differ = [_difference(before[key], one) for key, one in after.items() if key in before]
    return (*lost, *gone, *new, *filter(None, differ))


def _by_key(plan: Plan) -> dict[tuple[str, ...], Change]:
    return {one.key: one for one in plan.changes if one.kind != WAIT}


def _difference(saved: Change, now: Change) -> str:
    if saved.after != now.after:
        return f"{now.place}: something else is wanted now"
    if saved.before != now.before:
        return f"{now.place}: something else is there now"
    return ""


def permitted(plan: Sequence[Change], wanted: Change) -> bool:
    """Whether a deploy that executes a plan may do this.

    What it may do beyond the plan follows from it: waiting, and starting units where the plan starts some, since one unit
    takes others with it.
    """
    if wanted.kind == WAIT:
        return True
    if wanted.kind == UNIT and any(one.kind == UNIT and one.machine == wanted.machine for one in plan):
        return True
    return any(one.key == wanted.key and one.after == wanted.after for one in plan)


def told(plan: Plan, diffs: bool = True) -> Iterator[str]:
    """A plan as lines to read: machine by machine, and what of each kind."""
    for machine in dict.fromkeys(one.machine for one in plan.changes):
        own = [one for one in plan.changes if one.machine == machine]
        yield f"{machine}:"
        for kind, heading in KINDS.items():
            of_kind = [one for one in own if one.kind == kind]
            if of_kind:
                yield f"  {heading}:"
                for one in of_kind:
                    yield from _lines(one, diffs)
        yield ""
    for name in plan.strangers:
        yield f"etcd has a member that is not in the topology: {name}; kybern remove {plan.cluster} {name}"
    for name in plan.silent:
        yield f"{name} does not answer: it is not in this plan"
    yield _sum(plan)


def _lines(change: Change, diffs: bool) -> Iterator[str]:
    yield f"    {change.verb:8} {change.subject}  ({change.role})"
    if diffs:
        yield from (f"      {line}" for line in change.diff)


def _sum(plan: Plan) -> str:
    if plan.is_empty:
        return f"Nothing to do: {len(plan.machines)} machines of {plan.cluster} are as they should be."
    counts = {kind: sum(one.kind == kind for one in plan.changes) for kind in KINDS}
    said = ", ".join(f"{KINDS[kind]}: {count}" for kind, count in counts.items() if count)
    return f"To do on {len(plan.machines)} machines of {plan.cluster}: {said or 'nothing'}."
