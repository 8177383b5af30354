"""Small decisions: verdicts of probes, access, admission, credentials, tidying up, patches of status."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from kybern.api.core_v1 import (
    ContainerPort,
    PodCondition,
    PodIP,
    PodStatus,
    Probe,
    Secret,
)
from kybern.kubelet.access import Asker, of_certificate, subresources
from kybern.kubelet.cgroups import Cgroups
from kybern.kubelet.collect import surplus_runs, surplus_sandboxes
from kybern.kubelet.convert import Image
from kybern.kubelet.images.names import registry_of, with_tag
from kybern.kubelet.images.registries import logins
from kybern.kubelet.images.surplus import surplus as surplus_images
from kybern.kubelet.probes.tally import Tally, count
from kybern.kubelet.probes.target import NoPort, port_of
from kybern.kubelet.publish import finished, patch_of
from kybern.kubelet.rotation import surplus
from kybern.kubelet.runtime import Actual
from kybern.kubelet.static import BadManifest, Manifests, mirror_of, pod_of
from tests.unit.kubelet.making import ago, container, ended, pod, run, sandbox

PROBE = Probe(success_threshold=2, failure_threshold=3)


def verdicts(*outcomes: bool | None) -> list[bool | None]:
    tally, found = Tally(), []
    for outcome in outcomes:
        tally, verdict = count(tally, outcome, PROBE)
        found.append(verdict)
    return found


def test_a_verdict_takes_so_many_of_the_same_in_a_row() -> None:
    assert verdicts(True, True) == [None, True]
    assert verdicts(False, False, True, False, False, False) == [None, None, None, None, None, False]


def test_a_probe_that_could_not_be_made_counts_for_nothing() -> None:
    assert verdicts(False, None, False, None, False) == [None, None, None, None, False]


def test_ports_are_numbers_or_names() -> None:
    one = container(ports=(ContainerPort(name="http", container_port=8080),))

    assert (port_of(one, 80), port_of(one, "http"), port_of(one, "81")) == (80, 8080, 81)
    with pytest.raises(NoPort, match="couldn't find port: dns"):
        port_of(one, "dns")


def test_a_certificate_names_who_asks() -> None:
    found = of_certificate(
        {"subject": ((("organizationName", "system:masters"),), (("commonName", "admin"),))}
    )

    assert found == Asker("admin", ("system:masters", "system:authenticated"))
    assert of_certificate(None) is None


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("/containerLogs/a/b/c", ("proxy",)), ("/stats/summary", ("stats",)), ("/metrics", ("metrics",)),
        ("/pods", ("pods", "proxy")), ("/logs/x", ("log",)), ("/statusz", ("statusz",)),
        ("/flagz", ("configz",)), ("/metrics/slis", ("metrics",)),
    ],
)  # fmt: skip
def test_paths_are_subresources_of_the_node(path: str, names: tuple[str, ...]) -> None:
    assert subresources(path) == names


def docker(**auths: dict[str, str]) -> Secret:
    text = json.dumps({"auths": auths}).encode()
    return Secret(data={".dockerconfigjson": base64.b64encode(text).decode()})


def test_images_have_a_tag() -> None:
    assert [with_tag(name) for name in ("a", "a:1", "r:5000/a", "a@sha256:1")] == [
        "a:latest", "a:1", "r:5000/a:latest", "a@sha256:1",
    ]  # fmt: skip
    assert registry_of("busybox") == "index.docker.io/library/busybox"
    assert registry_of("r:5000/a/b") == "r:5000/a/b"


def test_credentials_fit_their_registry() -> None:
    auth = base64.b64encode(b"bob:hush").decode()
    secret = docker(
        **{
            "https://index.docker.io/v1/": {"auth": auth},
            "r.example/team": {"username": "u", "password": "p"},
        }
    )

    (hub,) = logins((secret,), "busybox")
    (team,) = logins((secret,), "r.example/team/app")

    assert (hub.username, hub.password) == ("bob", "hush")
    assert team.username == "u"
    assert logins((secret,), "r.example/other/app") == ()
    assert "hush" not in repr(hub)


def test_a_broken_secret_is_as_good_as_none() -> None:
    assert logins((Secret(data={".dockerconfigjson": "!!"}),), "busybox") == ()


def test_one_dead_run_of_a_container_stays_beside_a_running_one() -> None:
    one = container()
    runs = (run(one, attempt=3), ended(one, attempt=2), ended(one, attempt=1), ended(one, attempt=0))

    assert [found.attempt for found in surplus_runs(Actual("u", instances=runs))] == [1, 0]


def test_dead_sandboxes_but_the_newest_go_once_they_are_empty() -> None:
    one = container()
    boxes = tuple(sandbox(id=f"s{n}", ready=n == 2, created_at=ago(-n)) for n in (2, 1, 0))
    actual = Actual("u", sandboxes=boxes, instances=(ended(one, sandbox="s1"),))

    assert [found.id for found in surplus_sandboxes(actual)] == ["s0"]


def test_images_go_that_were_unused_for_longest() -> None:
    images = [
        Image(name, (name,), (), 10, pinned=name == "pinned")
        for name in ("used", "pinned", "new", "old", "older")
    ]
    last = {"new": 100.0, "old": 50.0, "older": 20.0}

    found = surplus_images(images, frozenset({"used"}), last, before=60.0, excess=15)

    assert [image.id for image in found] == ["older", "old"]


def test_the_oldest_log_files_go() -> None:
    files = [Path(f"0.log.2026010{n}") for n in (3, 1, 2)]

    assert surplus(files, 2) == [Path("0.log.20260101")]


def test_a_status_patch_says_only_what_differs() -> None:
    old = PodStatus(phase="Pending", conditions=(PodCondition(type="Ready", status="False"),))
    new = PodStatus(phase="Running", conditions=old.conditions, pod_ips=(PodIP(ip="10.0.0.7"),))

    assert patch_of("u1", old, new) == {
        "metadata": {"uid": "u1"},
        "status": {"phase": "Running", "podIPs": [{"$patch": "replace"}, {"ip": "10.0.0.7"}]},
    }
    assert patch_of("u1", new, new) is None


def test_a_pod_of_which_nothing_runs_is_over() -> None:
    assert finished(PodStatus(phase="Running")).phase == "Failed"
    assert finished(PodStatus(phase="Succeeded")).phase == "Succeeded"


MANIFEST = """
apiVersion: v1
kind: Pod
metadata: {name: etcd, namespace: kube-system}
spec: {containers: [{name: etcd, image: "etcd:3"}], hostNetwork: true}
"""


def test_a_manifest_becomes_a_pod_of_this_node() -> None:
    found = pod_of(MANIFEST, "/m/etcd.yaml", "n1")

    assert (found.metadata.name, found.metadata.namespace) == ("etcd-n1", "kube-system")
    assert found.spec.node_name == "n1"
    assert found.spec.restart_policy == "Always"
    assert found.spec.containers[0].image_pull_policy == "IfNotPresent"
    assert found.metadata.annotations["kubernetes.io/config.hash"] == found.metadata.uid
    assert pod_of(MANIFEST, "/m/etcd.yaml", "n2").metadata.uid != found.metadata.uid


def test_a_mirror_says_what_it_shows() -> None:
    found = pod_of(MANIFEST, "/m/etcd.yaml", "n1")

    shown = mirror_of(found, None)

    assert shown.metadata.annotations["kubernetes.io/config.mirror"] == found.metadata.uid
    assert shown.metadata.uid == ""


POD = "apiVersion: v1\nkind: Pod\n"
NAMED = f"{POD}metadata: {{name: a}}\n"


@pytest.mark.parametrize(
    "text",
    [
        "{", "kind: Pod", POD, "[]",
        f"{POD}metadata: []", f"{POD}metadata: {{name: 1}}", f"{NAMED}spec: x", f"{NAMED}spec: null",
        f"{POD}metadata: {{name: a, annotations: [1]}}\nspec: {{containers: [{{name: c, image: i}}]}}",
        f"{NAMED}spec: {{containers: x}}", f"{NAMED}spec: {{containers: [x]}}",
        f"{NAMED}spec: {{containers: [{{name: c, image: i}}], tolerations: {{a: b}}}}",
        f"{NAMED}spec: {{containers: [{{name: c, image: 5}}]}}",
        f"{NAMED}spec: {{containers: [{{name: c, image: i, ports: x}}]}}",
        f"{NAMED}spec: {{containers: [{{name: c, image: i, resources: {{limits: [1]}}}}]}}",
        f"{NAMED}spec: {{containers: [{{name: c, image: i}}], volumes: [null]}}", f"{NAMED}spec: {{containers: []}}",
        f"{NAMED}spec: {{containers: [{{name: c, image: i, resources: {{limits: {{cpu: much}}}}}}]}}",
        f"{NAMED}spec: {{containers: [{{name: ../c, image: i}}]}}",
        f"{POD}metadata: {{name: ../a}}\nspec: {{containers: [{{name: c, image: i}}]}}",
        f"{POD}metadata: {{name: a, namespace: ../b}}\nspec: {{containers: [{{name: c, image: i}}]}}",
        f"{POD}metadata: {{name: a, uid: ../../etc}}\nspec: {{containers: [{{name: c, image: i}}]}}",
    ],
)  # fmt: skip
def test_a_file_that_is_no_pod_is_refused(text: str) -> None:
    with pytest.raises(BadManifest):
        pod_of(text, "f", "n1")


@pytest.mark.parametrize(
    ("spec", "kind"),
    [
        ("serviceAccountName: a, containers: [{name: c, image: i}]", "serviceaccounts"),
        ("containers: [{name: c, image: i}], volumes: [{name: v, configMap: {name: m}}]", "configmaps"),
        ("containers: [{name: c, image: i}], volumes: [{name: v, secret: {secretName: s}}]", "secrets"),
        ("containers: [{name: c, image: i}], volumes: [{name: v, persistentVolumeClaim: {claimName: m}}]",
         "persistentvolumeclaims"),
        ("containers: [{name: c, image: i}], volumes: [{name: v, projected: {sources: [{configMap: {name: m}}]}}]",
         "configmaps"),
        ("containers: [{name: c, image: i, env: [{name: A, valueFrom: {secretKeyRef: {name: s, key: k}}}]}]", "secrets"),
        ("containers: [{name: c, image: i, envFrom: [{configMapRef: {name: m}}]}]", "configmaps"),
        ("containers: [{name: c, image: i}], initContainers: [{name: d, image: i, envFrom: [{secretRef: {name: m}}]}]",
         "secrets"),
    ],
)  # fmt: skip
def test_a_file_s_pod_needs_nothing_of_the_api_server(spec: str, kind: str) -> None:
    with pytest.raises(BadManifest, match=f"static pods may not reference {kind}"):
        pod_of(f"{NAMED}spec: {{{spec}}}", "f", "n1")


def test_what_is_null_in_a_file_is_not_there() -> None:
    text = "metadata: {name: a, labels: null}\nspec: {containers: [{name: c, image: i, env: null}]}"

    found = pod_of(f"{POD}{text}", "f", "n1")

    assert (found.metadata.labels, found.spec.containers[0].env) == ({}, ())


def test_amounts_in_a_file_may_be_numbers() -> None:
    text = "spec: {containers: [{name: c, image: i, resources: {limits: {cpu: 1, memory: 1000}}}]}"

    resources = pod_of(f"{NAMED}{text}", "f", "n1").spec.containers[0].resources

    assert resources is not None
    assert resources.limits == {"cpu": "1", "memory": "1000"}


def test_a_bad_file_leaves_the_others_running(tmp_path: Path) -> None:
    (tmp_path / "good.yaml").write_text(MANIFEST)
    (tmp_path / "bad.yaml").write_text("{")
    manifests = Manifests(tmp_path, "n1")

    found = manifests.changed()

    assert found is not None
    assert [one.metadata.name for one in found.values()] == ["etcd-n1"]
    assert manifests.changed() is None
    (tmp_path / "good.yaml").unlink()
    assert manifests.changed() == {}


def test_cgroups_of_version_two_pass_controllers_down(tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").write_text("cpu memory pids\n")
    (tmp_path / "cgroup.subtree_control").write_text("memory\n")
    cgroups = Cgroups("/kubepods", tmp_path)

    assert cgroups.v2
    with pytest.MonkeyPatch.context() as patching:
        patching.setattr("pathlib.Path.mkdir", _mkdir_of_cgroups(Path.mkdir))
        name = cgroups.make(pod())

    assert name == "/kubepods/besteffort/podu1"
    assert (tmp_path / "kubepods/besteffort/podu1/cpu.max").read_text() == "max"
    assert (tmp_path / "kubepods/besteffort/podu1/cpu.weight").read_text() == "1"


def _mkdir_of_cgroups(mkdir: Any) -> Any:
    """A directory of the real file system comes with files in it."""

    def make(self: Path, *args: Any, **kwargs: Any) -> None:
        mkdir(self, *args, **kwargs)
        for path in (self, *self.parents):
            if "kubepods" in path.parts and not (path / "cgroup.controllers").exists():
                (path / "cgroup.controllers").write_text("cpu memory pids\n")
                (path / "cgroup.subtree_control").write_text("\n")

    return make
