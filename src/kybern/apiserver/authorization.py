"""Whether a request is allowed: the chain of authorizers, and acting as somebody else.

``system:masters`` may do everything. Then the authorizers that flags or a file name are asked in order (Node, RBAC, ABAC,
AlwaysAllow, AlwaysDeny, webhooks); the first that allows or denies decides, and a request that nobody allows is forbidden
with what the others said as reasons, or fails with what kept them from saying anything.

A decision that a webhook has to be asked for first is ``auth.unsettled``; where there are none, none ever is.

The authorizers learn of roles, bindings, pods and volumes from ``Informers``, which the server provides over its own watch
caches: after ``subscribe`` every object that is there is reported with no old one, then every change, in order.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec

from kybern.api.rbac_v1 import ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding
from kybern.apiserver.authentication import Headers, many
from kybern.apiserver.bootstrap import wanted
from kybern.apiserver.config_file import joined
from kybern.apiserver.rights.metrics import DECISIONS, Counts
from kybern.auth import abac, escalation, impersonation, node, rbac
from kybern.auth.attributes import Attributes, Decision, Verdict
from kybern.auth.refusal import forbidden
from kybern.auth.rules import FULL_AUTHORITY
from kybern.auth.user import MASTERS, User
from kybern.machinery.errors import InternalError
from kybern.machinery.struct import Object, decoder

type Changed = Callable[[bytes | None, bytes | None], None]
"""Old and new object as JSON; None for the one that is not there."""

MODES = ("ABAC", "AlwaysAllow", "AlwaysDeny", "Node", "RBAC")

type Authorize = Callable[[Attributes], Decision]

ALLOWED = Decision(Verdict.ALLOW)
DENIED = Decision(Verdict.DENY, "Everything is forbidden.")


class Informers(Protocol):
    """Changes of stored objects, in process. The API server hands this in."""

    def subscribe(self, group: str, plural: str, changed: Changed) -> None:
        """Reports all objects of a kind that there are, and from then on every change, on the event loop's thread."""
        ...


@dataclass(frozen=True, slots=True)
class Rights:
    """What somebody may do, for SelfSubjectRulesReview. ``incomplete`` when an authorizer cannot list rules."""

    rules: tuple[PolicyRule, ...]
    errors: tuple[str, ...]
    incomplete: bool


@dataclass(frozen=True, slots=True)
class Authorizer:
    """One of the chain. ``authorize`` is None for this server's own, of which there is one of a type."""

    type: str
    name: str
    authorize: Authorize | None = None


