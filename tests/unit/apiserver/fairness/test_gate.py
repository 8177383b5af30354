"""Requests to seats: what is configured, what is looked up, and what a change does."""

from typing import Any

import msgspec
import pytest

from kybern.apiserver import bootstrap
from kybern.apiserver.crowded import Crowded
from kybern.apiserver.fairness.gate import Fairness, width
from kybern.apiserver.fairness.numbers import Told
from kybern.auth.attributes import Attributes
from kybern.auth.user import User

ALL = ("system:authenticated",)
ANN, ADMIN = User("ann", ALL), User("admin", ("system:masters", *ALL))


def made(total: int = 600, stored: int = 0) -> Fairness:
    """As a server is once the objects are there that it makes at its start."""
    gate = Fairness(total, 15.0, lambda _group, _plural: stored, lambda: 0.0)
    for one in bootstrap.wanted():
        if one.group == bootstrap.FLOW_CONTROL:
            put(gate, one.object)
    return gate


def put(gate: Fairness, raw: dict[str, Any], old: dict[str, Any] | None = None) -> None:
    raw = {**raw, "metadata": {**raw["metadata"], "uid": f"u-{raw['metadata']['name']}"}}
    change = gate.schema if raw["kind"] == "FlowSchema" else gate.level
    change(msgspec.json.encode(old) if old else None, msgspec.json.encode(raw))


def pods(user: User, verb: str = "get", namespace: str = "x") -> Attributes:
    return Attributes(user, verb, "", "v1", "pods", "", namespace)


SCHEMA = {
    "apiVersion": "flowcontrol.apiserver.k8s.io/v1",
    "kind": "FlowSchema",
    "metadata": {"name": "anns"},
    "spec": {
        "matchingPrecedence": 50,
        "priorityLevelConfiguration": {"name": "slow"},
        "rules": [
            {
                "subjects": [{"kind": "User", "user": {"name": "ann"}}],
                "resourceRules": [
                    {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"]}
                ],
            }
        ],
    },
}
LEVEL = {
    "apiVersion": "flowcontrol.apiserver.k8s.io/v1",
    "kind": "PriorityLevelConfiguration",
    "metadata": {"name": "slow"},
    "spec": {
        "type": "Limited",
        "limited": {"nominalConcurrencyShares": 1, "limitResponse": {"type": "Reject"}},
    },
}


async def test_clients_are_told_of_both_by_their_uids() -> None:
    assert made().take(pods(ANN), {}).headers == (
        ("X-Kubernetes-PF-FlowSchema-UID", "u-global-default"),
        ("X-Kubernetes-PF-PriorityLevel-UID", "u-global-default"),
    )
    assert made().take(pods(ADMIN), {}).headers[0][1] == "u-exempt"


async def test_before_anything_is_known_all_have_the_seats_of_the_server() -> None:
    gate = Fairness(5, 15.0, lambda _group, _plural: 0, lambda: 0.0)
    held = [gate.take(pods(ANN), {}) for _ in range(5)]
    assert held[0].headers == ()
    with pytest.raises(Crowded):
        gate.take(pods(ANN), {})
    assert gate.take(pods(ADMIN), {}).runs


async def test_a_schema_of_ones_own_counts_as_soon_as_its_level_is_there() -> None:
    gate = made()
    put(gate, SCHEMA)
    assert gate.take(pods(ANN), {}).flow.schema == "global-default"
    put(gate, LEVEL)
    seat = gate.take(pods(ANN), {})
    assert (seat.flow.schema, seat.flow.level.name) == ("anns", "slow")
    # A share of 246: 2.44 seats, and a seat is not parted.
    assert seat.flow.level.nominal == 3
    held = [gate.take(pods(ANN), {}) for _ in range(2)]
    with pytest.raises(Crowded):
        gate.take(pods(ANN), {})
    for one in held:
        one.leave()
    assert gate.take(pods(ANN), {}).runs


async def test_what_is_deleted_counts_no_more() -> None:
    gate = made()
    put(gate, LEVEL)
    put(gate, SCHEMA)
    seat = gate.take(pods(ANN), {})
    gate.level(msgspec.json.encode(LEVEL), None)
    assert "slow" not in gate.levels
    assert gate.take(pods(ANN), {}).flow.schema == "global-default"
    seat.leave()
    gate.schema(msgspec.json.encode(SCHEMA), None)
    put(gate, LEVEL)
    assert gate.take(pods(ANN), {}).flow.schema == "global-default"


def counted(gate: Fairness) -> set[str]:
    """The schemas of which metrics tell."""
    told = Told()
    told.follow(gate._numbers, tuple)
    return {
        sample.labels["flow_schema"]
        for family in told.collect()
        for sample in family.samples
        if "flow_schema" in sample.labels
    }


async def test_a_schema_that_is_deleted_is_counted_until_its_last_request_has_ended() -> None:
    gate = made()
    put(gate, LEVEL)
    put(gate, SCHEMA)
    seat = gate.take(pods(ANN), {})
    gate.schema(msgspec.json.encode(SCHEMA), None)
    gate.take(pods(ANN), {}).leave()
    assert counted(gate) == {"anns", "global-default"}

    seat.leave()
    gate.lend()

    assert counted(gate) == {"global-default"}


async def test_the_server_keeps_what_it_cannot_do_without() -> None:
    gate = made()
    for one in bootstrap.wanted():
        if one.group == bootstrap.FLOW_CONTROL and one.name in bootstrap.MANDATORY:
            change = gate.schema if one.plural == "flowschemas" else gate.level
            change(msgspec.json.encode(one.object), None)
    assert gate.take(pods(ADMIN), {}).flow.level.exempt


async def test_a_user_of_no_group_is_caught_by_the_last() -> None:
    assert made().take(pods(User("nobody")), {}).flow.schema == "catch-all"


async def test_idle_levels_lend() -> None:
    gate = made(total=245)
    low = gate.levels["global-default"]
    held = [gate.take(pods(ANN, namespace=str(number)), {}) for number in range(40)]
    assert (low.limit, sum(one.runs for one in held)) == (20, 20)
    gate.lend()
    assert low.limit >= 40
    assert all(one.runs for one in held)


@pytest.mark.parametrize(
    ("verb", "stored", "limit", "most", "seats"),
    [
        ("get", 5000, 0, 100, 1),
        ("list", 0, 0, 100, 1),
        ("list", 100, 0, 100, 1),
        ("list", 101, 0, 100, 2),
        ("list", 5000, 0, 100, 10),
        ("list", 5000, 250, 100, 3),
        ("list", 5000, 0, 20, 3),
        ("list", 5000, 0, 1, 1),
    ],
)
def test_lists_of_many_are_wider(verb: str, stored: int, limit: int, most: int, seats: int) -> None:
    assert width(verb, stored, limit, most) == seats


async def test_a_list_takes_as_many_seats_as_it_is_wide() -> None:
    gate = made(stored=450)
    assert gate.take(pods(ANN, "list"), {}).width == 5
    assert gate.take(pods(ANN, "list"), {"limit": "100"}).width == 1
    assert gate.take(pods(ANN, "list"), {"limit": "what"}).width == 5
