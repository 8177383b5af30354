"""What a run of pyinfra would do, what it did, and what it may do: told to the ``kybern`` command that started it.

By the environment it is told where: the variables of ``kybern.machines.changes`` and ``kybern.machines.journal`` name the
files. Without any of them, as when pyinfra is started by hand, nothing happens here.

Operations say what they are about to change with ``yield from planned(...)`` before they yield a command. One that does not
is in the plan all the same, as a command.
"""

import atexit
import ctypes
import difflib
import json
import os
import signal
import time
from collections.abc import Generator, Iterable, Iterator
from dataclasses import asdict, replace
from datetime import UTC, datetime
from functools import cache
from hashlib import sha256
from pathlib import Path

from pyinfra import host
from pyinfra.api import Host, State, StringCommand
from pyinfra.api.state import BaseStateCallback

from kybern.machines import changes, journal
from kybern.machines.changes import SECRET, Change
from kybern.machines.journal import Step
from kybern.machines.state import write
from roles.tree import Entry, File, Found, Link, Upload

PLAN, ONLY = changes.VARIABLE, changes.ONLY
JOURNAL, RESUME, PARENT = journal.VARIABLE, journal.RESUME, journal.PARENT
FOR_ALL = "operator"  # whose files these are, in place of a machine
END_WITH_PARENT = 1  # PR_SET_PDEATHSIG of prctl(2)
REFUSAL_SECONDS = 90


def attach(state: State) -> None:
    """Follow this run, when somebody wants to know. May be called by each host."""
    wanted = any(os.environ.get(name) for name in (PLAN, ONLY, JOURNAL))
    if not wanted or any(isinstance(one, Recorder) for one in state.callback_handlers):
        return
    if os.environ.get(PARENT) == str(os.getppid()):
        # A deploy whose operator's process was killed must not go on without the lock that was kept for it.
        ctypes.CDLL(None).prctl(END_WITH_PARENT, signal.SIGTERM)
    recorder = Recorder(os.environ.get(JOURNAL, ""))
    state.add_callback_handler(recorder)
    if to := os.environ.get(PLAN):
        # pyinfra's -y, which spares its questions, says that nobody wants to know what would change.
        state.check_for_changes = True
        atexit.register(lambda: save(state, recorder, Path(to)))


def planned(*wanted: Change) -> Generator[StringCommand]:
    """Tell what the operation that calls this is about to do; refuses what a plan that is executed does not have."""
    recorder = _recorder()
    if recorder is None:
        return
    op_hash = str(host.current_op_hash)
    role, action = step_of(host.state, op_hash)
    own = [
        replace(
            one, machine=one.machine or host.name, role=role, action=action, subject=one.subject or action
        )
        for one in wanted
    ]
    if not host.state.is_executing:
        recorder.noted += [(op_hash, host.name, one) for one in own]
        return
    only = _only()
    for one in own:
        if only is not None and not changes.permitted(only, one):
            why = f"not in the plan: {one.verb} {one.subject}; make a new one with: kybern plan"
            yield StringCommand(f"echo '{why}' >&2; exit 1", _timeout=REFUSAL_SECONDS)
            return


def planning() -> bool:
    """Whether this is a dry run of which somebody wants the changes."""
    return bool(os.environ.get(PLAN)) and not host.state.is_executing


def finished(inputs: str) -> bool:
    """Whether a run that is resumed has done this very step with these very inputs; from now on they count as this run's."""
    recorder = _recorder()
    if recorder is None or not host.state.is_executing:
        return False
    role, action = step_of(host.state, str(host.current_op_hash))
    recorder.inputs[host.name] = inputs
    return (host.name, role, action, inputs) in _done()


def change(kind: str, subject: str, verb: str, after: str = "", before: str = "") -> Change:
    """One of this machine and of the operation that is running."""
    return Change("", "", "", kind, subject, verb, before, after)


def for_all(kind: str, subject: str, verb: str, after: str = "") -> Change:
    """One that is not a machine's."""
    return Change(FOR_ALL, "", "", kind, subject, verb, "", after)


def written(entry: Entry, found: Found | None, before: str) -> Change:
    """A path that is to become what ``entry`` says. ``before`` is the text that is there, when it may be shown."""
    there = (
        ""
        if found is None
        else f"{found.kind} {found.mode} {found.user}:{found.group} {found.digest}{found.target}"
    )
    verb = "create" if found is None else "replace"
    return replace(
        change("file", entry.path, verb, _wanted(entry), there), diff=tuple(_diff(entry, found, before))
    )


def showable(entry: Entry, found: Found | None) -> bool:
    """Whether what is at a path may be read for a diff: not a secret, nor what may have been one."""
    if not isinstance(entry, File) or entry.secret:
        return False
    closed = found is not None and not int(found.mode, 8) & 0o004
    return not closed or (found is not None and found.mode == entry.mode)


def digest(*parts: object) -> str:
    """Of what an operation was asked for."""
    return sha256("\n".join(map(str, parts)).encode()).hexdigest()[:16]


def inputs_of(entries: Iterable[Entry], *more: object) -> str:
    """The digest of a tree that is wanted."""
    return digest(*(f"{entry.path} {_wanted(entry)}" for entry in entries), *more)


