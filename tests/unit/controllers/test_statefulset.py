"""Pods with names, ordinals and volumes of their own."""

from collections.abc import Iterable, Sequence
from typing import Any

import pytest

from kybern.api.apps_v1 import (
    ControllerRevision,
    RollingUpdateStatefulSetStrategy,
    StatefulSet,
    StatefulSetOrdinals,
    StatefulSetPersistentVolumeClaimRetentionPolicy,
    StatefulSetSpec,
    StatefulSetStatus,
    StatefulSetUpdateStrategy,
)
from kybern.api.core_v1 import PersistentVolumeClaim, Pod
from kybern.api.meta_v1 import LabelSelector, ObjectMeta
from kybern.controllers import statefulset
from kybern.controllers.statefulset import diff
from kybern.controllers.statefulset.pods import new_claim, new_pod
from kybern.loop.controller import Action, Create, Delete, Emit, Failure, Key, Patch, PatchStatus
from kybern.loop.owners import controller_reference
from kybern.loop.revisions import digest, made, name_of
from kybern.loop.settings import Settings
from kybern.machinery.errors import Forbidden
from kybern.machinery.struct import Object, replace
from tests.unit.controllers.making import LABELS, NOW, only, pod, template, view

CONTROLLER = statefulset.controller(Settings())
CLAIM = PersistentVolumeClaim(metadata=ObjectMeta(name="data", labels={"own": "label"}))


def sts(
    count: int,
    image: str = "i",
    *,
    policy: str = "OrderedReady",
    kind: str = "RollingUpdate",
    partition: int = 0,
    unavailable: Any = None,
    status: StatefulSetStatus | None = None,
    **spec: Any,
) -> StatefulSet:
    rolling = RollingUpdateStatefulSetStrategy(partition=partition, max_unavailable=unavailable)
    strategy = StatefulSetUpdateStrategy(
        type=kind, rolling_update=rolling if kind == "RollingUpdate" else None
    )
    wanted: dict[str, Any] = {
        "replicas": count,
        "service_name": "web",
        "selector": LabelSelector(match_labels=LABELS),
        "template": template(image),
        "pod_management_policy": policy,
        "update_strategy": strategy,
    }
    return StatefulSet(
        metadata=ObjectMeta(name="web", namespace="a", uid="uid-web", generation=1),
        spec=StatefulSetSpec(**{**wanted, **spec}),
        status=status or StatefulSetStatus(),
    )


def name(of: StatefulSet) -> str:
    return name_of("web", digest(of.spec.template, None))


def revision(of: StatefulSet, number: int = 1) -> ControllerRevision:
    return made(of, digest(of.spec.template, None), number, LABELS, of.spec.template)


def there(
    of: StatefulSet, ordinal: int, *, ready: bool | None = True, phase: str = "", going: bool = False
) -> Pod:
    state = pod(f"web-{ordinal}", of, ready=ready)
    made_pod = new_pod(of, of.spec.template, name(of), ordinal)
    metadata = replace(made_pod.metadata, uid=f"uid-{ordinal}", deletion_timestamp=NOW if going else None)
    status = replace(state.status, phase=phase) if phase else state.status
    return replace(made_pod, metadata=metadata, status=status)


def done(wanted: StatefulSet, *others: Object, failure: Failure | None = None) -> list[Action]:
    objects: Sequence[Object] = (wanted, *others)
    state = statefulset.observe(
        view(CONTROLLER, *objects, failure=failure, live=lambda _: wanted), Key("a", "web")
    )
    assert state is not None
    return list(diff(state))


def pods_made(actions: Iterable[Action]) -> list[str]:
    return [one.object.metadata.name for one in only(actions, Create) if isinstance(one.object, Pod)]


def gone(actions: Iterable[Action]) -> list[str]:
    return [one.object.metadata.name for one in only(actions, Delete)]


def test_pods_are_made_in_order_each_when_the_one_before_serves() -> None:
    wanted = sts(3)

    assert pods_made(done(wanted)) == ["web-0"]
    assert pods_made(done(wanted, revision(wanted), there(wanted, 0, ready=False))) == []
    assert pods_made(done(wanted, revision(wanted), there(wanted, 0))) == ["web-1"]
    assert pods_made(done(wanted, revision(wanted), there(wanted, 0, going=True))) == []


def test_parallel_makes_all_at_once() -> None:
    wanted = sts(3, policy="Parallel")

    assert pods_made(done(wanted, there(wanted, 1, ready=False))) == ["web-0", "web-2"]


def test_ordinals_may_start_elsewhere() -> None:
    wanted = sts(2, policy="Parallel", ordinals=StatefulSetOrdinals(start=5))
    actions = done(wanted, revision(wanted), there(wanted, 0))

    assert pods_made(actions) == ["web-5", "web-6"]
    wanted = sts(1, ordinals=StatefulSetOrdinals(start=5))
    assert gone(done(wanted, revision(wanted), there(wanted, 0), there(wanted, 5))) == ["web-0"]


