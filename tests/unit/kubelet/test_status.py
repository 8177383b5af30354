"""What is there becomes what the API says of a pod."""

from typing import Any

from kybern.api.core_v1 import PodCondition, PodReadinessGate, PodStatus, Probe
from kybern.kubelet.containers import Reasons
from kybern.kubelet.plan import Facts, Health
from kybern.kubelet.status import Situation, Verdict, status_of
from tests.unit.kubelet.making import NOW, ago, container, ended, facts, pod, run, sandbox


def told(found: Facts, before: PodStatus | None = None, **reasons: Any) -> PodStatus:
    situation = Situation(("192.168.1.1",), Reasons(**reasons))
    return status_of(found, situation, before or PodStatus())


def condition(status: PodStatus, kind: str) -> PodCondition:
    return next(found for found in status.conditions if found.type == kind)


def only(status: PodStatus) -> Any:
    (found,) = status.container_statuses
    return found


def test_a_pod_without_containers_yet_is_pending() -> None:
    status = told(facts(pod(), box=None))

    assert status.phase == "Pending"
    assert only(status).state.waiting.reason == "ContainerCreating"
    assert condition(status, "PodReadyToStartContainers").status == "False"
    assert condition(status, "Ready").message == "containers with unready status: [c]"


def test_a_running_pod_is_ready_and_has_its_addresses() -> None:
    one = container()

    status = told(facts(pod(one), run(one)))

    assert (status.phase, status.pod_ip, status.host_ip) == ("Running", "10.0.0.7", "192.168.1.1")
    assert {found.type: found.status for found in status.conditions} == {
        "PodReadyToStartContainers": "True",
        "Initialized": "True",
        "Ready": "True",
        "ContainersReady": "True",
        "PodScheduled": "True",
    }
    assert only(status).container_id == "containerd://c-0"


def test_a_pod_in_the_nodes_network_has_the_nodes_address() -> None:
    one = container()

    status = told(facts(pod(one, host_network=True), run(one), box=sandbox(ips=(), host_network=True)))

    assert status.pod_ip == "192.168.1.1"


def test_what_a_container_waits_for_is_shown() -> None:
    status = told(facts(pod()), waiting={"c": ("ErrImagePull", "no such host")})

    assert only(status).state.waiting.reason == "ErrImagePull"
    assert only(status).state.waiting.message == "no such host"


def test_a_container_in_back_off_shows_how_it_ended() -> None:
    one = container()
    crashed = ended(one, 3, attempt=2, message="dying")

    status = told(facts(pod(one), crashed), waiting={"c": ("CrashLoopBackOff", "back-off 20s")})

    assert status.phase == "Running"
    assert only(status).restart_count == 2
    assert only(status).state.waiting.reason == "CrashLoopBackOff"
    assert only(status).last_state.terminated.exit_code == 3
    assert only(status).last_state.terminated.message == "dying"


def test_a_restarted_container_shows_its_run_before() -> None:
    one = container()

    status = told(facts(pod(one), ended(one, 137, reason="OOMKilled"), run(one, attempt=1)))

    assert only(status).state.running is not None
    assert only(status).last_state.terminated.reason == "OOMKilled"
    assert only(status).restart_count == 1


def test_containers_that_ended_well_make_a_pod_succeed() -> None:
    one = container()

    status = told(facts(pod(one, restart="Never"), ended(one)))

    assert status.phase == "Succeeded"
    assert only(status).state.terminated.reason == "Completed"
    assert condition(status, "Ready").reason == "PodCompleted"
    assert condition(status, "Initialized").reason == "PodCompleted"


def test_one_that_failed_makes_a_pod_fail() -> None:
    one, two = container("one"), container("two")

    status = told(facts(pod(one, two, restart="Never"), ended(one), ended(two, 1)))

    assert status.phase == "Failed"
    assert condition(status, "ContainersReady").reason == "PodFailed"


def test_a_pod_runs_on_while_a_failure_is_tried_again() -> None:
    one = container()

    assert told(facts(pod(one, restart="OnFailure"), ended(one, 1))).phase == "Running"


def test_an_end_is_final() -> None:
    one = container()

    assert told(facts(pod(one), run(one)), PodStatus(phase="Failed")).phase == "Failed"


def test_a_pod_that_ends_is_not_over_while_something_runs() -> None:
    one, two = container("one"), container("two")
    wanted = pod(one, two, restart="Never")

    status = told(facts(wanted, ended(one), ended(two)), PodStatus(phase="Running"), ending=True)

    assert status.phase == "Running"


def test_a_verdict_is_told_once_nothing_runs() -> None:
    one = container()
    found = facts(pod(one), ended(one, 143), box=sandbox(ready=False))
    situation = Situation((), Reasons(ending=True), Verdict("DeadlineExceeded", "too long"))

    status = status_of(found, situation, PodStatus(phase="Running"))

    assert (status.phase, status.reason, status.message) == ("Failed", "DeadlineExceeded", "too long")


