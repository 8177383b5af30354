"""Policies with their bindings: a policy that nobody binds decides nothing."""

from collections.abc import Iterable
from dataclasses import dataclass

from kybern.admission.policies.policy import Binding, Policy


@dataclass(frozen=True, slots=True)
class Bound:
    policy: Policy
    bindings: tuple[Binding, ...]


def joined(policies: Iterable[Policy], bindings: Iterable[Binding]) -> tuple[Bound, ...]:
    by_policy: dict[str, list[Binding]] = {}
    for binding in bindings:
        by_policy.setdefault(binding.policy, []).append(binding)
    return tuple(
        Bound(policy, tuple(by_policy[policy.name])) for policy in policies if policy.name in by_policy
    )
