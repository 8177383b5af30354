"""What brings etcd back: from what its machines say, the next step. Pure.

    seen by all machines -> decide -> one step, done -> seen again -> ... -> Nothing

Each step can be killed and is found anew by looking, so nothing is remembered but which members were started in vain in this
run. In their order:

- what has data is started, since members that run may be a quorum after all;
- with a quorum, one that is dead is forgotten, one whose data are gone or do not run gets fresh ones from the others;
- without one, the data that go furthest become those of a new cluster, on all machines that are left;
- where nothing is left, the newest snapshot does; what was written since is lost, which somebody has to say.

A new cluster beside one that lives would be two clusters, so that a quorum is lost has to be proven: no member knows a
leader, those that have data are no majority, and of all others it is said that they are dead, and no member reaches them.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from kybern.machines.etcd_seen import Known, Seen
from kybern.machines.etcdctl import DATA


@dataclass(frozen=True, slots=True)
class Said:
    """What the operator says, and has.

    ``copy`` is the newest snapshot on this side, or with ``only_copy`` the one to be used; ``pending`` the stamp of a
    recovery that was interrupted while data were replaced; ``remembered`` are the members that were last seen healthy.
    """

    cluster: str
    dead: frozenset[str] = frozenset()
    lose_writes: bool = False
    copy: str = ""
    only_copy: bool = False
    remembered: frozenset[str] = frozenset()
    pending: str = ""


@dataclass(frozen=True, slots=True)
class State:
    """``members`` are the machines of the topology that have one; ``tried`` steps that were taken in this run."""

    members: Sequence[str]
    seen: Mapping[str, Seen]
    said: Said
    tried: "frozenset[Step]" = frozenset()
    silent: tuple[str, ...] = field(init=False)
    living: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        living = tuple(name for name in self.members if self.seen[name].answers)
        object.__setattr__(self, "living", living)
        object.__setattr__(self, "silent", tuple(name for name in self.members if name not in living))

    @property
    def started(self) -> frozenset[str]:
        return frozenset(name for step in self.tried if isinstance(step, Start) for name in step.names)

    @property
    def voting(self) -> tuple[str, ...]:
        """The machines whose members know a leader, and may be asked for changes of the membership.

        Machines that were said to be dead and came back may be a cluster of their own. Ours is that of those remembered.
        """
        leading = [name for name in self.living if self.seen[name].leader]
        first = next((name for name in leading if name in self.said.remembered), next(iter(leading), ""))
        return tuple(name for name in leading if self.seen[name].cluster == self.seen[first].cluster)

    @property
    def has_quorum(self) -> bool:
        """Only a member of a quorum knows a leader for longer than an election takes."""
        return bool(self.voting)


@dataclass(frozen=True, slots=True)
class Nothing:
    """All that can be done is done. ``silent`` do not answer, and nobody says that they are dead."""

    silent: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Start:
    """etcd started on these machines, which have data."""

    names: tuple[str, ...]

    def __str__(self) -> str:
        return f"etcd was started on {_names(self.names)}"


@dataclass(frozen=True, slots=True)
class Forget:
    """The others forget this member, which is dead."""

    name: str

    def __str__(self) -> str:
        return f"{self.name} was forgotten"


@dataclass(frozen=True, slots=True)
class SetAside:
    """The others forget this member, and what data it has are moved aside, for it to join as a new one."""

    name: str

    def __str__(self) -> str:
        return f"the data of {self.name} were set aside"


@dataclass(frozen=True, slots=True)
class Join:
    """A deploy, in which this machine becomes a member."""

    name: str

    def __str__(self) -> str:
        return f"{self.name} joined"


@dataclass(frozen=True, slots=True)
class Salvage:
    """A snapshot of this machine's data, which becomes everybody's."""

    name: str

    def __str__(self) -> str:
        return f"the data of {self.name} became everybody's"


@dataclass(frozen=True, slots=True)
class GoBack:
    """The snapshot of this name, of this machine or, with an empty one, of this side, becomes everybody's data."""

    snapshot: str
    source: str

    def __str__(self) -> str:
        return f"the snapshot {self.snapshot} became everybody's"


@dataclass(frozen=True, slots=True)
class GoOn:
    """The interrupted replacement of all data is finished."""

    def __str__(self) -> str:
        return "the replacement of all data was finished"


@dataclass(frozen=True, slots=True)
class Refused:
    """Nothing can be done before somebody does what this says."""

    why: str


type Step = Nothing | Start | Forget | SetAside | Join | Salvage | GoBack | GoOn | Refused


def decide(state: State) -> Step:
    """The next step; ``Refused`` when somebody else has to do something first."""
    step = _decided(state)
    if step in state.tried:
        return Refused(
            f"{step}, and it did not help; see on the machines: journalctl -u etcd.service, and kybern status"
        )
    return step


def _decided(state: State) -> Step:
    if why := _contradicted(state):
        return Refused(why)
    if _interrupted(state):
        return GoOn()
    if full := [name for name in state.living if state.seen[name].is_full and not state.seen[name].leader]:
        return Refused(
            f"the disk of etcd is full on {_names(full)}; nothing is lost by that, and it needs space: "
            "delete what fills the disk (of ours: /var/lib/etcd/before-*, old files of /var/lib/kybern/snapshots), "
            "and run this again"
        )
    # What is no member of ours any more is not started: with another one it may be a quorum of what was before.
    ours = {each.name for each in _members(state, leading=True)}
    idle = [
        name
        for name in state.living
        if state.seen[name].data
        and state.seen[name].is_idle()
        and name not in state.started
        and (not ours or name in ours)
    ]
    if idle:
        return Start(tuple(idle))
    return _with_quorum(state) if state.has_quorum else _without(state)


