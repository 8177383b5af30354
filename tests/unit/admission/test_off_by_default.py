"""Plugins for namespaces that are absent, and those that admit or deny all: upstream's that are off by default."""

import logging

import pytest

from kybern.admission.chain import LATER, chain
from kybern.admission.framework import Request
from kybern.admission.plugins import PLUGINS, always_deny, namespace_auto_provision, namespace_exists
from kybern.machinery.errors import AlreadyExists, ApiError, Forbidden
from tests.unit.admission.writes import admitted, named, stored, write

PROVISION, EXISTS = namespace_auto_provision.PLUGIN, namespace_exists.PLUGIN
THERE = ("namespaces", named("x"))
POD = named("p")


class Provider:
    """Makes namespaces; raises a problem instead, when it has one."""

    def __init__(self, problem: ApiError | None = None) -> None:
        self.made: list[str] = []
        self._problem = problem

    async def __call__(self, name: str) -> None:
        if self._problem:
            raise self._problem
        self.made.append(name)


@pytest.mark.parametrize(
    ("request_", "made"),
    [
        (write("CREATE", "pods", POD), ["x"]),
        (write("CREATE", "pods", POD, lookup=stored(THERE)), []),
        (write("CREATE", "pods", POD, lookup=stored(THERE, behind=True)), ["x"]),
        (write("CREATE", "pods", POD, dry_run=True), []),
        (write("CREATE", "pods/binding", POD, name="p"), ["x"]),
        (write("UPDATE", "pods", POD, POD), []),
        (write("DELETE", "pods", old=POD), []),
        (write("CREATE", "nodes", named("n")), []),
        (write("CREATE", "namespaces", named("x"), namespace="x"), []),
    ],
)
async def test_a_namespace_is_made_when_something_is_made_in_it(request_: Request, made: list[str]) -> None:
    request_.provision = provider = Provider()

    assert await admitted(PROVISION, request_) == ""

    assert provider.made == made


async def test_a_namespace_that_somebody_else_made_will_do() -> None:
    request = write("CREATE", "pods", POD, provision=Provider(AlreadyExists("it is there")))

    assert await admitted(PROVISION, request) == ""


async def test_a_namespace_that_cannot_be_made_is_no_namespace() -> None:
    request = write("CREATE", "pods", POD, provision=Provider(Forbidden("nobody may")))

    assert await admitted(PROVISION, request) == 'pods "p" is forbidden: nobody may'


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        (write("CREATE", "pods", POD), 'namespaces "x" not found'),
        (write("UPDATE", "pods", POD, POD), 'namespaces "x" not found'),
        (write("DELETE", "pods", old=POD), 'namespaces "x" not found'),
        (write("CONNECT", "pods/exec", {}, name="p"), ""),
        (write("CREATE", "pods", POD, lookup=stored(THERE)), ""),
        (write("CREATE", "pods", POD, lookup=stored(THERE, behind=True)), ""),
        (write("CREATE", "nodes", named("n")), ""),
        (write("CREATE", "namespaces", named("x"), namespace="x"), ""),
    ],
)
async def test_nothing_is_written_in_a_namespace_that_is_absent(request_: Request, says: str) -> None:
    assert await admitted(EXISTS, request_) == says


@pytest.mark.parametrize(
    "request_",
    [
        write("CREATE", "pods", POD),
        write("UPDATE", "nodes", named("p"), named("p")),
        write("DELETE", "services", old=POD),
        write("CONNECT", "pods/exec", {}, name="p"),
    ],
)
async def test_all_is_denied(request_: Request) -> None:
    on = chain(["AlwaysDeny"], {plugin.name for plugin in PLUGINS if plugin.default})
    says = f'{request_.kind.plural} "p" is forbidden: admission control is denying all modifications'

    for hook in (on.mutate, on.validate):
        with pytest.raises(Forbidden) as refusal:
            await hook(request_)
        assert refusal.value.message == says

    assert [plugin.name for plugin in on.plugins] == [always_deny.PLUGIN.name]


async def test_those_that_mean_nothing_are_called_deprecated(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        on = chain(["AlwaysAdmit", "AlwaysDeny"])

    assert [record.getMessage() for record in caplog.records] == [
        f"{name} admission controller is deprecated. Please remove this controller from your configuration files and "
        "scripts."
        for name in ("AlwaysAdmit", "AlwaysDeny")
    ]
    assert (on.plugins[0].name, on.plugins[-1].name) == ("AlwaysAdmit", "AlwaysDeny")


UPSTREAM = (
    "AlwaysAdmit", "NamespaceAutoProvision", "NamespaceLifecycle", "NamespaceExists",
    "LimitPodHardAntiAffinityTopology", "LimitRanger", "ServiceAccount", "NodeRestriction", "TaintNodesByCondition",
    "AlwaysPullImages", "ImagePolicyWebhook", "PodSecurity", "PodNodeSelector", "Priority",
    "DefaultTolerationSeconds", "PodTolerationRestriction", "EventRateLimit", "ExtendedResourceToleration",
    "DefaultStorageClass", "StorageObjectInUseProtection", "PodGroupProtection",
    "OwnerReferencesPermissionEnforcement", "PersistentVolumeClaimResize", "RuntimeClass", "CertificateApproval",
    "CertificateSigning", "ClusterTrustBundleAttest", "CertificateSubjectRestriction", "DefaultIngressClass",
    "DenyServiceExternalIPs", "PodTopologyLabels", "PodGroupWorkloadExists", "NodeDeclaredFeatureValidator",
    "JobValidation", "PodResizeValidator", "MutatingAdmissionPolicy", "MutatingAdmissionWebhook",
    "ValidatingAdmissionPolicy", "ValidatingAdmissionWebhook", "ResourceQuota", "AlwaysDeny",
)  # fmt: skip
"""All of v1.36 in their order (pkg/kubeapiserver/options/plugins.go)."""


def test_plugins_run_in_upstream_s_order() -> None:
    names = [plugin.name for plugin in PLUGINS]

    assert names == [name for name in UPSTREAM if name not in LATER]
    assert set(UPSTREAM) - set(names) == LATER


def test_they_are_off_unless_named() -> None:
    names = {"AlwaysAdmit", "AlwaysDeny", "NamespaceAutoProvision", "NamespaceExists"}

    assert names & {plugin.name for plugin in chain().plugins} == set()
    assert names <= {plugin.name for plugin in chain(names).plugins}
