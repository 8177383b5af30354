"""What /metrics/resources tells of pods: upstream's names, labels and units, of the spec alone."""

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from prometheus_client import CollectorRegistry

from kybern.api.core_v1 import Container, ContainerStatus, Pod, PodSpec, PodStatus, ResourceRequirements
from kybern.api.meta_v1 import ObjectMeta
from kybern.daemon import health
from kybern.machinery.struct import replace
from kybern.scheduler.pod_resources import PATH, PodResources
from tests.unit.scheduler.making import node, pod, table_of
from tests.unit.scheduler.test_feed import feed

EVERYTHING = Pod(
    metadata=ObjectMeta(name="p", namespace="ns", uid="1"),
    spec=PodSpec(
        node_name="w1",
        scheduler_name="other",
        priority=7,
        containers=(
            Container(
                name="c",
                resources=ResourceRequirements(
                    requests={
                        "cpu": "250m",
                        "memory": "1Mi",
                        "example.com/gpu": "2",
                        "ephemeral-storage": "0",
                    },
                    limits={"cpu": "1", "hugepages-2Mi": "2Mi", "attachable-volumes-x": "3"},
                ),
            ),
        ),
    ),
)


def told(*pods: Pod) -> dict[tuple[str, str], float]:
    """By metric (request or limit) and resource."""
    return {
        (family.name.rpartition("_")[2], sample.labels["resource"]): sample.value
        for family in PodResources(lambda: pods).collect()
        for sample in family.samples
    }


def test_each_resource_is_told_with_its_unit_and_who_wants_it() -> None:
    asked, most = PodResources(lambda: (EVERYTHING,)).collect()

    who = {"namespace": "ns", "pod": "p", "node": "w1", "scheduler": "other", "priority": "7"}
    assert [(sample.labels, sample.value) for sample in asked.samples] == [
        ({**who, "resource": "cpu", "unit": "cores"}, 0.25),
        ({**who, "resource": "memory", "unit": "bytes"}, 1 << 20),
        ({**who, "resource": "example.com/gpu", "unit": ""}, 2),
    ]
    assert [(sample.labels, sample.value) for sample in most.samples] == [
        ({**who, "resource": "cpu", "unit": "cores"}, 1),
        ({**who, "resource": "hugepages-2Mi", "unit": "bytes"}, 2 << 20),
        ({**who, "resource": "attachable-volumes-x", "unit": "integer"}, 3),
    ]


def limited(name: str, cpu: str, restart: str = "") -> Container:
    return Container(name=name, restart_policy=restart, resources=ResourceRequirements(limits={"cpu": cpu}))


@pytest.mark.parametrize(
    ("spec", "cpu"),
    [
        pytest.param(PodSpec(containers=(limited("a", "1"), limited("b", "2"))), 3, id="containers together"),
        pytest.param(
            PodSpec(containers=(limited("a", "1"),), init_containers=(limited("i", "5"),)), 5, id="init"
        ),
        pytest.param(
            PodSpec(containers=(limited("a", "1"),), init_containers=(limited("s", "5", "Always"),)),
            6,
            id="sidecar",
        ),
        pytest.param(
            PodSpec(containers=(limited("a", "1"),), resources=ResourceRequirements(limits={"cpu": "4"})),
            4,
            id="of the pod",
        ),
        pytest.param(PodSpec(containers=(limited("a", "1"),), overhead={"cpu": "500m"}), 1.5, id="overhead"),
    ],
)
def test_limits_are_summed_as_the_kubelet_has_them(spec: PodSpec, cpu: float) -> None:
    assert told(Pod(spec=spec))["limit", "cpu"] == cpu


def test_overhead_is_asked_for_but_limits_nothing_that_has_no_limit() -> None:
    spec = PodSpec(containers=(Container(name="a"),), overhead={"cpu": "500m"})

    assert told(Pod(spec=spec)) == {("request", "cpu"): 0.5}


def test_what_a_node_granted_does_not_count() -> None:
    granted = ContainerStatus(name="c", resources=ResourceRequirements(requests={"cpu": "4"}))

    grown = replace(EVERYTHING, status=PodStatus(container_statuses=(granted,)))

    assert told(grown)["request", "cpu"] == 0.25


def test_a_pod_of_another_scheduler_is_known_until_it_is_gone() -> None:
    one = feed(table_of(node("w1")))
    foreign = pod("p", cpu="1")
    foreign = replace(foreign, spec=replace(foreign.spec, scheduler_name="other"))

    one.see(foreign)
    assert list(one.pods.values()) == [foreign]

    one.lose(foreign)
    assert not one.pods


async def test_it_is_served_behind_the_guard_of_metrics() -> None:
    async def nobody(_request: web.Request) -> web.Response:
        return web.Response(status=401)

    resources = CollectorRegistry()
    resources.register(PodResources(lambda: (EVERYTHING,)))
    for guard, code in ((nobody, 401), (None, 200)):
        app = health.application({}, guard)
        health.show(app, PATH, resources)
        async with TestClient(TestServer(app)) as client:
            answer = await client.get(PATH)
            assert answer.status == code
            if code == 200:
                assert 'kube_pod_resource_request{namespace="ns",node="w1"' in await answer.text()
