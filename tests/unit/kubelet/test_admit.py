"""Which pods may run on the node, and in which words others are refused."""

from typing import Any

import pytest

from kybern.api.core_v1 import (
    Affinity,
    AppArmorProfile,
    ContainerPort,
    ContainerRestartRule,
    Node,
    NodeAffinity,
    NodeFeatures,
    NodeSelector,
    NodeSelectorRequirement,
    NodeSelectorTerm,
    NodeSpec,
    NodeStatus,
    Pod,
    PodOS,
    PodSecurityContext,
    ResourceRequirements,
    SecurityContext,
    Sysctl,
    Taint,
    Toleration,
)
from kybern.api.meta_v1 import ObjectMeta
from kybern.kubelet import sysctls
from kybern.kubelet.admit import Room, refuse
from kybern.machinery.struct import replace
from tests.unit.kubelet.making import container, pod

ALLOCATABLE = {"cpu": "1", "memory": "1Gi", "pods": "2", "ephemeral-storage": "10Gi"}


def node(*taints: Taint, strict: bool | None = None, **labels: str) -> Node:
    status = NodeStatus(allocatable=ALLOCATABLE, features=NodeFeatures(supplemental_groups_policy=strict))
    return Node(metadata=ObjectMeta(name="n1", labels=labels), spec=NodeSpec(taints=taints), status=status)


def room(*others: Pod, of: Node | None = None, **more: Any) -> Room:
    return Room(of or node(), others, **more)


def asking(uid: str = "u1", **requests: str) -> Pod:
    named = {name.replace("_", "-"): value for name, value in requests.items()}
    found = pod(container(resources=ResourceRequirements(requests=named)))
    return replace(found, metadata=replace(found.metadata, uid=uid))


def verdict(found: Pod, of: Room) -> tuple[str, str] | None:
    refused = refuse(found, of)
    return (refused.reason, refused.message) if refused is not None else None


@pytest.mark.parametrize(
    ("wanted", "used", "reason", "numbers"),
    [
        ({"cpu": "600m"}, {"cpu": "500m"}, "OutOfcpu", "cpu, requested: 600, used: 500, capacity: 1000"),
        ({"memory": "1Gi"}, {"memory": "1Mi"}, "OutOfmemory",
         "memory, requested: 1073741824, used: 1048576, capacity: 1073741824"),
        ({"ephemeral_storage": "11Gi"}, {}, "OutOfephemeral-storage",
         "ephemeral-storage, requested: 11811160064, used: 0, capacity: 10737418240"),
    ],
)  # fmt: skip
def test_a_pod_that_does_not_fit_is_refused(
    wanted: dict[str, str], used: dict[str, str], reason: str, numbers: str
) -> None:
    found = verdict(asking(**wanted), room(asking("u2", **used)))

    assert found == (reason, f"Node didn't have enough resource: {numbers}")


def test_a_pod_that_fills_the_node_is_taken() -> None:
    assert verdict(asking(cpu="500m"), room(asking("u2", cpu="500m"))) is None


def test_what_a_pod_says_as_a_whole_counts_and_its_overhead_too() -> None:
    whole = pod(
        container(resources=ResourceRequirements(requests={"cpu": "100m"})),
        resources=ResourceRequirements(requests={"cpu": "900m"}),
        overhead={"cpu": "200m"},
    )

    found = verdict(whole, room())

    assert found is not None
    assert found[1].endswith("cpu, requested: 1100, used: 0, capacity: 1000")


def test_an_extended_resource_that_the_node_does_not_have_is_not_asked_for() -> None:
    wanted = pod(container(resources=ResourceRequirements(requests={"example.com/foo": "1"})))

    assert verdict(wanted, room()) is None


def test_the_number_of_pods_is_limited() -> None:
    found = verdict(asking(), room(asking("u2"), asking("u3")))

    assert found == (
        "OutOfpods",
        "Node didn't have enough resource: pods, requested: 1, used: 2, capacity: 2",
    )


def test_a_host_port_is_given_once() -> None:
    taken = pod(container(ports=(ContainerPort(container_port=80, host_port=8080),)))

    assert verdict(taken, room(taken)) == (
        "NodePorts",
        "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports",
    )


def test_labels_and_affinity_must_match() -> None:
    term = NodeSelectorTerm(
        match_expressions=(NodeSelectorRequirement(key="disk", operator="In", values=("ssd",)),)
    )
    asked = NodeSelector(node_selector_terms=(term,))
    near = Affinity(node_affinity=NodeAffinity(required_during_scheduling_ignored_during_execution=asked))
    text = "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector"

    for wanted in (pod(node_selector={"disk": "ssd"}), pod(affinity=near)):
        assert verdict(wanted, room(of=node(disk="ssd"))) is None
        assert verdict(wanted, room()) == ("NodeAffinity", text)


def test_only_taints_that_drive_out_keep_off() -> None:
    drives, keeps = Taint(key="a", effect="NoExecute"), Taint(key="b", effect="NoSchedule")
    bears = Toleration(key="a", operator="Exists")

    assert verdict(pod(), room(of=node(keeps))) is None
    assert verdict(pod(tolerations=(bears,)), room(of=node(drives))) is None
    assert verdict(pod(), room(of=node(drives))) == (
        "TaintToleration", "Predicate TaintToleration failed: node(s) had taints that the pod didn't tolerate",
    )  # fmt: skip


