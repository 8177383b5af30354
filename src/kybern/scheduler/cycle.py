"""Which node a pod goes to, or why none takes it. Pure.

Filters run in the order of the profile; a node that one refuses is not shown to the next, so that each refused node counts
once, as upstream counts it. Among the best nodes of equal score one is drawn, by a generator that is handed in: a run that
starts with the same seed and sees the same things decides the same. ``narrow`` and ``choose`` are apart because extenders
are asked in between.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from kybern.scheduler import plain
from kybern.scheduler.framework import Attempt, Filter, Plugin, Refusal, Score, no_filter, no_score
from kybern.scheduler.outcomes import Placed, Refused
from kybern.scheduler.room import Numbers
from kybern.scheduler.table import Mask, Table
from kybern.scheduler.timing import HOPELESS, SUCCESS

type Columns = NDArray[np.intp]

ENOUGH = 100  # nodes, however small the profile's percentage of them is (upstream: minFeasibleNodesToFind)


@dataclass(slots=True)
class Narrowed:
    """The nodes that are left, and who refused how many others and why.

    ``helped`` are refused nodes where others' leaving could help; ``about_pod`` is said instead of all counted reasons.
    """

    left: Mask
    helped: Mask
    reasons: dict[str, int] = field(default_factory=dict)
    plugins: set[str] = field(default_factory=set)
    about_pod: str = ""

    def refuse(self, plugin: str, refusals: Iterable[Refusal]) -> None:
        refused: Mask | None = None
        hopeless: Mask | None = None
        for refusal in refusals:
            if not np.count_nonzero(
                refusal.nodes
            ):  # most have nothing to say, and this is the cheapest question
                continue
            against = refusal.nodes & self.left
            number = int(np.count_nonzero(against))
            if not number:
                continue
            if refusal.about_pod:
                self.about_pod = refusal.reason
            self.reasons[refusal.reason] = self.reasons.get(refusal.reason, 0) + number
            self.plugins.add(plugin)
            refused = against if refused is None else refused | against
            if not refusal.helped:
                hopeless = against if hopeless is None else hopeless | against
        if refused is not None:
            self.helped |= refused if hopeless is None else refused & ~hopeless
            self.left &= ~refused

    def refused(self, table: Table) -> Refused:
        helpful = tuple(table.names[column] for column in np.flatnonzero(self.helped))
        return Refused(len(table), self._said(len(table)), frozenset(self.plugins), helpful)

    def _said(self, nodes: int) -> str:
        """As upstream's FitError: reasons in alphabetical order of ``N reason``."""
        if not nodes:
            return "no nodes available to schedule pods"
        if self.about_pod:
            return f"0/{nodes} nodes are available: {self.about_pod}."
        reasons = ", ".join(sorted(f"{number} {reason}" for reason, number in self.reasons.items()))
        return f"0/{nodes} nodes are available: {reasons}."


def schedule(attempt: Attempt, random: np.random.Generator, start: int = 0) -> Placed | Refused:
    """The node that the pod was promised is taken if it will do. For ``start`` see ``sampled``."""
    found = narrow(attempt)
    if not found.left.any():
        return found.refused(attempt.table)
    return choose(attempt, sampled(found.left, attempt, start), random)


def narrow(attempt: Attempt) -> Narrowed:
    """Ask the filters."""
    table = attempt.table
    found = Narrowed(table.valid.copy(), np.zeros(table.columns, np.bool_))
    attempt.left = found.left
    attempt.timing.start()
    own = _scoped(attempt, found)
    attempt.timing.passed("PreFilter", HOPELESS if found.about_pod else SUCCESS)
    asked: list[str] = []
    for plugin in attempt.profile.at["filter"]:
        if not np.count_nonzero(found.left):
            break
        if own.get(plugin.name) is not no_filter:
            asked.append(plugin.name)
        found.refuse(plugin.name, _refusals(plugin, own.get(plugin.name), attempt))
    if not found.about_pod:
        attempt.timing.passed("Filter")
        attempt.timing.asked("Filter", tuple(asked))
    promised = table.index.get(attempt.promises.of(attempt.facts.uid))
    if promised is not None and found.left[promised]:
        found.left = np.zeros_like(found.left)
        found.left[promised] = True
    return found


