"""Acting as somebody else: which headers ask for whom, and which permissions that needs."""

from collections.abc import Mapping

import pytest

from kybern.auth.attributes import Attributes, Decision, Verdict
from kybern.auth.impersonation import Authorize, impersonate, wanted
from kybern.auth.user import User
from kybern.machinery.errors import BadRequest, Forbidden

ADMIN = User("admin", ("system:masters",))
BOT = User(
    "system:serviceaccount:x:bot",
    ("system:serviceaccounts",),
    "",
    {"authentication.kubernetes.io/node-name": ("n1",)},
)


def allowing(*permits: str) -> Authorize:
    """Allows questions written as ``verb resource:name``; ``*`` allows all."""

    def authorize(asked: Attributes) -> Decision:
        sub = f"/{asked.subresource}" if asked.subresource else ""
        said = f"{asked.verb} {asked.resource}{sub}:{asked.name}"
        allowed = "*" in permits or said in permits
        return Decision(Verdict.ALLOW if allowed else Verdict.NO_OPINION)

    return authorize


def acting(headers: Mapping[str, tuple[str, ...]], authorize: Authorize, requester: User = ADMIN) -> User:
    who = wanted(headers)
    assert who is not None
    return impersonate(who, Attributes(requester, "list", "", "v1", "pods", namespace="x"), authorize)


@pytest.mark.parametrize(
    ("headers", "user"),
    [
        ({"impersonate-user": ("a",)}, User("a", ("system:authenticated",))),
        (
            {"impersonate-user": ("a",), "impersonate-group": ("g1", "g2")},
            User("a", ("g1", "g2", "system:authenticated")),
        ),
        (
            {
                "impersonate-user": ("a",),
                "impersonate-uid": ("11",),
                "impersonate-extra-scopes%2f1": ("view",),
            },
            User("a", ("system:authenticated",), "11", {"scopes/1": ("view",)}),
        ),
        (
            {"impersonate-user": ("system:serviceaccount:x:y",)},
            User(
                "system:serviceaccount:x:y",
                ("system:serviceaccounts", "system:serviceaccounts:x", "system:authenticated"),
            ),
        ),
        (
            {"impersonate-user": ("system:serviceaccount:x:y",), "impersonate-group": ("g",)},
            User("system:serviceaccount:x:y", ("g", "system:authenticated")),
        ),
        ({"impersonate-user": ("system:anonymous",)}, User("system:anonymous", ("system:unauthenticated",))),
        (
            {"impersonate-user": ("system:serviceaccount:bad",)},
            User("system:serviceaccount:bad", ("system:authenticated",)),
        ),
        (
            {"impersonate-user": ("root",), "impersonate-group": ("system:masters",)},
            User("root", ("system:masters", "system:authenticated")),
        ),
        (
            {"impersonate-user": ("a",), "impersonate-group": ("system:unauthenticated",)},
            User("a", ("system:unauthenticated",)),
        ),
        (
            {"impersonate-user": ("system:node:n1",)},
            User("system:node:n1", ("system:nodes", "system:authenticated")),
        ),
    ],
)
def test_who_may_do_everything_becomes_whom_the_headers_name(
    headers: dict[str, tuple[str, ...]], user: User
) -> None:
    assert acting(headers, allowing("*")) == user


@pytest.mark.parametrize(
    ("headers", "shown"),
    [
        (
            {"impersonate-group": ("g",)},
            '&user.DefaultInfo{Name:"", UID:"", Groups:[]string{"g"}, Extra:map[string][]string(nil)}',
        ),
        (
            {"impersonate-uid": ("11",)},
            '&user.DefaultInfo{Name:"", UID:"11", Groups:[]string(nil), Extra:map[string][]string(nil)}',
        ),
        (
            {"impersonate-extra-x": ("y",)},
            '&user.DefaultInfo{Name:"", UID:"", Groups:[]string(nil), Extra:map[string][]string{"x":[]string{"y"}}}',
        ),
    ],
)
def test_headers_without_a_user_are_a_bad_request(headers: dict[str, tuple[str, ...]], shown: str) -> None:
    with pytest.raises(BadRequest) as refused:
        wanted(headers)

    assert refused.value.message == f"requested {shown} without impersonating a user name"


@pytest.mark.parametrize("headers", [{}, {"impersonate-user": ("",)}, {"accept": ("x",)}])
def test_no_user_means_no_impersonation(headers: dict[str, tuple[str, ...]]) -> None:
    assert wanted(headers) is None


def test_the_old_permissions_suffice_part_by_part() -> None:
    headers = {
        "impersonate-user": ("a",),
        "impersonate-group": ("g",),
        "impersonate-uid": ("7",),
        "impersonate-extra-k": ("v",),
    }
    all_ = ("impersonate users:a", "impersonate groups:g", "impersonate uids:7", "impersonate userextras/k:v")

    assert acting(headers, allowing(*all_)).name == "a"
    for missing in all_:
        with pytest.raises(Forbidden):
            acting(headers, allowing(*(permit for permit in all_ if permit != missing)))


def test_the_constrained_permissions_suffice_for_this_request() -> None:
    permits = ("impersonate:user-info users:a", "impersonate-on:user-info:list pods:")

    assert acting({"impersonate-user": ("a",)}, allowing(*permits)) == User("a", ("system:authenticated",))


def test_the_first_refusal_is_told() -> None:
    with pytest.raises(Forbidden) as refused:
        acting({"impersonate-user": ("a",)}, allowing(), User("eve"))

    assert refused.value.message == (
        'pods is forbidden: User "eve" cannot impersonate-on:user-info:list resource "pods" in API group ""'
        ' in the namespace "x"'
    )


def test_masters_are_never_impersonated_in_the_constrained_way() -> None:
    headers = {"impersonate-user": ("a",), "impersonate-group": ("system:masters",)}
    permits = (
        "impersonate:user-info users:a",
        "impersonate:user-info groups:system:masters",
        "impersonate-on:user-info:list pods:",
    )

    with pytest.raises(Forbidden, match="impersonating the system:masters group is not allowed"):
        acting(headers, allowing(*permits))


def test_an_agent_may_act_as_its_own_node_only() -> None:
    permits = ("impersonate:associated-node nodes:*", "impersonate-on:associated-node:list pods:")

    assert acting({"impersonate-user": ("system:node:n1",)}, allowing(*permits), BOT).name == "system:node:n1"
    with pytest.raises(Forbidden):
        acting({"impersonate-user": ("system:node:n2",)}, allowing(*permits), BOT)


@pytest.mark.parametrize(
    ("name", "mode", "target"),
    [
        ("system:node:n2", "arbitrary-node", "nodes:n2"),
        ("system:serviceaccount:x:y", "serviceaccount", "serviceaccounts:y"),
    ],
)
def test_nodes_and_accounts_have_modes_of_their_own(name: str, mode: str, target: str) -> None:
    permits = (f"impersonate:{mode} {target}", f"impersonate-on:{mode}:list pods:")

    assert acting({"impersonate-user": (name,)}, allowing(*permits), BOT).name == name
    with pytest.raises(Forbidden):
        acting({"impersonate-user": (name,), "impersonate-uid": ("1",)}, allowing(*permits), BOT)
