"""Plugins of a few lines each: namespaces, tolerations, taints, priorities; and the chain that runs them."""

from typing import Any

import pytest

from kybern.admission.chain import Chain, chain
from kybern.admission.framework import Plugin, Request, refused
from kybern.admission.plugins import (
    PLUGINS,
    default_toleration_seconds,
    namespace_lifecycle,
    priority,
    taint_nodes_by_condition,
)
from kybern.machinery.errors import ApiError, Forbidden
from kybern.machinery.kind import Raw
from tests.unit.admission.writes import admitted, named, stored, write

LIFECYCLE = namespace_lifecycle.PLUGIN
ACTIVE = ("namespaces", named("x", status={"phase": "Active"}))
ENDING = ("namespaces", named("x", status={"phase": "Terminating"}))


@pytest.mark.parametrize("name", ["default", "kube-system", "kube-public"])
async def test_system_namespaces_cannot_be_deleted(name: str) -> None:
    assert await admitted(LIFECYCLE, write("DELETE", "namespaces", old=named(name))) == (
        f'namespaces "{name}" is forbidden: this namespace may not be deleted'
    )


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        (write("DELETE", "namespaces", old=named("kube-node-lease")), ""),
        (write("CREATE", "namespaces", named("y")), ""),
        (write("CREATE", "pods", named("p"), lookup=stored(ACTIVE)), ""),
        (write("CREATE", "pods", named("p"), lookup=stored(ACTIVE, behind=True)), ""),
        (write("CREATE", "pods", named("p"), lookup=stored()), 'namespaces "x" not found'),
        (write("UPDATE", "pods", named("p"), named("p"), lookup=stored(ENDING)), ""),
        (write("DELETE", "pods", old=named("p"), lookup=stored()), ""),
        (write("CREATE", "localsubjectaccessreviews", named("p"), namespace="x", lookup=stored(ENDING)), ""),
        (
            write("CREATE", "deployments", named("d"), namespace="x", lookup=stored(ENDING)),
            'deployments.apps "d" is forbidden: unable to create new content in namespace x because it is being terminated',
        ),
    ],
)
async def test_nothing_is_made_in_a_namespace_that_is_absent_or_ending(request_: Request, says: str) -> None:
    assert await admitted(LIFECYCLE, request_) == says


async def test_an_ending_namespace_is_named_as_the_cause() -> None:
    with pytest.raises(Forbidden) as refusal:
        await namespace_lifecycle.check(write("CREATE", "pods", named("p"), lookup=stored(ENDING)))

    assert refusal.value.status()["details"] == {
        "name": "p",
        "kind": "pods",
        "causes": [
            {
                "reason": "NamespaceTerminating",
                "message": "namespace x is being terminated",
                "field": "metadata.namespace",
            }
        ],
    }


NOT_READY = {
    "key": "node.kubernetes.io/not-ready",
    "operator": "Exists",
    "effect": "NoExecute",
    "tolerationSeconds": 300,
}
UNREACHABLE = NOT_READY | {"key": "node.kubernetes.io/unreachable"}
OWN = {"key": "x", "operator": "Equal", "value": "y", "effect": "NoExecute"}
SHORT = {
    "key": "node.kubernetes.io/unreachable",
    "operator": "Exists",
    "effect": "NoExecute",
    "tolerationSeconds": 5,
}


@pytest.mark.parametrize(
    ("given", "added"),
    [
        ([], [NOT_READY, UNREACHABLE]),
        ([OWN], [NOT_READY, UNREACHABLE]),
        ([SHORT], [NOT_READY]),
        ([{"key": "node.kubernetes.io/not-ready", "operator": "Exists"}], [UNREACHABLE]),
        (
            [{"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoSchedule"}],
            [NOT_READY, UNREACHABLE],
        ),
        ([{"operator": "Exists"}], []),
        ([{"operator": "Exists", "effect": "NoExecute"}], []),
    ],
)
@pytest.mark.parametrize("operation", ["CREATE", "UPDATE"])
async def test_pods_tolerate_an_absent_node_for_five_minutes(
    operation: str, given: list[Raw], added: list[Raw]
) -> None:
    pod = named("p", spec={"tolerations": given} if given else {})

    await admitted(default_toleration_seconds.configured({}), write(operation, "pods", pod, named("p")))

    assert pod["spec"].get("tolerations", []) == given + added


async def test_status_updates_get_no_tolerations() -> None:
    pod = named("p", spec={})

    await admitted(default_toleration_seconds.configured({}), write("UPDATE", "pods/status", pod, named("p")))

    assert pod["spec"] == {}


async def test_the_server_may_say_how_long_pods_tolerate_an_absent_node() -> None:
    pod = named("p", spec={})

    plugin = default_toleration_seconds.configured({default_toleration_seconds.NOT_READY: 20})
    await admitted(plugin, write("CREATE", "pods", pod))

    assert pod["spec"]["tolerations"] == [{**NOT_READY, "tolerationSeconds": 20}, UNREACHABLE]


