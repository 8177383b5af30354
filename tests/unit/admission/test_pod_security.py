"""The Pod Security Standards, field by field, and what namespaces make of them."""

from typing import Any

import pytest

from kybern.admission.framework import Request
from kybern.admission.plugins.pod_security import PLUGIN
from kybern.admission.pod_security.policy import Level, Policy, policy, violations
from kybern.machinery.errors import Invalid
from kybern.machinery.kind import Raw
from tests.unit.admission.writes import Objects, admitted, named, stored, write

BASELINE, RESTRICTED = Level("baseline"), Level("restricted")
GOOD: dict[str, Any] = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
GOOD_POD: dict[str, Any] = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}


def container(name: str = "c", **security: Any) -> Raw:
    return {"name": name, "image": "i", "securityContext": security}


def spec(*containers: Raw, **more: Any) -> Raw:
    return {"containers": list(containers) or [{"name": "c", "image": "i"}], **more}


def said(level: Level, body: Raw, annotations: Raw | None = None) -> str:
    return ", ".join(map(str, violations(level, {"annotations": annotations or {}}, body)))


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (spec(), ""),
        (spec(securityContext={"runAsUser": 0}), ""),
        (
            spec(hostNetwork=True, hostPID=True, hostIPC=True),
            "host namespaces (hostNetwork=true, hostPID=true, hostIPC=true)",
        ),
        (spec(volumes=[{"name": "h", "hostPath": {"path": "/"}}]), 'hostPath volumes (volume "h")'),
        (spec(volumes=[{"name": "n", "nfs": {"server": "s", "path": "/"}}]), ""),
        (spec({"name": "c", "ports": [{"hostPort": 80}]}), 'hostPort (container "c" uses hostPort 80)'),
        (
            spec({"name": "a", "ports": [{"hostPort": 80}]}, {"name": "b", "ports": [{"hostPort": 22}]}),
            'hostPort (containers "a", "b" use hostPorts 22, 80)',
        ),
        (
            spec(container(capabilities={"add": ["NET_ADMIN", "SYS_TIME", "CHOWN"]})),
            (
                'non-default capabilities (container "c" must not include "NET_ADMIN", "SYS_TIME" in'
                " securityContext.capabilities.add)"
            ),
        ),
        (
            spec(securityContext={"seccompProfile": {"type": "Unconfined"}}),
            'seccompProfile (pod must not set securityContext.seccompProfile.type to "Unconfined")',
        ),
        (spec(securityContext={"sysctls": [{"name": "kernel.msgmax"}]}), "forbidden sysctls (kernel.msgmax)"),
        (spec(securityContext={"sysctls": [{"name": "net.ipv4.tcp_rmem"}]}), ""),
        (
            spec(securityContext={"seLinuxOptions": {"type": "spc_t", "user": "u"}}),
            'seLinuxOptions (pod set forbidden securityContext.seLinuxOptions: type "spc_t"; user may not be set)',
        ),
        (spec(container(seLinuxOptions={"type": "container_engine_t"})), ""),
        (spec(container(procMount="Unmasked"), hostUsers=False), ""),
        (
            spec(container(procMount="Unmasked")),
            'procMount (container "c" must not set securityContext.procMount to "Unmasked")',
        ),
        (
            spec(securityContext={"appArmorProfile": {"type": "Unconfined"}}),
            'forbidden AppArmor profile (pod must not set AppArmor profile type to "Unconfined")',
        ),
        (
            spec(container(privileged=True)),
            'privileged (container "c" must not set securityContext.privileged=true)',
        ),
        (
            spec(
                container(windowsOptions={"hostProcess": True}),
                securityContext={"windowsOptions": {"hostProcess": True}},
            ),
            'hostProcess (pod and container "c" must not set securityContext.windowsOptions.hostProcess=true)',
        ),
        (
            spec({"name": "c", "livenessProbe": {"httpGet": {"host": "10.0.0.1"}}}),
            'probe or lifecycle host (container "c" uses probe or lifecycle host "10.0.0.1")',
        ),
        (
            spec(initContainers=[container("i", privileged=True)]),
            'privileged (container "i" must not set securityContext.privileged=true)',
        ),
        (
            spec(ephemeralContainers=[container("e", privileged=True)]),
            'privileged (container "e" must not set securityContext.privileged=true)',
        ),
    ],
)
def test_baseline_forbids_known_ways_out(body: Raw, says: str) -> None:
    assert said(BASELINE, body) == says


