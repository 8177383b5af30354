"""Every controller comes to rest: on what it brought about, it has nothing more to do."""

import asyncio
import base64
from typing import Any

import pytest

from kybern.api.coordination_v1 import Lease
from kybern.api.core_v1 import (
    ConfigMap,
    Container,
    EndpointAddress,
    EndpointPort,
    Endpoints,
    EndpointSubset,
    EphemeralVolumeSource,
    Namespace,
    Node,
    PersistentVolume,
    PersistentVolumeClaimSpec,
    PersistentVolumeClaimTemplate,
    Pod,
    PodSpec,
    ReplicationController,
    ReplicationControllerSpec,
    ResourceQuota,
    ResourceQuotaSpec,
    Secret,
    Service,
    ServiceSpec,
    Volume,
)  # fmt: skip
from kybern.api.meta_v1 import LabelSelector, ObjectMeta
from kybern.api.networking_v1 import ServiceCIDR, ServiceCIDRSpec
from kybern.api.policy_v1 import PodDisruptionBudget, PodDisruptionBudgetSpec
from kybern.api.rbac_v1 import AggregationRule, ClusterRole, PolicyRule
from kybern.api.storage_v1 import VolumeAttributesClass
from kybern.client.verbs import Partial
from kybern.controllers import CONTROLLERS
from kybern.controllers.garbage_collector import key_of
from kybern.controllers.persistentvolume_attach_detach import MANAGED
from kybern.loop.controller import Again, Emit, Key, Measure
from kybern.loop.view import Glance, observed
from tests.simulation.api import FakeApi
from tests.simulation.cluster import Simulation, running
from tests.simulation.occasions import SETTINGS, create_occasions
from tests.simulation.test_daemons import daemon
from tests.simulation.test_jobs import work
from tests.simulation.test_statefulsets import database
from tests.simulation.test_workloads import SERVICE, finished, web

NAMES = [make(SETTINGS).name for make in CONTROLLERS]


async def create_some(api: FakeApi) -> None:
    """Some of everything that controllers look at."""
    await api.create(Namespace(metadata=ObjectMeta(name="a")))
    await api.create(Namespace(metadata=ObjectMeta(name="kube-node-lease")))
    for name in ("n1", "n2"):
        await api.create(Node(metadata=ObjectMeta(name=name, annotations={MANAGED: "true"})))
        await api.create(Lease(metadata=ObjectMeta(name=name, namespace="kube-node-lease")))
    node = api.one(Node, "", "n1")
    assert node is not None
    await api.set_status(
        node, conditions=[{"type": "Ready", "status": "True", "lastHeartbeatTime": "2026-01-01T00:00:00Z"}]
    )
    await api.create(
        ClusterRole(
            metadata=ObjectMeta(name="part", labels={"to": "sum"}), rules=(PolicyRule(verbs=("get",)),)
        )
    )
    rule = AggregationRule(cluster_role_selectors=(LabelSelector(match_labels={"to": "sum"}),))
    await api.create(ClusterRole(metadata=ObjectMeta(name="sum"), aggregation_rule=rule))
    await api.create(web(3))
    await api.create(SERVICE)
    await api.create(daemon())
    await api.create(work())
    await api.create(database(2))
    await api.create(
        ServiceCIDR(metadata=ObjectMeta(name="kubernetes"), spec=ServiceCIDRSpec(cidrs=("10.96.0.0/12",)))
    )
    await api.create(Service(metadata=ObjectMeta(name="outside", namespace="a"), spec=ServiceSpec()))
    addresses = EndpointSubset(addresses=(EndpointAddress(ip="192.0.2.1"),), ports=(EndpointPort(port=80),))
    await api.create(Endpoints(metadata=ObjectMeta(name="outside", namespace="a"), subsets=(addresses,)))
    safe = PodDisruptionBudgetSpec(selector=LabelSelector(match_labels={"app": "web"}), max_unavailable="30%")
    await api.create(PodDisruptionBudget(metadata=ObjectMeta(name="web", namespace="a"), spec=safe))
    bounds = ResourceQuotaSpec(hard={"pods": "100", "services": "10"})
    await api.create(ResourceQuota(metadata=ObjectMeta(name="all", namespace="a"), spec=bounds))
    await create_volumes(api)
    await create_tokens(api)
    old = ReplicationControllerSpec(
        replicas=2, selector={"app": "old"}, template=web(2, app="old").spec.template
    )
    await api.create(ReplicationController(metadata=ObjectMeta(name="old", namespace="a"), spec=old))
    await create_occasions(api)


