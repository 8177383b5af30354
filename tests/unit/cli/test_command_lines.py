"""The daemons of the control plane take the command lines that upstream's take."""

import json
from pathlib import Path

import pytest

from kybern.apiserver.config import ACTS
from kybern.apiserver.config import FLAGS as APISERVER
from kybern.cli.cloud_flags import flags as cloud_controller_manager
from kybern.cli.controller_flags import WORKERS
from kybern.cli.controller_flags import flags as controller_manager
from kybern.cli.controller_manager import chosen, settings
from kybern.cli.proxy import FLAGS as PROXY
from kybern.cli.scheduler import FLAGS as SCHEDULER
from kybern.controllers import CONTROLLERS
from kybern.daemon.flags import BadFlag, Flags
from kybern.daemon.shared_flags import enabled, unusual
from kybern.kubelet.flags import FLAGS as KUBELET
from kybern.loop.settings import Settings
from kybern.scheduler.config import read

UPSTREAM = json.loads((Path(__file__).parents[2] / "data/command_lines.json").read_text())


@pytest.mark.parametrize(
    "flags", [SCHEDULER, controller_manager(), cloud_controller_manager()], ids=lambda one: one.name
)
def test_every_flag_of_upstream_is_taken(flags: Flags) -> None:
    assert {*UPSTREAM["shared"], *UPSTREAM[flags.name]} - {one.name for one in flags} == set()


@pytest.mark.parametrize(
    ("argument", "why"),
    [
        ("--cloud-provider=gce", "there are no cloud providers"),
        ("--tls-sni-cert-key=a,b", "one certificate is served"),
        ("--leader-elect-resource-lock=configmaps", "Leases are the only lock"),
        (
            "--feature-gates=GangScheduling=true",
            "cannot set feature gate GangScheduling to true: it is false here",
        ),
        ("--feature-gates=AllAlpha=true", "cannot set feature gate AllAlpha"),
        ("--feature-gates=NoSuchThing=true", "unrecognized feature gate: NoSuchThing"),
        ("--emulated-version=kube=1.35", "no version but 1.36 is emulated"),
        ("--concurrent_rc_syncs=0", "must be greater than or equal to 1"),
        ("--logging-format=xml", 'Invalid value: "xml": Unsupported log format'),
    ],
)
def test_what_cannot_be_done_is_refused_with_the_reason(argument: str, why: str) -> None:
    with pytest.raises(BadFlag, match=why):
        controller_manager().read([argument])


def test_features_may_be_named_as_they_are() -> None:
    given = ["--feature-gates=GangScheduling=false,kube:WatchList=true", "--emulated-version=1.36"]

    assert SCHEDULER.read(given)["emulated-version"] == "1.36"


def test_each_controller_works_on_as_many_objects_at_a_time_as_it_is_told() -> None:
    values = controller_manager().read(["--concurrent-job-syncs=11", "--concurrent_rc_syncs", "7"])
    workers = {one.name: one.workers for one in chosen(values, Settings())}

    assert (workers["job-controller"], workers["replicationcontroller-controller"]) == (11, 7)
    assert workers["namespace-controller"] == 10
    known = {make(Settings()).name for make in CONTROLLERS}
    assert {controller for _, _, controller in WORKERS} <= known


def test_garbage_may_stay() -> None:
    def names(*given: str) -> set[str]:
        values = controller_manager().read(given)
        return {one.name for one in chosen(values, settings(values))}

    assert names() - names("--enable-garbage-collector=false") == {"garbage-collector-controller"}


def test_the_scheduler_does_what_its_flags_say() -> None:
    given = ["--master=https://here", "--leader-elect-resource-name=other", "--leader-elect-retry-period=1s"]
    found = read(SCHEDULER.read([*given, "--pod-max-in-unschedulable-pods-duration=1m"]))

    assert (found.kubeconfig, found.master) == ("", "https://here")
    assert (found.lease_name, found.lease_namespace) == ("other", "kube-system")
    assert (found.timing.retry_period, found.delays.refused) == (1.0, 60.0)


@pytest.mark.parametrize(
    ("arguments", "runs"),
    [
        ((), False),
        (("--controllers=*,storage-version-migrator-controller",), False),
        (("--feature-gates=StorageVersionMigrator=false",), False),
        (("--feature-gates=StorageVersionMigrator=true",), True),
        (("--feature-gates=kube:StorageVersionMigrator=true",), True),
        (
            (
                "--feature-gates=StorageVersionMigrator=true",
                "--controllers=*,-storage-version-migrator-controller",
            ),
            False,
        ),
    ],
)
def test_the_migrator_runs_with_its_feature_gate_only(arguments: tuple[str, ...], *, runs: bool) -> None:
    values = controller_manager().read(arguments)
    found = {one.name for one in chosen(values, settings(values))}

    assert ("storage-version-migrator-controller" in found) is runs


@pytest.mark.parametrize(
    ("arguments", "runs"),
    [
        ((), False),
        (("--feature-gates=ClusterTrustBundle=true",), False),
        (("--root-ca-file={ca}",), False),
        (("--root-ca-file={ca}", "--feature-gates=ClusterTrustBundle=true"), True),
    ],
)
def test_the_publisher_of_trust_bundles_needs_its_gate_and_an_authority(
    tmp_path: Path, arguments: tuple[str, ...], *, runs: bool
) -> None:
    (tmp_path / "ca").write_text("CA")
    values = controller_manager().read([one.format(ca=tmp_path / "ca") for one in arguments])
    found = {one.name for one in chosen(values, settings(values))}

    assert ("kube-apiserver-serving-clustertrustbundle-publisher-controller" in found) is runs


def test_the_api_server_takes_every_gate_that_there_is() -> None:
    values = APISERVER.read(["--feature-gates=GangScheduling=true,kube:StorageVersionMigrator=true"])

    assert enabled(values["feature-gates"], ACTS) == {"StorageVersionMigrator"}
    assert list(unusual(values["feature-gates"], ACTS)) == [("GangScheduling", True)]


@pytest.mark.parametrize(
    ("argument", "why"),
    [
        ("--feature-gates=NoSuchThing=true", "unrecognized feature gate: NoSuchThing"),
        ("--feature-gates=GangScheduling=perhaps", "invalid value of GangScheduling=perhaps"),
        (
            "--feature-gates=ClusterTrustBundleProjection=true",
            r"ClusterTrustBundleProjection is enabled, but depends on features that are disabled: \[ClusterTrustBundle\]",
        ),
    ],
)
def test_the_api_server_refuses_gates_that_there_are_not(argument: str, why: str) -> None:
    with pytest.raises(BadFlag, match=why):
        APISERVER.read([argument])


@pytest.mark.parametrize(
    "flags",
    [APISERVER, SCHEDULER, controller_manager(), cloud_controller_manager(), KUBELET, PROXY],
    ids=lambda one: one.name,
)
def test_every_daemon_takes_the_flags_of_its_log(flags: Flags) -> None:
    values = flags.read(["-v=4", "--logging-format=json"])
    assert (values["v"], values["logging-format"]) == (4, "json")