def test_old_annotations_for_apparmor_count() -> None:
    held = {"container.apparmor.security.beta.kubernetes.io/c": "unconfined"}

    assert said(BASELINE, spec(), held) == (
        'forbidden AppArmor profile (annotation container.apparmor.security.beta.kubernetes.io/c="unconfined")'
    )


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (spec(container(**GOOD), securityContext=GOOD_POD), ""),
        (spec(container(**GOOD, **GOOD_POD)), ""),
        (
            spec(),
            (
                'allowPrivilegeEscalation != false (container "c" must set securityContext.allowPrivilegeEscalation=false),'
                ' unrestricted capabilities (container "c" must set securityContext.capabilities.drop=["ALL"]),'
                ' runAsNonRoot != true (pod or container "c" must set securityContext.runAsNonRoot=true), seccompProfile'
                ' (pod or container "c" must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost")'
            ),
        ),
        (
            spec(
                container(**GOOD | {"capabilities": {"drop": ["ALL"], "add": ["CHOWN", "NET_BIND_SERVICE"]}}),
                securityContext=GOOD_POD,
            ),
            'unrestricted capabilities (container "c" must not include "CHOWN" in securityContext.capabilities.add)',
        ),
        (
            spec(
                container(**GOOD),
                securityContext=GOOD_POD,
                volumes=[
                    {"name": "h", "hostPath": {"path": "/"}},
                    {"name": "n", "nfs": {}},
                    {"name": "e", "emptyDir": {}},
                ],
            ),
            'restricted volume types (volumes "h", "n" use restricted volume types "hostPath", "nfs")',
        ),
        (
            spec(container(**GOOD), securityContext=GOOD_POD | {"runAsNonRoot": False}),
            "runAsNonRoot != true (pod must not set securityContext.runAsNonRoot=false)",
        ),
        (
            spec(container(**GOOD, runAsNonRoot=False), securityContext=GOOD_POD),
            'runAsNonRoot != true (container "c" must not set securityContext.runAsNonRoot=false)',
        ),
        (
            spec(container(**GOOD, runAsUser=0), securityContext=GOOD_POD | {"runAsUser": 0}),
            'runAsUser=0 (pod and container "c" must not set runAsUser=0)',
        ),
        (spec(container(**GOOD, runAsUser=0), securityContext=GOOD_POD, hostUsers=False), ""),
        (
            spec(container(**GOOD, seccompProfile={"type": "Unconfined"}), securityContext=GOOD_POD),
            'seccompProfile (container "c" must not set securityContext.seccompProfile.type to "Unconfined")',
        ),
        (spec(container(runAsNonRoot=True), os={"name": "windows"}), ""),
    ],
)
def test_restricted_asks_for_hardened_pods(body: Raw, says: str) -> None:
    assert said(RESTRICTED, body) == says


@pytest.mark.parametrize(
    ("level", "body", "allowed"),
    [
        (
            Level("restricted", "v1.7"),
            spec(container(capabilities={}), securityContext={"runAsNonRoot": True}),
            True,
        ),
        (Level("baseline", "v1.33"), spec({"name": "c", "livenessProbe": {"httpGet": {"host": "h"}}}), True),
        (
            Level("baseline", "v1.31"),
            spec(securityContext={"sysctls": [{"name": "net.ipv4.tcp_rmem"}]}),
            False,
        ),
        (Level("baseline", "v1.30"), spec(container(seLinuxOptions={"type": "container_engine_t"})), False),
        (Level("baseline", "v1.34"), spec(container(procMount="Unmasked"), hostUsers=False), False),
        (Level("baseline", "v1.99"), spec(container(procMount="Unmasked"), hostUsers=False), True),
        (Level(), spec(container(privileged=True)), True),
    ],
)
def test_a_version_keeps_the_rules_of_its_day(level: Level, body: Raw, *, allowed: bool) -> None:
    assert (said(level, body) == "") == allowed


KEY = "pod-security.kubernetes.io/"


@pytest.mark.parametrize(
    ("labels", "result"),
    [
        ({}, Policy(Level(), Level(), Level())),
        ({"enforce": "baseline"}, Policy(BASELINE, Level(), BASELINE)),
        ({"enforce": "baseline", "warn": "restricted"}, Policy(BASELINE, Level(), RESTRICTED)),
        ({"enforce": "restricted", "warn": "privileged"}, Policy(RESTRICTED, Level(), Level())),
        (
            {"enforce": "baseline", "enforce-version": "v1.20"},
            Policy(Level("baseline", "v1.20"), Level(), Level("baseline", "v1.20")),
        ),
        ({"enforce": "bogus", "audit": "bogus", "warn": "bogus"}, Policy(RESTRICTED, Level(), Level())),
    ],
)
def test_labels_choose_the_levels(labels: dict[str, str], result: Policy) -> None:
    assert policy({KEY + key: value for key, value in labels.items()}) == result


