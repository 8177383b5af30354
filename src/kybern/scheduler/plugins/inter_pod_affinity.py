"""Keep pods with or away from other pods, where "with" is whatever nodes have in common by a label.

A pod must be where, for each of its required terms, a pod is that matches all of them. The first of a series that wants to
be with its like may go anywhere. It must not be where a pod is that one of its anti-affinity terms means, nor where a pod
is whose anti-affinity means it: the rule holds both ways, whoever comes first. Preferred terms, the pod's own and those of
the pods that are there, add up to a score; so do required affinity terms of pods that are there, by ``hard_weight``.
"""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np

from kybern.api.core_v1 import Namespace, Node, Pod
from kybern.machinery.causes import invalid
from kybern.scheduler import renewals
from kybern.scheduler.arguments import Arguments
from kybern.scheduler.changes import Action, Happening, Wake
from kybern.scheduler.crowd import Counts
from kybern.scheduler.facts import PodFacts
from kybern.scheduler.framework import MAX_SCORE, Cluster, NodeInfo, Plugin, Refusal
from kybern.scheduler.groups import Affinities, Looks, Term
from kybern.scheduler.room import Numbers
from kybern.scheduler.table import Mask, Table

NAME = "InterPodAffinity"
ALONE = "node(s) didn't match pod affinity rules"
BESIDE = "node(s) didn't match pod anti-affinity rules"
UNWANTED = "node(s) didn't satisfy existing pods anti-affinity rules"


def refuse(pod: Pod, info: NodeInfo, cluster: Cluster) -> tuple[str, ...]:
    own, looks = Affinities.of(pod), Looks.of(pod)
    labels_of = cluster.namespace_labels

    def near(term: Term) -> Iterator[Pod]:
        """Pods on nodes that have the node's value of the term's label."""
        value = info.node.metadata.labels.get(term.topology_key)
        for other in cluster.nodes:
            if value is not None and other.node.metadata.labels.get(term.topology_key) == value:
                yield from other.pods

    def in_all(other: Looks) -> bool:
        return all(term.group.has(other, labels_of) for term in own.needs)

    if not all(any(in_all(Looks.of(other)) for other in near(term)) for term in own.needs):
        keys = {term.topology_key for term in own.needs}
        first = not any(
            keys & other.node.metadata.labels.keys() and any(in_all(Looks.of(guest)) for guest in other.pods)
            for other in cluster.nodes
        )
        if not (first and in_all(looks) and keys <= info.node.metadata.labels.keys()):
            return (ALONE,)
    if any(term.group.has(Looks.of(other), labels_of) for term in own.refuses for other in near(term)):
        return (BESIDE,)
    theirs = ((guest, term) for other in cluster.nodes for guest in other.pods
              for term in Affinities.of(guest).refuses if term.group.has(looks, labels_of))  # fmt: skip
    return (UNWANTED,) if any(guest in near(term) for guest, term in theirs) else ()


def filter_nodes(facts: PodFacts, table: Table) -> Iterator[Refusal]:
    own = facts.affinities
    theirs = [one for one in table.crowd.bearing_on(facts.looks) if one[0].must and one[0].weight < 0]
    if not own.needs and not own.refuses and not theirs:
        return
    alone = ~_with_its_like(own.needs, facts, table) if own.needs else np.zeros(table.columns, np.bool_)
    if own.needs:
        yield Refusal(alone, ALONE)
    beside = np.zeros_like(alone)
    for term in own.refuses:
        beside |= _near(term, table.crowd.count(term.group), table) > 0
    if own.refuses:
        yield Refusal(beside & ~alone, BESIDE, helped=True)
    unwanted = np.zeros_like(alone)
    for bearing, counts in theirs:
        unwanted |= _near(bearing.term, counts, table) > 0
    yield Refusal(unwanted & ~alone & ~beside, UNWANTED, helped=True)


