"""Honour ``nodeSelector`` and node affinity, required and preferred; and what the profile adds to those of every pod.

A pod that names its nodes (a daemon set's does) is looked at on these only, so that the others are counted as one.
"""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np

from kybern.api.core_v1 import Node, NodeAffinity, NodeSelectorTerm, Pod
from kybern.api.node_selection import matches, required_terms, selects
from kybern.api.rules.pods.scheduling import node_selector, node_term
from kybern.machinery.errors import Cause
from kybern.scheduler.arguments import Arguments
from kybern.scheduler.changes import Action, Wake
from kybern.scheduler.facts import PodFacts
from kybern.scheduler.framework import Attempt, Cluster, NodeInfo, Plugin, Refusal, Scope, relents, scaled
from kybern.scheduler.room import Numbers
from kybern.scheduler.selection import by_term, required
from kybern.scheduler.table import Mask, Table

REASON = "node(s) didn't match Pod's node affinity/selector"
ENFORCED = "node(s) didn't match scheduler-enforced node affinity"
CONFLICT = "pod affinity terms conflict"
_REQUIRED, _PREFERRED = (
    "requiredDuringSchedulingIgnoredDuringExecution", "preferredDuringSchedulingIgnoredDuringExecution",
)  # fmt: skip


def pre_filter(attempt: Attempt) -> Scope | None:
    names = named(attempt.facts.pod)
    if names is None:
        return None
    if not names:
        return Scope(reason=CONFLICT)
    table = attempt.table
    nodes = np.zeros(table.columns, np.bool_)
    nodes[[table.index[name] for name in names if name in table.index]] = True
    return Scope(nodes=nodes)


def named(pod: Pod) -> frozenset[str] | None:
    """The nodes that the pod's required terms name; None when one of them names none."""
    found: frozenset[str] = frozenset()
    terms = required_terms(pod.spec)
    for term in terms or ():
        listed = [
            one.values for one in term.match_fields if (one.key, one.operator) == ("metadata.name", "In")
        ]
        if not listed:
            return None
        found |= frozenset(listed[0]).intersection(*listed[1:])
    return found if terms else None


def refuse(added: NodeAffinity, pod: Pod, info: NodeInfo, _cluster: Cluster) -> tuple[str, ...]:
    enforced = added.required_during_scheduling_ignored_during_execution
    if enforced and not any(matches(term, info.node) for term in enforced.node_selector_terms):
        return (ENFORCED,)
    return () if selects(pod.spec, info.node) else (REASON,)


def filter_nodes(added: NodeAffinity, facts: PodFacts, table: Table) -> Iterator[Refusal]:
    allowed: Mask | None = None
    enforced = added.required_during_scheduling_ignored_during_execution
    if enforced:
        allowed = np.zeros(table.columns, np.bool_)
        for term in enforced.node_selector_terms:
            allowed |= by_term(term, table)
        yield Refusal(~allowed, ENFORCED)
    if facts.pod.spec.node_selector or required_terms(facts.pod.spec) is not None:
        against = ~required(facts.pod, table)
        yield Refusal(against if allowed is None else against & allowed, REASON)


def score(added: NodeAffinity, facts: PodFacts, table: Table, _left: Mask) -> Numbers | None:
    """The sum of the weights of the preferred terms that match."""
    affinity = facts.pod.spec.affinity.node_affinity if facts.pod.spec.affinity else None
    preferred = affinity.preferred_during_scheduling_ignored_during_execution if affinity else ()
    preferred += added.preferred_during_scheduling_ignored_during_execution
    if not preferred:
        return None
    total: Numbers = np.zeros(table.columns, np.int64)
    for one in preferred:
        term: NodeSelectorTerm = one.preference
        total += by_term(term, table) * (one.weight or 0)
    return total


def configure(args: Mapping[str, Any], path: str) -> Plugin:
    given = Arguments(args, path, "NodeAffinityArgs")
    added = given.read("addedAffinity", NodeAffinity)
    if added is not None:
        given.wrong(*_wrong(given.at("addedAffinity"), given.raw("addedAffinity")))
    given.check()
    return made(added or NodeAffinity())


def _wrong(field: str, raw: Mapping[str, Any]) -> Iterator[Cause]:
    if raw.get(_REQUIRED) is not None:
        yield from node_selector(f"{field}.{_REQUIRED}", raw[_REQUIRED])
    for number, term in enumerate(raw.get(_PREFERRED) or ()):
        yield from node_term(f"{field}.{_PREFERRED}[{number}]", term.get("preference") or {})


def made(added: NodeAffinity) -> Plugin:
    refusing = partial(refuse, added)
    return Plugin(
        "NodeAffinity",
        pre_filter=pre_filter,
        filter=partial(filter_nodes, added),
        refuse=refusing,
        score=partial(score, added),
        normalize=scaled,
        weight=2,
        wakes=(Wake(Node, Action.ADDED | Action.CHANGED, relents(refusing)),),
        configure=configure,
    )


PLUGIN = made(NodeAffinity())