def _scoped(attempt: Attempt, found: Narrowed) -> Mapping[str, Filter]:
    """Ask ``pre_filter``; gives the filters that stand in for those of their plugins."""
    own: dict[str, Filter] = {}
    named: list[str] = []
    attempt.timing.asked("PreFilter", attempt.profile.names["preFilter"])
    within = found.left
    for plugin in attempt.profile.at["preFilter"]:
        scope = plugin.pre_filter(attempt) if plugin.pre_filter else None
        if scope is None:
            continue
        if scope.reason:
            found.refuse(plugin.name, (Refusal(found.left, scope.reason, about_pod=True),))
            return own
        if scope.nodes is not None:
            named.append(plugin.name)
            within = within & scope.nodes
        if scope.filter is not None:
            own[plugin.name] = scope.filter
    if named:
        _restrict(found, within, sorted(named))
    return own


def _restrict(found: Narrowed, within: Mask, named: list[str]) -> None:
    """Leave only these nodes. Words as in upstream's findNodesThatFitPod and RunPreFilterPlugins."""
    nobody = not within.any()
    listed = f"[{' '.join(named)}]"
    if not nobody:
        said = f"node(s) didn't satisfy plugin(s) {listed}"
    elif len(named) == 1:
        said = f"node(s) didn't satisfy plugin {named[0]}"
    else:
        said = f"node(s) didn't satisfy plugin(s) {listed} simultaneously"
    for name in named:
        found.plugins.add(name)
    found.refuse(named[0], (Refusal(~within, said, about_pod=nobody),))


def _refusals(plugin: Plugin, own: Filter | None, attempt: Attempt) -> Iterable[Refusal]:
    facts, table = attempt.facts, attempt.table
    ask = own or plugin.filter
    if ask is not None:
        return ask(facts, table)
    return plain.filtered(plugin.refuse, facts, table) if plugin.refuse else ()


def sampled(left: Mask, attempt: Attempt, start: int) -> Mask:
    """As many of the nodes as the profile's percentage asks for, from the column ``start`` on, round the end."""
    percentage = attempt.profile.percentage
    if percentage in (0, 100):
        return left
    number = max(len(attempt.table) * percentage // 100, ENOUGH)
    columns = np.flatnonzero(left)
    if len(columns) <= number:
        return left
    ordered = np.roll(columns, -int(np.searchsorted(columns, start % len(left))))
    found = np.zeros_like(left)
    found[ordered[:number]] = True
    return found


def choose(
    attempt: Attempt, left: Mask, random: np.random.Generator, more: Mapping[str, int] | None = None
) -> Placed:
    """One of the best among the nodes that are left; ``more`` is added to their scores, by name."""
    best = _best(attempt, left, more or {})
    drawn = 0 if len(best) == 1 else random.integers(len(best))
    return Placed(attempt.table.names[int(best[drawn])])


def _best(attempt: Attempt, left: Mask, more: Mapping[str, int]) -> Columns:
    """The columns of the highest score."""
    columns = np.flatnonzero(left)
    if len(columns) == 1:
        return columns
    # Without a gap they are taken as a slice, which copies nothing.
    taken = slice(len(columns)) if columns[-1] + 1 == len(columns) else columns
    profile, table = attempt.profile, attempt.table
    attempt.timing.start()
    own: dict[str, Score | None] = {
        plugin.name: plugin.pre_score(attempt, left) for plugin in profile.at["preScore"] if plugin.pre_score
    }
    attempt.timing.passed("PreScore")
    attempt.timing.asked("PreScore", profile.names["preScore"])
    silent = {name for name, score in own.items() if score is no_score}
    names = profile.names["score"]
    attempt.timing.asked("Score", tuple(one for one in names if one not in silent) if silent else names)
    total: Numbers = np.zeros(len(columns), np.int64)
    for plugin in profile.at["score"]:
        scores = _scores(plugin, own.get(plugin.name), attempt, left)
        if scores is None:
            continue
        scores = scores[taken]
        if plugin.normalize:
            scores = plugin.normalize(scores)
        total += profile.weights[plugin.name] * scores
    attempt.timing.passed("Score")
    for name, score in more.items():
        if name in table.index:
            total[columns == table.index[name]] += score
    best: Columns = columns[total == total.max()]
    return best


def _scores(plugin: Plugin, own: Score | None, attempt: Attempt, left: Mask) -> Numbers | None:
    facts, table = attempt.facts, attempt.table
    ask = own or plugin.score
    if ask is not None:
        return ask(facts, table, left)
    return plain.scored(plugin.rate, facts, table, left) if plugin.rate else None
