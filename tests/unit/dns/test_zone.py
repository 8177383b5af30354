"""A zone that is changed service by service is what one built at once would be."""

from hypothesis import given
from hypothesis import strategies as st

from kybern.dns.records import PTR, SRV, A, Record
from kybern.dns.zone import Zone
from tests.unit.dns.objects import DOMAIN

NAMES = [f"{name}.default.svc.{DOMAIN}" for name in ("web", "_http._tcp.web", "a.web", "_http._tcp.pets")]
RECORDS = st.frozensets(
    st.builds(Record, st.sampled_from(NAMES), st.sampled_from([A, SRV]), st.sampled_from(["x", "y"]))
    | st.builds(Record, st.just("1.0.0.10.in-addr.arpa"), st.just(PTR), st.sampled_from(["x", "y"]))
)
CHANGES = st.lists(st.tuples(st.sampled_from("abc"), RECORDS))


def state(zone: Zone, names: list[str]) -> list[tuple[object, bool]]:
    return [(frozenset(zone.find(name)), zone.exists(name)) for name in names]


@given(CHANGES)
def test_the_order_of_changes_leaves_no_trace(changes: list[tuple[str, frozenset[Record]]]) -> None:
    changed, built = Zone(DOMAIN), Zone(DOMAIN)
    for owner, records in changes:
        changed.put(owner, records)
    for owner, records in dict(changes).items():
        built.put(owner, records)

    asked = [*NAMES, f"_tcp.web.default.svc.{DOMAIN}", f"pets.default.svc.{DOMAIN}", "1.0.0.10.in-addr.arpa"]
    assert state(changed, asked) == state(built, asked)
    assert len(changed) == len(built)


@given(CHANGES)
def test_nothing_is_left_of_what_is_taken_away(changes: list[tuple[str, frozenset[Record]]]) -> None:
    zone = Zone(DOMAIN)
    for owner, records in changes:
        zone.put(owner, records)
    for owner in "abc":
        zone.put(owner, frozenset())

    assert (len(zone), zone._below, zone._owned) == (0, {}, {})


def test_the_same_records_are_no_change() -> None:
    zone, records = Zone(DOMAIN), frozenset({Record(NAMES[0], A, "10.0.0.1")})

    assert [zone.put("a", records), zone.put("a", records), zone.version] == [True, False, 1]
