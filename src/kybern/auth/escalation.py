"""Nobody grants through RBAC what he does not hold himself.

Writing a role needs every rule of it, or the verb ``escalate`` on the role; writing a binding needs every rule of the
role that it names, or the verb ``bind`` on that role. ``system:masters`` may do either. The server asks after admission
and before storing; on an update it asks only when more than metadata for garbage collection changed.
"""

from collections.abc import Callable, Iterable

from kybern.api.rbac_v1 import ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding
from kybern.auth.attributes import Attributes, Decision, Verdict
from kybern.auth.rbac import Policy
from kybern.auth.rules import FULL_AUTHORITY, compact, describe, quote, quoted, uncovered
from kybern.auth.user import MASTERS, User
from kybern.machinery.errors import Details, Forbidden, NotFound

GROUP = "rbac.authorization.k8s.io"

type Authorize = Callable[[Attributes], Decision]


def check_role(role: Role | ClusterRole, user: User, policy: Policy, authorize: Authorize) -> None:
    """Raises Forbidden when the user may not write these rules."""
    name, namespace = role.metadata.name, role.metadata.namespace
    if MASTERS in user.groups or _may(authorize, _asked(user, "escalate", role.plural, namespace, name)):
        return
    refusal = _excess(policy, user, namespace, role.rules)
    if refusal:
        raise _forbidden(role.plural, name, refusal)
    if isinstance(role, ClusterRole) and role.aggregation_rule is not None:
        aggregates = role.aggregation_rule.cluster_role_selectors
        if aggregates and uncovered(policy.rights(user, "").rules, FULL_AUTHORITY):
            raise _forbidden(
                role.plural, name, "must have cluster-admin privileges to use the aggregationRule"
            )


def check_binding(
    binding: RoleBinding | ClusterRoleBinding, user: User, policy: Policy, authorize: Authorize
) -> None:
    """Raises Forbidden when the user may not give this role away, NotFound when its rules matter and it is not there."""
    if MASTERS in user.groups:
        return
    ref, namespace = binding.role_ref, binding.metadata.namespace
    plural = Role.plural if ref.kind == Role.kind else ClusterRole.plural
    if _may(authorize, _asked(user, "bind", plural, namespace, ref.name)):
        return
    rules = policy.rules_of(ref, namespace)
    if rules is None:
        singular = ref.kind.lower()
        details = Details(name=ref.name, group=GROUP, kind=singular)
        raise NotFound(f"{singular}.{GROUP} {quote(ref.name)} not found", details)
    refusal = _excess(policy, user, namespace, rules)
    if refusal:
        raise _forbidden(binding.plural, binding.metadata.name, refusal)


def _asked(user: User, verb: str, plural: str, namespace: str, name: str) -> Attributes:
    return Attributes(user, verb, group=GROUP, version="v1", resource=plural, namespace=namespace, name=name)


def _may(authorize: Authorize, asked: Attributes) -> bool:
    return authorize(asked).verdict is Verdict.ALLOW


def _excess(policy: Policy, user: User, namespace: str, rules: Iterable[PolicyRule]) -> str:
    """What is wrong with giving these rules away; "" when the user holds all of them."""
    rights = policy.rights(user, namespace)
    missing = uncovered(rights.rules, rules)
    if not missing:
        return ""
    lines = "\n".join(sorted({describe(rule) for rule in compact(missing)}))
    text = (
        f"user {quote(user.name)} (groups={quoted(user.groups)}) is attempting to grant RBAC permissions"
        f" not currently held:\n{lines}"
    )
    return f"{text}; resolution errors: [{' '.join(rights.errors)}]" if rights.errors else text


def _forbidden(plural: str, name: str, message: str) -> Forbidden:
    shown = f" {quote(name)}" if name else ""
    return Forbidden(
        f"{plural}.{GROUP}{shown} is forbidden: {message}", Details(name=name, group=GROUP, kind=plural)
    )
