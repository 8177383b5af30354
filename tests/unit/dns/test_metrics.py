"""What is measured of names, under CoreDNS's names."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from prometheus_client import REGISTRY, CollectorRegistry

from kybern.api.core_v1 import Namespace, Service
from kybern.api.discovery_v1 import EndpointSlice
from kybern.api.meta_v1 import ObjectMeta
from kybern.client.watch import Added, Modified, Synced
from kybern.dns.follow import TRIGGERED, Names
from kybern.dns.metrics import SECONDS, Counts
from kybern.dns.zone import Zone
from kybern.machinery.struct import replace
from tests.unit.dns.objects import DOMAIN, endpoint, service, slice_of

NAME = "coredns_dns_request_duration_seconds"
PLACE = {"server": "dns://:53", "zone": "."}
PROGRAMMED = "coredns_kubernetes_dns_programming_duration_seconds"


def test_times_of_answers_are_counted_by_their_bounds() -> None:
    counts, shown = Counts(), CollectorRegistry()
    shown.register(counts)
    for seconds in (SECONDS[0], SECONDS[0] * 1.5, 100.0):
        counts.took(seconds)

    found = [shown.get_sample_value(f"{NAME}_bucket", PLACE | {"le": str(limit)}) for limit in SECONDS[:3]]
    assert found == [1, 2, 2]
    assert shown.get_sample_value(f"{NAME}_bucket", PLACE | {"le": "+Inf"}) == 3
    assert shown.get_sample_value(f"{NAME}_count", PLACE) == 3
    assert shown.get_sample_value(f"{NAME}_sum", PLACE) == pytest.approx(SECONDS[0] * 2.5 + 100)


def measured() -> tuple[float, float]:
    kind = {"service_kind": "headless_with_selector"}
    told = (REGISTRY.get_sample_value(f"{PROGRAMMED}_{what}", kind) or 0.0 for what in ("count", "sum"))
    count, seconds = told
    return count, seconds


def test_the_time_to_a_headless_services_names_is_told_once_for_each_cause() -> None:
    names = Names(Zone(DOMAIN))
    pets, web = service("pets"), service("web", "10.96.0.1")
    pets = replace(pets, spec=replace(pets.spec, selector={"app": "pets"}))
    known: list[tuple[Synced[Any], type[Any]]] = [
        (Synced((Namespace(metadata=ObjectMeta(name="default")),)), Namespace),
        (Synced((pets, web, service("alone"))), Service),
        (Synced(()), EndpointSlice),
    ]
    for synced, kind in known:
        names.cache.apply(synced, kind)
        names.tell(synced)
    assert names.complete
    before = measured()

    def seen(owner: str, when: str) -> EndpointSlice:
        one = slice_of(owner, endpoint("10.244.0.1"))
        return replace(one, metadata=replace(one.metadata, annotations={TRIGGERED: when}))

    cause = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    for owner, when in (("web", cause), ("alone", cause), ("nobody", cause), ("pets", "?"), ("pets", "")):
        names.tell(Added(seen(owner, when)))
    assert measured() == before
    names.tell(Added(seen("pets", cause)))
    names.tell(Modified(seen("pets", cause), seen("pets", cause)))

    count, seconds = measured()
    assert count - before[0] == 1
    assert 3600 <= seconds - before[1] < 7200