@dataclass(slots=True)
class Authorization:
    """The chain. ``allow`` decides, ``check`` raises, ``acting`` follows Impersonate headers.

    ``asks``: others are asked, so decisions may be unsettled. ``modes`` are the types of authorizers in force.
    """

    modes: tuple[str, ...] = ("Node", "RBAC")
    policy: rbac.Policy = field(default_factory=rbac.Policy)
    graph: node.Graph = field(default_factory=node.Graph)
    gates: Collection[str] = ()
    attributes: abac.Authorizer = field(default_factory=abac.Authorizer)
    asks: bool = field(default=False, init=False)
    _own: Mapping[str, Authorize] = field(init=False)
    _chain: tuple[tuple[Authorize, Counts], ...] = field(init=False)

    def __post_init__(self) -> None:
        self._own = {
            "ABAC": self.attributes.authorize,
            "AlwaysAllow": lambda _asked: ALLOWED,
            "AlwaysDeny": lambda _asked: DENIED,
            "Node": node.Authorizer(self.graph, node_rules(self.gates)).authorize,
            "RBAC": rbac.Authorizer(self.policy).authorize,
        }
        self.use(tuple(Authorizer(mode, mode.lower()) for mode in self.modes))

    def use(self, authorizers: Sequence[Authorizer]) -> None:
        """From now on ask these."""
        chain: list[tuple[Authorize, Counts]] = []
        for one in authorizers:
            authorize = one.authorize or self._own.get(one.type)
            if authorize is None:
                raise ValueError(f'cannot authorize: "{one.type}" is not a mode (known: {", ".join(MODES)})')
            chain.append((authorize, DECISIONS.of(one.type, one.name)))
        self._chain = tuple(chain)
        self.modes = tuple(one.type for one in authorizers)
        self.asks = any(one.authorize is not None for one in authorizers)

    def follow(self, informers: Informers) -> None:
        """Learns what the modes need, now and from here on."""
        if "RBAC" in self.modes or self.asks:
            roles: tuple[type[Role | ClusterRole], ...] = (Role, ClusterRole)
            for kind in roles:
                informers.subscribe(escalation.GROUP, kind.plural, _typed(kind, self.policy.role))
            bindings: tuple[type[RoleBinding | ClusterRoleBinding], ...] = (RoleBinding, ClusterRoleBinding)
            for bond in bindings:
                informers.subscribe(escalation.GROUP, bond.plural, _typed(bond, self.policy.binding))
        if "Node" in self.modes:
            informers.subscribe("", "pods", self._pod)
            informers.subscribe("", "persistentvolumes", self._volume)
            informers.subscribe("storage.k8s.io", "volumeattachments", self._bound("va"))
            informers.subscribe("resource.k8s.io", "resourceslices", self._bound("slice"))

    def allow(self, asked: Attributes) -> Decision:
        """What the chain decides; no opinion means forbidden. Raises Unsettled where others are asked."""
        if MASTERS in asked.user.groups:
            return ALLOWED
        reasons: list[str] = []
        errors: list[str] = []
        for authorize, counts in self._chain:
            decision = authorize(asked)
            if decision.verdict is not Verdict.NO_OPINION:
                counts[decision.verdict is Verdict.DENY] += 1
                return decision
            if decision.reason:
                reasons.append(decision.reason)
            if decision.error:
                errors.append(decision.error)
        return Decision(Verdict.NO_OPINION, "\n".join(reasons), joined(errors) if errors else "")

    def check(self, asked: Attributes) -> None:
        """Raises Forbidden unless the request is allowed."""
        self.demand(asked, self.allow(asked))

    def demand(self, asked: Attributes, decision: Decision) -> None:
        """Raises Forbidden unless this decision allows the request, or InternalError when it could not be made."""
        if decision.verdict is not Verdict.ALLOW:
            if decision.error:
                raise InternalError.of(decision.error)
            raise forbidden(asked, decision.reason)

    def acting(self, asked: Attributes, headers: Headers) -> Attributes:
        """The request by the user that Impersonate headers ask for. Raises BadRequest or Forbidden.

        Asked once a request, before ``check``. Most requests carry no such header, so names are looked at first.
        """
        for name, _ in headers.items():  # noqa: PERF102  # the protocol has items only
            if name[:1] in "Ii" and name[:12].lower() == "impersonate-":
                break
        else:
            return asked
        who = impersonation.wanted(many(headers))
        if who is None:
            return asked
        return asked._replace(user=impersonation.impersonate(who, asked, self.allow))

    def rights(self, user: User, namespace: str) -> Rights:
        """All rules that the user holds in a namespace."""
        if MASTERS in user.groups:
            return Rights(FULL_AUTHORITY, (), incomplete=False)
        rules: tuple[PolicyRule, ...] = ()
        errors: tuple[str, ...] = ()
        incomplete = False
        if "Node" in self.modes and node.node_of(user) is not None:
            errors, incomplete = ("node authorizer does not support user rule resolution",), True
        if "RBAC" in self.modes:
            held = self.policy.rights(user, namespace)
            rules, errors = tuple(held.rules), (*errors, *held.errors)
        if "ABAC" in self.modes:
            rules = (*rules, *self.attributes.held(user, namespace))
        if self.asks:
            errors, incomplete = (*errors, "webhook authorizer does not support user rule resolution"), True
        if "AlwaysAllow" in self.modes:
            rules = (*rules, *FULL_AUTHORITY)
        return Rights(rules, errors, incomplete)

    def check_escalation(self, written: Object, user: User) -> None:
        """Raises Forbidden when a role or binding gives away more than its writer holds.

        The server asks before a Role, ClusterRole, RoleBinding or ClusterRoleBinding is created, and before an update that
        changes more than metadata.
        """
        if "RBAC" not in self.modes and not self.asks:
            return
        if isinstance(written, Role | ClusterRole):
            escalation.check_role(written, user, self.policy, self.allow)
        elif isinstance(written, RoleBinding | ClusterRoleBinding):
            escalation.check_binding(written, user, self.policy, self.allow)

    def _pod(self, old: bytes | None, new: bytes | None) -> None:
        """What a bound pod refers to does not change, but for ephemeral containers and resource claims."""
        before, after = _pod_facts(old), _pod_facts(new)
        if before == after and before is not None:
            return
        if new is not None and after is not None:
            self.graph.pod(after.metadata.namespace, after.metadata.name, msgspec.json.decode(new))
        elif before is not None:
            self.graph.pod(before.metadata.namespace, before.metadata.name, None)

    def _volume(self, old: bytes | None, new: bytes | None) -> None:
        value: dict[str, Any] = msgspec.json.decode(new or old or b"{}")
        self.graph.volume(value["metadata"]["name"], value if new is not None else None)

    def _bound(self, kind: str) -> Changed:
        def changed(old: bytes | None, new: bytes | None) -> None:
            facts = _BOUND.decode(new or old or b"{}")
            self.graph.bound(kind, facts.metadata.name, facts.spec.nodeName if new is not None else "")

        return changed


