"""Jobs: pods until enough have succeeded, each counted once."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import pytest

from kybern.api.batch_v1 import (
    Job,
    JobCondition,
    JobSpec,
    JobStatus,
    PodFailurePolicy,
    PodFailurePolicyOnExitCodesRequirement,
    PodFailurePolicyOnPodConditionsPattern,
    PodFailurePolicyRule,
    SuccessPolicy,
    SuccessPolicyRule,
    UncountedTerminatedPods,
)
from kybern.api.core_v1 import (
    ContainerState,
    ContainerStateTerminated,
    ContainerStatus,
    Pod,
    PodCondition,
)
from kybern.api.meta_v1 import LabelSelector, ObjectMeta
from kybern.controllers import job
from kybern.controllers.job import diff
from kybern.controllers.job.count import FINALIZER
from kybern.controllers.job.indexes import FAILURES, INDEX, index_of, parsed, shown
from kybern.loop.controller import Action, Again, Create, Delete, Emit, Key, Measure, Patch, PatchStatus
from kybern.loop.settings import Settings
from kybern.machinery.struct import Object, replace
from tests.unit.controllers.making import LABELS, NOW, ago, only, pod, template, view

CONTROLLER = job.controller(Settings())


def batch(status: JobStatus | None = None, **spec: Any) -> Job:
    wanted: dict[str, Any] = {
        "parallelism": 2,
        "completions": 2,
        "backoff_limit": 6,
        "completion_mode": "NonIndexed",
        "selector": LabelSelector(match_labels=LABELS),
        "template": template(),
    }
    return Job(
        metadata=ObjectMeta(name="web", namespace="a", uid="uid-web", generation=1),
        spec=JobSpec(**{**wanted, **spec}),
        status=status or JobStatus(start_time=ago(10), uncounted_terminated_pods=UncountedTerminatedPods()),
    )


def indexed(status: JobStatus | None = None, **spec: Any) -> Job:
    return batch(status, **{"completion_mode": "Indexed", **spec})


def member(
    name: str, of: Job, phase: str = "Running", *, index: int | None = None, failures: int = 0, code: int = 1,
    at: float = 3600, tracked: bool = True, going: bool = False, condition: str = "",
) -> Pod:  # fmt: skip
    found = pod(name, of, ready=phase == "Running")
    notes = {INDEX: str(index), FAILURES: str(failures)} if index is not None else {}
    metadata = replace(
        found.metadata,
        annotations=notes,
        finalizers=(FINALIZER,) if tracked else (),
        deletion_timestamp=NOW if going else None,
    )
    ended = ContainerStateTerminated(exit_code=code, finished_at=ago(at))
    conditions = (PodCondition(type=condition, status="True"),) if condition else found.status.conditions
    states = (ContainerStatus(name="c", state=ContainerState(terminated=ended)),) if phase == "Failed" else ()
    status = replace(found.status, phase=phase, conditions=conditions, container_statuses=states)
    return replace(found, metadata=metadata, status=status)


def done(*objects: Object) -> list[Action]:
    wanted = next((one for one in objects if isinstance(one, Job)), None)
    state = job.observe(view(CONTROLLER, *objects, kinds=(Job,), live=lambda _: wanted), Key("a", "web"))
    return list(diff(state)) if state is not None else []


def status_of(actions: Iterable[Action]) -> JobStatus:
    found = only(actions, PatchStatus)
    assert found, "no status was written"
    status: JobStatus = found[0].new.status
    return status


def made(actions: Iterable[Action]) -> list[int | None]:
    return [index_of(one.object) for one in only(actions, Create)]


def freed(actions: Iterable[Action]) -> list[str]:
    return [one.new.metadata.name for one in only(actions, Patch) if not one.new.metadata.finalizers]


def conditions(status: JobStatus) -> list[tuple[str, str]]:
    return [(one.type, one.reason) for one in status.conditions]


@pytest.mark.parametrize("text", ["", "1", "1,2", "1-3,5", "0,1,3-5,7"])
def test_lists_of_indexes_are_written_as_they_were_read(text: str) -> None:
    assert shown(parsed(text, 10)) == text
    assert all(one < 4 for one in parsed(text, 4))


def test_pods_bear_the_finalizer_from_the_start() -> None:
    actions = done(batch(JobStatus()))

    assert [one.object.metadata.finalizers for one in only(actions, Create)] == [(FINALIZER,)] * 2
    assert status_of(actions).start_time == NOW
    assert [one.reason for one in only(actions, Emit)] == ["SuccessfulCreate"] * 2


def test_indexed_pods_know_their_index() -> None:
    made_pod = only(done(indexed()), Create)[1].object

    assert made_pod.metadata.annotations[INDEX] == made_pod.metadata.labels[INDEX] == "1"
    assert made_pod.spec.hostname == "web-1"
    assert made_pod.metadata.name.startswith("web-1-")
    env = made_pod.spec.containers[0].env[0]
    assert (env.name, env.value_from.field_ref.field_path) == (
        "JOB_COMPLETION_INDEX", "metadata.labels['batch.kubernetes.io/job-completion-index']",
    )  # fmt: skip


def test_an_ended_pod_is_noted_then_freed_then_counted_once() -> None:
    good, bad = (member(name, batch(), phase) for name, phase in (("good", "Succeeded"), ("bad", "Failed")))
    first = done(batch(), good, bad)
    noted = status_of(first)
    assert noted.uncounted_terminated_pods == UncountedTerminatedPods(
        succeeded=("uid-good",), failed=("uid-bad",)
    )
    assert (noted.succeeded, noted.failed) == (None, None)
    assert sorted(freed(first)) == ["bad", "good"]
    order = [type(one) for one in first if isinstance(one, PatchStatus | Patch)]
    assert order[0] is PatchStatus

    again = done(batch(noted), good, bad)
    assert (
        status_of(again).uncounted_terminated_pods == noted.uncounted_terminated_pods
        if only(again, PatchStatus)
        else True
    )
    assert sorted(freed(again)) == ["bad", "good"]

    released = [replace(one, metadata=replace(one.metadata, finalizers=())) for one in (good, bad)]
    counted = status_of(done(batch(noted), *released))
    assert counted.uncounted_terminated_pods == UncountedTerminatedPods()
    assert (counted.succeeded, counted.failed) == (1, 1)
    assert status_of(done(batch(noted))).succeeded == 1
    quiet = done(batch(counted), *released)
    assert only(quiet, PatchStatus) == []


def test_a_job_is_complete_only_when_all_is_counted() -> None:
    wanted = batch(completions=1)
    good = member("good", wanted, "Succeeded")
    first = status_of(done(wanted, good))
    assert conditions(first) == [("SuccessCriteriaMet", "CompletionsReached")]

    released = replace(good, metadata=replace(good.metadata, finalizers=()))
    actions = done(batch(first, completions=1), released)
    last = status_of(actions)
    assert conditions(last)[1:] == [("Complete", "CompletionsReached")]
    assert (last.succeeded, last.completion_time) == (1, NOW)
    assert [one.reason for one in only(actions, Emit)] == ["Completed"]
    assert done(batch(last, completions=1), released) == []


def test_a_job_without_completions_ends_with_its_pods() -> None:
    wanted = batch(completions=None)
    good, running = member("good", wanted, "Succeeded"), member("running", wanted)

    assert made(done(wanted, good, running)) == []
    assert conditions(status_of(done(wanted, good, running))) == []
    assert conditions(status_of(done(wanted, good))) == [("SuccessCriteriaMet", "CompletionsReached")]


def test_too_many_failures_end_a_job_and_its_pods() -> None:
    wanted = batch(backoff_limit=0)
    actions = done(wanted, member("bad", wanted, "Failed"), member("running", wanted))

    assert conditions(status_of(actions)) == [("FailureTarget", "BackoffLimitExceeded")]
    assert [one.object.metadata.name for one in only(actions, Delete)] == ["running"]
    assert made(actions) == []


def test_a_job_fails_when_its_pods_have_ended() -> None:
    target = JobCondition(type="FailureTarget", status="True", reason="BackoffLimitExceeded", message="m")
    status = replace(batch().status, conditions=(target,), failed=1)
    wanted = batch(status, pod_replacement_policy="Failed")

    going = done(wanted, member("going", wanted, going=True))
    assert conditions(status_of(going)) == [("FailureTarget", "BackoffLimitExceeded")]
    over = done(wanted)
    assert conditions(status_of(over))[-1] == ("Failed", "BackoffLimitExceeded")
    assert [(one.type, one.reason, one.message) for one in only(over, Emit)] == [
        ("Warning", "BackoffLimitExceeded", "m")
    ]


def test_failures_delay_the_next_pod_longer_and_longer() -> None:
    wanted = batch(completions=1, parallelism=1)
    one = done(wanted, member("a", wanted, "Failed", at=4))
    assert (made(one), only(one, Again)[0].seconds) == ([], pytest.approx(6.1))
    two = done(wanted, member("a", wanted, "Failed", at=30), member("b", wanted, "Failed", at=4))
    assert only(two, Again)[0].seconds == pytest.approx(16.1)
    assert made(done(wanted, member("a", wanted, "Failed", at=11))) == [None]


def test_a_deadline_ends_a_job() -> None:
    late = done(batch(active_deadline_seconds=10), member("running", batch()))
    assert conditions(status_of(late)) == [("FailureTarget", "DeadlineExceeded")]
    early = done(batch(active_deadline_seconds=11), member("running", batch()))
    assert only(early, Again)[0].seconds == pytest.approx(1.1)


def test_suspending_ends_the_pods_and_resuming_starts_the_clock_anew() -> None:
    actions = done(batch(suspend=True), member("running", batch()))
    status = status_of(actions)
    assert (conditions(status), status.start_time) == ([("Suspended", "JobSuspended")], None)
    assert len(only(actions, Delete)) == 1
    resumed = status_of(done(batch(status)))
    assert conditions(resumed) == [("Suspended", "JobResumed")]
    assert (resumed.conditions[0].status, resumed.start_time) == ("False", NOW)


def names(actions: Iterable[Action], kind: Any) -> list[str]:
    return [one.object.metadata.name for one in only(actions, kind)]


@pytest.mark.parametrize(
    ("wanted", "pods"),
    [
        (batch(suspend=True, backoff_limit=0), ({}, {})),
        (batch(parallelism=0, backoff_limit=0), ({}, {})),
        (indexed(completions=1, parallelism=1, backoff_limit=0), ({"index": 1}, {"index": 2})),
    ],
)
def test_what_a_job_ends_by_its_own_wish_is_no_failure(wanted: Job, pods: tuple[dict[str, Any], ...]) -> None:
    """First it loses the finalizer, then it is ended; so nobody counts it, and nothing has to wait."""
    active = [member(f"p{number}", wanted, **one) for number, one in enumerate(pods)]
    actions = done(wanted, *active)

    assert sorted(freed(actions)) == sorted(names(actions, Delete)) == ["p0", "p1"]
    kinds = [type(one) for one in actions if isinstance(one, Patch | Delete)]
    assert kinds == [Patch, Patch, Delete, Delete]

    ending = [
        member(f"p{number}", wanted, **one, tracked=False, going=True) for number, one in enumerate(pods)
    ]
    again = replace(wanted, spec=replace(wanted.spec, suspend=None, parallelism=1))
    status = status_of(done(again, *ending))
    assert (status.failed, conditions(status), status.terminating) == (None, [], 2)
    assert len(made(done(again, *ending))) == 1


def test_a_pod_of_an_index_that_there_is_no_more_counts_for_nothing() -> None:
    wanted = indexed(completions=1, parallelism=1, backoff_limit=0)
    actions = done(wanted, member("a", wanted, index=0), member("b", wanted, "Failed", index=3))

    assert freed(actions) == ["b"]
    assert (status_of(actions).failed, conditions(status_of(actions))) == (None, [])


@pytest.mark.parametrize("policy", ["Failed", "TerminatingOrFailed"])
def test_a_success_lets_the_other_pods_go_without_counting_them(policy: str) -> None:
    rule = SuccessPolicyRule(succeeded_indexes="0")
    wanted = indexed(
        completions=3,
        parallelism=3,
        success_policy=SuccessPolicy(rules=(rule,)),
        pod_replacement_policy=policy,
    )
    pods = member("good", wanted, "Succeeded", index=0), member("idle", wanted, index=1)
    actions = done(wanted, *pods)

    assert conditions(status_of(actions)) == [("SuccessCriteriaMet", "SuccessPolicy")]
    assert sorted(freed(actions)) == ["good", "idle"]
    assert names(actions, Delete) == ["idle"]
    decided = replace(wanted, status=status_of(actions))
    ending = member("idle", wanted, index=1, tracked=False, going=True)
    status = status_of(done(decided, ending))
    assert (status.failed, status.succeeded, status.terminating) == (None, 1, 1)


@pytest.mark.parametrize("policy", ["Failed", "TerminatingOrFailed"])
def test_all_pods_of_a_job_that_fails_have_failed(policy: str) -> None:
    wanted = batch(backoff_limit=0, pod_replacement_policy=policy)
    pods = member("bad", wanted, "Failed"), member("running", wanted), member("good", wanted, "Succeeded")
    actions = done(wanted, *pods)

    noted = status_of(actions).uncounted_terminated_pods
    assert noted is not None
    assert (set(noted.failed), noted.succeeded) == ({"uid-bad", "uid-running"}, ("uid-good",))
    assert sorted(freed(actions)) == ["bad", "good", "running"]
    assert names(actions, Delete) == ["running"]


def test_restarts_of_pods_that_are_going_count_as_well() -> None:
    wanted = batch(backoff_limit=2, template=with_policy("OnFailure"), pod_replacement_policy="Failed")
    going = member("going", wanted, going=True)
    states = (ContainerStatus(name="c", restart_count=2),)
    going = replace(going, status=replace(going.status, container_statuses=states))

    assert conditions(status_of(done(wanted, going))) == [("FailureTarget", "BackoffLimitExceeded")]


def with_policy(restart: str) -> Any:
    found = template()
    return replace(found, spec=replace(found.spec, restart_policy=restart))


def test_more_successes_than_wanted_are_told() -> None:
    target = JobCondition(type="SuccessCriteriaMet", status="True", reason="CompletionsReached", message="m")
    told = [
        (one.type, one.reason)
        for one in only(done(batch(replace(batch().status, conditions=(target,), succeeded=3))), Emit)
    ]

    assert told == [("Warning", "TooManySucceededPods"), ("Normal", "Completed")]


def test_another_controllers_job_is_left_alone() -> None:
    assert done(batch(managed_by="example.com/mine")) == []
    assert made(done(batch(managed_by="kubernetes.io/job-controller"))) == [None, None]


def test_indexes_that_succeeded_are_not_run_again() -> None:
    wanted = indexed(replace(batch().status, completed_indexes="0", succeeded=1), completions=4)
    actions = done(wanted, member("one", wanted, "Succeeded", index=1), member("two", wanted, index=2))

    assert made(actions) == [3]
    assert (status_of(actions).completed_indexes, status_of(actions).succeeded) == ("0,1", 2)
    assert freed(actions) == ["one"]


def test_two_pods_of_an_index_are_one_too_many() -> None:
    wanted = indexed()
    pods = (member("a", wanted, index=0), member("b", wanted, index=0), member("c", wanted, index=7))

    assert len(only(done(wanted, *pods), Delete)) == 2


def test_a_limit_per_index_fails_the_index_and_not_the_others() -> None:
    wanted = indexed(backoff_limit_per_index=1, backoff_limit=2**31 - 1)
    first = done(wanted, member("a", wanted, "Failed", index=0, at=60), member("b", wanted, index=1))
    assert only(first, Create)[0].object.metadata.annotations[FAILURES] == "1"
    assert freed(first) == []

    second = (member("a", wanted, "Failed", index=0), member("a2", wanted, index=0, failures=1))
    assert freed(done(wanted, *second, member("b", wanted, index=1))) == ["a"]
    over = done(wanted, member("a2", wanted, "Failed", index=0, failures=1), member("b", wanted, index=1))
    assert (made(over), status_of(over).failed_indexes, freed(over)) == ([], "0", ["a2"])


def test_all_indexes_run_before_failed_ones_fail_the_job() -> None:
    wanted = indexed(backoff_limit_per_index=0)
    pods = (member("a", wanted, "Failed", index=0), member("b", wanted, "Succeeded", index=1))
    assert conditions(status_of(done(wanted, *pods))) == [("FailureTarget", "FailedIndexes")]

    limited = indexed(backoff_limit_per_index=0, max_failed_indexes=0, completions=5)
    assert conditions(status_of(done(limited, pods[0]))) == [("FailureTarget", "MaxFailedIndexesExceeded")]


def rule(action: str, **asked: Any) -> PodFailurePolicy:
    return PodFailurePolicy(rules=(PodFailurePolicyRule(action=action, **asked),))


CODES = PodFailurePolicyOnExitCodesRequirement(operator="In", values=(42,))
EVICTED = (PodFailurePolicyOnPodConditionsPattern(type="DisruptionTarget", status="True"),)


def test_a_failure_that_is_fatal_fails_the_job() -> None:
    wanted = batch(pod_failure_policy=rule("FailJob", on_exit_codes=CODES))
    status = status_of(done(wanted, member("bad", wanted, "Failed", code=42)))

    assert conditions(status) == [("FailureTarget", "PodFailurePolicy")]
    assert status.conditions[0].message == (
        "Container c for pod a/bad failed with exit code 42 matching FailJob rule at index 0"
    )
    assert conditions(status_of(done(wanted, member("bad", wanted, "Failed", code=43)))) == []


def test_a_failure_that_is_ignored_is_freed_and_not_counted() -> None:
    wanted = batch(pod_failure_policy=rule("Ignore", on_pod_conditions=EVICTED), backoff_limit=0)
    actions = done(
        wanted, member("out", wanted, "Failed", condition="DisruptionTarget"), member("on", wanted)
    )

    assert (made(actions), freed(actions)) == ([None], ["out"])
    assert status_of(actions).uncounted_terminated_pods == UncountedTerminatedPods()


def test_a_failure_may_fail_its_index_at_once() -> None:
    policy = rule("FailIndex", on_exit_codes=CODES)
    wanted = indexed(pod_failure_policy=policy, backoff_limit_per_index=5, completions=3)
    actions = done(wanted, member("bad", wanted, "Failed", index=0, code=42))

    assert (status_of(actions).failed_indexes, made(actions)) == ("0", [1, 2])


@pytest.mark.parametrize(
    ("given", "met"),
    [
        (SuccessPolicyRule(succeeded_count=1), True),
        (SuccessPolicyRule(succeeded_count=2), False),
        (SuccessPolicyRule(succeeded_indexes="1-3"), False),
        (SuccessPolicyRule(succeeded_indexes="1-3", succeeded_count=1), True),
        (SuccessPolicyRule(succeeded_indexes="0"), False),
    ],
)
def test_a_success_policy_may_end_a_job_early(given: SuccessPolicyRule, met: bool) -> None:
    wanted = indexed(completions=5, success_policy=SuccessPolicy(rules=(given,)))
    actions = done(wanted, member("one", wanted, "Succeeded", index=1), member("two", wanted, index=2))

    assert conditions(status_of(actions)) == ([("SuccessCriteriaMet", "SuccessPolicy")] if met else [])
    assert [one.object.metadata.name for one in only(actions, Delete)] == (["two"] if met else [])


@pytest.mark.parametrize(("policy", "count"), [("Failed", 0), ("TerminatingOrFailed", 1)])
def test_a_pod_that_is_going_is_replaced_as_the_policy_says(policy: str, count: int) -> None:
    wanted = batch(pod_replacement_policy=policy, completions=1, parallelism=1)
    going = replace(member("going", wanted, going=True))
    going = replace(going, status=replace(going.status, conditions=()))
    going = replace(going, metadata=replace(going.metadata, deletion_timestamp=ago(60)))

    actions = done(wanted, going)
    assert len(made(actions)) == count
    assert status_of(actions).terminating == 1


def test_pods_of_a_job_that_is_gone_are_freed() -> None:
    assert freed(done(member("left", batch()))) == ["left"]


def test_a_pod_that_is_let_go_loses_the_finalizer_and_an_adopted_one_gets_it() -> None:
    other = replace(member("other", batch()), metadata=replace(member("other", batch()).metadata, labels={}))
    assert freed(done(batch(), other)) == ["other"]
    free = member("free", batch(), tracked=False)
    free = replace(free, metadata=replace(free.metadata, owner_references=()))
    adopted = only(done(batch(), free), Patch)[0].new.metadata
    assert (adopted.owner_references[0].uid, adopted.finalizers) == ("uid-web", (FINALIZER,))


@pytest.mark.parametrize("of", [batch(), indexed()], ids=["plain", "indexed"])
def test_a_pod_whose_making_was_not_answered_is_asked_for_by_the_same_name(of: Job) -> None:
    """Until it is seen. Under another name there would be two, and the end of one would count as a failure."""

    def names(later: timedelta, *pods: Pod) -> list[str]:
        seen = view(CONTROLLER, of, *pods, kinds=(Job,), live=lambda _: of, now=NOW + later)
        state = job.observe(seen, Key("a", "web"))
        assert state is not None
        return [one.object.metadata.name for one in only(diff(state), Create)]

    first = names(timedelta())

    assert len(set(first)) == 2
    assert names(timedelta(seconds=9)) == first
    for at, name in enumerate(first):
        # One of the two was answered, and is seen: the other one is asked for by its own name.
        assert names(timedelta(seconds=9), member(name, of, index=at)) == [first[1 - at]]


def test_a_pod_that_comes_after_one_that_failed_has_a_name_of_its_own() -> None:
    of = batch(completions=1, parallelism=1)
    (first,) = only(done(of), Create)
    name = first.object.metadata.name
    noted = JobStatus(failed=1, start_time=ago(10), uncounted_terminated_pods=UncountedTerminatedPods())

    (beside,) = only(done(of, member(name, of, "Failed")), Create)
    (after,) = only(done(replace(of, status=noted)), Create)

    assert len({name, beside.object.metadata.name}) == 2
    assert after.object.metadata.name == beside.object.metadata.name, "the second pod of the job"


def measures(actions: Iterable[Action]) -> list[tuple[str, tuple[str, ...], float]]:
    return [
        (one.metric.removeprefix("job_controller_"), one.labels, one.value) for one in only(actions, Measure)
    ]


def test_what_is_over_is_measured_once_it_is_written() -> None:
    noted = UncountedTerminatedPods(succeeded=("a", "b"), failed=("c",))
    counted = done(
        batch(replace(batch().status, uncounted_terminated_pods=noted), completions=5, parallelism=0)
    )
    assert measures(counted) == [
        ("job_pods_finished_total", ("NonIndexed", "succeeded"), 2),
        ("job_pods_finished_total", ("NonIndexed", "failed"), 1),
    ]

    target = JobCondition(type="SuccessCriteriaMet", status="True", reason="SuccessPolicy", message="m")
    over = done(batch(replace(batch().status, conditions=(target,), succeeded=2)))
    assert measures(over) == [("jobs_finished_total", ("NonIndexed", "succeeded", "SuccessPolicy"), 1.0)]
    target = replace(target, type="FailureTarget", reason="DeadlineExceeded")
    over = done(indexed(replace(batch().status, conditions=(target,))))
    assert measures(over) == [("jobs_finished_total", ("Indexed", "failed", "DeadlineExceeded"), 1.0)]


def test_indexes_and_handled_failures_are_measured() -> None:
    codes = PodFailurePolicyOnExitCodesRequirement(operator="In", values=(42,))
    policy = PodFailurePolicy(rules=(PodFailurePolicyRule(action="Ignore", on_exit_codes=codes),))
    wanted = indexed(
        completions=4,
        parallelism=4,
        backoff_limit_per_index=0,
        backoff_limit=2**31 - 1,
        pod_failure_policy=policy,
    )
    pods = (
        member("good", wanted, "Succeeded", index=0),
        member("bad", wanted, "Failed", index=1),
        member("idle", wanted, "Failed", index=2, code=42, at=1),
        member("busy", wanted, index=3),
    )

    found = measures(done(wanted, *pods))
    assert ("job_finished_indexes_total", ("succeeded", "perIndex"), 1) in found
    assert ("job_finished_indexes_total", ("failed", "perIndex"), 1) in found
    plain = batch(pod_failure_policy=policy)
    ignored = measures(done(plain, member("idle", plain, "Failed", code=42), member("bad", plain, "Failed")))
    assert ("pod_failures_handled_by_failure_policy_total", ("Ignore",), 1.0) in ignored
    assert [one[0] for one in ignored].count("pod_failures_handled_by_failure_policy_total") == 1


@pytest.mark.parametrize(
    ("policy", "failed", "going", "reason"),
    [
        ("TerminatingOrFailed", 0, False, "new"),
        ("TerminatingOrFailed", 1, False, "recreate_terminating_or_failed"),
        ("TerminatingOrFailed", 0, True, "recreate_terminating_or_failed"),
        ("Failed", 1, False, "recreate_failed"),
        ("Failed", 0, False, "new"),
    ],
)
def test_why_pods_are_made_is_measured(policy: str, failed: int, *, going: bool, reason: str) -> None:
    wanted = batch(replace(batch().status, failed=failed or None), pod_replacement_policy=policy)
    ending = [member("going", wanted, tracked=False, going=True)] if going else []

    found = measures(done(wanted, *ending))
    assert [one for one in found if one[0] == "job_pods_creation_total"] == [
        ("job_pods_creation_total", (reason, "succeeded"), 2)
    ]


def rounds(
    status: JobStatus | None = None, *pods: Pod, deleted: bool = False
) -> list[tuple[str, tuple[str, ...]]]:
    """What a round of a job is told as, without its seconds."""
    wanted = batch(status)
    if deleted:
        wanted = replace(wanted, metadata=replace(wanted.metadata, deletion_timestamp=NOW))
    state = job.observe(view(CONTROLLER, wanted, *pods, kinds=(Job,), live=lambda _: wanted), Key("a", "web"))
    assert state is not None
    told = CONTROLLER.told
    assert told is not None
    return [(one.metric, one.labels) for one in told(state, list(diff(state)), True, 0.5)]


def test_a_round_is_told_by_what_it_did_to_pods() -> None:
    def both(action: str) -> list[tuple[str, tuple[str, ...]]]:
        labels = ("NonIndexed", "success", action)
        return [
            ("job_controller_job_syncs_total", labels),
            ("job_controller_job_sync_duration_seconds", labels),
        ]

    over = JobStatus(conditions=(JobCondition(type="Complete", status="True"),))

    assert rounds() == both("pods_created")
    assert rounds(None, *(member(name, batch()) for name in "pq")) == both("tracking")
    assert rounds(None, *(member(name, batch()) for name in "pqr")) == both("pods_deleted")
    assert rounds(None, deleted=True) == both("reconciling")
    assert rounds(over) == []
