"""Who is among the endpoints of a service whose daemons run on machines: leases and times in, addresses out."""

from datetime import UTC, datetime, timedelta

import pytest

from kybern.api.coordination_v1 import Lease, LeaseSpec
from kybern.api.meta_v1 import ObjectMeta
from kybern.client.members import DURATION, Seen, alive, look, slice_of

START = datetime(2026, 1, 1, tzinfo=UTC)
LISTED = frozenset({"10.0.0.1", "10.0.0.2"})


def lease(number: int, seconds: float = 0) -> Lease:
    spec = LeaseSpec(holder_identity=f"10.0.0.{number}", renew_time=START + timedelta(seconds=seconds))
    return Lease(metadata=ObjectMeta(name=f"m{number}", labels={"node": f"m{number}"}), spec=spec)


def addresses(
    seen: dict[str, Seen], leases: list[Lease], now: float, listed: frozenset[str] = LISTED
) -> list[str]:
    return [one.spec.holder_identity for one in alive(seen, leases, listed, now)]


def test_whoever_renews_is_in() -> None:
    seen = look({}, [lease(1), lease(2)], 0.0, 2.0)
    seen = look(seen, [lease(1, 2), lease(2, 2)], 2.0, 2.0)

    assert addresses(seen, [lease(1), lease(2)], 3.0, frozenset()) == ["10.0.0.1", "10.0.0.2"]


def test_whoever_stops_is_out_after_the_leases_time() -> None:
    seen: dict[str, Seen] = {}
    for second in range(0, 20, 2):
        seen = look(seen, [lease(1, second), lease(2, min(second, 4))], float(second), 2.0)

    assert addresses(seen, [lease(1), lease(2)], 4 + DURATION - 0.1) == ["10.0.0.1", "10.0.0.2"]
    assert addresses(seen, [lease(1), lease(2)], 4 + DURATION) == ["10.0.0.1"]


def test_a_lease_seen_for_the_first_time_counts_as_the_slice_has_it() -> None:
    leases = [lease(1), lease(3)]
    seen = look({}, leases, 0.0, 100.0)

    assert addresses(seen, leases, 0.0) == ["10.0.0.1"]
    assert addresses(look(seen, [lease(1), lease(3, 1)], 2.0, 2.0), leases, 2.0) == ["10.0.0.1", "10.0.0.3"]


def test_one_that_is_listed_but_long_dead_leaves_when_its_time_is_over() -> None:
    seen = look({}, [lease(1)], 0.0, 100.0)
    for second in range(2, 12, 2):
        seen = look(seen, [lease(1)], float(second), 2.0)

    assert addresses(seen, [lease(1)], DURATION) == []


def test_after_the_api_server_was_away_everyone_gets_time_anew() -> None:
    seen = look(look({}, [lease(1), lease(2)], 0.0, 2.0), [lease(1, 2), lease(2, 2)], 2.0, 2.0)
    seen = look(seen, [lease(1, 2), lease(2, 2)], 300.0, 298.0)

    assert addresses(seen, [lease(1), lease(2)], 305.0) == ["10.0.0.1", "10.0.0.2"]


def test_a_lease_that_is_gone_is_forgotten() -> None:
    seen = look(look({}, [lease(1), lease(2)], 0.0, 2.0), [lease(1, 2)], 2.0, 2.0)

    assert set(seen) == {"m1"}


def test_a_clock_that_is_behind_does_no_harm() -> None:
    seen = look(look({}, [lease(1)], 0.0, 2.0), [lease(1, -3600)], 2.0, 2.0)

    assert addresses(seen, [lease(1)], 3.0, frozenset()) == ["10.0.0.1"]


def test_the_slice_names_machines_and_their_nodes() -> None:
    found = slice_of("kube-system/kube-dns", [lease(1), lease(2)], ())

    assert (found.metadata.namespace, found.metadata.labels["kubernetes.io/service-name"]) == (
        "kube-system",
        "kube-dns",
    )
    assert [(one.addresses, one.node_name) for one in found.endpoints] == [
        (("10.0.0.1",), "m1"),
        (("10.0.0.2",), "m2"),
    ]


@pytest.mark.parametrize(("address", "family"), [("192.0.2.1", "IPv4"), ("fd00::1", "IPv6")])
def test_the_slice_has_the_family_of_its_addresses(address: str, family: str) -> None:
    made = slice_of("kube-system/kube-dns", [Lease(spec=LeaseSpec(holder_identity=address))], ())

    assert (made.address_type, made.endpoints[0].addresses) == (family, (address,))
