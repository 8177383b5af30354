"""``kybern recover``: etcd takes writes again after machines or their data are lost. What it needs, it finds by looking.

The rules are in kybern.machines.recovering; here machines are asked, and a step after the other is done until none is left.
A run that was killed is gone on with by the same command.
"""

import asyncio
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

import typer

from kybern.cli import machines
from kybern.cli.deploys import only, run_deploy
from kybern.cli.holding import BreakLock, holding
from kybern.cli.machines import Topology
from kybern.cli.progress import Progress
from kybern.cli.reach import answering
from kybern.machines import backups
from kybern.machines import state as states
from kybern.machines.backups import Snapshot
from kybern.machines.errors import MachineError
from kybern.machines.etcd_seen import Seen, question, seen
from kybern.machines.recovering import (
    Forget,
    GoBack,
    GoOn,
    Join,
    Nothing,
    Refused,
    Said,
    Salvage,
    SetAside,
    Start,
    State,
    Step,
    decide,
)
from kybern.machines.restoring import NOTE, Restoring
from kybern.machines.topology import Cluster
from kybern.reach.machines import Machines

WITHIN = 30.0  # seconds that a machine may take to answer
ELECTION = 10.0  # seconds without a leader that are no election any more: one takes 3
STARTED = 60.0  # seconds that a member may take to start and find the others
EVERY = 1.0


