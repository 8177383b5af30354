"""The release before: what is kept of it, what goes away, and the way back, run for real on files of the test's own."""

import os
import socket
import subprocess
from pathlib import Path

import pytest

from kybern.machines.control_plane_image import REPOSITORY
from kybern.machines.packages import wanted_packages
from kybern.machines.topology import Cluster, Machine
from roles import way_back
from roles.package import old_releases, package, removal, surplus
from roles.release import TARGET
from roles.templates import render
from roles.tree import File, Service
from roles.way_back import CONFIGURATION, ORDER, PATHS, UNITS, WAITED, back
from tests.roles.harness import FakeMachine, apply, deploy, plan
from tests.roles.small import Role, finished, use, use_images

ROOT = Path(__file__).parents[2]
# Written by roles, and no part of a release: see the docstring of way_back.
OTHERS = (
    "/etc/hosts",
    "/etc/hostname",
    "/etc/sysctl.d/",
    "/etc/systemd/journald.conf.d/",
    "/etc/systemd/system/systemd-journald.service.d/",
    "/etc/kybern/sysctl.conf",
    "/etc/kybern/firewall",
    "/etc/kybern/etcd.env",
    "/var/lib/kybern/etcd-was-member",
    "/var/lib/kybern/images/",
    "/etc/kubernetes/pki/",
    "/var/lib/kubelet/pki/",
    "/root/.kube/",
)


@pytest.fixture(autouse=True)
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    use_images(tmp_path, monkeypatch)
    use(tmp_path, monkeypatch, "one")


def only_package(_cluster: Cluster, _machine: Machine) -> object:
    return package()


def at_the_end(cluster: Cluster, machine: Machine) -> object:
    role: Role = old_releases
    return role(cluster, machine)


def going_back(_cluster: Cluster, _machine: Machine) -> object:
    return back()


