"""What is wanted and what is there become the next step."""

from dataclasses import replace
from typing import Any

import pytest

from kybern.api.core_v1 import (
    ContainerRestartRule,
    ContainerRestartRuleOnExitCodes,
    EphemeralContainer,
    Probe,
    ResourceRequirements,
)
from kybern.kubelet.backoff import Delay
from kybern.kubelet.plan import (
    Action,
    Facts,
    Health,
    Hold,
    MakeSandbox,
    Start,
    Stop,
    StopPod,
    delay_key,
    plan,
    wake_after,
)
from kybern.kubelet.runtime import Actual, RunState
from tests.unit.kubelet.making import NOW, ago, container, ended, facts, pod, run, sandbox


def steps(found: Facts) -> list[Action]:
    return list(plan(found))


def names(actions: list[Action]) -> list[str]:
    return [action.container.name for action in actions if isinstance(action, Start)]


def test_a_new_pod_gets_its_sandbox_first() -> None:
    assert steps(facts(pod(), box=None)) == [MakeSandbox(0)]


def test_all_containers_start_once_the_sandbox_is_there() -> None:
    one, two = container("one"), container("two")

    assert steps(facts(pod(one, two))) == [Start(one, 0), Start(two, 0)]


def test_nothing_is_left_to_do_when_all_run() -> None:
    one = container()

    assert steps(facts(pod(one), run(one))) == []


def test_a_run_beside_a_newer_one_is_stopped() -> None:
    one = container()
    older, newer = run(one, attempt=0), run(one, attempt=1)

    assert steps(facts(pod(one), older, newer)) == [Stop(older, one, "Container c has a newer run")]


def test_an_init_container_beside_its_newer_run_is_stopped() -> None:
    init, one = container("init"), container()
    older, newer = run(init, attempt=0), ended(init, attempt=1)
    found = facts(pod(one, init_containers=(init,)), older, newer)

    assert steps(found) == [Stop(older, init, "Container init has a newer run"), Start(one, 0)]


def test_a_dead_sandbox_stops_what_runs_in_it_and_is_replaced() -> None:
    one = container()
    found = facts(pod(one), run(one), box=sandbox(ready=False, attempt=2))

    actions = steps(found)

    assert [type(action) for action in actions] == [StopPod, MakeSandbox]
    assert actions[1] == MakeSandbox(3)


def test_a_sandbox_without_an_address_is_replaced() -> None:
    assert MakeSandbox(1) in steps(facts(pod(), box=sandbox(ips=())))


def test_a_sandbox_in_the_nodes_network_needs_no_address() -> None:
    one = container()
    found = facts(pod(one, host_network=True), run(one), box=sandbox(ips=(), host_network=True))

    assert steps(found) == []


def test_containers_of_an_earlier_sandbox_start_anew_in_the_next() -> None:
    one = container()
    init = container("init")
    wanted = pod(one, init_containers=(init,))
    old = (ended(init, sandbox="before"), ended(one, 137, sandbox="before", finished_at=ago(400)))

    assert names(steps(facts(wanted, *old))) == ["init"]


def test_a_pod_that_may_not_restart_gets_no_second_sandbox() -> None:
    one = container()
    found = facts(pod(one, restart="Never"), ended(one, 1), box=sandbox(ready=False))

    assert steps(found) == []


def test_a_pod_that_succeeded_gets_no_second_sandbox() -> None:
    one = container()
    found = facts(pod(one, restart="OnFailure"), ended(one, 0), box=sandbox(ready=False))

    assert steps(found) == []


def test_init_containers_run_one_after_the_other() -> None:
    first, second, one = container("first"), container("second"), container()
    wanted = pod(one, init_containers=(first, second))

    assert names(steps(facts(wanted))) == ["first"]
    assert steps(facts(wanted, run(first))) == []
    assert names(steps(facts(wanted, ended(first)))) == ["second"]
    assert names(steps(facts(wanted, ended(first), ended(second)))) == ["c"]


def test_a_failed_init_container_is_tried_again_unless_the_pod_never_restarts() -> None:
    init = container("init")
    again = facts(pod(init_containers=(init,)), ended(init, 1))
    never = facts(pod(init_containers=(init,), restart="Never"), ended(init, 1))

    assert names(steps(again)) == ["init"]
    assert steps(never) == []


def test_init_containers_are_not_run_again_beside_running_containers() -> None:
    init, one = container("init"), container()

    assert steps(facts(pod(one, init_containers=(init,)), run(one))) == []


def test_a_sidecar_lets_the_next_start_once_it_has_started() -> None:
    side = container("side", restart_policy="Always", startup_probe=Probe())
    one = container()
    wanted = pod(one, init_containers=(side,))
    running = run(side)

    assert steps(facts(wanted, running)) == []
    assert names(steps(facts(wanted, running, health={running.id: Health(started=True)}))) == ["c"]


def test_a_sidecar_that_ended_is_started_again_beside_running_containers() -> None:
    side, one = container("side", restart_policy="Always"), container()
    wanted = pod(one, init_containers=(side,), restart="Never")

    assert names(steps(facts(wanted, ended(side), run(one)))) == ["side"]


@pytest.mark.parametrize(
    ("policy", "code", "again"),
    [
        ("Always", 0, True),
        ("Always", 1, True),
        ("OnFailure", 0, False),
        ("OnFailure", 1, True),
        ("Never", 1, False),
    ],
)
def test_the_restart_policy_decides_whether_a_container_runs_again(
    policy: str, code: int, again: bool
) -> None:
    one = container()

    assert bool(steps(facts(pod(one, restart=policy), ended(one, code)))) is again