def recover(
    topology: Topology = "lab",
    dead: Annotated[
        list[str] | None, typer.Option("--dead", help="A machine that never comes back; may be given again.")
    ] = None,
    lose_writes: Annotated[
        bool,
        typer.Option("--lose-writes", help="Go back to a snapshot, where no member's data are left."),
    ] = False,
    snapshot: Annotated[
        Path | None,
        typer.Option("--snapshot", help="Which one, for --lose-writes; the newest on any machine or here."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    break_lock: BreakLock = False,
) -> None:
    """Bring etcd back: one dead member is replaced, a lost quorum made anew of what the survivors have."""
    cluster = machines.read(topology, None)
    given = backups.read(snapshot) if snapshot else None
    note = states.State.of(cluster.name).directory / "etcd-bootstrapped"
    if not note.exists():
        raise MachineError(
            f"cannot recover {cluster.name}: it was never deployed, as far as is known here; kybern deploy"
        )
    alive = answering(cluster.members)
    if not alive:
        raise MachineError(
            f"cannot recover {cluster.name}: no machine with a member of etcd answers; start one"
        )
    said = Said(topology, frozenset(dead or ()), lose_writes, only_copy=given is not None)
    # Where the others are dead, those that answer keep others away.
    with holding(replace(cluster, machines=alive), "recover", break_lock):
        work = Recovery(topology, cluster, said, note, given, yes)
        silent = work.run()
    if not work.done:
        print(f"nothing to recover: etcd of {cluster.name} has a quorum")
    else:
        print(f"etcd of {cluster.name} is recovered, after: {', '.join(map(str, work.done))}.")
    if silent:
        flags = " ".join(f"--dead {name}" for name in silent)
        raise MachineError(
            f"not recovered: {', '.join(silent)} does not answer by SSH; start it and run this again, or, if it never comes "
            f"back: kybern recover {topology} {flags}"
        )


@dataclass
class Recovery:
    """One run of the verb: ``done`` are its steps so far."""

    topology: str
    cluster: Cluster
    said: Said
    note: Path
    given: Snapshot | None
    yes: bool
    done: list[Step] = field(default_factory=list)

    def run(self) -> tuple[str, ...]:
        """All steps; gives the members that do not answer."""
        deployed = True
        while True:
            now = self._look()
            match step := decide(now):
                case Refused(why):
                    raise MachineError(f"cannot recover {self.cluster.name}: {why}")
                case Nothing(silent):
                    if not deployed:
                        self._deploy()
                    if now.said.pending:
                        # It was overtaken by what was found, and must not be gone on with after the next loss.
                        (self.note.parent / NOTE).unlink(missing_ok=True)
                    return silent
                case _:
                    self._do(step, now)
                    self.done.append(step)
                    deployed = not isinstance(step, Start | Forget | SetAside)

    def _look(self) -> State:
        names = tuple(each.name for each in self.cluster.members)
        kept = [self.given] if self.given else backups.known(self._backups)[-1:]
        said = replace(
            self.said,
            copy=kept[0].name if kept else "",
            pending=Restoring.pending(self.note.parent),
            remembered=frozenset(self.note.read_text().split()),
        )
        with Progress(f"Recover: {self.cluster.name}") as progress:
            progress.step("etcd", "its machines are asked")
            found = asyncio.run(look(self.cluster, self._started))
        return State(names, found, said, frozenset(self.done))

    @property
    def _started(self) -> frozenset[str]:
        return frozenset(name for step in self.done if isinstance(step, Start) for name in step.names)

    @property
    def _backups(self) -> Path:
        return backups.folder(self.cluster.name)

    def _do(self, step: Step, now: State) -> None:
        match step:
            case Start(names):
                self._step("start", names)
            case Forget(name):
                self._forget(name, now)
            case SetAside(name):
                self._forget(name, now)
                self._step("aside", (name,))
            case Join(name):
                self._forgotten(name)
                if not now.seen[name].data:
                    self._step("aside", (name,))
                self._deploy()
            case _:
                self._renew(step, now)

    def _renew(self, step: Step, now: State) -> None:
        """The steps that give all members data anew."""
        match step:
            case Salvage(name):
                self._ask(
                    f"etcd becomes a new cluster of {' and '.join(now.living)}, with the data of {name}."
                )
                self._replace(self._salvaged(name), now)
            case GoBack(name, source):
                self._ask(f"etcd goes back to the snapshot {name}: all that was written since is lost.")
                if source:
                    self._step("bring", (source,), snapshot=name)
                self._replace(self.given or backups.read(self._backups / f"{name}.db"), now)
            case GoOn():
                self._finish(Restoring.current(self.note.parent))

    def _step(self, step: str, names: Iterable[str], **more: str) -> None:
        """One of deploys/recover.py on these machines."""
        words = {"step": step, **more}
        data = [word for key, value in words.items() for word in ("--data", f"{key}={value}")]
        run_deploy(self.topology, self.cluster, (*data, *only(names)), verb="recover")

    def _forget(self, name: str, now: State) -> None:
        asked = [each for each in now.voting if each != name]
        run_deploy(self.topology, self.cluster, ("--data", f"leaving={name}", *only(asked)), verb="remove")
        self._forgotten(name)

    def _forgotten(self, name: str) -> None:
        """What the deploy does not take for a member joins, instead of being started as one."""
        names = self.note.read_text().split()
        if name in names:
            states.write(self.note, "".join(f"{each}\n" for each in names if each != name).encode())

    def _deploy(self) -> None:
        run_deploy(self.topology, self.cluster, self._only())

    def _only(self, without: Collection[str] = ()) -> tuple[str, ...]:
        """The limit to those that answer; none when all do."""
        alive = [each.name for each in answering(self.cluster.machines) if each.name not in without]
        return only(alive) if len(alive) < len(self.cluster.machines) else ()

    def _ask(self, text: str) -> None:
        if not self.yes:
            typer.confirm(f"{text} Go on?", abort=True)

    def _salvaged(self, name: str) -> Snapshot:
        before = set(backups.known(self._backups))
        self._step("salvage", (name,))
        (made,) = set(backups.known(self._backups)) - before
        return made

    def _replace(self, snapshot: Snapshot, now: State) -> None:
        self._finish(Restoring.begin(self.note.parent, snapshot, now.living))

    def _finish(self, run: Restoring) -> None:
        """Give all that are left the snapshot's data, and deploy; what is not left joins later, as a new member."""
        others = [each.name for each in self.cluster.members if not run.is_for(each)]
        limit = self._only(without=others)
        run_deploy(self.topology, self.cluster, limit, verb="restore")
        states.write(self.note, "".join(f"{name}\n" for name in run.members).encode())
        run_deploy(self.topology, self.cluster, limit)
        run.end()


async def look(cluster: Cluster, started: Collection[str]) -> dict[str, Seen]:
    """What all machines with a member say, when it has come to rest: an election or a start under way is waited for."""
    there = Machines(cluster)
    ends = time.monotonic() + (STARTED if started else ELECTION)
    while True:
        asked = (there.run(each.name, question(cluster, each), WITHIN) for each in cluster.members)
        texts = await asyncio.gather(*asked)
        found = {each.name: seen(cluster, text) for each, text in zip(cluster.members, texts, strict=True)}
        if time.monotonic() > ends or at_rest(found, started):
            return found
        await asyncio.sleep(EVERY)


def at_rest(found: Mapping[str, Seen], started: Collection[str]) -> bool:
    """Whether it is worth no second look: none may still start, and those that know a leader are a majority.

    One of a minority believes in the leader that it knew for as long as an election takes.
    """
    leading = {name: one for name, one in found.items() if one.leader}
    settled = all(name in leading or one.is_idle(of_late=name in started) for name, one in found.items())
    voters = {each.name for one in leading.values() for each in one.members if not each.learner}
    return settled and (not voters or 2 * len(voters & leading.keys()) > len(voters))