def test_a_pod_has_its_name_as_its_host_and_labels() -> None:
    made_pod = next(one.object for one in only(done(sts(1)), Create) if isinstance(one.object, Pod))

    assert (made_pod.spec.hostname, made_pod.spec.subdomain) == ("web-0", "web")
    assert made_pod.metadata.labels == {
        **LABELS,
        "statefulset.kubernetes.io/pod-name": "web-0",
        "apps.kubernetes.io/pod-index": "0",
        "controller-revision-hash": name(sts(1)),
    }


def test_claims_come_before_their_pod_and_are_told() -> None:
    actions = done(sts(1, volume_claim_templates=(CLAIM,)))

    created = [one.object for one in only(actions, Create)][1:]
    assert [one.metadata.name for one in created] == ["data-web-0", "web-0"]
    assert created[0].metadata.labels == {**LABELS, "own": "label"}
    assert created[1].spec.volumes[0].persistent_volume_claim.claim_name == "data-web-0"
    assert [one.message for one in only(actions, Emit)] == [
        "create Claim data-web-0 Pod web-0 in StatefulSet web success",
        "create Pod web-0 in StatefulSet web successful",
    ]


def test_no_pod_starts_on_a_claim_that_goes() -> None:
    wanted = sts(1, volume_claim_templates=(CLAIM,))
    claim = new_claim(CLAIM, wanted, 0)
    going = replace(claim, metadata=replace(claim.metadata, deletion_timestamp=NOW))

    assert pods_made(done(wanted, revision(wanted), going)) == []
    assert pods_made(done(wanted, revision(wanted), claim)) == ["web-0"]


@pytest.mark.parametrize(
    ("deleted", "scaled", "of_living", "of_condemned"),
    [
        ("Retain", "Retain", [], []),
        ("Delete", "Retain", ["StatefulSet"], ["StatefulSet"]),
        ("Retain", "Delete", [], ["Pod"]),
        ("Delete", "Delete", ["StatefulSet"], ["Pod"]),
    ],
)
def test_claims_are_owned_as_the_retention_policy_says(
    deleted: str, scaled: str, of_living: list[str], of_condemned: list[str]
) -> None:
    policy = StatefulSetPersistentVolumeClaimRetentionPolicy(when_deleted=deleted, when_scaled=scaled)
    wanted = sts(1, volume_claim_templates=(CLAIM,), persistent_volume_claim_retention_policy=policy)
    bare = sts(1, volume_claim_templates=(CLAIM,))
    claims = [new_claim(CLAIM, bare, ordinal) for ordinal in (0, 1)]
    actions = done(wanted, revision(wanted), there(wanted, 0), there(wanted, 1), *claims)

    owners = {
        one.new.metadata.name: [owner.kind for owner in one.new.metadata.owner_references]
        for one in only(actions, Patch)
    }
    expected = {"data-web-0": of_living, "data-web-1": of_condemned}
    assert owners == {key: value for key, value in expected.items() if value}
    assert gone(actions) == ["web-1"]


def test_an_owner_that_the_policy_does_not_name_any_more_is_taken_away() -> None:
    wanted = sts(1, volume_claim_templates=(CLAIM,))
    claim = new_claim(CLAIM, wanted, 0)
    owned = replace(claim, metadata=replace(claim.metadata, owner_references=(controller_reference(wanted),)))

    assert only(done(wanted, revision(wanted), there(wanted, 0), owned), Patch)[0].new == claim


def test_the_highest_goes_first_and_the_next_when_it_is_gone() -> None:
    wanted = sts(1)
    kept = (revision(wanted), there(wanted, 0), there(wanted, 1))

    assert gone(done(wanted, *kept, there(wanted, 2))) == ["web-2"]
    assert gone(done(wanted, *kept, there(wanted, 2, going=True))) == []


def test_scaling_down_halts_while_one_that_stays_is_broken() -> None:
    wanted = sts(1)

    assert gone(done(wanted, revision(wanted), there(wanted, 0, ready=False), there(wanted, 1))) == []
    parallel = sts(1, policy="Parallel")
    pods = (there(parallel, 0, ready=False), there(parallel, 1), there(parallel, 2))
    assert gone(done(parallel, revision(parallel), *pods)) == ["web-2", "web-1"]


@pytest.mark.parametrize(
    ("phase", "reason"), [("Failed", "RecreatingFailedPod"), ("Succeeded", "RecreatingTerminatedPod")]
)
def test_a_finished_pod_makes_way_for_another(phase: str, reason: str) -> None:
    wanted = sts(2)
    actions = done(wanted, revision(wanted), there(wanted, 0, ready=False, phase=phase))

    assert gone(actions) == ["web-0"]
    assert [one.reason for one in only(actions, Emit)] == [reason, "SuccessfulDelete"]


