"""What happened in the cluster, and whom it could help (upstream: cluster events and queueing hints). Pure.

A plugin lists as ``wakes`` the changes after which a pod that it refused may be worth another try. A hint looks closer, at
what was there before and what is there now. It may only say no when the change cannot help: a pod that is not woken waits
for minutes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Flag, auto
from typing import Any

from kybern.machinery.struct import Object
from kybern.scheduler.facts import PodFacts


class Action(Flag):
    """Of pods only those that are placed count: ADDED is one that came to a node, GONE one that left it.

    RENEWED is the change of a pod that waits; only the plugins that refused that pod hear of it (upstream: UnscheduledPod).
    """

    ADDED = auto()
    CHANGED = auto()
    GONE = auto()
    RENEWED = auto()


@dataclass(frozen=True, slots=True)
class Happening:
    """``new`` is missing when the object is gone, ``old`` when it is new."""

    kind: type[Object]
    action: Action
    new: Any = None
    old: Any = None

    @property
    def object(self) -> Any:
        return self.old if self.new is None else self.new


type Hint = Callable[[PodFacts, Happening], bool]


def always(_facts: PodFacts, _what: Happening) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Wake:
    """A hint for some actions on a kind."""

    kind: type[Object]
    actions: Action
    hint: Hint = always

    def hears(self, what: Happening) -> bool:
        return what.kind is self.kind and bool(what.action & self.actions)
