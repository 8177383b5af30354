"""Which pods a selector means: what it sees of a pod, and the terms of affinity, ready to match. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from kybern.api.core_v1 import Pod, PodAffinityTerm
from kybern.api.meta_v1 import LabelSelector as Given
from kybern.loop.owners import selector_of
from kybern.machinery.selectors import NOTHING, LabelSelector

type NamespaceLabels = Callable[[str], Mapping[str, str]]

_NO_LABELS: Mapping[str, str] = MappingProxyType({})


def unlabelled(_namespace: str) -> Mapping[str, str]:
    return _NO_LABELS


@dataclass(frozen=True, slots=True)
class Looks:
    """What selectors see of a pod. ``leaving``: it is being deleted."""

    namespace: str
    labels: tuple[tuple[str, str], ...]
    leaving: bool = False

    @classmethod
    def of(cls, pod: Pod) -> "Looks":
        meta = pod.metadata
        return cls(meta.namespace, tuple(sorted(meta.labels.items())), meta.deletion_timestamp is not None)


@dataclass(frozen=True, slots=True)
class Group:
    """Pods of some namespaces that a selector matches; ``leaving`` says whether those being deleted are meant too.

    A namespace is meant when it is listed, or when ``namespace_selector`` matches its labels.
    """

    namespaces: frozenset[str]
    selector: LabelSelector
    namespace_selector: LabelSelector | None = None
    leaving: bool = True

    def has(self, looks: Looks, labels_of: NamespaceLabels = unlabelled) -> bool:
        if looks.leaving and not self.leaving:
            return False
        if looks.namespace not in self.namespaces and not (
            self.namespace_selector is not None
            and self.namespace_selector.matches(labels_of(looks.namespace))
        ):
            return False
        return self.selector.matches(dict(looks.labels))


def selector(given: Given | None) -> LabelSelector:
    """A selector that is absent matches nothing, an empty one everything."""
    return NOTHING if given is None else selector_of(given)


@dataclass(frozen=True, slots=True)
class Term:
    """Where a group's pods are, by the value of a node label."""

    topology_key: str
    group: Group

    @classmethod
    def of(cls, given: PodAffinityTerm, namespace: str) -> "Term":
        """Without namespaces and a selector of them, a pod means its own namespace."""
        chosen = given.namespace_selector
        namespaces = frozenset(given.namespaces)
        if not namespaces and chosen is None:
            namespaces = frozenset((namespace,))
        group = Group(
            namespaces, selector(given.label_selector), None if chosen is None else selector(chosen)
        )
        return cls(given.topology_key, group)


@dataclass(frozen=True, slots=True)
class Affinities:
    """Terms of a pod: where it must be, must not be, and (by weight, below 0 for not) would like to be."""

    needs: tuple[Term, ...] = ()
    refuses: tuple[Term, ...] = ()
    likes: tuple[tuple[int, Term], ...] = ()

    def __bool__(self) -> bool:
        return bool(self.needs or self.refuses or self.likes)

    @classmethod
    def of(cls, pod: Pod) -> "Affinities":
        given = pod.spec.affinity
        if given is None or (given.pod_affinity is None and given.pod_anti_affinity is None):
            return INDIFFERENT
        with_, against = given.pod_affinity, given.pod_anti_affinity
        namespace = pod.metadata.namespace
        needs = with_.required_during_scheduling_ignored_during_execution if with_ else ()
        refuses = against.required_during_scheduling_ignored_during_execution if against else ()
        likes = with_.preferred_during_scheduling_ignored_during_execution if with_ else ()
        dislikes = against.preferred_during_scheduling_ignored_during_execution if against else ()
        return cls(
            tuple(Term.of(one, namespace) for one in needs),
            tuple(Term.of(one, namespace) for one in refuses),
            (
                *((one.weight or 0, Term.of(one.pod_affinity_term, namespace)) for one in likes),
                *((-(one.weight or 0), Term.of(one.pod_affinity_term, namespace)) for one in dislikes),
            ),
        )


INDIFFERENT = Affinities()
