"""What is found by labels is at least what matches, and far from all."""

from hypothesis import given
from hypothesis import strategies as st

from kybern.api.core_v1 import Pod, Service, ServiceSpec
from kybern.api.meta_v1 import ObjectMeta
from kybern.client.cache import Cache
from kybern.client.watch import Synced
from kybern.loop.controller import View, WhenChanged
from kybern.loop.labels import LABEL, SELECTOR, asking, bearing, by_label, by_selector
from kybern.loop.view import Glance

LABELS = st.dictionaries(st.sampled_from(["app", "tier", "env"]), st.sampled_from(["x", "y"]), max_size=3)
NAMESPACES = st.sampled_from(["a", "b"])


def seen(pods: list[Pod], services: list[Service]) -> View:
    cache = Cache()
    cache.add_index(Pod, LABEL, by_label)
    cache.add_index(Service, SELECTOR, by_selector(lambda service: service.spec.selector))
    cache.apply(Synced(tuple(pods)), Pod)
    cache.apply(Synced(tuple(services)), Service)
    return Glance(cache, None, {}, tuple)


def pods_of(made: list[tuple[str, dict[str, str]]]) -> list[Pod]:
    return [
        Pod(metadata=ObjectMeta(name=f"p{number}", namespace=namespace, labels=labels))
        for number, (namespace, labels) in enumerate(made)
    ]


@given(st.lists(st.tuples(NAMESPACES, LABELS), max_size=12), LABELS)
def test_none_that_bears_all_the_labels_is_missed(
    made: list[tuple[str, dict[str, str]]], wanted: dict[str, str]
) -> None:
    pods = pods_of(made)

    found = [pod.metadata.name for pod in bearing(seen(pods, []), Pod, "a", wanted)]

    matching = [
        pod.metadata.name
        for pod in pods
        if pod.metadata.namespace == "a" and wanted.items() <= pod.metadata.labels.items()
    ]
    assert set(matching) <= set(found)
    assert len(found) == len(set(found))
    if len(wanted) == 1:
        assert sorted(found) == sorted(matching)


@given(st.lists(st.tuples(NAMESPACES, LABELS), max_size=12), LABELS)
def test_no_selector_that_matches_is_missed(
    made: list[tuple[str, dict[str, str]]], borne: dict[str, str]
) -> None:
    services = [
        Service(
            metadata=ObjectMeta(name=f"s{number}", namespace=namespace), spec=ServiceSpec(selector=labels)
        )
        for number, (namespace, labels) in enumerate(made)
    ]

    found = [one.metadata.name for one in asking(seen([], services), Service, "a", borne)]

    matching = {
        one.metadata.name
        for one in services
        if one.metadata.namespace == "a" and one.spec.selector.items() <= borne.items()
    }
    assert matching <= set(found)
    assert len(found) == len(set(found))


def test_only_a_change_of_the_part_counts() -> None:
    wakes = WhenChanged(lambda pod: pod.metadata.labels, lambda _pod, _view: ())
    pod, same, other = pods_of([("a", {"app": "x"}), ("b", {"app": "x"}), ("a", {"app": "y"})])

    assert not wakes.is_about(pod, same)
    assert wakes.is_about(pod, other)
