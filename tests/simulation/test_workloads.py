"""What users do with workloads, from the request to rest, in one process."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from kybern.api.apps_v1 import (
    Deployment,
    DeploymentSpec,
    DeploymentStrategy,
    ReplicaSet,
    RollingUpdateDeployment,
)
from kybern.api.core_v1 import (
    ConfigMap,
    Container,
    Endpoints,
    Event,
    Namespace,
    Pod,
    PodSpec,
    PodTemplateSpec,
    Service,
    ServiceAccount,
    ServicePort,
    ServiceSpec,
)  # fmt: skip
from kybern.api.discovery_v1 import EndpointSlice
from kybern.api.meta_v1 import LabelSelector, ObjectMeta
from kybern.loop.settings import Settings
from kybern.machinery.errors import Forbidden
from kybern.machinery.struct import replace
from tests.simulation.cluster import Simulation, running

LABELS = {"app": "web"}


def web(count: int, image: str = "a", **labels: str) -> Deployment:
    template = PodTemplateSpec(
        metadata=ObjectMeta(labels={**LABELS, **labels}),
        spec=PodSpec(containers=(Container(name="c", image=image),)),
    )
    rolling = RollingUpdateDeployment(max_surge="25%", max_unavailable="25%")
    return Deployment(
        metadata=ObjectMeta(name="web", namespace="a"),
        spec=DeploymentSpec(
            replicas=count,
            progress_deadline_seconds=600,
            revision_history_limit=10,
            selector=LabelSelector(match_labels=LABELS),
            strategy=DeploymentStrategy(type="RollingUpdate", rolling_update=rolling),
            template=template,
        ),
    )


SERVICE = Service(
    metadata=ObjectMeta(name="web", namespace="a"),
    spec=ServiceSpec(
        selector=LABELS, ports=(ServicePort(port=80),), cluster_ip="10.96.0.10", ip_families=("IPv4",)
    ),
)


@pytest.fixture
async def cluster() -> AsyncIterator[Simulation]:
    async with running(settings=Settings(root_ca="CA")) as simulation:
        kubelets = asyncio.create_task(simulation.kubelets())
        await simulation.api.create(Namespace(metadata=ObjectMeta(name="a")))
        yield simulation
        kubelets.cancel()


def deployment(cluster: Simulation) -> Deployment:
    found = cluster.api.one(Deployment, "a", "web")
    assert found is not None
    return found


def finished(cluster: Simulation, count: int) -> bool:
    status = deployment(cluster).status
    reasons = {one.reason for one in status.conditions}
    return (
        status.updated_replicas == status.available_replicas == status.replicas == count
        and "NewReplicaSetAvailable" in reasons
    )


async def change(cluster: Simulation, **spec: Any) -> None:
    old = deployment(cluster)
    await cluster.api.patch(old, replace(old, spec=replace(old.spec, **spec)))


async def test_a_deployment_becomes_pods_behind_a_service(cluster: Simulation) -> None:
    await cluster.api.create(web(4))
    await cluster.api.create(SERVICE)

    await cluster.until(lambda: finished(cluster, 4))
    await cluster.rest()

    addresses = {pod.status.pod_ip for pod in cluster.api.all(Pod)}
    assert {one.ip for one in cluster.api.all(Endpoints)[0].subsets[0].addresses} == addresses
    ready = [
        one
        for part in cluster.api.all(EndpointSlice)
        for one in part.endpoints
        if one.conditions and one.conditions.ready
    ]
    assert {one.addresses[0] for one in ready} == addresses


async def test_a_rollout_leaves_only_new_pods_and_its_history(cluster: Simulation) -> None:
    await cluster.api.create(web(4))
    await cluster.until(lambda: finished(cluster, 4))

    await change(cluster, template=web(4, "b").spec.template)
    await cluster.until(
        lambda: deployment(cluster).metadata.annotations.get("deployment.kubernetes.io/revision") == "2"
    )
    await cluster.until(lambda: finished(cluster, 4))
    await cluster.rest()

    assert {pod.spec.containers[0].image for pod in cluster.api.all(Pod)} == {"b"}
    assert sorted(one.spec.replicas or 0 for one in cluster.api.all(ReplicaSet)) == [0, 4]


async def test_scaling_up_and_down(cluster: Simulation) -> None:
    await cluster.api.create(web(2))
    await cluster.until(lambda: finished(cluster, 2))

    await change(cluster, replicas=9)
    await cluster.until(lambda: finished(cluster, 9))
    await change(cluster, replicas=0)
    await cluster.until(lambda: not cluster.api.all(Pod))

    await cluster.rest()
    assert len(cluster.api.all(ReplicaSet)) == 1


@pytest.mark.parametrize("how", ["Background", "Foreground"])
async def test_deleting_a_deployment_takes_its_pods_along(cluster: Simulation, how: str) -> None:
    await cluster.api.create(web(3))
    await cluster.until(lambda: finished(cluster, 3))

    await cluster.api.delete(deployment(cluster), propagation=how)

    await cluster.until(
        lambda: not [*cluster.api.all(Deployment), *cluster.api.all(ReplicaSet), *cluster.api.all(Pod)]
    )
    await cluster.rest()


async def test_orphans_stay_and_are_adopted_by_the_next_one(cluster: Simulation) -> None:
    await cluster.api.create(web(3))
    await cluster.until(lambda: finished(cluster, 3))
    before = {pod.metadata.uid for pod in cluster.api.all(Pod)}

    await cluster.api.delete(deployment(cluster), propagation="Orphan")
    await cluster.until(lambda: not cluster.api.all(Deployment))
    await cluster.rest()
    assert cluster.api.all(ReplicaSet)[0].metadata.owner_references == ()

    await cluster.api.create(web(3))
    await cluster.until(lambda: finished(cluster, 3))
    assert {pod.metadata.uid for pod in cluster.api.all(Pod)} == before


async def test_a_namespace_goes_with_all_that_is_in_it(cluster: Simulation) -> None:
    await cluster.api.create(web(3))
    await cluster.api.create(SERVICE)
    await cluster.until(lambda: finished(cluster, 3))
    namespace = cluster.api.one(Namespace, "", "a")
    assert namespace is not None

    def forbidden(method: str, path: str) -> None:
        if method == "POST" and "/namespaces/a/" in path:
            raise Forbidden("unable to create new content in namespace a because it is being terminated")

    cluster.api.refuse = forbidden
    await cluster.api.delete(namespace)

    await cluster.until(lambda: not cluster.api.all(Namespace))
    assert not [key for key in cluster.api.objects if key[1] == "a"]


async def test_a_new_namespace_gets_its_account_and_the_authority(cluster: Simulation) -> None:
    await cluster.until(
        lambda: (
            cluster.api.one(ServiceAccount, "a", "default")
            and cluster.api.one(ConfigMap, "a", "kube-root-ca.crt")
        )
    )

    taken = cluster.api.one(ConfigMap, "a", "kube-root-ca.crt")
    assert taken is not None
    await cluster.api.delete(taken)

    await cluster.until(lambda: cluster.api.one(ConfigMap, "a", "kube-root-ca.crt"))


async def test_pods_that_are_refused_show_as_a_condition_until_they_are_not(cluster: Simulation) -> None:
    def refused(method: str, path: str) -> None:
        if method == "POST" and path.endswith("/pods"):
            raise Forbidden("exceeded quota")

    cluster.api.refuse = refused
    await cluster.api.create(web(2))
    await cluster.until(
        lambda: any(one.type == "ReplicaFailure" for one in deployment(cluster).status.conditions)
    )
    await cluster.until(lambda: any(one.reason == "FailedCreate" for one in cluster.api.all(Event)))

    cluster.api.refuse = lambda _method, _path: None
    await cluster.until(lambda: finished(cluster, 2), seconds=10)
    await cluster.until(
        lambda: not any(one.type == "ReplicaFailure" for one in deployment(cluster).status.conditions)
    )


async def test_no_pod_is_made_twice_however_slow_the_watch(cluster: Simulation) -> None:
    await cluster.api.create(web(20))
    await cluster.until(lambda: finished(cluster, 20))
    await cluster.rest()

    made = [path for method, path in cluster.api.requests if method == "POST" and path.endswith("/pods")]
    assert len(made) == 20
