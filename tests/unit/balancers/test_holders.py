"""Who holds an address while the cache lags behind the API server."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from kybern.api.core_v1 import Service
from kybern.balancers.controller import observe
from kybern.balancers.holders import HOLDING, Holders
from kybern.balancers.wishes import held
from kybern.loop.controller import Key
from kybern.machinery.pools import parse
from kybern.machinery.struct import replace
from tests.unit.balancers.making import service

POOLS = parse("default=10.0.0.1-10.0.0.9")


@dataclass
class Seen:
    """A view whose cache and API server are two lists; ``lists`` counts how often the server was asked."""

    cached: dict[str, Service] = field(default_factory=dict)
    real: dict[str, Service] = field(default_factory=dict)
    lists: int = 0

    def get(self, _kind: Any, _namespace: str, name: str) -> Service | None:
        return self.cached.get(name)

    def index(self, _kind: Any, name: str, _value: str) -> Iterator[Service]:
        assert name == HOLDING
        return (one for one in self.cached.values() if held(one))

    def live_list(self, _kind: Any, _namespace: str) -> tuple[Service, ...]:
        self.lists += 1
        return tuple(self.real.values())

    def both(self, *services: Service) -> None:
        for one in services:
            self.cached[one.metadata.name] = self.real[one.metadata.name] = one


def at(version: int, name: str, *addresses: str) -> Service:
    found = service(name, *addresses)
    return replace(found, metadata=replace(found.metadata, resource_version=str(version)))


def names(services: Iterable[Service]) -> set[str]:
    return {one.metadata.name for one in services}


def others(view: Seen, known: Holders, name: str, pools: Any = POOLS) -> set[str]:
    state = observe(pools, known, view, Key("a", name))  # type: ignore[arg-type]  # as much of a view as it needs
    assert state is not None
    return names(state.others)


def test_many_services_cost_one_list() -> None:
    view, known = Seen(), Holders()
    view.both(*(at(1, f"s{number}") for number in range(5)))

    for number in range(5):
        assert others(view, known, f"s{number}") == {f"s{before}" for before in range(number)}
        view.both(at(10 + number, f"s{number}", f"10.0.0.{number + 1}"))

    assert view.lists == 1


def test_what_a_leader_before_gave_counts_until_the_cache_knows_better() -> None:
    view, known = Seen(), Holders()
    view.both(at(1, "new"), at(1, "other"), at(2, "old"))
    view.real["old"] = at(3, "old", "10.0.0.1")
    view.real["unseen"] = at(3, "unseen", "10.0.0.2")

    assert others(view, known, "new") == {"old", "unseen"}
    view.both(at(5, "new", "10.0.0.3"), at(4, "old"), at(3, "unseen", "10.0.0.2"))
    assert others(view, known, "other") == {"new", "unseen"}, "the old one gave its address back meanwhile"
    del view.cached["unseen"]
    view.both(at(6, "other", "10.0.0.1"), at(7, "last"))
    assert others(view, known, "last") == {"new", "other"}
    assert view.lists == 1


@pytest.mark.parametrize(
    ("cached", "lists"),
    [
        pytest.param(at(1, "first"), 2, id="the cache has not seen the answer"),
        pytest.param(at(2, "first", "10.0.0.1"), 1, id="it has"),
        pytest.param(at(2, "first"), 1, id="somebody else was faster, so it never arrives"),
        pytest.param(None, 1, id="it was deleted"),
    ],
)
def test_a_write_without_an_answer_is_asked_for(cached: Service | None, lists: int) -> None:
    view, known = Seen(), Holders()
    view.both(at(1, "first"), at(1, "second"))
    others(view, known, "first")
    view.real["first"] = at(2, "first", "10.0.0.1")
    if cached is None:
        del view.cached["first"]
    else:
        view.cached["first"] = cached

    found = others(view, known, "second")

    assert view.lists == lists
    assert ("first" in found) == (lists == 2 or (cached is not None and bool(held(cached))))


def test_none_is_left_only_when_the_api_server_says_so() -> None:
    pools, known, view = parse("default=10.0.0.1"), Holders(), Seen()
    view.both(at(1, "first"), at(1, "second"))
    view.real["gone"] = at(2, "gone", "10.0.0.1")
    assert others(view, known, "first", pools) == {"gone"}

    del view.real["gone"]  # before the cache ever saw it

    assert others(view, known, "first", pools) == set()


def test_who_keeps_what_it_has_asks_nobody() -> None:
    view, known = Seen(), Holders()
    view.both(at(1, "first", "10.0.0.1"), at(1, "second", "10.0.0.2"))

    assert others(view, known, "first") == {"second"}
    assert view.lists == 0
