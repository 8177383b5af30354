"""Device claims of pods: made from templates, reserved, freed, deleted; and pods whose devices are tainted."""

import dataclasses
from typing import Any

import pytest

from kybern.api.core_v1 import Pod, PodResourceClaim, PodResourceClaimStatus
from kybern.api.meta_v1 import ObjectMeta
from kybern.api.resource_v1 import (
    AllocationResult,
    Device,
    DeviceAllocationResult,
    DeviceClaim,
    DeviceRequest,
    DeviceRequestAllocationResult,
    DeviceTaint,
    DeviceToleration,
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
from kybern.controllers import device_taint_eviction, resource_claim
from kybern.controllers.resource_claim import claims
from kybern.controllers.resource_claim.pods import POD_CLAIM, base_name
from kybern.loop.controller import Again, Create, Delete, Emit, Key, Measure, Patch, PatchStatus
from kybern.loop.device_claims import FINALIZER
from kybern.loop.owners import controller_reference
from kybern.loop.settings import Settings
from kybern.machinery.struct import Object, replace
from tests.unit.controllers.making import NOW, ago, only, pod, view

CLAIMS = resource_claim.controller(Settings())
TAINTS = device_taint_eviction.controller(Settings())
SPEC = ResourceClaimSpec(devices=DeviceClaim(requests=(DeviceRequest(name="gpu"),)))
TEMPLATE = ResourceClaimTemplate(
    metadata=ObjectMeta(name="gpus", namespace="a"),
    spec=ResourceClaimTemplateSpec(metadata=ObjectMeta(labels={"l": "1"}, annotations={"n": "2"}), spec=SPEC),
)
FROM_TEMPLATE = (PodResourceClaim(name="gpu", resource_claim_template_name="gpus"),)
DIRECT = (PodResourceClaim(name="gpu", resource_claim_name="mine"),)
ALLOCATED = AllocationResult(
    devices=DeviceAllocationResult(
        results=(DeviceRequestAllocationResult(request="gpu", driver="d", pool="p", device="one"),)
    )
)


def user(of: Pod) -> ResourceClaimConsumerReference:
    return ResourceClaimConsumerReference(resource="pods", name=of.metadata.name, uid=of.metadata.uid)


def claim(
    name: str = "mine",
    *users: Pod,
    owner: Pod | None = None,
    allocation: AllocationResult | None = ALLOCATED,
    held: bool = True,
    deleting: bool = False,
) -> ResourceClaim:
    return ResourceClaim(
        metadata=ObjectMeta(
            name=name,
            namespace="a",
            uid=f"uid-{name}",
            owner_references=(controller_reference(owner),) if owner is not None else (),
            annotations={POD_CLAIM: "gpu"} if owner is not None else {},
            finalizers=(FINALIZER,) if held else (),
            deletion_timestamp=NOW if deleting else None,
        ),
        spec=SPEC,
        status=ResourceClaimStatus(allocation=allocation, reserved_for=tuple(user(one) for one in users)),
    )


def named(of: Pod, name: str) -> Pod:
    made = (PodResourceClaimStatus(name="gpu", resource_claim_name=name),)
    return replace(of, status=replace(of.status, resource_claim_statuses=made))


def ended(of: Pod) -> Pod:
    return replace(of, status=replace(of.status, phase="Succeeded"))


def done(key: str, *objects: Object, live: tuple[Pod, ...] = (), age: float | None = None) -> list[Any]:
    """``live`` are pods that the API server knows, ``age`` the seconds since the claim changed."""

    def answer(question: tuple[Any, ...]) -> Pod | None:
        return next((one for one in live if one.metadata.name == question[2]), None)

    state = CLAIMS.observe(view(CLAIMS, *objects, live=answer), Key("a", key))
    if age is not None and isinstance(state, claims.State):
        state = dataclasses.replace(state, age=age)
    return list(CLAIMS.diff(state)) if state is not None else []


class TestPods:
    POD = pod("web", resource_claims=FROM_TEMPLATE)

    def test_a_claim_is_made_from_the_template(self) -> None:
        (made,) = done("pod/web", self.POD, TEMPLATE)

        assert isinstance(made, Create)
        metadata = made.object.metadata  # type: ignore[attr-defined]
        assert (metadata.generate_name, metadata.name) == ("web-gpu-", "")
        assert (metadata.labels, metadata.annotations) == ({"l": "1"}, {"n": "2", POD_CLAIM: "gpu"})
        assert metadata.owner_references == (controller_reference(self.POD),)
        assert made.object.spec == SPEC  # type: ignore[attr-defined]

    def test_what_was_made_is_written_down_and_not_made_again(self) -> None:
        made = claim("web-gpu-x7", owner=self.POD, allocation=None)
        (written,) = done("pod/web", self.POD, TEMPLATE, made)

        assert isinstance(written, PatchStatus)
        assert done("pod/web", written.new, TEMPLATE, made) == []

    def test_a_claim_that_vanished_is_made_again(self) -> None:
        assert [type(one) for one in done("pod/web", named(self.POD, "gone"), TEMPLATE)] == [Create]

    def test_a_claim_of_somebody_else_is_not_used(self) -> None:
        (told,) = done("pod/web", named(self.POD, "mine"), TEMPLATE, claim(owner=pod("other")))

        assert isinstance(told, Emit)
        assert (told.reason, told.message) == (
            "FailedResourceClaimCreation",
            "PodResourceClaim gpu: ResourceClaim a/mine was not created for pod a/web (pod is not owner)",
        )

    def test_a_missing_template_is_named(self) -> None:
        (told,) = done("pod/web", self.POD)

        assert told.message == 'PodResourceClaim gpu: resource claim template "gpus": not found'

    def test_a_pod_that_does_without_gets_none(self) -> None:
        assert done("pod/web", named(self.POD, ""), TEMPLATE) == []

    @pytest.mark.parametrize("end", ["done", "deleted"])
    def test_a_pod_that_will_not_run_gets_none(self, end: str) -> None:
        gone = replace(self.POD, metadata=replace(self.POD.metadata, deletion_timestamp=NOW))

        assert done("pod/web", ended(self.POD) if end == "done" else gone, TEMPLATE) == []

    def test_a_pod_that_bypassed_the_scheduler_gets_its_reservation(self) -> None:
        placed = pod("web", node="n", resource_claims=DIRECT)
        (written,) = done("pod/web", placed, claim())

        assert written.new.status.reserved_for == (user(placed),)
        assert done("pod/web", placed, written.new) == []
        assert done("pod/web", placed, claim(allocation=None)) == []
        assert done("pod/web", pod("web", resource_claims=DIRECT), claim()) == []

    def test_a_full_claim_takes_no_more_users(self) -> None:
        others = [pod(f"p{number}") for number in range(256)]

        assert done("pod/web", pod("web", node="n", resource_claims=DIRECT), claim("mine", *others)) == []

    @pytest.mark.parametrize(
        ("name", "entry"), [("p" * 20, "e" * 20), ("p" * 63, "gpu"), ("p" * 200, "e" * 63)]
    )
    def test_generated_names_fit_and_keep_something_of_both(self, name: str, entry: str) -> None:
        base = base_name(name, entry)

        assert len(base) <= 58
        assert {"p", "e" if "e" in entry else "g"} <= set(base)


class TestClaims:
    USER = pod("web", node="n", resource_claims=DIRECT)

    def test_a_claim_in_use_stays(self) -> None:
        assert done("mine", claim("mine", self.USER), self.USER) == []

    @pytest.mark.parametrize(
        "left", [(), (ended(USER),), (replace(USER, metadata=replace(USER.metadata, uid="x")),)]
    )
    def test_a_claim_whose_last_user_went_is_free_again(self, left: tuple[Pod, ...]) -> None:
        (written,) = done("mine", claim("mine", self.USER), *left, live=left)

        assert (written.new.status.reserved_for, written.new.status.allocation) == ((), None)

    def test_a_claim_keeps_what_it_has_while_one_user_stays(self) -> None:
        other = pod("other", node="n", resource_claims=DIRECT)
        (written,) = done("mine", claim("mine", self.USER, other), other, live=(other,))

        assert written.new.status == ResourceClaimStatus(allocation=ALLOCATED, reserved_for=(user(other),))

    def test_a_pod_that_only_the_api_server_knows_keeps_its_reservation(self) -> None:
        assert done("mine", claim("mine", self.USER), live=(self.USER,)) == []

    def test_users_that_are_no_pods_stay(self) -> None:
        found = claim("mine")
        strange = ResourceClaimConsumerReference(api_group="example.com", resource="jobs", name="j", uid="u")
        found = replace(found, status=replace(found.status, reserved_for=(strange,)))

        assert done("mine", found) == []

    def test_an_allocation_that_nobody_reserved_yet_stays(self) -> None:
        assert done("mine", claim("mine")) == []

    def test_the_finalizer_goes_when_nothing_is_allocated_for_a_while(self) -> None:
        free = claim("mine", allocation=None)
        (again,) = done("mine", free)
        assert isinstance(again, Again)

        (patch,) = done("mine", free, age=20)
        assert isinstance(patch, Patch)
        assert patch.new.metadata.finalizers == ()  # type: ignore[attr-defined]

    def test_a_deleted_claim_is_freed_and_then_let_go(self) -> None:
        (freed,) = done("mine", claim("mine", deleting=True))
        assert freed.new.status.allocation is None

        (patch,) = done("mine", freed.new)
        assert patch.new.metadata.finalizers == ()

    def test_a_claim_made_for_a_pod_goes_when_the_pod_is_done(self) -> None:
        owner = pod("web", node="n", resource_claims=FROM_TEMPLATE)
        made = claim("made", owner=owner, allocation=None, held=False)

        assert done("made", made, owner) == []
        assert [type(one) for one in done("made", made, ended(owner))] == [Delete]
        assert done("made", made) == [], "the garbage collector's business"


class TestWaking:
    def test_a_pod_wakes_itself_and_its_claims(self) -> None:
        one = named(pod("web", resource_claims=FROM_TEMPLATE), "made")
        own = claim("other", owner=one)

        assert list(resource_claim.of_pod(one, view(CLAIMS, own))) == [
            Key("a", "pod/web"), Key("a", "made"), Key("a", "other"),
        ]  # fmt: skip
        assert list(resource_claim.of_pod(pod("plain"), view(CLAIMS))) == []

    def test_claims_and_templates_wake_their_pods(self) -> None:
        one = pod("web", resource_claims=FROM_TEMPLATE)
        two = pod("two", resource_claims=DIRECT)

        assert list(resource_claim.of_template(TEMPLATE, view(CLAIMS, one, two))) == [Key("a", "pod/web")]
        assert list(resource_claim.of_claim(claim("mine"), view(CLAIMS, one, two))) == [Key("a", "pod/two")]
        assert list(resource_claim.of_claim(claim("x", owner=one), view(CLAIMS))) == [Key("a", "pod/web")]


class TestTaints:
    POD = pod("web", node="n", resource_claims=DIRECT)
    TAINT = DeviceTaint(key="broken", value="yes", effect="NoExecute", time_added=ago(10))

    def ends(
        self,
        *tolerations: DeviceToleration,
        taints: tuple[DeviceTaint, ...] = (TAINT,),
        of: Pod = POD,
        generation: int = 1,
    ) -> list[Any]:
        results = tuple(replace(one, tolerations=tolerations) for one in ALLOCATED.devices.results)  # type: ignore[union-attr]
        allocation = AllocationResult(devices=DeviceAllocationResult(results=results))
        slices = [self.slice("new", generation, taints), self.slice("old", 0, (self.TAINT,))]
        state = TAINTS.observe(
            view(TAINTS, of, claim("mine", self.POD, allocation=allocation), *slices), Key("a", "web")
        )
        return list(TAINTS.diff(state)) if state is not None else []

    def slice(self, name: str, generation: int, taints: tuple[DeviceTaint, ...]) -> ResourceSlice:
        devices = (Device(name="one", taints=taints), Device(name="two", taints=(self.TAINT,)))
        pool = ResourcePool(name="p", generation=generation)
        spec = ResourceSliceSpec(driver="d", pool=pool, devices=devices)
        return ResourceSlice(metadata=ObjectMeta(name=name), spec=spec)

    def test_a_pod_on_a_tainted_device_goes(self) -> None:
        marked, told, deleted, counted = self.ends()

        assert isinstance(deleted, Delete)
        assert counted == Measure("device_taint_eviction_controller_pod_deletions_total")
        assert (told.reason, told.message) == ("DeviceTaintManagerEviction", "Marking for deletion")
        (found,) = only([marked], PatchStatus)[0].new.status.conditions
        assert (found.type, found.reason) == ("DisruptionTarget", "DeletionByDeviceTaintManager")

    @pytest.mark.parametrize(
        ("toleration", "left"),
        [
            (DeviceToleration(operator="Exists", effect="NoExecute"), None),
            (DeviceToleration(key="broken", value="yes", effect="NoExecute"), None),
            (DeviceToleration(key="broken", value="yes", effect="NoExecute", toleration_seconds=30), 20.0),
            (DeviceToleration(key="broken", value="yes", effect="NoExecute", toleration_seconds=5), 0.0),
            (DeviceToleration(key="broken", value="no", effect="NoExecute"), 0.0),
            (DeviceToleration(key="other", operator="Exists", effect="NoExecute"), 0.0),
            (DeviceToleration(operator="Exists", effect="NoSchedule"), 0.0),
            (DeviceToleration(operator="Exists"), 0.0),
        ],
    )
    def test_a_toleration_lets_it_be_for_its_time(
        self, toleration: DeviceToleration, left: float | None
    ) -> None:
        assert device_taint_eviction.remaining(self.TAINT, [toleration], NOW) == left

    def test_the_shortest_toleration_counts(self) -> None:
        longer, shorter = (
            DeviceToleration(operator="Exists", effect="NoExecute", toleration_seconds=seconds)
            for seconds in (60, 30)
        )
        (again,) = self.ends(longer, shorter)

        assert again == Again(20.05)

    def test_no_taint_and_one_that_only_keeps_others_off_end_nobody(self) -> None:
        assert self.ends(taints=()) == [], "the old slice has one, but it is out of date"
        assert self.ends(taints=(replace(self.TAINT, effect="NoSchedule"),)) == []

    def test_who_is_gone_or_has_not_reserved_is_let_be(self) -> None:
        assert self.ends(of=ended(self.POD)) == []
        assert self.ends(of=replace(self.POD, metadata=replace(self.POD.metadata, uid="another"))) == []

    def test_a_slice_wakes_the_users_of_its_devices(self) -> None:
        found = view(TAINTS, claim("mine", self.POD))

        assert list(device_taint_eviction.of_slice(self.slice("s", 1, ()), found)) == [Key("a", "web")]
