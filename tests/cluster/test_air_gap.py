"""A cluster where there is no network: machines and operator reach nothing but each other, and all comes from a bundle.

The machines begin without the packages that roles install, and the operator without a release and with an empty cache.
The operator's network is a namespace with one way, onto the machines' bridge; what machines send elsewhere is refused
by this host.
"""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from kybern.machines.load import load
from kybern.machines.packages import wanted_packages
from kybern.machines.xml import bridge_name
from tests.cluster.conftest import KYBERN, Lab

pytestmark = pytest.mark.operations

NAME = "airgap"
RULE = "90"  # before the tables that lead out, behind the one of this host's own addresses
# What a machine of ours keeps: it is reached by SSH, and our daemons are Python.
KEPT = {"ca-certificates", "iproute2", "kmod", "procps", "python3"}
ELSEWHERE = "python3 -c \"import socket; socket.create_connection(('192.0.2.1', 80), 3)\" 2>&1; true"


@pytest.fixture(scope="module")
def topology(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    place = tmp_path_factory.mktemp("airgap")
    state = place / "state"
    state.mkdir(mode=0o700)
    (state / "uv").symlink_to(Path(".kybern/uv").resolve())
    path = place / f"{NAME}.yaml"
    described = {
        "cluster": NAME,
        "network": "10.50.0.0/24",
        "pods": "10.246.0.0/16",
        "services": "10.98.0.0/16",
        "bundle": str(place / "bundle"),
        "machines": [
            {"name": "m1", "address": "10.50.0.11", "roles": ["etcd", "control-plane"]},
            {"name": "w1", "address": "10.50.0.21", "roles": ["worker"]},
        ],
    }
    path.write_text(yaml.safe_dump(described))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KYBERN_STATE", str(state))
        patch.setenv("UV_CACHE_DIR", str(place / "cache"))
        yield path


def pods(topology: Path) -> Path:
    """The same cluster with its control plane as pods."""
    path = topology.with_name("pods.yaml")
    path.write_text(yaml.safe_dump(yaml.safe_load(topology.read_text()) | {"control_plane": "pods"}))
    return path


@pytest.fixture(scope="module")
def gap(topology: Path) -> Iterator[Lab]:
    """Bare machines, a bundle for them, and the network cut."""
    lab = Lab(load(topology))
    lab.kybern("bundle", str(pods(topology)), seconds=1200)
    lab.kybern("bundle", str(topology), seconds=1200)
    try:
        lab.kybern("machines", "up", str(topology), seconds=900)
        for machine in lab.cluster.machines:
            names = " ".join(sorted({*wanted_packages(lab.cluster, machine), "runc"} - KEPT))
            lab.ssh(
                machine.name,
                f"apt-get -qq -y purge {names} && apt-get -qq -y autoremove --purge",
                seconds=300,
            )
            assert "containerd" not in lab.ssh(machine.name, "ls /usr/bin")
        with cut(bridge_name(NAME)):
            yield lab
    finally:
        lab.kybern("machines", "down", str(topology), check=False)


@contextmanager
def cut(bridge: str) -> Iterator[None]:
    """What comes from the bridge goes nowhere else; and the operator's namespace has no way but onto it."""
    place = ("ip", "-n", NAME)
    _ip("ip", "rule", "add", "dev", bridge, "priority", RULE, "prohibit")
    try:
        _ip("ip", "netns", "add", NAME)
        _ip("ip", "link", "add", "airgap0", "type", "veth", "peer", "name", "airgap1", "netns", NAME)
        _ip("ip", "link", "set", "airgap0", "master", bridge, "up")
        _ip(*place, "address", "add", "10.50.0.250/24", "dev", "airgap1")
        for device in ("lo", "airgap1"):
            _ip(*place, "link", "set", device, "up")
        yield
    finally:
        _ip("ip", "rule", "delete", "dev", bridge, "priority", RULE, "prohibit")
        # With its end of the link the other one goes, too.
        _ip("ip", "netns", "delete", NAME)


def _ip(*words: str) -> None:
    subprocess.run(words, check=True, timeout=20, capture_output=True)


@pytest.fixture
def offline(topology: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """The operator's command, in the namespace without a network."""

    def run(*words: str, seconds: int = 900, of: Path = topology) -> subprocess.CompletedProcess[str]:
        command = ["ip", "netns", "exec", NAME, str(KYBERN), *words, str(of)]
        return subprocess.run(command, check=False, capture_output=True, text=True, timeout=seconds)

    return run


def test_nobody_reaches_anything_else(gap: Lab) -> None:
    for machine in gap.cluster.machines:
        assert "No route to host" in gap.ssh(machine.name, ELSEWHERE)
    operator = ["ip", "netns", "exec", NAME, sys.executable, "-c"]
    asked = "import socket; socket.create_connection(('192.0.2.1', 80), 3)"
    done = subprocess.run([*operator, asked], check=False, capture_output=True, text=True, timeout=20)
    assert "Network is unreachable" in done.stderr


def test_an_artefact_that_is_missing_ends_a_deploy_with_one_line_before_anything_is_touched(
    gap: Lab, offline: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    archive = next(Path(gap.cluster.bundle).glob("debian-*/runc_*.deb"))
    aside = archive.rename(archive.with_suffix(".aside"))
    try:
        done = offline("deploy")
    finally:
        aside.rename(archive)

    assert done.returncode == 1
    said = done.stderr.strip().splitlines()
    assert len(said) == 1, said
    assert f"debian-trixie/{archive.name} is missing" in said[0]
    assert "kybern bundle TOPOLOGY" in said[0]
    assert gap.ssh("m1", "ls /etc/kubernetes 2>/dev/null; true") == ""


def test_a_cluster_comes_to_be_and_runs_pods(
    gap: Lab, offline: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    done = offline("deploy")
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    gap.eventually("both nodes ready", lambda: gap.nodes_ready() == {"m1", "w1"}, seconds=120)
    gap.kubectl("run", "one", "--image=busybox:1.36", "--restart=Never", "--", "sleep", "600")
    gap.eventually("the pod runs", lambda: gap.get("pod", "one")["status"].get("phase") == "Running", 120)

    again = offline("deploy")
    assert again.stdout.splitlines()[-1] == f"0 changes on 2 machines of {NAME}."
    assert gap.ssh("m1", "ls /var/lib/kybern/packages").split() == ["Packages", "Release"]


def test_a_whole_bundle_is_made_without_a_network(
    gap: Lab, offline: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    done = offline("bundle")

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f"{gap.cluster.bundle} is whole: 0 files fetched, 0 MB."


def test_the_control_plane_becomes_pods_without_a_network(
    gap: Lab, topology: Path, offline: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    done = offline("deploy", of=pods(topology))
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]

    said = gap.ssh("m1", "ls /etc/kubernetes/manifests; systemctl is-active kube-apiserver; true").split()
    assert said == ["kube-apiserver.yaml", "kube-controller-manager.yaml", "kube-scheduler.yaml", "inactive"]
    gap.eventually("both nodes ready", lambda: gap.nodes_ready() == {"m1", "w1"}, seconds=120)
    again = offline("deploy", of=pods(topology))
    assert again.stdout.splitlines()[-1] == f"0 changes on 2 machines of {NAME}."
    assert offline("deploy").returncode == 0
