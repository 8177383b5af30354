"""Fill in the rules of ClusterRoles that are the sum of others, such as admin, edit and view.

Reads ClusterRole. Writes ClusterRole. A role with an aggregation rule gets every rule of the roles that one of its
selectors matches, in the order of their names, each rule once; what somebody wrote into it is replaced.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from kybern.api.rbac_v1 import ClusterRole, PolicyRule
from kybern.loop.controller import Action, Controller, Key, Patch, View
from kybern.loop.owners import selector_of
from kybern.loop.settings import Settings
from kybern.machinery.struct import replace


@dataclass(frozen=True, slots=True)
class State:
    """``parts`` are all other roles, of which the selectors choose."""

    role: ClusterRole
    parts: tuple[ClusterRole, ...]


def observe(view: View, key: Key) -> State | None:
    role = view.get(ClusterRole, "", key.name)
    if role is None or role.aggregation_rule is None:
        return None
    return State(role, tuple(one for one in view.list(ClusterRole) if one.metadata.name != key.name))


def diff(state: State) -> Iterable[Action]:
    rules = aggregated(state)
    if rules != state.role.rules:
        yield Patch(state.role, replace(state.role, rules=rules))


def aggregated(state: State) -> tuple[PolicyRule, ...]:
    """The sum of the rules that the selectors choose."""
    assert state.role.aggregation_rule is not None
    found: dict[PolicyRule, None] = {}
    for selector in state.role.aggregation_rule.cluster_role_selectors:
        chosen = selector_of(selector)
        for part in sorted(state.parts, key=lambda role: role.metadata.name):
            if chosen.matches(part.metadata.labels):
                found.update(dict.fromkeys(part.rules))
    return tuple(found)


def sums(_changed: ClusterRole, view: View) -> Iterable[Key]:
    """Every role may be a part of every sum; there are few sums, and they come to rest."""
    for role in view.list(ClusterRole):
        if role.aggregation_rule is not None:
            yield Key("", role.metadata.name)


def controller(_settings: Settings) -> Controller[State]:
    return Controller(
        "clusterrole-aggregation-controller", ClusterRole, observe, diff, watches=((ClusterRole, sums),)
    )