def test_init_containers_hold_the_others_up() -> None:
    init, one = container("init"), container()

    status = told(facts(pod(one, init_containers=(init,)), run(init)))

    assert status.phase == "Pending"
    assert only(status).state.waiting.reason == "PodInitializing"
    assert condition(status, "Initialized").message == "containers with incomplete status: [init]"


def test_a_failed_init_container_fails_a_pod_that_never_restarts() -> None:
    init, one = container("init"), container()

    assert told(facts(pod(one, init_containers=(init,), restart="Never"), ended(init, 1))).phase == "Failed"


def test_readiness_follows_the_probe() -> None:
    one = container(readiness_probe=Probe())
    running = run(one)

    assert only(told(facts(pod(one), running))).ready is False
    assert only(told(facts(pod(one), running, health={running.id: Health(ready=True)}))).ready is True


def test_a_container_has_not_started_before_its_startup_probe_says_so() -> None:
    one = container(startup_probe=Probe())

    status = told(facts(pod(one), run(one)))

    assert (only(status).started, only(status).ready) == (False, False)


def test_readiness_gates_of_others_count() -> None:
    one = container()
    wanted = pod(one, readiness_gates=(PodReadinessGate(condition_type="x/y"),))
    found = facts(wanted, run(one))

    missing = condition(told(found), "Ready")
    met = told(found, PodStatus(conditions=(PodCondition(type="x/y", status="True"),)))

    assert missing.reason == "ReadinessGatesNotReady"
    assert missing.message == 'corresponding condition of pod readiness gate "x/y" does not exist.'
    assert condition(met, "Ready").status == "True"
    assert condition(met, "x/y").status == "True"


def test_the_time_of_a_condition_moves_only_with_its_status() -> None:
    one = container()
    before = PodStatus(
        conditions=(
            PodCondition(type="Ready", status="True", last_transition_time=ago(500)),
            PodCondition(type="ContainersReady", status="False", last_transition_time=ago(500)),
        )
    )

    status = told(facts(pod(one), run(one)), before)

    assert condition(status, "Ready").last_transition_time == ago(500)
    assert condition(status, "ContainersReady").last_transition_time == NOW


def test_a_container_that_vanished_counts_as_lost() -> None:
    one = container()
    seen = told(facts(pod(one), run(one)))

    status = told(facts(pod(one)), seen)

    assert only(status).restart_count == 1
    assert only(status).last_state.terminated.reason == "ContainerStatusUnknown"
    assert only(status).last_state.terminated.exit_code == 137


def test_the_same_facts_give_the_same_status() -> None:
    one, side = container(), container("side", restart_policy="Always")
    found = facts(pod(one, init_containers=(side,)), run(one), run(side))

    first = told(found)

    assert told(found, first) == first


def test_a_pod_that_runs_gives_no_reason_for_an_end_that_did_not_come() -> None:
    """The machine went down before its end was told: its status is the one from before, and it runs again."""
    one = container()
    why: Any = {
        "reason": "Terminated",
        "message": "Pod was terminated in response to imminent node shutdown.",
    }

    again = told(facts(pod(one), run(one)), PodStatus(phase="Running", **why))
    over = told(facts(pod(one), ended(one, 0)), PodStatus(phase="Failed", **why))

    assert (again.phase, again.reason, again.message) == ("Running", "", "")
    assert (over.phase, over.reason, over.message) == ("Failed", why["reason"], why["message"])


def test_an_init_container_that_somebody_removed_has_done_its_work() -> None:
    """Else kubectl would show Init:0/1 for ever, of a pod that runs."""
    init, one = container("i"), container()
    status = told(facts(pod(one, init_containers=(init,)), run(one)))

    (found,) = status.init_container_statuses
    ended_well = found.state.terminated if found.state is not None else None
    assert ended_well is not None
    assert (ended_well.exit_code, ended_well.reason, found.ready) == (0, "Completed", True)
    assert ended_well.message == (
        "Unable to get init container status from container runtime and pod has been initialized, "
        "treat it as exited normally"
    )
    assert condition(status, "Initialized").status == "True"


def test_what_was_told_of_an_init_container_stands_when_it_is_removed() -> None:
    init, one = container("i"), container()
    of = pod(one, init_containers=(init,))
    before = told(facts(of, ended(init), run(one)))

    after = told(facts(of, run(one)), before)

    assert after.init_container_statuses == before.init_container_statuses


def test_an_init_container_that_has_not_run_is_not_taken_for_a_removed_one() -> None:
    init, sidecar = container("i"), container("s", restart_policy="Always")

    (waits,) = told(facts(pod(init_containers=(init,)))).init_container_statuses
    (gone,) = told(
        facts(pod(container(), init_containers=(sidecar,)), run(container()))
    ).init_container_statuses

    assert waits.state is not None
    assert waits.state.waiting is not None
    assert gone.state is not None
    assert gone.state.waiting is not None, "one that runs beside the others is made again"