def _wanted(entry: Entry) -> str:
    match entry:
        case File() | Upload():
            return f"f {entry.mode} {entry.owner} {entry.digest}"
        case Link():
            return f"l {entry.owner} {entry.target}"
        case _:
            return f"d {entry.mode} {entry.owner}"


def _diff(entry: Entry, found: Found | None, before: str) -> Iterator[str]:
    wanted = (entry.mode, entry.user, entry.group)
    if found is not None and not isinstance(entry, Link) and (found.mode, found.user, found.group) != wanted:
        yield f"mode {found.mode} {found.user}:{found.group} becomes {entry.mode} {entry.owner}"
    match entry:
        case File() if found is not None and found.kind == "f" and found.digest == entry.digest:
            return
        case File() if not showable(entry, found):
            yield SECRET
        case File():
            old, new = before.splitlines(), entry.content.decode(errors="replace").splitlines()
            yield from difflib.unified_diff(
                old, new, "/dev/null" if found is None else entry.path, entry.path, n=2, lineterm=""
            )
        case Upload():
            yield f"content becomes that of {entry.source.name}"
        case Link():
            yield f"points to {entry.target}"


class Recorder(BaseStateCallback):
    """Follows a run: changes of a dry one in ``noted``, lines in a journal as its steps end."""

    def __init__(self, to: str) -> None:
        self._to = to
        self._began: dict[tuple[str, str], float] = {}
        self._trips: dict[str, int] = {}
        self.noted: list[tuple[str, str, Change]] = []  # of which operation, told by which host
        self.inputs: dict[str, str] = {}

    # pyinfra declares these static and calls them on the handler.
    def operation_host_start(self, state: State, host: Host, op_hash: str) -> None:  # type: ignore[override]
        self._began[host.name, op_hash] = time.monotonic()
        self._trips[host.name] = _trips(host)
        self.inputs.pop(host.name, None)

    def operation_host_success(  # type: ignore[override]
        self, state: State, host: Host, op_hash: str, retry_count: int = 0
    ) -> None:
        # Whether it changed something is known a moment later.
        self._began[host.name, op_hash] = time.monotonic() - self._began.get((host.name, op_hash), 0.0)

    def operation_host_error(  # type: ignore[override]
        self, state: State, host: Host, op_hash: str, retry_count: int = 0, max_retries: int = 0
    ) -> None:
        began = self._began.pop((host.name, op_hash), time.monotonic())
        self._append(state, host, op_hash, "failed", time.monotonic() - began)

    def operation_end(self, state: State, op_hash: str) -> None:  # type: ignore[override]
        for (name, of), seconds in list(self._began.items()):
            if of != op_hash:
                continue
            one = state.inventory.get_host(name)
            del self._began[name, of]
            if one in state.active_hosts and op_hash in state.ops[one]:
                did = state.ops[one][op_hash].operation_meta.did_change()
                self._append(state, one, op_hash, "changed" if did else "same", seconds)

    def _append(self, state: State, host: Host, op_hash: str, result: str, seconds: float) -> None:
        if not self._to:
            return
        role, action = step_of(state, op_hash)
        command, said = getattr(host.connector, "last", ("", ())) if result == "failed" else ("", ())
        step = Step(
            at=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            role=role,
            machine=host.name,
            action=action,
            seconds=round(seconds, 3),
            result=result,
            trips=_trips(host) - self._trips.get(host.name, 0),
            inputs=self.inputs.get(host.name, ""),
            command=journal.shortened(command),
            said=tuple(said)[-journal.LINES :],
        )
        journal.append(Path(self._to), step)


def save(state: State, recorder: Recorder, to: Path) -> None:
    """Write the changes of a dry run, in the order of the deploy, with those that no operation has told."""
    order = {op_hash: place for place, op_hash in enumerate(state.get_op_order())}
    found = list(recorder.noted)
    told = {(op_hash, name) for op_hash, name, _ in found}
    for of, ops in state.ops.items():
        for op_hash, data in ops.items():
            # Its public property would run the operation when nobody has looked yet.
            if data.operation_meta._maybe_is_change and (op_hash, of.name) not in told:  # noqa: SLF001
                role, action = step_of(state, op_hash)
                found.append((op_hash, of.name, Change(of.name, role, action, "command", action, "run")))
    found.sort(key=lambda one: order[one[0]])
    write(to, json.dumps([asdict(one) for _, _, one in found]).encode())


def step_of(state: State, op_hash: str) -> tuple[str, str]:
    """An operation's role and action: "etcd | Files" is etcd's Files."""
    role, _, action = next(iter(state.op_meta[op_hash].names)).rpartition(" | ")
    return role, action


def _trips(host: Host) -> int:
    return getattr(host.connector, "trips", 0)


def _recorder() -> Recorder | None:
    return next((one for one in host.state.callback_handlers if isinstance(one, Recorder)), None)


@cache
def _read(path: str) -> str:
    return Path(path).read_text()


def _only() -> tuple[Change, ...] | None:
    path = os.environ.get(ONLY)
    return changes.read(_read(path)).changes if path else None


def _done() -> frozenset[tuple[str, str, str, str]]:
    path = os.environ.get(RESUME)
    return journal.finished(journal.parsed(_read(path))) if path else frozenset()
