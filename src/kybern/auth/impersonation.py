"""Acting as somebody else, by Impersonate-* headers.

Two sets of permissions lead there. The old one: verb ``impersonate`` on users, groups, service accounts, UIDs and extra
values allows every request as that user. The constrained one, tried first as upstream 1.36 does: verb
``impersonate:MODE`` on the identity and ``impersonate-on:MODE:VERB`` on the very request, where the mode is the requester's
own node, any node, a service account, or user-info. The first refusal is the one that is told.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from urllib.parse import unquote

from kybern.auth.attributes import Attributes, Decision, Verdict
from kybern.auth.node import NODES, PREFIX
from kybern.auth.refusal import forbidden
from kybern.auth.rules import quote
from kybern.auth.tokens import EXTRA, account_groups, split_username
from kybern.auth.user import ALL_AUTHENTICATED, ALL_UNAUTHENTICATED, ANONYMOUS, MASTERS, User
from kybern.machinery.errors import ApiError, BadRequest

USER, GROUP, UID, EXTRA_PREFIX = (
    "impersonate-user",
    "impersonate-group",
    "impersonate-uid",
    "impersonate-extra-",
)

_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")

type Headers = Mapping[str, tuple[str, ...]]
type Authorize = Callable[[Attributes], Decision]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Whom the headers ask for, as sent."""

    name: str
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def only_name(self) -> bool:
        return not (self.uid or self.groups or self.extra)


def wanted(headers: Headers) -> Wanted | None:
    """Whom the headers (names in lower case) ask for; None for nobody. Raises BadRequest without a user."""
    extra: dict[str, tuple[str, ...]] = {}
    for header, values in headers.items():
        if header.startswith(EXTRA_PREFIX):
            key = unquote(header.removeprefix(EXTRA_PREFIX))
            extra[key] = extra.get(key, ()) + values
    name, uid = (headers.get(header, ("",))[0] for header in (USER, UID))
    found = Wanted(name, uid, headers.get(GROUP, ()), extra)
    if name:
        return found
    if not found.only_name:
        raise BadRequest(f"requested {_go(found)} without impersonating a user name")
    return None


def _go(found: Wanted) -> str:
    """The request as Go prints it, which is what upstream answers."""

    def strings(values: tuple[str, ...]) -> str:
        return "[]string{" + ", ".join(map(quote, values)) + "}" if values else "[]string(nil)"

    pairs = ", ".join(f"{quote(key)}:{strings(values)}" for key, values in sorted(found.extra.items()))
    extra = f"map[string][]string{{{pairs}}}" if found.extra else "map[string][]string(nil)"
    groups = strings(found.groups)
    return f'&user.DefaultInfo{{Name:"", UID:{quote(found.uid)}, Groups:{groups}, Extra:{extra}}}'


def impersonate(who: Wanted, asked: Attributes, authorize: Authorize) -> User:
    """The user that the request acts as. ``asked`` is the request itself, by its real user. Raises Forbidden."""
    first: ApiError | None = None
    for mode in (*_modes(who, asked.user), ""):
        try:
            return _as(who, asked, mode, authorize)
        except ApiError as error:
            first = first or error
    assert first is not None
    raise first


def _modes(who: Wanted, requester: User) -> Iterator[str]:
    """The constrained modes that a request may take."""
    node = node_name(who.name)
    account = split_username(who.name)
    if node and who.only_name:
        own = requester.extra.get(EXTRA + "node-name", ())
        if split_username(requester.name) and own == (node,):
            yield "associated-node"
        yield "arbitrary-node"
    elif account and who.only_name:
        yield "serviceaccount"
    elif not node and not account:
        yield "user-info"


def node_name(name: str) -> str:
    """The node that a user name stands for; "" for others."""
    node = name.removeprefix(PREFIX)
    return node if node != name and len(node) <= 253 and _SUBDOMAIN.fullmatch(node) else ""


def _as(who: Wanted, asked: Attributes, mode: str, authorize: Authorize) -> User:
    """The user, if every part of it may be impersonated in this mode ("" is the old way)."""
    verb = f"impersonate:{mode}" if mode else "impersonate"
    requester = asked.user
    if mode == "associated-node":
        # Upstream asks for all nodes at once here, without the extra values that differ from node to node.
        keys = tuple(sorted(requester.extra))
        requester = replace(requester, extra={EXTRA + "associated-node-keys": keys})
    if mode:
        _require(authorize, asked._replace(user=requester, verb=f"impersonate-on:{mode}:{asked.verb}"))
    for wish in _wishes(who, mode, verb, requester):
        _require(authorize, wish)
    return _identity(who, mode)


def _wishes(who: Wanted, mode: str, verb: str, requester: User) -> Iterator[Attributes]:
    """One question a part of the identity."""
    group, version = ("authentication.k8s.io", "v1") if mode else ("", "v1")
    plain = Attributes(requester, verb, group, version)
    node, account = node_name(who.name), split_username(who.name)
    if mode and node:
        yield plain._replace(resource="nodes", name="*" if mode == "associated-node" else node)
    elif account:
        yield plain._replace(resource="serviceaccounts", namespace=account[0], name=account[1])
    else:
        yield plain._replace(resource="users", name=who.name)
    authentication = plain._replace(group="authentication.k8s.io")
    if who.uid:
        yield authentication._replace(resource="uids", name=who.uid)
    for one in who.groups:
        asked = plain._replace(resource="groups", name=one)
        if mode and one in ("", MASTERS):
            which = one or "empty string"
            raise forbidden(asked, f"impersonating the {which} group is not allowed")
        yield asked
    for key, values in sorted(who.extra.items()):
        for value in values:
            yield authentication._replace(resource="userextras", subresource=key, name=value)


def _require(authorize: Authorize, asked: Attributes) -> None:
    decision = authorize(asked)
    if decision.verdict is not Verdict.ALLOW:
        raise forbidden(asked, decision.reason)


def _identity(who: Wanted, mode: str) -> User:
    groups = who.groups
    account = split_username(who.name)
    if mode and node_name(who.name):
        groups = (NODES,)
    elif account and not groups:
        groups = account_groups(account[0])
    needed = ALL_UNAUTHENTICATED if who.name == ANONYMOUS else ALL_AUTHENTICATED
    if needed not in groups and ALL_UNAUTHENTICATED not in groups:
        groups = (*groups, needed)
    return User(who.name, groups, who.uid, who.extra)