def test_pods_of_another_system_are_refused() -> None:
    assert verdict(pod(os=PodOS(name="windows")), room()) == (
        "PodOSNotSupported", "Failed to admit pod as the OS field doesn't match node OS",
    )  # fmt: skip
    found = verdict(pod(meta={"labels": {"kubernetes.io/os": "windows"}}), room())
    assert found is not None
    assert found[0] == "PodOSSelectorNodeLabelDoesNotMatch"


def test_strict_groups_need_a_runtime_that_can() -> None:
    wanted = pod(security_context=PodSecurityContext(supplemental_groups_policy="Strict"))

    assert verdict(wanted, room(of=node(strict=True))) is None
    assert verdict(wanted, room()) == (
        "SupplementalGroupsPolicyNotSupported",
        "SupplementalGroupsPolicy=Strict is not supported in this node",
    )


def test_profiles_of_app_armor_need_app_armor() -> None:
    profile = AppArmorProfile(type="RuntimeDefault")
    whole = pod(security_context=PodSecurityContext(app_armor_profile=profile))
    own = pod(container(security_context=SecurityContext(app_armor_profile=profile)))
    noted = pod(meta={"annotations": {"container.apparmor.security.beta.kubernetes.io/c": "localhost/x"}})
    free = pod(security_context=PodSecurityContext(app_armor_profile=AppArmorProfile(type="Unconfined")))

    for wanted in (whole, own, noted):
        assert verdict(wanted, room(apparmor=True)) is None
        assert verdict(wanted, room()) == (
            "AppArmor", "Cannot enforce AppArmor: AppArmor is not enabled on the host",
        )  # fmt: skip
    assert verdict(free, room()) is None


@pytest.mark.parametrize(
    ("name", "spec", "allowed", "text"),
    [
        ("kernel.shm_rmid_forced", {}, (), None),
        ("net/ipv4/tcp_rmem", {}, (), None),
        ("net.core.somaxconn", {}, (), '"net.core.somaxconn" not allowlisted'),
        ("net.core.somaxconn", {}, ("net.core.*",), None),
        ("net.core.somaxconn", {"host_network": True}, ("net.core.*",),
         '"net.core.somaxconn" not allowed with host net enabled'),
        ("kernel.sem", {"host_ipc": True}, ("kernel.sem",), '"kernel.sem" not allowed with host ipc enabled'),
        ("kernel.msgmax", {}, ("kernel.msg*",), None),
    ],
)  # fmt: skip
def test_sysctls_that_are_not_safe_must_be_allowed(
    name: str, spec: dict[str, Any], allowed: tuple[str, ...], text: str | None
) -> None:
    wanted = pod(security_context=PodSecurityContext(sysctls=(Sysctl(name=name, value="1"),)), **spec)

    found = verdict(wanted, room(sysctls=sysctls.allowed(allowed)))

    assert found == (None if text is None else ("SysctlForbidden", f"forbidden sysctl: {text}"))


def test_only_sysctls_of_a_namespace_can_be_allowed() -> None:
    with pytest.raises(ValueError, match="are not known to be namespaced"):
        sysctls.allowed(("vm.swappiness",))
    with pytest.raises(ValueError, match="match regex"):
        sysctls.allowed(("net.*.foo",))


def test_a_name_with_slashes_may_have_dots_within_its_parts() -> None:
    assert sysctls.dotted("net/ipv4/conf/eth0.1/rp_filter") == "net.ipv4.conf.eth0/1.rp_filter"
    assert sysctls.dotted("net.ipv4.conf.eth0/1.rp_filter") == "net.ipv4.conf.eth0/1.rp_filter"


class TestPressure:
    """What the node is short of decides whom it takes."""

    BEST, SOME = pod(), asking(cpu="1m")
    CRITICAL = pod(priority=2_000_000_000)
    BEARS = pod(tolerations=(Toleration(key="node.kubernetes.io/memory-pressure", operator="Exists"),))

    def test_short_of_memory_only_pods_without_requests_are_refused(self) -> None:
        short = room(pressures=("MemoryPressure",))

        assert verdict(self.BEST, short) == ("Evicted", "The node had condition: [MemoryPressure]. ")
        assert verdict(self.SOME, short) is None
        assert verdict(self.BEARS, short) is None

    def test_short_of_anything_else_all_are_refused_that_are_not_critical(self) -> None:
        short = room(pressures=("DiskPressure", "MemoryPressure"))

        assert verdict(self.SOME, short) == (
            "Evicted", "The node had condition: [DiskPressure MemoryPressure]. ",
        )  # fmt: skip
        assert verdict(self.BEARS, short) is not None
        assert verdict(self.CRITICAL, short) is None


def test_a_pod_that_asks_for_what_the_kubelet_cannot_do_is_refused() -> None:
    rule = ContainerRestartRule(action="RestartAllContainers")
    wanted = pod(container(restart_policy_rules=(rule,)))
    name = "RestartAllContainersOnContainerExits"

    assert verdict(wanted, room(features=("A", name))) is None
    assert verdict(wanted, room(features=("A",))) == (
        "PodFeatureUnsupported", f"Pod requires node features that are not available: {name}"
    )  # fmt: skip
