"""RBAC: who holds which rules, and whether one of them allows a request.

``Policy`` keeps roles and bindings, indexed by subject, and is told of every change. ``Authorizer`` decides on it.
Bindings are visited cluster-wide ones first and by name, so the reason of an answer does not depend on history.

A decision looks a short plan up: for (user, groups, verb, group, resource, namespace) the bindings whose rules speak of
these, in order, each with the names it is limited to. Plans are made at first use and forgotten whenever any role or
binding changes, so they never outlive what they were made from.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from kybern.api.rbac_v1 import (
    ClusterRole,
    ClusterRoleBinding,
    PolicyRule,
    Role,
    RoleBinding,
    RoleRef,
    Subject,
)
from kybern.auth.attributes import Attributes, Decision, Verdict
from kybern.auth.rules import allows, concerns, quote
from kybern.auth.user import User

MOST_PLANS = 20_000
"""Plans kept at once; all are dropped beyond it. A cluster has far fewer distinct (user, verb, resource) than this."""

type Binding = ClusterRoleBinding | RoleBinding
type _Who = tuple[str, str]
type _Plan = tuple[tuple[frozenset[str], Decision], ...]


@dataclass(frozen=True, slots=True)
class Grant:
    """Rules that a user holds, and through which binding and subject. ``missing`` says which role was not found."""

    rules: tuple[PolicyRule, ...]
    through: str
    missing: str = ""


@dataclass(slots=True)
class Rights:
    """All that a user holds in a namespace. ``errors`` are roles that bindings name and that are not there."""

    rules: list[PolicyRule] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


class Policy:
    """The roles and bindings that are in force. Every method takes the old and the new object; None means absent."""

    def __init__(self) -> None:
        self._roles: dict[tuple[str, str, str], tuple[PolicyRule, ...]] = {}
        self._known: dict[tuple[str, str], Binding] = {}
        self._bindings: dict[str, dict[_Who, dict[str, tuple[Binding, int]]]] = {}
        self.generation = 0

    def role(self, old: Role | ClusterRole | None, new: Role | ClusterRole | None) -> None:
        """A role came, changed or went."""
        self.generation += 1
        if old is not None:
            self._roles.pop((old.kind, old.metadata.namespace, old.metadata.name), None)
        if new is not None:
            self._roles[new.kind, new.metadata.namespace, new.metadata.name] = new.rules

    def binding(self, old: Binding | None, new: Binding | None) -> None:
        """A binding came, changed or went."""
        self.generation += 1
        for gone in (old, new):
            known = gone and self._known.pop((gone.metadata.namespace, gone.metadata.name), None)
            if known:
                self._forget(known)
        if new is None:
            return
        namespace, name = new.metadata.namespace, new.metadata.name
        self._known[namespace, name] = new
        scope = self._bindings.setdefault(namespace, {})
        for at, subject in enumerate(new.subjects):
            who = _who(subject, namespace)
            if who is not None:
                scope.setdefault(who, {}).setdefault(name, (new, at))

    def _forget(self, binding: Binding) -> None:
        scope = self._bindings[binding.metadata.namespace]
        for who in {_who(subject, binding.metadata.namespace) for subject in binding.subjects}:
            if who is None:
                continue
            held = scope[who]
            del held[binding.metadata.name]
            if not held:
                del scope[who]

    def rules_of(self, ref: RoleRef, namespace: str) -> tuple[PolicyRule, ...] | None:
        """The rules of the role that a binding in ``namespace`` ("" for a cluster-wide one) names; None: no such role."""
        return self._roles.get((ref.kind, namespace if ref.kind == Role.kind else "", ref.name))

    def grants(self, user: User, namespace: str) -> Iterator[Grant]:
        """What a user holds cluster-wide, and in a namespace unless it is ""."""
        for scope in ("", namespace) if namespace else ("",):
            for _, (binding, at) in sorted(self._held(user, scope).items()):
                rules = self.rules_of(binding.role_ref, scope)
                missing = "" if rules is not None else _not_found(binding.role_ref)
                yield Grant(rules or (), _describe(binding, binding.subjects[at]), missing)

    def _held(self, user: User, scope: str) -> dict[str, tuple[Binding, int]]:
        """The bindings of a scope that name the user, each with the first subject that does."""
        by_subject = self._bindings.get(scope)
        if not by_subject:
            return {}
        found: dict[str, tuple[Binding, int]] = {}
        for who in (("User", user.name), *(("Group", group) for group in user.groups)):
            for name, (binding, at) in by_subject.get(who, {}).items():
                if name not in found or at < found[name][1]:
                    found[name] = (binding, at)
        return found

    def rights(self, user: User, namespace: str) -> Rights:
        """All rules that a user holds in a namespace."""
        found = Rights()
        for grant in self.grants(user, namespace):
            found.rules += grant.rules
            if grant.missing:
                found.errors.append(grant.missing)
        return found


class Authorizer:
    """Allows what a rule of the user allows, and leaves the rest to others."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self._plans: dict[tuple[str, ...], _Plan] = {}
        self._generation = -1

    def authorize(self, asked: Attributes) -> Decision:
        """Decide; the reason is upstream's."""
        if self._generation != self.policy.generation or len(self._plans) > MOST_PLANS:
            self._plans.clear()
            self._generation = self.policy.generation
        user = asked.user
        key = (
            user.name, *user.groups, "\0", asked.verb, asked.group, asked.resource, asked.subresource, asked.namespace,
            asked.path,
        )  # fmt: skip
        plan = self._plans.get(key)
        if plan is None:
            plan = self._plans[key] = tuple(self._plan(asked))
        for names, decision in plan:
            if not names or asked.name in names:
                return decision
        raise AssertionError("a plan ends with a decision for every name")

    def _plan(self, asked: Attributes) -> Iterator[tuple[frozenset[str], Decision]]:
        """Decisions in order of asking, each with the names that it is for (none: every name)."""
        errors: dict[str, None] = {}
        for grant in self.policy.grants(asked.user, asked.namespace):
            if grant.missing:
                errors[grant.missing] = None
            allowed = Decision(Verdict.ALLOW, f"RBAC: allowed by {grant.through}")
            for rule in grant.rules:
                if not (concerns(rule, asked) if asked.is_resource else allows(rule, asked)):
                    continue
                names = frozenset(rule.resource_names) if asked.is_resource else frozenset[str]()
                yield names, allowed
                if not names:
                    return
        yield frozenset(), Decision(Verdict.NO_OPINION, f"RBAC: {_aggregate(list(errors))}" if errors else "")


def _who(subject: Subject, namespace: str) -> _Who | None:
    """What a subject matches: a user name or a group. A service account is the user that it acts as."""
    if subject.kind in ("User", "Group"):
        return subject.kind, subject.name
    at = subject.namespace or namespace
    if subject.kind == "ServiceAccount" and at:
        return "User", f"system:serviceaccount:{at}:{subject.name}"
    return None


def _describe(binding: Binding, subject: Subject) -> str:
    namespace = binding.metadata.namespace
    name = (
        binding.metadata.name
        if isinstance(binding, ClusterRoleBinding)
        else f"{binding.metadata.name}/{namespace}"
    )
    whose = subject.name
    if subject.kind == "ServiceAccount":
        whose = f"{subject.name}/{subject.namespace or namespace}"
    ref = binding.role_ref
    return f"{binding.kind} {quote(name)} of {ref.kind} {quote(ref.name)} to {subject.kind} {quote(whose)}"


def _not_found(ref: RoleRef) -> str:
    return f"{ref.kind.lower()}.rbac.authorization.k8s.io {quote(ref.name)} not found"


def _aggregate(errors: list[str]) -> str:
    return errors[0] if len(errors) == 1 else f"[{', '.join(errors)}]"
