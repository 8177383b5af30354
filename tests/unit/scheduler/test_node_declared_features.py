"""Pods go to nodes whose kubelets know what the pods ask for."""

from kybern.api.core_v1 import Container, ContainerRestartRule, Node, Pod
from kybern.machinery.struct import replace
from kybern.scheduler.changes import Action, Happening
from kybern.scheduler.facts import PodFacts
from kybern.scheduler.framework import SKIP, Cluster, NodeInfo
from kybern.scheduler.outcomes import Placed, Refused
from kybern.scheduler.plugins.node_declared_features import PLUGIN, declares_others, pre_filter, refuse
from tests.unit.scheduler.making import attempt, decide, node, pod, table_of


def declaring(name: str, *features: str) -> Node:
    found = node(name)
    return replace(found, status=replace(found.status, declared_features=features))


def restarting(action: str, *, init: bool = False) -> Pod:
    container = Container(name="c", image="x", restart_policy_rules=(ContainerRestartRule(action=action),))
    if init:
        return pod("p", init_containers=(container,))
    return pod("p", containers=(container,))


def test_a_pod_that_restarts_as_a_whole_needs_a_kubelet_that_can() -> None:
    old, new = declaring("a", "Other"), declaring("b", "Other", "RestartAllContainersOnContainerExits")

    for wanted in (restarting("RestartAllContainers"), restarting("RestartAllContainers", init=True)):
        assert decide(wanted, table_of(old, new)) == Placed("b")
        found = decide(wanted, table_of(old))
        assert isinstance(found, Refused)
        assert found.reasons == "0/1 nodes are available: 1 node(s) didn't match Pod's required features."
        assert (found.plugins, found.helpful) == (frozenset({"NodeDeclaredFeatures"}), ())


def test_other_pods_need_nothing_and_cost_nothing() -> None:
    wanted = restarting("Restart")

    assert pre_filter(attempt(wanted, table_of(node("a")))) is SKIP
    assert decide(wanted, table_of(node("a"))) == Placed("a")


def test_the_vector_says_what_the_plain_form_says() -> None:
    nodes = [declaring("a", "RestartAllContainersOnContainerExits"), declaring("b"), declaring("c", "X")]
    table = table_of(*nodes)
    assert PLUGIN.filter is not None
    for wanted in (restarting("RestartAllContainers"), restarting("Restart"), pod("p")):
        refusals = list(PLUGIN.filter(PodFacts.of(wanted), table))
        for one in nodes:
            column = table.index[one.metadata.name]
            vector = tuple(each.reason for each in refusals if each.nodes[column])
            assert vector == refuse(wanted, NodeInfo(one), Cluster())


def test_a_node_that_declares_something_else_now_is_worth_another_try() -> None:
    facts = PodFacts.of(restarting("RestartAllContainers"))

    assert declares_others(facts, Happening(Node, Action.ADDED, declaring("a")))
    assert declares_others(facts, Happening(Node, Action.CHANGED, declaring("a", "X"), declaring("a")))
    assert not declares_others(
        facts, Happening(Node, Action.CHANGED, declaring("a", "X"), declaring("a", "X"))
    )
