"""Spread pods over zones, hosts, or whatever nodes have in common by a label.

A hard constraint refuses a node when its domain would have more of the pods that are meant than the emptiest domain, by more
than ``maxSkew``; with fewer domains than ``minDomains`` the emptiest counts as empty. A soft one scores: the fewer in the
domain the better, and a domain weighs more the more of its kind there are. Nodes that lack one of the labels are no domain.
"""

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np

from kybern.api.apps_v1 import ReplicaSet, StatefulSet
from kybern.api.core_v1 import Node, Pod, ReplicationController, Service, TopologySpreadConstraint
from kybern.api.node_selection import selects
from kybern.api.tolerations import tolerated
from kybern.machinery.causes import duplicate, forbidden, invalid, not_supported
from kybern.machinery.causes import required as required_field
from kybern.machinery.errors import Cause
from kybern.machinery.meta import label_name
from kybern.scheduler import renewals
from kybern.scheduler.arguments import Arguments
from kybern.scheduler.changes import Action, Happening, Wake
from kybern.scheduler.crowd import Counts
from kybern.scheduler.facts import PodFacts
from kybern.scheduler.framework import MAX_SCORE, Cluster, NodeInfo, Plugin, Refusal
from kybern.scheduler.groups import Looks
from kybern.scheduler.plugins import taint_toleration
from kybern.scheduler.room import Numbers
from kybern.scheduler.selection import required
from kybern.scheduler.spreading import HARD, HOSTNAME, SOFT, Constraint, Defaults, constraints
from kybern.scheduler.table import Mask, Table

NAME = "PodTopologySpread"
SYSTEM, LIST = "System", "List"
NO_DEFAULTS = Defaults((), system=False)
SKEWED = "node(s) didn't match pod topology spread constraints"
UNLABELLED = f"{SKEWED} (missing required label)"


def refuse(defaults: Defaults, pod: Pod, info: NodeInfo, cluster: Cluster) -> tuple[str, ...]:
    wanted = constraints(pod, HARD, defaults, cluster.objects)
    keys = {one.topology_key for one in wanted}
    for one in wanted:
        value = info.node.metadata.labels.get(one.topology_key)
        if value is None:
            return (UNLABELLED,)
        domains: dict[str, int] = {}
        for other in cluster.nodes:
            labels = other.node.metadata.labels
            if keys <= labels.keys() and counts(one, pod, other.node):
                domain = labels[one.topology_key]
                domains[domain] = domains.get(domain, 0) + matching(one, other)
        least = min(domains.values()) if len(domains) >= one.min_domains else 0
        if domains.get(value, 0) + one.group.has(Looks.of(pod)) - least > one.max_skew:
            return (SKEWED,)
    return ()


def counts(one: Constraint, pod: Pod, node: Node) -> bool:
    """Whether a node belongs to a domain of the constraint."""
    if one.honours_affinity and not selects(pod.spec, node):
        return False
    hard = (taint for taint in node.spec.taints if taint.effect in taint_toleration.HARD)
    return not one.honours_taints or all(tolerated(taint, pod.spec.tolerations) for taint in hard)


def matching(one: Constraint, info: NodeInfo) -> int:
    """How many pods of a node the constraint means."""
    if one.counts_nobody:
        return 0
    return sum(one.group.has(Looks.of(other)) for other in info.pods)


def filter_nodes(defaults: Defaults, facts: PodFacts, table: Table) -> Iterator[Refusal]:
    wanted = constraints(facts.pod, HARD, defaults, table.objects)
    if not wanted:
        return
    labelled = _labelled(wanted, table)
    undecided = np.ones(table.columns, np.bool_)
    unlabelled, skewed = np.zeros_like(undecided), np.zeros_like(undecided)
    for one in wanted:
        numbers, kinds = table.topology(one.topology_key)
        counted = _counted(one, facts, table) & labelled
        there = np.zeros(kinds, np.bool_)
        there[numbers[counted]] = True
        pods = np.bincount(numbers, weights=_matching(one, table) * counted, minlength=kinds)
        least = pods[there].min() if np.count_nonzero(there) >= one.min_domains else 0
        missing = undecided & (numbers == 0)
        full = undecided & ~missing & (pods[numbers] + one.group.has(facts.looks) - least > one.max_skew)
        unlabelled |= missing
        skewed |= full
        undecided &= ~(missing | full)
    yield Refusal(unlabelled, UNLABELLED)
    yield Refusal(skewed, SKEWED, helped=True)


def score(defaults: Defaults, facts: PodFacts, table: Table, left: Mask) -> Numbers | None:
    wanted = constraints(facts.pod, SOFT, defaults, table.objects)
    if not wanted:
        return None
    strict = bool(facts.pod.spec.topology_spread_constraints) or not defaults.system
    labelled = _labelled(wanted, table) if strict else table.valid
    judged = left & labelled
    total = np.zeros(table.columns)
    for one in wanted:
        numbers, kinds = table.topology(one.topology_key)
        pods = _matching(one, table)
        if one.topology_key == HOSTNAME:
            domains = int(np.count_nonzero(judged))
            here = pods.astype(np.float64)
        else:
            counted = _counted(one, facts, table) & labelled
            domains = len(np.unique(numbers[judged]))
            here = np.bincount(numbers, weights=pods * counted, minlength=kinds)[numbers]
        total += np.where(numbers > 0, here * np.log(domains + 2) + (one.max_skew - 1), 0.0)
    return _normal(np.floor(total + 0.5).astype(np.int64), judged)