def namespace(**labels: str) -> Raw:
    return named(
        "x", metadata={"labels": {KEY + key.replace("_", "-"): value for key, value in labels.items()}}
    )


def inside(**labels: str) -> Objects:
    return stored(("namespaces", namespace(**labels)))


def pod(body: Raw | None = None) -> Raw:
    return named("p", "x", spec=body or spec(hostNetwork=True))


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        (write("CREATE", "pods", pod(), lookup=inside()), ""),
        (
            write("CREATE", "pods", pod(), lookup=inside(enforce="baseline")),
            'pods "p" is forbidden: violates PodSecurity "baseline:latest": host namespaces (hostNetwork=true)',
        ),
        (write("UPDATE", "pods", pod(), pod(), lookup=inside(enforce="baseline")), ""),
        (write("UPDATE", "pods/status", pod(), pod(spec()), lookup=inside(enforce="baseline")), ""),
        (
            write(
                "UPDATE",
                "pods/ephemeralcontainers",
                pod(spec(hostNetwork=True, ephemeralContainers=[{"name": "e"}])),
                pod(),
                lookup=inside(enforce="baseline"),
            ),
            'pods "p" is forbidden: violates PodSecurity "baseline:latest": host namespaces (hostNetwork=true)',
        ),
    ],
)
async def test_pods_keep_to_the_level_of_their_namespace(request_: Request, says: str) -> None:
    assert await admitted(PLUGIN, request_) == says


@pytest.mark.parametrize("labels", [{"warn": "baseline"}, {"enforce": "baseline"}])
async def test_workloads_are_only_told(labels: dict[str, str]) -> None:
    deployment = named("d", "x", spec={"template": {"spec": spec(hostPID=True)}})
    request = write("CREATE", "deployments", deployment, namespace="x", lookup=inside(**labels))

    assert await admitted(PLUGIN, request) == ""
    assert request.warnings == ['would violate PodSecurity "baseline:latest": host namespaces (hostPID=true)']


async def test_pods_that_are_let_in_may_be_warned_of() -> None:
    request = write("CREATE", "pods", pod(spec(hostIPC=True)), lookup=inside(warn="baseline"))

    assert await admitted(PLUGIN, request) == ""
    assert request.warnings == ['would violate PodSecurity "baseline:latest": host namespaces (hostIPC=true)']


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (
            {"enforce": "bogus"},
            (
                'Namespace "x" is invalid: metadata.labels[pod-security.kubernetes.io/enforce]: Invalid value: "bogus": must'
                " be one of privileged, baseline, restricted"
            ),
        ),
        (
            {"enforce_version": "v2.0"},
            (
                'Namespace "x" is invalid: metadata.labels[pod-security.kubernetes.io/enforce-version]: Invalid value:'
                ' "v2.0": must be "latest" or "v1.x"'
            ),
        ),
    ],
)
async def test_wrong_labels_are_refused_unless_they_were_there(labels: dict[str, str], message: str) -> None:
    with pytest.raises(Invalid) as refused:
        await admitted_raw(write("UPDATE", "namespaces", namespace(**labels), namespace()))

    assert refused.value.message == message
    assert (
        await admitted(PLUGIN, write("UPDATE", "namespaces", namespace(**labels), namespace(**labels))) == ""
    )


async def admitted_raw(request: Request) -> None:
    assert PLUGIN.validate is not None
    await PLUGIN.validate(request)


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ({}, {"enforce": "baseline"}, True),
        ({"enforce": "baseline"}, {"enforce": "baseline"}, False),
        ({"enforce": "restricted"}, {"enforce": "baseline"}, False),
        ({"enforce": "restricted"}, {"enforce": "baseline", "enforce_version": "v1.30"}, True),
        ({"enforce": "baseline"}, {"enforce": "privileged"}, False),
    ],
)
async def test_a_stricter_namespace_names_the_pods_that_would_be_refused(
    before: dict[str, str], after: dict[str, str], *, told: bool
) -> None:
    bad = [("pods", named(name, "x", spec=spec(hostNetwork=True))) for name in ("b", "a", "c")]
    port = ("pods", named("d", "x", spec=spec({"name": "c", "ports": [{"hostPort": 1}]})))
    lookup = stored(*bad, port, ("pods", named("fine", "x", spec=spec())))
    request = write("UPDATE", "namespaces", namespace(**after), namespace(**before), lookup=lookup)

    await admitted_raw(request)

    version = after.get("enforce_version", "latest")
    head = f'existing pods in namespace "x" violate the new PodSecurity enforce level "baseline:{version}"'
    expected = [head, "a (and 2 other pods): host namespaces", "d: hostPort"]
    assert request.warnings == (expected if told else [])