class _Meta(msgspec.Struct, frozen=True):
    name: str = ""
    namespace: str = ""
    uid: str = ""


class _PodSpec(msgspec.Struct, frozen=True):
    nodeName: str = ""  # noqa: N815  # the wire's name
    ephemeralContainers: msgspec.Raw = msgspec.Raw()  # noqa: N815  # the wire's name


class _PodStatus(msgspec.Struct, frozen=True):
    resourceClaimStatuses: msgspec.Raw = msgspec.Raw()  # noqa: N815  # the wire's name
    extendedResourceClaimStatus: msgspec.Raw = msgspec.Raw()  # noqa: N815  # the wire's name


class _PodFacts(msgspec.Struct, frozen=True):
    """The parts of a pod that can change what its node may read."""

    metadata: _Meta = _Meta()
    spec: _PodSpec = _PodSpec()
    status: _PodStatus = _PodStatus()


class _BoundSpec(msgspec.Struct, frozen=True):
    nodeName: str = ""  # noqa: N815  # the wire's name


class _Bound(msgspec.Struct, frozen=True):
    metadata: _Meta = _Meta()
    spec: _BoundSpec = _BoundSpec()


_POD = msgspec.json.Decoder(_PodFacts)
_BOUND = msgspec.json.Decoder(_Bound)


def _pod_facts(pod: bytes | None) -> _PodFacts | None:
    return _POD.decode(pod) if pod is not None else None


def _typed[T: Object](kind: type[T], changed: Callable[[Any, Any], None]) -> Changed:
    read = decoder(kind)

    def report(old: bytes | None, new: bytes | None) -> None:
        changed(read.decode(old) if old is not None else None, read.decode(new) if new is not None else None)

    return report


def node_rules(gates: Collection[str] = ()) -> tuple[PolicyRule, ...]:
    """The rules of the shipped ClusterRole ``system:node`` with these features, whatever has become of the stored one."""
    roles = (one.object for one in wanted(gates) if one.plural == "clusterroles")
    found = next(role for role in roles if role["metadata"]["name"] == "system:node")
    return msgspec.convert(found["rules"], tuple[PolicyRule, ...])