def test_an_update_goes_down_from_the_highest_one_at_a_time() -> None:
    old, new = sts(3, "a"), sts(3, "b")
    kept = (revision(old), revision(new, 2))

    assert gone(done(new, *kept, *(there(old, i) for i in range(3)))) == ["web-2"]
    assert gone(done(new, *kept, there(old, 0), there(old, 1), there(new, 2, ready=False))) == []
    assert gone(done(new, *kept, there(old, 0), there(old, 1), there(new, 2))) == ["web-1"]


def test_without_an_order_a_pod_that_fails_holds_up_nothing() -> None:
    old, new = sts(3, "a", policy="Parallel"), sts(3, "b", policy="Parallel")
    kept = (revision(old), revision(new, 2))
    failed = there(new, 0, ready=False, phase="Failed")

    assert gone(done(new, *kept, failed, *(there(old, i) for i in (1, 2, 3)))) == ["web-0", "web-3"]
    pods = failed, there(new, 1), there(old, 2, ready=False)
    assert gone(done(new, *kept, *pods)) == ["web-0", "web-2"]
    ended = there(old, 2, ready=False, phase="Failed")
    assert gone(done(new, *kept, there(new, 0), there(old, 1), ended)) == ["web-2"]
    ordered = sts(3, "b")
    assert gone(done(ordered, *kept, failed, there(ordered, 1), there(ordered, 3))) == ["web-0"]


def test_max_unavailable_lets_more_go_together() -> None:
    old, new = sts(5, "a"), sts(5, "b", unavailable="40%")

    assert gone(done(new, revision(old), revision(new, 2), *(there(old, i) for i in range(5)))) == [
        "web-4",
        "web-3",
    ]
    pods = [there(old, i) for i in range(4)] + [there(old, 4, going=True)]
    parallel = sts(5, "b", unavailable=2, policy="Parallel")
    assert gone(done(parallel, revision(old), revision(new, 2), *pods)) == ["web-3"]


def test_below_the_partition_the_old_revision_stays_and_comes_back() -> None:
    old = sts(3, "a")
    status = StatefulSetStatus(current_revision=name(old), current_replicas=2)
    new = sts(3, "b", partition=2, status=status)
    kept = (revision(old), revision(new, 2))

    assert gone(done(new, *kept, *(there(old, i) for i in range(3)))) == ["web-2"]
    assert gone(done(new, *kept, there(old, 0), there(old, 1), there(new, 2))) == []
    again = only(done(new, *kept, there(old, 0), there(new, 2)), Create)[0].object
    assert again.spec.containers[0].image == "a"
    assert again.metadata.labels["controller-revision-hash"] == name(old)


def test_on_delete_updates_what_the_user_deletes() -> None:
    old = sts(2, "a")
    new = sts(
        2, "b", kind="OnDelete", status=StatefulSetStatus(current_revision=name(old), current_replicas=2)
    )
    kept = (revision(old), revision(new, 2))

    assert gone(done(new, *kept, there(old, 0), there(old, 1))) == []
    assert only(done(new, *kept, there(old, 0)), Create)[0].object.spec.containers[0].image == "b"


def test_status_counts_revisions_until_the_update_is_complete() -> None:
    old = sts(2, "a")
    new = sts(2, "b", status=StatefulSetStatus(current_revision=name(old)))
    kept = (revision(old), revision(new, 2))
    half = only(done(new, *kept, there(old, 0), there(new, 1)), PatchStatus)[0].new.status
    whole = only(done(new, *kept, there(new, 0), there(new, 1)), PatchStatus)[0].new.status

    assert (half.current_revision, half.update_revision) == (name(old), name(new))
    assert (half.replicas, half.ready_replicas, half.current_replicas, half.updated_replicas) == (2, 2, 1, 1)
    assert (whole.current_revision, whole.current_replicas, whole.updated_replicas) == (name(new), 2, 2)


def test_what_cannot_be_made_is_told() -> None:
    wanted = sts(1)
    failure = Failure(Create(there(wanted, 0)), Forbidden("exceeded quota"))
    said = only(done(wanted, failure=failure), Emit)[0]

    assert (said.type, said.reason) == ("Warning", "FailedCreate")
    assert said.message == "create Pod web-0 in StatefulSet web failed error: exceeded quota"


def test_a_pod_of_another_name_is_not_adopted() -> None:
    wanted = sts(1)
    ours, other = (replace(pod(one, ready=True)) for one in ("web-0", "stray-0"))

    assert [one.new.metadata.name for one in only(done(wanted, ours, other), Patch)] == ["web-0"]
