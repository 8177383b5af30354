"""Pods whose containers begin anew all together."""

import pytest

from kybern.api.core_v1 import ContainerRestartRule, ContainerRestartRuleOnExitCodes, Pod
from kybern.kubelet import rounds
from kybern.kubelet.backoff import Delay
from kybern.kubelet.containers import Reasons
from kybern.kubelet.plan import Action, Facts, Hold, Start, Stop, delay_key, plan
from kybern.kubelet.runtime import RunState
from kybern.kubelet.status import Situation, status_of
from tests.unit.kubelet.making import NOW, container, ended, facts, pod, run


def rule(action: str, *codes: int, operator: str = "In") -> ContainerRestartRule:
    return ContainerRestartRule(
        action=action, exit_codes=ContainerRestartRuleOnExitCodes(operator=operator, values=codes)
    )


WATCHER = container(
    "watcher", restart_policy="Never", restart_policy_rules=(rule("RestartAllContainers", 42),)
)
MAIN, FIRST = container("main"), container("first")
SIDECAR = container("sidecar", restart_policy="Always")


def of(*inits: object, restart: str = "Never") -> Pod:
    return pod(WATCHER, MAIN, restart=restart, init_containers=inits)


def steps(found: Facts) -> list[Action]:
    return list(plan(found))


@pytest.mark.parametrize(
    ("rules", "code", "action"),
    [
        ((rule("Restart", 1), rule("RestartAllContainers", 1)), 1, "Restart"),
        ((rule("Restart", 2), rule("RestartAllContainers", 1)), 1, "RestartAllContainers"),
        ((rule("RestartAllContainers", 0, operator="NotIn"),), 7, "RestartAllContainers"),
        ((rule("RestartAllContainers", 0, operator="NotIn"),), 0, None),
        ((), 1, None),
    ],
)
def test_the_first_rule_that_holds_counts(
    rules: tuple[ContainerRestartRule, ...], code: int, action: str | None
) -> None:
    found = rounds.rule_for(container(restart_policy_rules=rules), code)

    assert (found.action if found is not None else None) == action


def test_all_that_still_runs_is_stopped_without_hooks_before_anything_starts() -> None:
    one = of(FIRST, SIDECAR)
    main, beside = run(MAIN), run(SIDECAR)

    found = steps(facts(one, ended(FIRST), beside, ended(WATCHER, 42), main))

    stops = [action for action in found if isinstance(action, Stop)]
    assert found == stops
    assert [(stop.instance, stop.grace) for stop in stops] == [(beside, 0), (main, 0)]


def test_then_init_containers_come_first_and_all_count_one_more() -> None:
    one = of(FIRST, SIDECAR)
    over = (ended(FIRST), ended(SIDECAR, 137), ended(WATCHER, 42), ended(MAIN, 137))

    assert steps(facts(one, *over)) == [Start(FIRST, 1, init=True, round=1)]

    again = (*over, ended(FIRST, attempt=1, round=1))
    assert steps(facts(one, *again)) == [Start(SIDECAR, 1, init=True, round=1)]
    last = (*again, run(SIDECAR, attempt=1, round=1))
    assert steps(facts(one, *last)) == [Start(WATCHER, 1, restart=True, round=1), Start(MAIN, 1, round=1)]


def test_a_round_that_is_under_way_is_not_begun_again() -> None:
    runs = (
        ended(WATCHER, 42),
        ended(MAIN, 137),
        run(WATCHER, attempt=1, round=1),
        run(MAIN, attempt=1, round=1),
    )

    assert steps(facts(of(), *runs)) == []
    assert rounds.current(of(), facts(of(), *runs).actual) == 1


def test_whoever_begins_round_after_round_waits_longer_and_longer() -> None:
    last = (ended(WATCHER, 42, attempt=1, round=1), ended(MAIN, 137, attempt=1, round=1))

    found = steps(facts(of(), *last, delays={delay_key(WATCHER): Delay(20.0, NOW)}))

    assert [type(action) for action in found] == [Hold, Start]
    assert found[1] == Start(MAIN, 2, round=2)


def test_other_ends_begin_nothing() -> None:
    assert steps(facts(of(), ended(WATCHER, 1), run(MAIN))) == []
    assert steps(facts(pod(MAIN), ended(MAIN, 42))) == [Start(MAIN, 1, restart=True)]


def condition(found: Facts) -> tuple[str, str] | None:
    told = status_of(found, Situation(("10.0.0.1",), Reasons()), found.pod.status)
    return next(((c.status, c.reason) for c in told.conditions if c.type == "AllContainersRestarting"), None)


def test_the_pod_goes_on_and_tells_that_it_begins_anew() -> None:
    stopping = facts(of(), ended(WATCHER, 42), run(MAIN))
    stopped = facts(of(), ended(WATCHER, 42), ended(MAIN, 137))
    begun = facts(of(), ended(WATCHER, 42), ended(MAIN, 137), run(WATCHER, attempt=1, round=1))
    over = facts(of(), ended(WATCHER, 0), ended(MAIN, 0))

    assert [condition(one) for one in (stopping, stopped, begun)] == [
        ("True", ""),
        ("True", ""),
        ("False", ""),
    ]
    assert condition(over) == ("False", "PodCompleted")
    assert condition(facts(pod(MAIN), run(MAIN))) is None
    for one in (stopping, stopped, begun):
        assert status_of(one, Situation(("10.0.0.1",), Reasons()), one.pod.status).phase == "Running"


def test_an_init_container_may_begin_a_round_and_the_pod_does_not_fail_meanwhile() -> None:
    guard = container(
        "guard", restart_policy="Always", restart_policy_rules=(rule("RestartAllContainers", 3),)
    )
    one = pod(MAIN, restart="Never", init_containers=(guard,))
    last = (ended(guard, 3), ended(MAIN, 137))

    assert steps(facts(one, *last)) == [Start(guard, 1, init=True, restart=True, round=1)]
    under_way = facts(one, *last, run(guard, RunState.RUNNING, attempt=1, round=1))
    assert status_of(under_way, Situation(("10.0.0.1",), Reasons()), one.status).phase == "Running"