def scratching() -> Pod:
    """A pod that brings a volume of its own, of a class that nobody provides."""
    asked = PersistentVolumeClaimSpec(access_modes=("ReadWriteOnce",), storage_class_name="none")
    source = EphemeralVolumeSource(volume_claim_template=PersistentVolumeClaimTemplate(spec=asked))
    spec = PodSpec(
        containers=(Container(name="c", image="i"),),
        volumes=(Volume(name="scratch", ephemeral=source),),
        node_name="n1",
    )
    return Pod(metadata=ObjectMeta(name="scratching", namespace="a"), spec=spec)


async def create_volumes(api: FakeApi) -> None:
    await api.create(PersistentVolume(metadata=ObjectMeta(name="spare")))
    await api.create(VolumeAttributesClass(metadata=ObjectMeta(name="fast"), driver_name="disks"))
    await api.create(scratching())


async def create_tokens(api: FakeApi) -> None:
    """What joins machines: a token that may sign, one that has had its time, and what is to be signed."""
    await api.create(
        ConfigMap(metadata=ObjectMeta(name="cluster-info", namespace="kube-public"), data={"kubeconfig": "k"})
    )
    for name, until in (("abcdef", "2099-01-01T00:00:00Z"), ("fedcba", "2020-01-01T00:00:00Z")):
        said = {
            "token-id": name,
            "token-secret": "0123456789abcdef",
            "expiration": until,
            "usage-bootstrap-signing": "true",
        }
        data = {key: base64.b64encode(value.encode()).decode() for key, value in said.items()}
        meta = ObjectMeta(name=f"bootstrap-token-{name}", namespace="kube-system")
        await api.create(Secret(metadata=meta, data=data, type="bootstrap.kubernetes.io/token"))


async def populate(cluster: Simulation) -> None:
    await create_some(cluster.api)
    await cluster.until(lambda: finished(cluster, 3))


async def left_to_do(cluster: Simulation, name: str) -> list[Any]:
    """What a second look at every object would still do."""
    controller = next(made for make in CONTROLLERS if (made := make(SETTINGS)).name == name)
    cache = cluster.loop.cache
    kinds = tuple(kind for kind in cache.kinds() if cache.has_synced(kind))
    every: list[Any] = [item for kind in kinds for item in cache.list(kind)]
    found = []
    for item in every:
        metadata = item.metadata
        if controller.kind is Partial:
            key = key_of(item)
        elif type(item) is controller.kind:
            key = Key(metadata.namespace, metadata.name)
        else:
            continue
        state = await observed(
            cluster.api, controller.observe, key, lambda answers: Glance(cache, None, answers, lambda: kinds)
        )
        found += (
            [action for action in controller.diff(state) if not isinstance(action, Again | Emit | Measure)]
            if state is not None
            else []
        )
    return found


@pytest.fixture(scope="module")
def settled() -> dict[str, list[Any]]:
    """One cluster for all of them: populated, at rest, looked at again by each."""

    async def see() -> dict[str, list[Any]]:
        async with running(settings=SETTINGS) as cluster:
            kubelets = asyncio.create_task(cluster.kubelets())
            await populate(cluster)
            await cluster.rest()
            kubelets.cancel()
            return {name: await left_to_do(cluster, name) for name in NAMES}

    return asyncio.run(see())


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_left_to_do_once_it_is_done(settled: dict[str, list[Any]], name: str) -> None:
    assert settled[name] == []
