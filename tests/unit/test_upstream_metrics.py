"""Every STABLE and BETA metric of upstream (test/instrumentation/testdata/stable-metrics-list.yaml) is shown here as there.

``tests/data/upstream_metrics.json`` has the list: name, type, labels and bounds of buckets of those that daemons show; or
name, level and the reason why there is none.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from prometheus_client import REGISTRY, Counter, Histogram
from prometheus_client.core import Metric
from prometheus_client.metrics import MetricWrapperBase

from kybern.admission import metrics as admission
from kybern.api.kinds import KINDS
from kybern.apiserver import metrics as requests
from kybern.apiserver.crd import metrics as custom
from kybern.apiserver.fairness.numbers import Numbers, Told
from kybern.apiserver.identity import issuers
from kybern.apiserver.rights import authorizers
from kybern.apiserver.storage_metrics import Stored
from kybern.daemon import slis
from kybern.daemon.features import Features
from kybern.daemon.tally import Tallies
from kybern.kubelet.probes import metrics as probes
from kybern.kubelet.stats import resource
from kybern.loop import metrics as loop
from kybern.scheduler import metrics as scheduler
from kybern.scheduler.pod_resources import PodResources
from kybern.storage.cache import Cache
from kybern.storage.memory import MemoryStore
from kybern.storage.store import Unavailable
from tests.unit.kubelet.test_stats import NODE
from tests.unit.scheduler.making import node, pod, table_of
from tests.unit.scheduler.test_metrics import queue
from tests.unit.scheduler.test_pod_resources import EVERYTHING

PATH = Path(__file__).parents[1] / "data/upstream_metrics.json"
LIST: list[list[Any]] = json.loads(PATH.read_text())
SHOWN = [entry for entry in LIST if isinstance(entry[2], list)]
REGISTERING = (admission, requests, custom, issuers, authorizers, loop, scheduler)
"""What puts its metrics into the registry by being there."""


class Shape(NamedTuple):
    type: str | None
    labels: list[str]
    bounds: list[float]


def registered() -> Iterator[tuple[str, Shape]]:
    """Those of the registries, without a value of theirs."""
    for registry in (REGISTRY, slis.REGISTRY, probes.REGISTRY):
        for one in registry._collector_to_names:
            if isinstance(one, Tallies):
                yield one._name, Shape("histogram", sorted(one._labels), list(one._bounds))
            elif isinstance(one, MetricWrapperBase):
                end = "_total" if isinstance(one, Counter) else ""
                bounds = list(one._upper_bounds[:-1]) if isinstance(one, Histogram) else []
                yield f"{one._name}{end}", Shape(one._type, sorted(one._labelnames), bounds)


def of_family(family: Metric) -> tuple[str, Shape]:
    assert family.samples, f"nothing to see of {family.name}"
    end = "_total" if family.type == "counter" else ""
    labels = sorted({label for sample in family.samples for label in sample.labels} - {"le"})
    bounds = dict.fromkeys(float(sample.labels["le"]) for sample in family.samples if "le" in sample.labels)
    return f"{family.name}{end}", Shape(family.type, labels, list(bounds)[:-1])


def told() -> Iterator[Metric]:
    """Those that are put into words when somebody asks, with values."""
    answered = requests._Requests()
    answered.observe(("GET", "", "", "v1", "pods", "", "resource"), 200, 0.1, 7)
    yield from answered.collect()
    flows = Told()
    numbers = Numbers()
    numbers.refuse("queue-full")
    numbers.waited.add(0.1)
    flows.follow({("workload-low", "service-accounts"): numbers}, lambda: (Level(),))
    yield from flows.collect()
    yield from scheduler.Figures(queue(pod("p")), table_of(node("a"))).collect()
    yield from PodResources(lambda: (EVERYTHING,)).collect()
    yield from Features({}).collect()


class Level:
    name = "workload-low"
    nominal = least = most = limit = demand = 1


async def stored() -> list[Metric]:
    kind = next(kind for kind in KINDS if kind.plural == "deployments")
    cache = Cache(MemoryStore(), kind)
    cache.filled.set()

    async def size() -> int:
        return 4096

    found = Stored(lambda: (cache,), size)
    await found.ask()
    return list(found.collect())


async def every() -> dict[str, Shape]:
    usage = {
        one.name: Shape(one.kind, sorted({label for sample in one.samples for label in sample.labels}), [])
        for one in resource.families(NODE)
    }
    counted = (*told(), *await stored())
    values = dict(of_family(family) for family in counted if family.samples)
    return {**dict(registered()), **values, **usage}


async def test_every_one_is_shown_with_its_type_labels_and_buckets() -> None:
    found = await every()

    missing = [name for name, *_ in SHOWN if name not in found]
    assert not missing
    differing = {
        name: (found[name], Shape(*shape))
        for name, *shape in SHOWN
        if (found[name].type, found[name].labels) != (shape[0], shape[1])
        or found[name].bounds != pytest.approx(shape[2])
    }
    assert not differing


async def test_what_is_said_not_to_apply_is_not_shown() -> None:
    found = await every()

    reasons = {name: (level, why) for name, level, why, *more in LIST if not more and isinstance(why, str)}
    assert not reasons.keys() & found.keys()
    assert all(level in {"STABLE", "BETA"} and why for level, why in reasons.values())
    assert len(reasons) + len(SHOWN) == len({entry[0] for entry in LIST}) == len(LIST)


async def test_objects_are_counted_by_resource_and_a_silent_etcd_has_no_size() -> None:
    kind = next(kind for kind in KINDS if kind.plural == "deployments")
    filled, filling = Cache(MemoryStore(), kind), Cache(MemoryStore(), KINDS[0])
    filled.filled.set()

    async def silent() -> int:
        raise Unavailable("etcdserver: request timed out")

    found = Stored(lambda: (filled, filling), silent)
    await found.ask()
    objects, resources, size = found.collect()

    assert [(sample.labels, sample.value) for sample in objects.samples] == [
        ({"resource": "deployments.apps"}, 0)
    ]
    assert [sample.labels for sample in resources.samples] == [{"group": "apps", "resource": "deployments"}]
    assert not size.samples
