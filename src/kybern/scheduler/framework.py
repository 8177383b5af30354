"""The shape of a scheduler plugin: a record of hooks, one for each extension point of upstream's scheduling framework.

    pre_enqueue, sort                      which pods may be tried, and which is next
    pre_filter, filter, post_filter        which nodes will do; what could help when none does
    pre_score, score, normalize            which of them is best
    reserve (unreserve), permit            take what the pod uses; may it go there now
    pre_bind, bind, post_bind              beside the loop, with I/O

``filter`` and ``score`` speak of all nodes at once. ``filter`` yields what stands against nodes: a mask of the refused ones,
the reason in upstream's words, and whether moving other pods away could help. ``score`` gives each node 0 to 100 (after
``normalize``, if set); only those that are left count. ``refuse`` and ``rate`` say the same of one node, in the plain way:
the oracle in the tests of the vector form, the form in which preemption tries what would be, and all that a plugin needs
that is in no hurry: without the vector form the plain one is asked node by node.

Hooks decide and do no I/O, except for those that are coroutines and get a ``Handle``: they may.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from kybern.api.core_v1 import Node, Pod
from kybern.machinery.errors import Cause
from kybern.machinery.struct import Object
from kybern.scheduler.changes import Happening, Hint, Wake
from kybern.scheduler.facts import PodFacts
from kybern.scheduler.objects import Objects, namespace_labels
from kybern.scheduler.parked import Parked
from kybern.scheduler.promises import Promises
from kybern.scheduler.room import Numbers
from kybern.scheduler.table import Mask, Table
from kybern.scheduler.timing import UNTIMED, Timing

if TYPE_CHECKING:
    from kybern.scheduler.handle import Handle
    from kybern.scheduler.outcomes import Refused
    from kybern.scheduler.profile import Profile

MAX_SCORE = 100


class BadArgs(Exception):
    """Arguments that a plugin cannot be made of; one cause for each thing wrong, with its path in the file."""

    def __init__(self, *causes: Cause) -> None:
        super().__init__(", ".join(cause.line() for cause in causes))
        self.causes = causes


@dataclass(frozen=True, slots=True)
class Refusal:
    """``helped`` says whether removing other pods could change it (upstream: Unschedulable, not ...AndUnresolvable).

    ``about_pod``: the reason is the pod's, whatever the node, and is told without a number of nodes.
    """

    nodes: Mask
    reason: str
    helped: bool = False
    about_pod: bool = False


@dataclass(frozen=True, slots=True)
class NodeInfo:
    """One node and what is on it, for the plain form of a plugin."""

    node: Node
    pods: tuple[Pod, ...] = ()


@dataclass(frozen=True, slots=True)
class Cluster:
    """All there is, for the plain form of a plugin that looks at more than one node."""

    nodes: tuple[NodeInfo, ...] = ()
    objects: Objects = field(default_factory=Objects)

    def namespace_labels(self, name: str) -> Mapping[str, str]:
        return namespace_labels(self.objects, name)


@dataclass(slots=True)
class Attempt:
    """One try to find a node for a pod and to bind it there, as hooks see it.

    ``promises`` are the nodes that pods were promised, ``parked`` the pods that wait for a permit. ``state`` is the hooks'
    own: what one of them leaves under its plugin's name is there for the later ones, until the attempt is over. Refused pods
    whose uid is in ``activate`` are tried again when it is. ``timing`` is told how far it is. ``left`` are
    the nodes that no filter has refused so far, while filters are asked.
    """

    facts: PodFacts
    table: Table
    profile: "Profile"
    promises: Promises = field(default_factory=Promises)
    parked: Parked = field(default_factory=Parked)
    state: dict[str, Any] = field(default_factory=dict)
    activate: set[str] = field(default_factory=set)
    left: Mask | None = None
    timing: Timing = UNTIMED


type Filter = Callable[[PodFacts, Table], Iterable[Refusal]]
type Refuse = Callable[[Pod, NodeInfo, Cluster], tuple[str, ...]]
type Score = Callable[[PodFacts, Table, Mask], Numbers | None]
type Rate = Callable[[Pod, NodeInfo, Cluster], int]


@dataclass(frozen=True, slots=True)
class Scope:
    """What ``pre_filter`` found out before nodes are looked at.

    ``reason`` keeps the pod from every node. ``nodes`` are those that come into question; others count as refused by the
    plugin. ``filter`` is asked in place of the plugin's own: it knows what was worked out here (upstream: CycleState).
    """

    reason: str = ""
    nodes: Mask | None = None
    filter: Filter | None = None


def no_filter(_facts: PodFacts, _table: Table) -> Iterable[Refusal]:
    return ()


def no_score(_facts: PodFacts, _table: Table, _left: Mask) -> Numbers | None:
    return None


SKIP = Scope(filter=no_filter)  # the plugin's filter has nothing to say of this pod


@dataclass(frozen=True, slots=True)
class Relief:
    """What ``post_filter`` found for a pod that nobody takes.

    ``node`` is promised to the pod: "" takes back what was promised before, None leaves that as it is. ``leaving`` are told
    to go from there. ``said`` goes behind the reasons in the pod's condition. A relief with a node ends the search for one.
    """

    said: str = ""
    node: str | None = None
    leaving: tuple[Pod, ...] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """What ``permit`` says when it does not simply allow: refuse for a reason, or wait for so many seconds.

    Who waits is allowed or rejected through ``Attempt.parked``; when the time is over, it is rejected.
    """

    reason: str = ""
    wait: float = 0.0


@dataclass(frozen=True, slots=True)
class Plugin:
    """Under upstream's name; hooks are in the order in which they are called, and None where there is nothing to do.

    pre_enqueue: why a pod must not be tried yet, None when it may.
    sort: the key by which pods queue, of a pod and of when it came (seconds); the lowest is first. All profiles share it.
    pre_filter: see Scope; None when there is nothing to say before nodes are looked at.
    filter, refuse: what stands against nodes, over all of them and of one.
    post_filter: see Relief; called when no node is left.
    pre_score: the score to ask in place of the plugin's own; ``no_score`` for none at all.
    score, rate, normalize: what is preferred, over all nodes and of one.
    reserve: takes what the pod will use, for the node that was chosen; why it cannot, or "". ``unreserve`` gives it back,
      also when ``reserve`` was not called or failed.
    permit: see Verdict; None allows.
    prepares: whether ``pre_bind`` has something to do that takes its time: others are told then where the pod will go.
      Without this hook it is called, and nobody is told.
    pre_bind: what has to be done before the pod is bound; why it failed, or "". It must respect cancellation.
    bind: None when another plugin shall do it, "" when it is done, or why it failed.
    post_bind: told after a binding.

    ``weight`` is that of its score in the default profile, ``wakes`` what may help a pod that it refused, ``needs`` which
    objects beside nodes and pods are looked at. ``configure`` makes the plugin anew from the ``args`` of a pluginConfig.
    It gets them with the path that they have in the file, and raises BadArgs.
    """

    name: str
    pre_enqueue: Callable[[Pod], str | None] | None = None
    sort: Callable[[PodFacts, float], tuple[Any, ...]] | None = None
    pre_filter: Callable[[Attempt], Scope | None] | None = None
    filter: Filter | None = None
    refuse: Refuse | None = None
    post_filter: "Callable[[Attempt, Refused, Handle], Awaitable[Relief]] | None" = None
    pre_score: Callable[[Attempt, Mask], Score | None] | None = None
    score: Score | None = None
    rate: Rate | None = None
    normalize: Callable[[Numbers], Numbers] | None = None
    reserve: Callable[[Attempt, str], str] | None = None
    unreserve: Callable[[Attempt, str], None] | None = None
    permit: Callable[[Attempt, str], Verdict | None] | None = None
    prepares: Callable[[Attempt, str], bool] | None = None
    pre_bind: "Callable[[Attempt, str, Handle], Awaitable[str]] | None" = None
    bind: "Callable[[Attempt, str, Handle], Awaitable[str | None]] | None" = None
    post_bind: Callable[[Attempt, str], None] | None = None
    weight: int = 1
    wakes: tuple[Wake, ...] = ()
    needs: tuple[type[Object], ...] = ()
    configure: "Callable[[Mapping[str, Any], str], Plugin] | None" = None


def relents(refuse: Refuse) -> Hint:
    """A hint for plugins that look at one node only: it would not refuse the pod now, and did before."""
    nothing = Cluster()

    def hint(facts: PodFacts, what: Happening) -> bool:
        before = what.old is None or refuse(facts.pod, NodeInfo(what.old), nothing)
        return bool(before) and not refuse(facts.pod, NodeInfo(what.new), nothing)

    return hint


def scaled(scores: Numbers) -> Numbers:
    """The highest becomes 100, the others in proportion; all 0 stay 0."""
    most = int(scores.max(initial=0))
    return scores * MAX_SCORE // most if most else scores


def scaled_down(scores: Numbers) -> Numbers:
    """The same, but the highest becomes 0: for counts of what speaks against a node."""
    if int(scores.max(initial=0)) == 0:
        return np.full_like(scores, MAX_SCORE)
    return MAX_SCORE - scaled(scores)