def _contradicted(state: State) -> str:
    """Why what was said of the dead cannot be."""
    said = state.said.dead
    everybody = {*state.members, *(each.name for one in state.seen.values() for each in one.members)}
    for name in sorted(said - everybody):
        return f"{state.said.cluster} has no member {name} of etcd that could be dead; it has {_names(sorted(everybody))}"
    for name in sorted(said):
        if name in state.living:
            return f"{name} is said to be dead, and answers by SSH; run this again without --dead {name}"
        if witness := next((other for other in state.living if name in state.seen[other].reaches), ""):
            return (
                f"{name} is said to be dead, and its etcd answers {witness}: a new cluster beside it would be a second one; "
                f"take its power away, or make it answer by SSH and leave --dead {name} out"
            )
    return ""


def _given(one: Seen, pending: str) -> bool:
    return one.data and one.restored == pending


def _interrupted(state: State) -> bool:
    """Whether data of a restore were given to a part of the machines, or to all, which nobody has started and looked at."""
    pending = state.said.pending
    given = [name for name in state.living if pending and _given(state.seen[name], pending)]
    return bool(given) and (not state.has_quorum or len(given) == len(state.living))


def _with_quorum(state: State) -> Step:
    known = {each.name: each for each in _members(state, leading=True)}
    if not known:
        return Refused(
            f"etcd has a quorum, and {_names(state.voting)} does not tell who its members are; "
            "see there: journalctl -u etcd.service"
        )
    for name in sorted(state.said.dead & known.keys()):
        return Forget(name)
    steps = [step for name in state.living if (step := _one(state, name, known.get(name)))]
    if steps:
        # A deploy, in which one joins, refuses data of what was before on any machine.
        return next((step for step in steps if isinstance(step, SetAside)), steps[0])
    return Nothing(tuple(name for name in state.silent if name in known))


def _one(state: State, name: str, own: Known | None) -> Join | SetAside | None:
    """What a machine needs while the others have a quorum; None for one that votes."""
    one, takes_part = state.seen[name], name in state.voting
    if own and takes_part and not own.learner:
        return None
    joins = own is not None and own.learner and (takes_part or own.started == one.data)
    if joins or not (own or one.data):
        return Join(name)
    return SetAside(name)


def _without(state: State) -> Step:
    voters = [each.name for each in _members(state) if not each.learner] or list(state.members)
    # One that was being added when the quorum was lost has no vote yet, and may have all data all the same.
    holders = [name for name in state.living if state.seen[name].data]
    votes = [name for name in holders if name in voters]
    if len(votes) > len(voters) // 2:
        return Refused(
            f"{_names(votes)} have data, and are {len(votes)} of {len(voters)} members, which is a quorum; that they "
            "find no leader has another reason: see there journalctl -u etcd.service (certificates, clocks, the network "
            f"between them). Where data are beyond mending, move {DATA}/member away, and run this again"
        )
    unknown = [
        name for name in {*voters, *state.silent} if name not in state.living and name not in state.said.dead
    ]
    if unknown:
        flags = " ".join(f"--dead {name}" for name in sorted(unknown))
        return Refused(
            f"etcd has no quorum, and there is no answer from {_names(sorted(unknown))}; start it. If it never comes "
            f"back, which nobody but you can know, say so: kybern recover {state.said.cluster} {flags}"
        )
    best = max(
        (name for name in holders if state.seen[name].revision is not None),
        key=lambda name: state.seen[name].revision or 0,
        default="",
    )
    if best:
        return Salvage(best)
    return _back(state, holders)


def _back(state: State, holders: Sequence[str]) -> Step:
    kept = () if state.said.only_copy else state.living
    found = [(state.seen[name].snapshot, name) for name in kept if state.seen[name].snapshot]
    found += [(state.said.copy, "")] if state.said.copy else []
    snapshot, source = max(found, key=lambda each: each[0], default=("", ""))
    lost = (
        f"{_names(holders)} has data with which etcd does not start (see there: journalctl -u etcd.service)"
        if holders
        else f"the data of etcd are gone on all machines of {state.said.cluster}"
    )
    if not snapshot:
        return Refused(
            f"{lost}, and there is no snapshot, neither on a machine nor here; give a copy with --snapshot FILE"
        )
    if not state.said.lose_writes:
        where = source or "this side"
        return Refused(
            f"{lost}; the newest snapshot is {snapshot} of {where}, and what was written since is lost. "
            f"To go back to it: kybern recover {state.said.cluster} --lose-writes"
        )
    return GoBack(snapshot, source)


def _members(state: State, *, leading: bool = False) -> tuple[Known, ...]:
    """The members, as one of the quorum knows them; without one, as any knows them."""
    asked = state.voting[:1] if leading else state.living
    found = {each.name: each for name in asked for each in state.seen[name].members}
    return tuple(found.values())


def _names(names: Collection[str]) -> str:
    return " and ".join(names)