def test_a_rule_on_exit_codes_restarts_where_the_policy_would_not() -> None:
    rule = ContainerRestartRule(
        action="Restart", exit_codes=ContainerRestartRuleOnExitCodes(operator="In", values=(42,))
    )
    one = container(restart_policy="Never", restart_policy_rules=(rule,))

    assert names(steps(facts(pod(one), ended(one, 42)))) == ["c"]
    assert steps(facts(pod(one), ended(one, 1))) == []


def test_the_first_restart_is_at_once_and_counts() -> None:
    one = container()

    assert steps(facts(pod(one), ended(one, 1, attempt=4))) == [Start(one, 5, restart=True)]


def test_a_later_restart_waits_until_its_delay_is_over() -> None:
    one = container()
    found = facts(pod(one), ended(one, 1), delays={delay_key(one): Delay(20.0, ago(30))})

    actions = steps(found)

    assert actions == [Hold(one, 15.0, 20.0)]
    assert wake_after(actions) == 15.0
    assert names(steps(replace(found, now=NOW.replace(second=20)))) == ["c"]


@pytest.mark.parametrize(
    "changed", [{"image": "busybox:2"}, {"resources": ResourceRequirements(requests={"cpu": "1"})}]
)
def test_another_image_or_other_resources_begin_with_no_delay(changed: dict[str, Any]) -> None:
    old, new = container(), container(**changed)
    delays = {delay_key(old): Delay(300.0, ago(30))}

    (waits,) = steps(facts(pod(old), ended(old, 1), delays=delays))

    assert isinstance(waits, Hold)
    assert steps(facts(pod(new), ended(old, 1), delays=delays)) == [Start(new, 1, restart=True)]


def test_a_failed_liveness_probe_stops_the_container() -> None:
    one = container()
    running = run(one)
    found = facts(pod(one), running, health={running.id: Health(live=False)})

    assert steps(found) == [
        Stop(running, one, "Container c failed liveness probe, will be restarted", "liveness")
    ]


def test_a_container_that_may_not_restart_is_only_stopped() -> None:
    one = container()
    running = run(one)
    found = facts(pod(one, restart="Never"), running, health={running.id: Health(started=False)})

    assert steps(found) == [Stop(running, one, "Container c failed startup probe", "startup")]


def test_another_image_replaces_the_container() -> None:
    old, new = container(image="busybox:1"), container(image="busybox:2")

    (action,) = steps(facts(pod(new), run(old)))

    assert isinstance(action, Stop)
    assert action.message == "Container c definition changed, will be restarted"


@pytest.mark.parametrize("policy", ["Always", "OnFailure", "Never"])
def test_a_container_that_is_another_now_is_run_again_at_once_whatever_its_policy(policy: str) -> None:
    old, new = container(image="busybox:1"), container(image="busybox:2")
    wanted = pod(new, restart=policy)

    (stop,) = steps(facts(wanted, run(old)))
    after = facts(
        wanted, ended(old), delays={delay_key(new): Delay(300.0, ago(30))}, replaced=frozenset({"c-0"})
    )

    assert isinstance(stop, Stop)
    assert stop.replaced
    assert stop.message == "Container c definition changed, will be restarted"
    assert steps(after) == [Start(new, 1)]


def test_one_that_ended_by_itself_is_not_run_again_for_another_image() -> None:
    old, new = container(image="busybox:1"), container(image="busybox:2")

    assert steps(facts(pod(new, restart="Never"), ended(old))) == []


@pytest.mark.parametrize(
    ("health", "text"),
    [
        (Health(live=False), "Init container side failed liveness probe"),
        (Health(started=False), "Init container side failed startup probe"),
    ],
)
def test_a_sidecar_is_told_as_an_init_container(health: Health, text: str) -> None:
    side = container("side", restart_policy="Always", startup_probe=Probe())
    running = run(side)

    (stop,) = steps(facts(pod(init_containers=(side,)), running, health={running.id: health}))

    assert isinstance(stop, Stop)
    assert stop.message == text


def test_an_unknown_container_is_stopped_before_it_is_started_again() -> None:
    one = container()

    (action,) = steps(facts(pod(one), run(one, RunState.UNKNOWN)))

    assert isinstance(action, Stop)


def test_a_container_that_was_made_but_not_started_gets_another_attempt() -> None:
    one = container()

    assert steps(facts(pod(one), run(one, RunState.CREATED))) == [Start(one, 1)]


def test_actual_knows_what_is_alive() -> None:
    one = container()

    assert Actual("u", instances=(run(one),)).alive
    assert Actual("u", sandboxes=(sandbox(),)).alive
    assert not Actual("u", sandboxes=(sandbox(ready=False),), instances=(ended(one),)).alive


def added(name: str = "debug", target: str = "") -> EphemeralContainer:
    return EphemeralContainer(name=name, image="busybox:1", target_container_name=target)


def test_an_ephemeral_container_runs_beside_whatever_the_pod_is_at() -> None:
    init, one = container("init"), container("one")
    found = pod(one, init_containers=(init,), ephemeral_containers=(added(),))

    assert names(steps(facts(found, run(init)))) == ["debug"]


def test_an_ephemeral_container_is_never_run_again() -> None:
    one, looking = container("one"), container("debug")
    found = pod(one, ephemeral_containers=(added(),))

    assert steps(facts(found, run(one), ended(looking, 1))) == []