def _normal(found: Numbers, judged: Mask) -> Numbers:
    """The fewer pods the more: the emptiest has 100, and nodes that are no domain have 0."""
    there = found[judged]
    most, least = int(there.max(initial=0)), int(there.min(initial=np.iinfo(np.int64).max))
    if most == 0:
        return judged.astype(np.int64) * MAX_SCORE
    result: Numbers = np.where(judged, MAX_SCORE * (most + least - found) // most, 0)
    return result


def _labelled(wanted: Iterable[Constraint], table: Table) -> Mask:
    found = table.valid.copy()
    for one in wanted:
        found &= table.topology(one.topology_key)[0] > 0
    return found


def _counted(one: Constraint, facts: PodFacts, table: Table) -> Mask:
    found = table.valid
    spec = facts.pod.spec
    if one.honours_affinity and (spec.node_selector or spec.affinity is not None):
        found = found & required(facts.pod, table)
    if one.honours_taints:
        found = found & ~taint_toleration.refused(facts, table)
    return found


def _matching(one: Constraint, table: Table) -> Counts:
    return np.zeros(table.columns, np.int64) if one.counts_nobody else table.crowd.count(one.group)


def moved(facts: PodFacts, what: Happening) -> bool:
    """A pod that a constraint counts came, went or began to leave, or its labels have it counted now and not before."""
    if what.object.metadata.namespace != facts.looks.namespace:
        return False
    hard = constraints(facts.pod, HARD, NO_DEFAULTS, None)
    if not hard:
        return True  # those of the profile, or of a time before
    if what.old is None or what.new is None:
        return any(one.group.selector.matches(what.object.metadata.labels) for one in hard)
    before, now = Looks.of(what.old), Looks.of(what.new)
    return any(one.group.has(before) != one.group.has(now) for one in hard)


def relabelled(facts: PodFacts, what: Happening) -> bool:
    """A node that has all labels came or went, or got or lost or changed one; or whether it counts may be otherwise."""
    hard = constraints(facts.pod, HARD, NO_DEFAULTS, None)
    if not hard:
        return True
    keys = [one.topology_key for one in hard]
    known = [one for one in (what.old, what.new) if one is not None]
    values = [[node.metadata.labels.get(key) for key in keys] for node in known]
    if all(None in of_node for of_node in values):
        return False
    return len(values) == 1 or values[0] != values[1] or _counts_otherwise(facts.pod, hard, what)


def _counts_otherwise(pod: Pod, hard: Iterable[Constraint], what: Happening) -> bool:
    chosen = pod.spec.node_selector or (pod.spec.affinity and pod.spec.affinity.node_affinity)
    labels = what.old.metadata.labels != what.new.metadata.labels
    taints = what.old.spec.taints != what.new.spec.taints
    return any(
        (one.honours_affinity and chosen and labels) or (one.honours_taints and taints) for one in hard
    )


def configure(args: Mapping[str, Any], path: str) -> Plugin:
    given = Arguments(args, path, "PodTopologySpreadArgs")
    kind, key = given.text("defaultingType", SYSTEM), "defaultConstraints"
    listed = given.read(key, tuple[TopologySpreadConstraint, ...]) or ()
    if kind not in (SYSTEM, LIST):
        given.wrong(not_supported(given.at("defaultingType"), kind, (SYSTEM, LIST)))
    elif kind == SYSTEM and listed:
        given.wrong(invalid(given.at("defaultingType"), kind, "when .defaultConstraints are not empty"))
    for number, one in enumerate(listed):
        given.wrong(*_wrong(f"{given.at(key)}[{number}]", one))
        if any(_same(one, other) for other in listed[:number]):
            told = f"{{{one.topology_key}, {one.when_unsatisfiable}}}"
            given.wrong(duplicate(f"{given.at(key)}[{number}]", told))
    given.check()
    return made(Defaults() if kind == SYSTEM else Defaults(listed, system=False))


def _wrong(field: str, one: TopologySpreadConstraint) -> Iterator[Cause]:
    """Words of upstream's ValidatePodTopologySpreadArgs."""
    if (one.max_skew or 0) <= 0:
        yield invalid(f"{field}.maxSkew", one.max_skew or 0, "not in valid range (0, inf)")
    if not one.topology_key:
        yield required_field(f"{field}.topologyKey", "can not be empty")
    else:
        yield from label_name(one.topology_key, f"{field}.topologyKey")
    if not one.when_unsatisfiable:
        yield required_field(f"{field}.whenUnsatisfiable", "can not be empty")
    elif one.when_unsatisfiable not in (HARD, SOFT):
        yield not_supported(f"{field}.whenUnsatisfiable", one.when_unsatisfiable, (HARD, SOFT))
    if one.label_selector is not None:
        told = "constraint must not define a selector, as they deduced for each pod"
        yield forbidden(f"{field}.labelSelector", told)


def _same(one: TopologySpreadConstraint, other: TopologySpreadConstraint) -> bool:
    return (one.topology_key, one.when_unsatisfiable) == (other.topology_key, other.when_unsatisfiable)


def made(defaults: Defaults) -> Plugin:
    return Plugin(
        NAME,
        filter=partial(filter_nodes, defaults),
        refuse=partial(refuse, defaults),
        score=partial(score, defaults),
        weight=2,
        needs=(Service, ReplicationController, ReplicaSet, StatefulSet),
        wakes=(
            Wake(Pod, Action.ADDED | Action.CHANGED | Action.GONE, moved),
            Wake(Node, Action.ADDED | Action.CHANGED | Action.GONE, relabelled),
            renewals.when(renewals.relabelled),
        ),
        configure=configure,
    )


PLUGIN = made(Defaults())
