"""Every controller is in the shared tests, and does something there: a new one that nothing wakes fails here.

The shared tests (rest, kills, troubles) run all of CONTROLLERS on what ``create_some`` makes; every one of them has
something to write in that cluster.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from kybern.api.apps_v1 import Deployment
from kybern.api.core_v1 import Namespace
from kybern.controllers import CONTROLLERS
from kybern.controllers.node_lifecycle import NOT_READY
from tests.simulation.api import FakeApi
from tests.simulation.cluster import Simulation, kinds_of
from tests.simulation.mortal import alive
from tests.simulation.occasions import SETTINGS, make_ready
from tests.simulation.test_kills import _nothing_new
from tests.simulation.test_rest import create_some

type Written = tuple[int, str, str, dict[str, Any]]

MADE = {one.name: one for one in (make(SETTINGS) for make in CONTROLLERS)}
ACCOUNTS = Counter(one.account for one in MADE.values())


def _gone(plural: str, name: str) -> Callable[[Written], bool]:
    return lambda entry: (
        entry[1] == "DELETED" and entry[2].endswith(f"/{plural}") and entry[3]["metadata"]["name"] == name
    )


def _is_approved(entry: Written) -> bool:
    conditions = entry[3].get("status", {}).get("conditions", ())
    return entry[3]["metadata"]["name"] == "joining" and any(one["type"] == "Approved" for one in conditions)


# What tells that a controller was at work, where its account is another one's, too.
EFFECTS: dict[str, Callable[[Written], bool]] = {
    "certificatesigningrequest-approving-controller": _is_approved,
    "certificatesigningrequest-cleaner-controller": _gone("certificatesigningrequests", "denied"),
    "certificatesigningrequest-signing-controller": lambda entry: bool(
        entry[2].endswith("/certificatesigningrequests") and entry[3].get("status", {}).get("certificate")
    ),
    "node-ipam-controller": lambda entry: bool(
        entry[2].endswith("/nodes") and entry[3].get("spec", {}).get("podCIDR")
    ),
    "node-lifecycle-controller": lambda entry: bool(
        entry[2].endswith("/nodes")
        and any(one["key"] == NOT_READY for one in entry[3].get("spec", {}).get("taints") or ())
    ),
    "taint-eviction-controller": _gone("pods", "leaving"),
}


@pytest.fixture(scope="module")
def at_work() -> set[str]:
    """The names of the controllers that wrote something, as far as that can be told."""

    async def see() -> set[str]:
        api = FakeApi(*kinds_of(list(MADE.values())))
        await create_some(api)
        await make_ready(api)
        async with alive(api, list(MADE.values())) as loop:
            cluster = Simulation(api, loop)
            kubelets = asyncio.create_task(cluster.kubelets())
            await cluster.rest()
            seen = {name for name, effect in EFFECTS.items() if any(effect(entry) for entry in api.log)}
            await api.delete(api.all(Deployment)[0])
            await cluster.rest()
            namespace = api.one(Namespace, "", "a")
            assert namespace is not None
            api.refuse = _nothing_new
            await api.delete(namespace)
            await cluster.rest()
            kubelets.cancel()
        return seen | {
            one.name for one in MADE.values() if one.account in api.writers and ACCOUNTS[one.account] == 1
        }

    return asyncio.run(see())


@pytest.mark.parametrize("name", MADE)
def test_every_controller_writes_in_the_shared_tests(at_work: set[str], name: str) -> None:
    assert name in at_work, f"{name} does nothing in the shared tests"


def test_who_is_named_is_registered() -> None:
    assert EFFECTS.keys() <= MADE.keys()