def test_files_are_kept_before_another_release_is_taken_into_use(
    cluster: Cluster, worker: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = finished(only_package, cluster, worker)
    use(tmp_path, monkeypatch, "two")
    plan(only_package, cluster, worker, fake)
    fake.true |= {asked for asked in fake.asked if "/opt/kybern/package-two" in asked and "sort -u" in asked}

    changed = apply(only_package, cluster, worker, fake)

    assert changed.index("package | Way back kept") == changed.index("package | In use") - 1


def test_old_releases_go_away_when_everything_else_is_done(cluster: Cluster, worker: Machine) -> None:
    fake = FakeMachine(worker.name)
    assert plan(at_the_end, cluster, worker, fake) == []
    fake.true |= {asked for asked in fake.asked if "before-" in asked}

    assert plan(at_the_end, cluster, worker, fake) == ["package | Old releases removed"]
    last = (ROOT / "deploys/cluster.py").read_text().splitlines()[-1]
    assert last == "old_releases(cluster, machine)"


def test_a_machine_that_is_back_is_left_alone(cluster: Cluster, worker: Machine) -> None:
    fake = FakeMachine(worker.name)

    assert apply(going_back, cluster, worker, fake) == ["way back | Release before"]
    assert apply(going_back, cluster, worker, fake) == []


def test_all_that_a_release_brings_is_kept(cluster: Cluster) -> None:
    """A role that writes a file names it in CONFIGURATION, or it is no release's: then in OTHERS."""
    fakes = [FakeMachine(one.name, packages=set(wanted_packages(cluster, one))) for one in cluster.machines]
    deploy(cluster, fakes)

    written = {path for fake in fakes for path, found in fake.tree.items() if found.kind == "f"}
    objects = {path for path in written if path.startswith("/etc/kybern/") and path.endswith(".yaml")}
    topology = {path for path in written if path.startswith(OTHERS)}
    # A kubeconfig: credentials, which are the cluster's.
    topology |= {path for path in written if path.startswith("/etc/kubernetes/") and path.endswith(".conf")}
    units = {f"{UNITS}/{unit}" for unit in way_back.OF_THE_TOPOLOGY}
    left = {
        path
        for path in written - set(PATHS) - topology - (objects - set(CONFIGURATION))
        if not path.startswith(tuple(units))
    }
    assert left == set()
    assert set(WAITED) <= set(ORDER)


class Place:
    """A directory that stands for a machine: the scripts run in it, with a systemctl that writes down what it is told."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.units, self.target = root / "etc/systemd/system", root / "opt/kybern"
        for folder in (self.units, self.target, root / "run/kybern", root / "bin"):
            folder.mkdir(parents=True)
        told = root / "told"
        systemctl = root / "bin/systemctl"
        systemctl.write_text(f'#!/bin/sh\necho "$*" >>{told}\n')
        systemctl.chmod(0o755)

    @property
    def told(self) -> list[str]:
        told = self.root / "told"
        return told.read_text().splitlines() if told.exists() else []

    def run(self, script: str) -> subprocess.CompletedProcess[str]:
        for path in ("/opt/kybern", "/etc/", "/run/kybern", "/run/containerd", "/var/lib/"):
            script = script.replace(path, f"{self.root}{path}")
        environment = {**os.environ, "PATH": f"{self.root}/bin:{os.environ['PATH']}"}
        return subprocess.run(
            ["sh", "-c", script], check=False, capture_output=True, text=True, timeout=60, env=environment
        )

    def release(self, digest: str, *units: str, flags: str = "") -> None:
        """As a deploy leaves it: programs, the link, units that name them and have been started."""
        package = self.target / f"package-{digest}"
        program = package / "bin/kubelet"
        program.parent.mkdir(parents=True, exist_ok=True)
        program.write_text(f"/opt/kybern/dependencies-{digest}\n")
        program.chmod(0o755)
        (self.target / f"dependencies-{digest}").mkdir(exist_ok=True)
        (self.target / "current").unlink(missing_ok=True)
        (self.target / "current").symlink_to(package)
        for name in units:
            unit = File(f"{UNITS}/{name}", f"ExecStart={package}/bin/daemon {flags}\n".encode())
            service = Service(name, (unit,))
            for file in service.files:
                path = Path(f"{self.root}{file.path}")
                path.parent.mkdir(exist_ok=True)
                path.write_bytes(file.content.replace(b"/run/kybern", f"{self.root}/run/kybern".encode()))
            Path(f"{self.root}{service.stamp}").write_text(f"{service.digest}\n")

    def keep(self) -> None:
        done = self.run(render("release/kept.sh", target=TARGET, paths=PATHS).decode())
        assert done.returncode == 0, done.stderr

    def surplus(self, digest: str, *images: str) -> set[str]:
        kept = (f"package-{digest}", f"dependencies-{digest}")
        done = self.run(surplus(kept, images, master=bool(images)))
        return {Path(line.partition(" ")[2]).name for line in done.stdout.splitlines()}

    def back(self) -> subprocess.CompletedProcess[str]:
        return self.run(way_back.script())

    @property
    def is_back(self) -> bool:
        return self.run(way_back.is_back()).returncode == 0

    def text(self, unit: str) -> str:
        return (self.units / unit).read_text()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "machine")


def test_the_way_back_leads_to_the_files_and_units_of_the_release_before(place: Place) -> None:
    place.release("aaa", "kubelet.service", "kube-proxy.service", "etcd.service", flags="--old")
    place.keep()
    etcd = place.text("etcd.service")
    place.release("bbb", "kubelet.service", "kube-proxy.service", "kybern-policies.service", flags="--new")
    assert not place.is_back

    done = place.back()

    assert done.returncode == 0, done.stderr
    assert (place.target / "current").resolve().name == "package-aaa"
    assert "package-aaa/bin/daemon --old" in place.text("kubelet.service")
    assert place.text("etcd.service") == etcd
    assert not (place.units / "kybern-policies.service").exists()
    assert "disable --now --quiet kybern-policies.service" in place.told
    restarted = [line for line in place.told if "restart" in line]
    # etcd runs with what it ran with before; but the fake systemctl says of everything that it is active.
    assert restarted == ["--no-block restart kube-proxy.service", "--no-block restart kubelet.service"]
    assert not list(place.target.glob(".back-*"))


def test_it_may_be_gone_again_and_ends_when_all_have_been_restarted(place: Place) -> None:
    place.release("aaa", "kubelet.service")
    place.keep()
    place.release("bbb", "kubelet.service")
    place.back()
    assert not place.is_back, "the kubelet has not been started with it"

    assert place.back().returncode == 0
    (place.root / "run/kybern/kubelet.service.sha256").write_text(noted(place, "kubelet.service"))

    assert place.is_back
    assert place.back().returncode == 0


def noted(place: Place, unit: str) -> str:
    text = (place.units / f"{unit}.d/kybern.conf").read_text()
    return text.partition("echo ")[2].split()[0]


def test_without_a_way_back_that_is_said_and_nothing_is_changed(place: Place) -> None:
    place.release("aaa", "kubelet.service")

    done = place.back()

    assert done.returncode == 1
    assert "no release on this machine that it could go back to" in done.stderr
    assert place.told == []
    place.keep()
    place.release("bbb", "kubelet.service")
    (place.target / "package-aaa/bin/kubelet").unlink()
    done = place.back()
    assert "package-aaa, which this machine ran before, is not on it any more" in done.stderr


def test_two_releases_stay(place: Place) -> None:
    for number, digest in enumerate(("aaa", "bbb", "ccc")):
        if number:
            place.keep()
        place.release(digest, "kubelet.service")
    os.utime(place.target / "before-aaa.tar", (1, 1))
    (place.target / "package-ddd.new").mkdir()

    assert place.surplus("ccc") == {"package-aaa", "dependencies-aaa", "before-aaa.tar", "package-ddd.new"}
    assert place.surplus("bbb") == {
        "package-aaa",
        "dependencies-aaa",
        "before-aaa.tar",
        "package-ddd.new",
    } | {
        "package-ccc",
        "dependencies-ccc",
    }


def test_a_machine_that_never_had_another_release_keeps_the_one(place: Place) -> None:
    place.release("aaa", "kubelet.service")

    assert place.surplus("aaa") == set()


def test_what_is_kept_is_for_root_alone(place: Place) -> None:
    place.release("aaa", "kubelet.service")
    place.keep()

    assert (place.target / "before-aaa.tar").stat().st_mode & 0o777 == 0o600


# Where the control plane is pods.

CTR = """#!/bin/sh
# containerd, whose kubelet runs each manifest that is there.
case "$3 $4" in
"containers ls")
    for file in {manifests}/*.yaml; do
        name=$(basename "$file" .yaml)
        case "$6" in *"==$name,"*) echo "$name" ;; esac
    done ;;
"tasks ls") echo "TASK PID STATUS"; for file in {manifests}/*.yaml; do echo "$(basename "$file" .yaml) 1 RUNNING"; done ;;
"containers info") echo "    \\"io.kubernetes.pod.uid\\": \\"$(sed -n 's/^  uid: //p' "{manifests}/$5.yaml")\\"," ;;
"images ls") cat {images} ;;
"images rm") sed -i "\\|^$5 |d" {images} ;;
esac
"""


def as_pods(place: Place, digest: str, uid: str) -> Path:
    """As a deploy leaves an API server that is a pod: its manifest, and no unit."""
    folder = place.root / "etc/kubernetes/manifests"
    folder.mkdir(parents=True, exist_ok=True)
    ctr = place.root / "bin/ctr"
    ctr.write_text(CTR.format(manifests=folder, images=place.root / "images"))
    ctr.chmod(0o755)
    text = (
        f"metadata:\n  uid: {uid}\n  annotations:\n    kybern.io/release: {place.target}/package-{digest}\n"
    )
    (folder / "kube-apiserver.yaml").write_text(f"{text}      image: {REPOSITORY}:{digest}\n")
    unit = place.units / "kube-apiserver.service"
    stamp = place.root / "run/kybern/kube-apiserver.service.sha256"
    for path in (unit, unit.with_name(f"{unit.name}.d") / "kybern.conf", stamp):
        path.unlink(missing_ok=True)
    return folder / "kube-apiserver.yaml"


def start_all(place: Place) -> None:
    for conf in place.units.glob("*.service.d/kybern.conf"):
        unit = conf.parent.name.removesuffix(".d")
        (place.root / f"run/kybern/{unit}.sha256").write_text(noted(place, unit))


def test_the_manifests_of_the_release_before_come_back(place: Place) -> None:
    place.release("aaa", "kubelet.service")
    as_pods(place, "aaa", "1-1")
    place.keep()
    place.release("bbb", "kubelet.service")
    path = as_pods(place, "bbb", "2-2")
    assert not place.is_back

    done = place.back()

    assert done.returncode == 0, done.stderr
    assert "uid: 1-1" in path.read_text()
    assert [each.name for each in path.parent.iterdir()] == [path.name], (
        "the kubelet reads what else lies there"
    )
    start_all(place)
    assert place.is_back


def test_the_way_back_leads_from_pods_to_units_and_from_units_to_pods(place: Place) -> None:
    place.release("aaa", "kubelet.service", "kube-apiserver.service")
    place.keep()
    place.release("bbb", "kubelet.service")
    path = as_pods(place, "bbb", "2-2")

    done = place.back()

    assert done.returncode == 0, done.stderr
    assert list(path.parent.iterdir()) == []
    assert "package-aaa" in place.text("kube-apiserver.service")
    assert "restart kube-apiserver.service" in place.told
    start_all(place)
    assert place.is_back

    (place.target / "before-aaa.tar").unlink()
    place.release("ccc", "kubelet.service")
    as_pods(place, "ccc", "3-3")
    place.keep()
    path.unlink()
    place.release("ddd", "kubelet.service", "kube-apiserver.service")

    done = place.back()

    assert done.returncode == 0, done.stderr
    assert "uid: 3-3" in path.read_text()
    assert not (place.units / "kube-apiserver.service").exists()


def test_images_stay_that_a_manifest_or_a_kept_file_names(place: Place) -> None:
    place.release("aaa", "kubelet.service")
    as_pods(place, "aaa", "1-1")
    place.keep()
    place.release("bbb", "kubelet.service")
    as_pods(place, "bbb", "2-2")
    names = [f"{REPOSITORY}:{each}" for each in ("aaa", "bbb", "ccc")]
    base = [f"{REPOSITORY}-base:{each}" for each in ("b01", "b02")]
    lines = [f"{name} manifest sha256:{name[-3:]} 1 MiB linux/amd64 -" for name in (*names, *base)]
    lines += [f"sha256:{each} manifest sha256:{each} 1 MiB linux/amd64 -" for each in ("aaa", "ccc")]
    lines += ["registry.k8s.io/pause:3.10 manifest sha256:ppp 1 MiB linux/amd64 -"]
    (place.root / "images").write_text("\n".join(lines))

    # With the name by which the runtime knows the same image.
    assert place.surplus("bbb", names[1], base[1]) == {
        "control-plane:ccc",
        "control-plane-base:b01",
        "sha256:ccc",
    }


@pytest.fixture
def with_old_image(place: Place) -> Place:
    """Of a release before the one that is in use; containerd tells of both."""
    place.release("bbb", "kubelet.service")
    as_pods(place, "bbb", "2-2")
    lines = (f"{REPOSITORY}:{each} manifest sha256:{each} 1 MiB linux/amd64 -" for each in ("aaa", "bbb"))
    (place.root / "images").write_text("".join(f"{line}\n" for line in lines))
    return place


def listed() -> str:
    """As the role asks and does it."""
    return surplus(("package-bbb", "dependencies-bbb"), (f"{REPOSITORY}:bbb",), master=True)


def broken(place: Place, what: str) -> None:
    """Of a containerd that does not answer to one question."""
    ctr = place.root / "bin/ctr"
    ctr.write_text(ctr.read_text().replace(f'"{what}") ', f'"{what}") exit 1; '))


def test_an_image_that_nothing_names_goes(with_old_image: Place) -> None:
    done = with_old_image.run(removal(listed()))

    assert done.returncode == 0, done.stderr
    assert "aaa" not in (with_old_image.root / "images").read_text()
    assert "bbb" in (with_old_image.root / "images").read_text()


def test_a_containerd_that_does_not_answer_is_not_taken_for_one_without_images(
    with_old_image: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A busy one: the image would stay, and nobody would know."""
    broken(with_old_image, "images ls")
    assert with_old_image.surplus("bbb", f"{REPOSITORY}:bbb") == set()

    with socket.socket(socket.AF_UNIX) as listening:
        path = with_old_image.root / "run/containerd/containerd.sock"
        path.parent.mkdir(parents=True)
        with monkeypatch.context() as here:
            # The path of a socket has to be short.
            here.chdir(path.parent)
            listening.bind(path.name)
        assert with_old_image.surplus("bbb", f"{REPOSITORY}:bbb") == {"images"}
        done = with_old_image.run(removal(listed()))

    assert done.returncode == 1
    assert "cannot remove the images of an old release: containerd does not answer" in done.stderr


def test_an_image_that_does_not_go_is_told(with_old_image: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("roles.package.PATIENCE", 0)
    broken(with_old_image, "images rm")

    done = with_old_image.run(removal(listed()))

    assert done.returncode == 1
    assert "cannot remove the images of an old release" in done.stderr
