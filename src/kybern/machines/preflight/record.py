"""What checks take and give. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property

from kybern.machines import outcome
from kybern.machines.topology import Cluster, Machine


class Level(StrEnum):
    """``FAILURE`` would break a deploy or the cluster; a ``WARNING`` is for the operator to weigh."""

    FAILURE = "failure"
    WARNING = "warning"
    PASSED = "passed"


Outcome = outcome.Outcome[Level]


def passed(said: str) -> Outcome:
    return Outcome(Level.PASSED, said)


def warning(said: str, remedy: str) -> Outcome:
    return Outcome(Level.WARNING, said, remedy)


def failure(said: str, remedy: str) -> Outcome:
    return Outcome(Level.FAILURE, said, remedy)


@dataclass(frozen=True)
class Facts:
    """What a machine said: texts by the names in ``questions``; none when it does not answer.

    ``began`` and ``ended`` are this computer's clock around the whole conversation. ``refused``: it answers, and lets the
    user not be root.
    """

    texts: Mapping[str, str] = field(default_factory=dict)
    began: float = 0.0
    ended: float = 0.0
    refused: bool = False

    def __getitem__(self, name: str) -> str:
        return self.texts.get(name, "").strip()

    def lines(self, name: str) -> list[str]:
        return [line.strip() for line in self[name].splitlines() if line.strip()]

    def number(self, name: str) -> float | None:
        try:
            return float(self[name])
        except ValueError:
            return None

    @property
    def contained(self) -> bool:
        """Whether the machine is a container, whose kernel and clock are its host's."""
        return self["container"] not in ("", "none")

    @cached_property
    def ours(self) -> frozenset[str]:
        """The units on this machine that a deploy has made."""
        return frozenset(self["ours"].split())


@dataclass(frozen=True, slots=True)
class Looked:
    """A machine of a cluster, what it said, and what the others said."""

    cluster: Cluster
    machine: Machine
    everybody: Mapping[str, Facts]

    @property
    def facts(self) -> Facts:
        return self.everybody.get(self.machine.name, Facts())

    def others(self) -> Mapping[Machine, Facts]:
        """The other machines that answered."""
        return {
            each: self.everybody[each.name]
            for each in self.cluster.machines
            if each != self.machine and self.everybody.get(each.name, Facts()).texts
        }


@dataclass(frozen=True, slots=True)
class Check:
    """A name for the report, and a pure judgement of what was seen."""

    name: str
    judge: Callable[[Looked], Outcome]
