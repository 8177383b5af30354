"""Work for the loops that seldom have any: requests for certificates, old tokens, devices, attached volumes, policies.

Every object here gives one loop something to do, as soon as it runs and only once.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Network
from typing import Any

from kybern.api.admissionregistration_v1 import (
    MatchResources,
    NamedRuleWithOperations,
    ValidatingAdmissionPolicy,
    ValidatingAdmissionPolicySpec,
    Validation,
)
from kybern.api.apps_v1 import Deployment, DeploymentSpec
from kybern.api.autoscaling_v2 import (
    CrossVersionObjectReference,
    HorizontalPodAutoscaler,
    HorizontalPodAutoscalerSpec,
    MetricSpec,
    MetricTarget,
    ResourceMetricSource,
)
from kybern.api.batch_v1 import CronJob, CronJobSpec, Job, JobTemplateSpec
from kybern.api.certificates_v1beta1 import ClusterTrustBundle, ClusterTrustBundleSpec
from kybern.api.coordination_v1 import Lease
from kybern.api.core_v1 import (
    ConfigMap,
    Container,
    CSIPersistentVolumeSource,
    Node,
    NodeSpec,
    ObjectReference,
    PersistentVolume,
    PersistentVolumeClaim,
    PersistentVolumeClaimSpec,
    PersistentVolumeClaimVolumeSource,
    PersistentVolumeSpec,
    Pod,
    PodResourceClaim,
    PodSpec,
    PodTemplateSpec,
    ResourceRequirements,
    Secret,
    ServiceAccount,
    Taint,
    Volume,
    VolumeResourceRequirements,
)
from kybern.api.meta_v1 import GroupResource, LabelSelector, ObjectMeta
from kybern.api.resource_v1 import (
    AllocationResult,
    Device,
    DeviceAllocationResult,
    DeviceClaim,
    DeviceRequest,
    DeviceRequestAllocationResult,
    DeviceTaint,
    ResourceClaim,
    ResourceClaimConsumerReference,
    ResourceClaimSpec,
    ResourceClaimStatus,
    ResourceClaimTemplate,
    ResourceClaimTemplateSpec,
    ResourcePool,
    ResourceSlice,
    ResourceSliceSpec,
)
from kybern.api.storagemigration_v1beta1 import StorageVersionMigration, StorageVersionMigrationSpec
from kybern.auth.legacy_labels import INVALID_SINCE, TRACKING
from kybern.auth.x509 import Authority, signing_key
from kybern.controllers.clustertrustbundle_publisher import SIGNER
from kybern.controllers.serviceaccount_token import NAME, TYPE
from kybern.loop.device_claims import FINALIZER
from kybern.loop.settings import Settings
from kybern.loop.volume_marks import BIND_COMPLETED
from kybern.machinery.struct import encode, replace
from tests.simulation.api import FakeApi
from tests.simulation.test_jobs import work
from tests.unit.controllers.test_certificates import asked

_NOW = datetime.now(UTC)
_AUTHORITY = Authority.create("cluster", _NOW)

SETTINGS = Settings(
    root_ca="CA",
    token_key=signing_key().key_pem.decode(),
    signing_cert=_AUTHORITY.cert_pem.decode(),
    signing_key=_AUTHORITY.key_pem.decode(),
    allocate_node_cidrs=True,
    cluster_cidrs=(IPv4Network("10.244.0.0/16"),),
    terminated_pods=1,
    # An autoscaler looks more than once in the time that counts as rest, and believes a pod that has just started.
    autoscaler_period=0.05,
    autoscaler_cpu_period=0.0,
)


async def create_occasions(api: FakeApi) -> None:
    """In namespace a, with the nodes n1 and n2 there already."""
    await create_certificate_requests(api)
    await create_account_tokens(api)
    await create_jobs(api)
    await create_devices(api)
    await create_attached(api)
    await create_policy(api)
    await create_tainted(api)
    await create_finished_pods(api)
    await create_scaled(api)
    await create_migration(api)
    await create_trust_bundle(api)


@contextmanager
def _in_the_year(api: FakeApi, year: int) -> Iterator[None]:
    """What is made meanwhile was made then."""
    clock = api.clock
    api.clock = lambda: datetime(year, 6, 1, tzinfo=UTC)
    try:
        yield
    finally:
        api.clock = clock


def _ago(**since: float) -> str:
    return (_NOW - timedelta(**since)).strftime("%Y-%m-%dT%H:%M:%SZ")


def _meta(name: str, **more: Any) -> ObjectMeta:
    return ObjectMeta(name=name, namespace="a", **more)


async def create_certificate_requests(api: FakeApi) -> None:
    """One that is to be approved and signed, and one that was denied long ago."""
    api.allows = lambda review: review["spec"]["resourceAttributes"]["subresource"] == "nodeclient"
    joining, denied = (replace(asked(), metadata=ObjectMeta(name=name)) for name in ("joining", "denied"))
    await api.create(joining)
    await api.create(denied)
    await api.set_status(
        denied, conditions=[{"type": "Denied", "status": "True", "lastUpdateTime": _ago(hours=2)}]
    )


async def create_account_tokens(api: FakeApi) -> None:
    """A token to be filled, one whose account is gone, one unused for years, and one that has been invalid for years."""
    names = ("unused", "invalid")
    account = ServiceAccount(
        metadata=_meta("robot"), secrets=tuple(ObjectReference(name=name) for name in names)
    )
    await api.create(account)
    namespace, name = TRACKING
    await api.create(
        ConfigMap(metadata=ObjectMeta(name=name, namespace=namespace), data={"since": "2020-01-01"})
    )
    for secret, of in (("key", "robot"), ("leftover", "gone")):
        await api.create(Secret(metadata=_meta(secret, annotations={NAME: of}), type=TYPE))
    with _in_the_year(api, 2020):
        for secret in names:
            labels = {INVALID_SINCE: "2021-01-01"} if secret == "invalid" else {}
            meta = _meta(secret, annotations={NAME: "robot"}, labels=labels)
            await api.create(Secret(metadata=meta, type=TYPE))


def _labelled(name: str, **spec: Any) -> Job:
    """A job with pods of its own."""
    labels = {"batch.kubernetes.io/job-name": name}
    job = work(selector=LabelSelector(match_labels=labels), **spec)
    template = replace(job.spec.template, metadata=ObjectMeta(labels=labels))
    return replace(job, metadata=_meta(name), spec=replace(job.spec, template=template))


async def create_jobs(api: FakeApi) -> None:
    """A job that ended and is to go, and a cron job that is due, and not again before the next year."""
    ended = _labelled("ended", ttl_seconds_after_finished=0)
    await api.create(ended)
    await api.set_status(
        ended, conditions=[{"type": "Complete", "status": "True", "lastTransitionTime": _ago(hours=1)}]
    )
    spec = CronJobSpec(
        schedule="0 0 1 1 *",
        concurrency_policy="Allow",
        job_template=JobTemplateSpec(spec=_labelled("yearly").spec),
    )
    with _in_the_year(api, _NOW.year - 2):
        await api.create(CronJob(metadata=_meta("yearly"), spec=spec))


def _pod(name: str, **spec: Any) -> Pod:
    return Pod(metadata=_meta(name), spec=PodSpec(containers=(Container(name="c", image="i"),), **spec))


async def create_devices(api: FakeApi) -> None:
    """A pod whose claim is to be made, and one whose device is tainted; nobody wants its claim any more."""
    spec = ResourceClaimSpec(devices=DeviceClaim(requests=(DeviceRequest(name="gpu"),)))
    template = ResourceClaimTemplateSpec(spec=spec)
    await api.create(ResourceClaimTemplate(metadata=_meta("gpus"), spec=template))
    given = PodResourceClaim(name="gpu", resource_claim_template_name="gpus")
    await api.create(_pod("computing", resource_claims=(given,)))

    device = Device(name="one", taints=(DeviceTaint(key="broken", effect="NoExecute"),))
    pool = ResourcePool(name="p", generation=1, resource_slice_count=1)
    await api.create(
        ResourceSlice(
            metadata=ObjectMeta(name="devices"),
            spec=ResourceSliceSpec(driver="d", pool=pool, node_name="n1", devices=(device,)),
        )
    )
    claim = ResourceClaim(metadata=_meta("used", finalizers=(FINALIZER,)), spec=spec)
    await api.create(claim)
    given = PodResourceClaim(name="gpu", resource_claim_name="used")
    await api.create(_pod("burning", resource_claims=(given,), node_name="n1"))
    pod = api.one(Pod, "a", "burning")
    assert pod is not None
    result = DeviceRequestAllocationResult(request="gpu", driver="d", pool="p", device="one")
    status = ResourceClaimStatus(
        allocation=AllocationResult(devices=DeviceAllocationResult(results=(result,))),
        reserved_for=(ResourceClaimConsumerReference(resource="pods", name="burning", uid=pod.metadata.uid),),
    )
    await api.set_status(claim, **json.loads(encode(status)))
    await api.delete(claim)


async def create_attached(api: FakeApi) -> None:
    """A volume to be attached, whose claim wants more than it has."""
    asked_for = PersistentVolumeClaimSpec(
        access_modes=("ReadWriteOnce",),
        volume_name="disk",
        storage_class_name="",
        resources=VolumeResourceRequirements(requests={"storage": "2Gi"}),
    )
    claim = PersistentVolumeClaim(metadata=_meta("data", annotations={BIND_COMPLETED: "yes"}), spec=asked_for)
    await api.create(claim)
    await api.set_status(claim, phase="Bound", accessModes=["ReadWriteOnce"], capacity={"storage": "1Gi"})
    (found,) = (one for one in api.all(PersistentVolumeClaim) if one.metadata.name == claim.metadata.name)
    ref = ObjectReference(
        kind="PersistentVolumeClaim", namespace="a", name="data", uid=found.metadata.uid, api_version="v1"
    )
    disk = PersistentVolumeSpec(
        capacity={"storage": "1Gi"},
        access_modes=("ReadWriteOnce",),
        claim_ref=ref,
        csi=CSIPersistentVolumeSource(driver="disks", volume_handle="h"),
        persistent_volume_reclaim_policy="Retain",
    )
    await api.create(PersistentVolume(metadata=ObjectMeta(name="disk"), spec=disk))
    source = PersistentVolumeClaimVolumeSource(claim_name="data")
    volume = Volume(name="data", persistent_volume_claim=source)
    await api.create(_pod("storing", volumes=(volume,), node_name="n1"))


async def create_policy(api: FakeApi) -> None:
    """A policy that reads a field that its kind does not have."""
    schema = {
        "type": "object",
        "properties": {"data": {"type": "object", "additionalProperties": {"type": "string"}}},
        "x-kubernetes-group-version-kind": [{"group": "", "version": "v1", "kind": "ConfigMap"}],
    }
    api.documents["/openapi/v3/api/v1"] = {"components": {"schemas": {"ConfigMap": schema}}}
    rule = NamedRuleWithOperations(api_groups=("",), api_versions=("v1",), resources=("configmaps",))
    spec = ValidatingAdmissionPolicySpec(
        match_constraints=MatchResources(resource_rules=(rule,)),
        validations=(Validation(expression="object.spec.missing == 1"),),
    )
    await api.create(ValidatingAdmissionPolicy(metadata=ObjectMeta(name="wrong"), spec=spec))


async def create_tainted(api: FakeApi) -> None:
    """A node that is not ready and that nobody may stay on, and a pod there."""
    spec = NodeSpec(taints=(Taint(key="leave", effect="NoExecute"),))
    lost = Node(metadata=ObjectMeta(name="n3"), spec=spec)
    await api.create(lost)
    await api.create(Lease(metadata=ObjectMeta(name="n3", namespace="kube-node-lease")))
    await api.set_status(lost, conditions=[{"type": "Ready", "status": "False"}])
    await api.create(_pod("leaving", node_name="n3"))


async def make_ready(api: FakeApi) -> None:
    """All nodes but the one that is not: whether a daemon's pod or a taint is first there would be anybody's luck."""
    for node in api.all(Node):
        if not node.spec.taints:
            await api.set_status(node, conditions=[{"type": "Ready", "status": "True"}])


async def create_finished_pods(api: FakeApi) -> None:
    """Two pods that ran to their end; one more than may be kept."""
    for name, year in (("first", 2020), ("second", 2021)):
        with _in_the_year(api, year):
            finished = _pod(name, node_name="n1")
            await api.create(finished)
        await api.set_status(finished, phase="Succeeded")


async def create_scaled(api: FakeApi) -> None:
    """One pod with three pods' work, and an autoscaler that is to see it."""
    labels = {"app": "busy"}
    asked_for = ResourceRequirements(requests={"cpu": "100m"})
    template = PodTemplateSpec(
        metadata=ObjectMeta(labels=labels),
        spec=PodSpec(containers=(Container(name="c", image="i", resources=asked_for),)),
    )
    spec = DeploymentSpec(replicas=1, selector=LabelSelector(match_labels=labels), template=template)
    await api.create(Deployment(metadata=_meta("busy"), spec=spec))
    api.loads["a", "busy"] = 300
    target = MetricTarget(type="Utilization", average_utilization=100)
    wanted = HorizontalPodAutoscalerSpec(
        scale_target_ref=CrossVersionObjectReference(api_version="apps/v1", kind="Deployment", name="busy"),
        min_replicas=1,
        max_replicas=5,
        metrics=(MetricSpec(type="Resource", resource=ResourceMetricSource(name="cpu", target=target)),),
    )
    await api.create(HorizontalPodAutoscaler(metadata=_meta("busy"), spec=wanted))


async def create_migration(api: FakeApi) -> None:
    """Config maps in a form that is out of use, and the wish that they are written anew."""
    api.age(ConfigMap)
    spec = StorageVersionMigrationSpec(resource=GroupResource(resource="configmaps"))
    await api.create(StorageVersionMigration(metadata=ObjectMeta(name="configmaps"), spec=spec))


async def create_trust_bundle(api: FakeApi) -> None:
    """What the API server's authority was once published as."""
    spec = ClusterTrustBundleSpec(signer_name=SIGNER, trust_bundle="before")
    await api.create(ClusterTrustBundle(metadata=ObjectMeta(name=f"{SIGNER.replace('/', ':')}:0"), spec=spec))
