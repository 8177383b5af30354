"""What controls take and give. Pure."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from kybern.machines import outcome
from kybern.machines.topology import Cluster, Machine

type Raw = Mapping[str, Any]
FLAG = re.compile(r"--([A-Za-z0-9-]+)(?:=(.*))?", re.DOTALL)


class Level(StrEnum):
    """``REVIEW`` is for the operator to weigh: it is about his own workloads; ``UNKNOWN`` could not be seen."""

    FAILED = "failed"
    UNKNOWN = "unknown"
    REVIEW = "review"
    EXPLAINED = "explained"
    PASSED = "passed"


ORDER = tuple(Level)
Outcome = outcome.Outcome[Level]


def passed(said: str) -> Outcome:
    return Outcome(Level.PASSED, said)


def failed(said: str, remedy: str) -> Outcome:
    return Outcome(Level.FAILED, said, remedy)


def review(said: str, remedy: str) -> Outcome:
    return Outcome(Level.REVIEW, said, remedy)


def unknown(said: str) -> Outcome:
    return Outcome(Level.UNKNOWN, said, "see that the machine and the API answer, and look again")


@dataclass(frozen=True, slots=True)
class Kept:
    """A file or directory: mode bits, owner and group."""

    path: str
    mode: int
    owner: str


@dataclass(frozen=True)
class Place:
    """A machine, and what it said: texts by the names in ``questions``; none when it does not answer.

    ``kubelet`` is the configuration that its kubelet has in force (/configz), None when that could not be read.
    """

    cluster: Cluster
    machine: Machine
    texts: Mapping[str, str] = field(default_factory=dict)
    kubelet: Raw | None = None

    def flags(self, daemon: str) -> Mapping[str, str] | None:
        """The flags that a process runs with; None when it does not run."""
        words = self.texts.get(f"flags/{daemon}", "").strip().splitlines()
        found = {
            match[1]: match[2] if match[2] is not None else "true"
            for match in map(FLAG.fullmatch, words)
            if match
        }
        return found if words else None

    def files(self, name: str) -> Sequence[Kept]:
        """Of a part of lines "MODE OWNER:GROUP PATH"."""
        return tuple(self._files(name))

    def _files(self, name: str) -> Iterator[Kept]:
        for line in self.texts.get(f"files/{name}", "").splitlines():
            words = line.split(None, 2)
            if len(words) == 3 and re.fullmatch("[0-7]+", words[0]):
                yield Kept(words[2], int(words[0], 8), words[1])

    def text(self, name: str) -> str:
        return self.texts.get(name, "").strip()


@dataclass(frozen=True)
class Objects:
    """What the API gave: objects by plural name, None for what it did not give; ``admin`` is the operator's file's mode."""

    cluster: Cluster
    lists: Mapping[str, Sequence[Raw] | None] = field(default_factory=dict)
    admin: int | None = None

    def __getitem__(self, plural: str) -> Sequence[Raw] | None:
        return self.lists.get(plural)


class Scope(StrEnum):
    """Which machines a control is about; CLUSTER is about the objects of the API."""

    MASTER = "master"
    MEMBER = "member"
    NODE = "node"
    CLUSTER = "cluster"

    def holds(self, machine: Machine) -> bool:
        return {
            Scope.MASTER: machine.is_master,
            Scope.MEMBER: machine.is_etcd,
            Scope.NODE: machine.is_node,
        }.get(self, False)


type Judge = Callable[[Place], Outcome]
type Weigh = Callable[[Objects], Outcome]


@dataclass(frozen=True, slots=True)
class Control:
    """A line of the benchmark: its number, what it wants in short, and a pure judgement.

    ``judge`` is asked for each machine of the scope, ``weigh`` once for the cluster: a control has one of them.
    """

    number: str
    wants: str
    scope: Scope
    judge: Judge | None = None
    weigh: Weigh | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """A line of the report. ``machines`` are those of which it is true; empty for the cluster."""

    number: str
    level: Level
    wants: str
    said: str
    why: str
    machines: tuple[str, ...] = ()