def _with_its_like(terms: tuple[Term, ...], facts: PodFacts, table: Table) -> Mask:
    groups = tuple(term.group for term in terms)
    counts = table.crowd.count(*groups)
    found, labelled = np.ones(table.columns, np.bool_), np.ones(table.columns, np.bool_)
    first = True
    for term in terms:
        near = _near(term, counts, table) > 0
        first = first and not near.any()
        found &= near
        labelled &= table.labelled(term.topology_key)
    return labelled if first and table.crowd.belongs(facts.looks, *groups) else found


def _near(term: Term, counts: Counts, table: Table) -> Numbers:
    """For each node, the sum over the nodes with the same value of the term's label; 0 without the label."""
    return table.by_domain(term.topology_key, counts)


def score(hard_weight: int, own_only: bool, facts: PodFacts, table: Table, _left: Mask) -> Numbers | None:
    likes = facts.affinities.likes
    if own_only and not likes:
        return None
    total: Numbers = np.zeros(table.columns, np.int64)
    for weight, term in likes:
        total += weight * _near(term, table.crowd.count(term.group), table)
    judged = bool(likes)
    for bearing, counts in table.crowd.bearing_on(facts.looks):
        weight = bearing.weight if not bearing.must else hard_weight if bearing.weight > 0 else 0
        if weight:
            judged = True
            total += weight * _near(bearing.term, counts, table)
    return total if judged else None


def normalize(scores: Numbers) -> Numbers:
    """From 0 for the lowest to 100 for the highest; all equal are 0."""
    least, most = int(scores.min()), int(scores.max())
    if most == least:
        return np.zeros_like(scores)
    found: Numbers = (MAX_SCORE * ((scores - least) / (most - least))).astype(np.int64)
    return found


def moved(facts: PodFacts, what: Happening) -> bool:
    """A pod came that the pod wants to be with, or one went that kept it away."""
    own, looks = facts.affinities, facts.looks
    if what.new is not None and any(_may_mean(term, Looks.of(what.new)) for term in own.needs):
        return True
    return what.old is not None and (
        any(_may_mean(term, Looks.of(what.old)) for term in own.refuses)
        or any(_may_mean(term, looks) for term in Affinities.of(what.old).refuses)
    )


def _may_mean(term: Term, looks: Looks) -> bool:
    """Whatever the labels of its namespace are."""
    group = term.group
    inside = group.namespace_selector is not None or looks.namespace in group.namespaces
    return inside and group.selector.matches(dict(looks.labels))


def relabelled(_facts: PodFacts, what: Happening) -> bool:
    return bool(what.old is None or what.old.metadata.labels != what.new.metadata.labels)


def configure(args: Mapping[str, Any], path: str) -> Plugin:
    given = Arguments(args, path, "InterPodAffinityArgs")
    weight, own_only = (
        given.integer("hardPodAffinityWeight", 1),
        given.flag("ignorePreferredTermsOfExistingPods"),
    )
    if not 0 <= weight <= 100:
        given.wrong(invalid(given.at("hardPodAffinityWeight"), weight, "not in valid range [0, 100]"))
    given.check()
    return made(weight, own_only)


def made(hard_weight: int = 1, own_only: bool = False) -> Plugin:
    """``own_only``: preferred terms of pods that are there do not matter to a pod that has none."""
    return Plugin(
        NAME,
        filter=filter_nodes,
        refuse=refuse,
        score=partial(score, hard_weight, own_only),
        normalize=normalize,
        weight=2,
        needs=(Namespace,),
        wakes=(
            Wake(Pod, Action.ADDED | Action.CHANGED | Action.GONE, moved),
            Wake(Node, Action.ADDED | Action.CHANGED, relabelled),
            Wake(Namespace, Action.ADDED | Action.CHANGED, relabelled),
            renewals.when(renewals.relabelled),
        ),
        configure=configure,
    )


PLUGIN = made()