TAINT = {"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}


@pytest.mark.parametrize(
    ("operation", "given", "left"),
    [
        ("CREATE", [], [TAINT]),
        ("CREATE", [{"key": "a", "effect": "NoExecute"}], [{"key": "a", "effect": "NoExecute"}, TAINT]),
        ("CREATE", [TAINT], [TAINT]),
        ("UPDATE", [], []),
    ],
)
async def test_a_new_node_is_tainted(operation: str, given: list[Raw], left: list[Raw]) -> None:
    node = named("n", spec={"taints": list(given)})

    await admitted(taint_nodes_by_condition.PLUGIN, write(operation, "nodes", node, named("n")))

    assert node["spec"]["taints"] == left


HIGH = ("priorityclasses", named("high", value=100, preemptionPolicy="Never"))
LOW = ("priorityclasses", named("low", value=5, globalDefault=True, preemptionPolicy="PreemptLowerPriority"))
LOWER = ("priorityclasses", named("lower", value=-5, globalDefault=True))
BOTH = {"priority": 0, "preemptionPolicy": "PreemptLowerPriority"}


@pytest.mark.parametrize(
    ("classes", "spec", "result"),
    [
        ((), {}, BOTH),
        ((HIGH,), {}, BOTH),
        ((), {"priority": 0}, BOTH),
        (
            (HIGH,),
            {"priorityClassName": "high"},
            {"priorityClassName": "high", "priority": 100, "preemptionPolicy": "Never"},
        ),
        ((LOW,), {}, {"priorityClassName": "low", "priority": 5, "preemptionPolicy": "PreemptLowerPriority"}),
        (
            (LOW, LOWER),
            {},
            {"priorityClassName": "lower", "priority": -5, "preemptionPolicy": "PreemptLowerPriority"},
        ),
    ],
)
async def test_a_pod_gets_the_priority_of_its_class(classes: tuple[Any, ...], spec: Raw, result: Raw) -> None:
    pod = named("p", spec=spec)

    assert await admitted(priority.PLUGIN, write("CREATE", "pods", pod, lookup=stored(*classes))) == ""
    assert pod["spec"] == result


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ({"priorityClassName": "none"}, "no PriorityClass with name none was found"),
        (
            {"priorityClassName": "high", "priority": 7},
            (
                "the integer value of priority (7) must not be provided in pod spec; priority admission controller"
                " computed 100 from the given PriorityClass name"
            ),
        ),
        (
            {"priorityClassName": "high", "preemptionPolicy": "PreemptLowerPriority"},
            (
                "the string value of PreemptionPolicy (PreemptLowerPriority) must not be provided in pod spec; priority"
                " admission controller computed Never from the given PriorityClass name"
            ),
        ),
    ],
)
async def test_a_pod_cannot_choose_another_priority(spec: Raw, says: str) -> None:
    request = write("CREATE", "pods", named("p", spec=spec), lookup=stored(HIGH))

    assert await admitted(priority.PLUGIN, request) == f'pods "p" is forbidden: {says}'


async def test_an_update_that_leaves_the_priority_out_keeps_it() -> None:
    new, old = named("p", spec={}), named("p", spec={"priority": 9, "preemptionPolicy": "Never"})

    await admitted(priority.PLUGIN, write("UPDATE", "pods", new, old))

    assert new["spec"] == old["spec"]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("low", ""),
        (
            "other",
            (
                'priorityclasses.scheduling.k8s.io "other" is forbidden: PriorityClass low is already marked as default.'
                " Only one default can exist"
            ),
        ),
    ],
)
async def test_only_one_priority_class_is_the_default(name: str, says: str) -> None:
    request = write(
        "UPDATE", "priorityclasses", named(name, globalDefault=True), named(name), lookup=stored(LOW)
    )

    assert await admitted(priority.PLUGIN, request) == says


async def test_the_chain_runs_what_looks_at_the_resource_in_order() -> None:
    seen: list[str] = []

    def plugin(name: str, *resources: tuple[str, str]) -> Plugin:
        async def mutate(_request: Request) -> None:
            seen.append(f"{name} mutates")

        async def validate(_request: Request) -> None:
            seen.append(f"{name} validates")

        return Plugin(name, mutate, validate, resources=frozenset(resources))

    made = Chain([plugin("all"), plugin("pods", ("", "pods")), plugin("nodes", ("", "nodes"))])
    request = write("CREATE", "pods", named("p"))

    await made.mutate(request)
    await made.validate(request)

    assert seen == ["all mutates", "pods mutates", "all validates", "pods validates"]


def test_flags_switch_plugins_on_and_off() -> None:
    usual = [plugin.name for plugin in chain().plugins]

    assert "NodeRestriction" not in usual
    assert "NodeRestriction" in [plugin.name for plugin in chain(["NodeRestriction"]).plugins]
    assert [plugin.name for plugin in chain((), ["Priority", "JobValidation"]).plugins] == [
        name for name in usual if name != "Priority"
    ]


@pytest.mark.parametrize(
    ("enable", "disable", "says"),
    [
        (["Nonsense"], [], 'enable-admission-plugins plugin "Nonsense" is unknown'),
        ([], ["Nonsense"], 'disable-admission-plugins plugin "Nonsense" is unknown'),
        (
            ["Priority"],
            ["Priority"],
            '"Priority" in enable-admission-plugins and disable-admission-plugins overlapped',
        ),
    ],
)
def test_flags_that_make_no_sense_are_named(enable: list[str], disable: list[str], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        chain(enable, disable)


def test_plugins_have_upstreams_names_and_names_are_unique() -> None:
    names = [plugin.name for plugin in PLUGINS]

    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("metadata", "name"),
    [({"name": "p"}, "p"), ({"generateName": "p-"}, "p-"), ({}, "Unknown")],
)
def test_a_refusal_names_the_object_as_far_as_it_is_known(metadata: Raw, name: str) -> None:
    error: ApiError = refused(write("CREATE", "pods", {"metadata": metadata}), "no")

    assert error.message == f'pods "{name}" is forbidden: no'
