"""The provider against libvirt's own test driver, and one real container."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path

import pytest

libvirt = pytest.importorskip("libvirt")

from kybern.machines import driver, hypervisor, images, recipe, xml  # noqa: E402
from kybern.machines.booting import answers  # noqa: E402
from kybern.machines.errors import MachineError  # noqa: E402
from kybern.machines.libvirt import Libvirt  # noqa: E402
from kybern.machines.lifecycle import Run  # noqa: E402
from kybern.machines.lxc import Lxc, cgroups_of  # noqa: E402
from kybern.machines.plan import Wanted, wanted  # noqa: E402
from kybern.machines.qemu import Qemu  # noqa: E402
from kybern.machines.state import File, State  # noqa: E402
from kybern.machines.topology import CONTROL_PLANE, ETCD, Attached, Cluster, Machine  # noqa: E402

pytestmark = pytest.mark.libvirt

BESIDE = f"kyb{os.getpid()}"
CLUSTER = Cluster(
    name="proto",
    network=IPv4Network("10.213.77.0/24"),
    gateway=IPv4Address("10.213.77.1"),
    vip=None,
    machines=(Machine("one", IPv4Address("10.213.77.11"), frozenset({ETCD, CONTROL_PLANE}), memory=512),),
)


class Fake:
    """A driver whose machines exist in libvirt's test driver only; it notes what is asked of it."""

    uri = "test:///default"
    patience = 1.0

    def __init__(self, home: Path) -> None:
        self.home, self.seen = home, list[str]()

    def image(self, offered: Path | None = None) -> None:
        self.seen.append("image")

    def create(self, wanted: Wanted, files: tuple[File, ...]) -> None:
        self.seen.append(f"create {wanted.name}")

    def resize(self, wanted: Wanted) -> None:
        self.seen.append(f"resize {wanted.name}")

    def xml(self, wanted: Wanted) -> str:
        text = xml.lxc(wanted, self.home, {}, {})
        return text.replace('type="lxc"', 'type="test"').replace("x86_64", "i686").replace(">exe<", ">hvm<")

    def remove(self, cluster: str, machine: str) -> None:
        self.seen.append(f"remove {cluster}-{machine}")

    def before_start(self, wanted_name: str, directory: Path) -> None:
        self.seen.append(f"mount {directory.name}")

    def power_button(self, name: str) -> bool:
        return False

    def anchor(self, name: str) -> int | None:
        return None

    def after_stop(self, name: str, directory: Path) -> None:
        self.seen.append(f"clean {directory.name}")


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fake:
    monkeypatch.setattr(driver, "STORE", tmp_path)
    return Fake(tmp_path)


@pytest.fixture
def provider(fake: Fake) -> Iterator[Libvirt]:
    with Libvirt(fake) as found:
        yield found


def test_only_our_machines_are_found(provider: Libvirt) -> None:
    (target,) = wanted(CLUSTER)

    assert provider.defined() == ()  # the test driver comes with a domain of its own
    provider.define(target, ())

    (found,) = provider.defined("proto")
    assert (found.name, found.identity, found.active) == ("proto-one", target.identity, False)
    assert provider.defined("other") == ()
    provider.undefine(target.name)
    assert provider.defined() == ()


def test_every_step_may_be_done_twice(provider: Libvirt, fake: Fake) -> None:
    (target,) = wanted(CLUSTER)
    provider.define(target, ())

    for step in (provider.start, provider.start, provider.kill, provider.kill, provider.start):
        step(target.name)
    assert [each.active for each in provider.defined()] == [True]

    provider.undefine(target.name)
    assert fake.seen[:3] == ["create proto-one", "mount one", "clean one"]


def test_what_a_machine_has_is_resized_while_it_is_off(provider: Libvirt, fake: Fake) -> None:
    (target,) = wanted(CLUSTER)
    provider.define(target, ())
    larger = replace(target, machine=replace(target.machine, memory=4096))

    provider.redefine(larger)
    provider.start(target.name)
    provider.redefine(larger)

    assert [found.size[0] for found in provider.defined()] == [4096]
    assert fake.seen.count("resize proto-one") == 1
    provider.undefine(target.name)


def test_a_machine_starts_with_its_host_when_that_is_said_and_no_more_when_it_is_not(
    provider: Libvirt,
) -> None:
    (target,) = wanted(CLUSTER)
    provider.define(target, ())
    for autostart in (False, True, True, False):
        provider.redefine(replace(target, machine=replace(target.machine, autostart=autostart)))
        assert [
            bool(one.autostart())
            for one in provider._connection.listAllDomains()
            if one.name() == target.name
        ] == [autostart]
    provider.undefine(target.name)


def test_snapshots_are_taken_returned_to_and_forgotten(provider: Libvirt) -> None:
    (target,) = wanted(CLUSTER)
    provider.define(target, ())
    provider.start(target.name)

    for step in (provider.pause, provider.pause):
        step(target.name)
    provider.take(target.name, "before")
    for step in (provider.resume, provider.resume):
        step(target.name)
    (found,) = provider.taken(target.name)
    assert (found.name, found.ran) == ("before", True)
    provider.return_to(target.name, "before")
    assert [one.active for one in provider.defined()] == [False], "it boots, for its clock"
    provider.forget(target.name, "before")

    assert provider.taken(target.name) == ()
    with pytest.raises(MachineError, match="libvirt refuses"):
        provider.return_to(target.name, "before")
    provider.undefine(target.name)


def test_the_network_is_made_once_and_goes_with_the_cluster(provider: Libvirt) -> None:
    for _ in range(2):
        provider.ensure_network(CLUSTER)

    assert provider.remove_network("proto")
    assert not provider.remove_network("proto")


def test_a_machine_that_is_not_there_is_named(provider: Libvirt) -> None:
    with pytest.raises(MachineError, match="there is no machine proto-none on test:///default"):
        provider.start("proto-none")


def test_a_domain_of_somebody_else_is_left_alone(provider: Libvirt) -> None:
    with pytest.raises(MachineError, match="test is not a machine of kybern's"):
        provider.undefine("test")


def test_a_hypervisor_that_does_not_answer_is_named(fake: Fake) -> None:
    with pytest.raises(MachineError, match="cannot connect to test:///no/such/file"):
        Libvirt(fake, "test:///no/such/file")


def needs(image: recipe.Recipe) -> None:
    if os.geteuid():
        pytest.skip("machines are made by root")
    if not shutil.which("libvirtd") and not hypervisor.answers():
        pytest.skip("libvirtd is not installed")
    if not (images.STORE / image.digest).exists():
        pytest.skip("the machine image is not built; 'kybern machines image' does it")


@contextmanager
def running(kind: Lxc | Qemu, cluster: Cluster) -> Iterator[Run]:
    """A run over a cluster that is not there before, and not after."""
    ours = not hypervisor.answers()
    hypervisor.start()
    kind.image()
    with Libvirt(kind) as found:
        made = Run(found, cluster, State.of(cluster.name), lambda _name, _text: None)
        made.down()
        try:
            yield made
        finally:
            made.down()
    if ours and not any(driver.STORE.glob("*/*")):
        hypervisor.stop()


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    needs(recipe.container())
    monkeypatch.setenv("KYBERN_STATE", str(tmp_path))
    (machine,) = CLUSTER.machines
    networks = (Attached("bridge", BESIDE, IPv4Interface("10.213.79.11/24")), Attached("bridge", BESIDE))
    cluster = replace(CLUSTER, machines=(replace(machine, networks=networks),))
    subprocess.run(["ip", "link", "add", BESIDE, "type", "bridge"], check=True, timeout=20)
    try:
        with running(Lxc(lambda _text: None), cluster) as made:
            yield made
    finally:
        subprocess.run(["ip", "link", "delete", BESIDE], check=True, timeout=20)


def ssh(run: Run, command: str) -> str:
    config = ["-F", str(run.state.ssh_config), "-o", "ControlMaster=no", "-o", "ControlPath=none"]
    done = subprocess.run(
        ["ssh", *config, "one", command], capture_output=True, text=True, timeout=30, check=True
    )
    return done.stdout.strip()


@pytest.mark.timeout(120)
def test_a_container_boots_keeps_its_disk_and_leaves_nothing(run: Run) -> None:
    assert run.up() == 2
    machine = CLUSTER.machines[0]
    assert ssh(run, "hostname; cat /etc/machine-id") == f"one\n{wanted(CLUSTER)[0].uuid.hex}"
    assert ssh(run, "systemctl is-system-running --wait") == "running"
    assert ssh(run, "awk '/MemTotal/ {print $2}' /proc/meminfo") == str(512 * 1024)
    interfaces = [line.split() for line in ssh(run, "ip -brief address show type veth").splitlines()]
    assert [(one[0].partition("@")[0], one[1]) for one in interfaces] == [
        ("eth0", "UP"), ("eth1", "UP"), ("eth2", "UP"),
    ]  # fmt: skip
    assert interfaces[1][2] == "10.213.79.11/24"
    # Its processes are in cgroups of its own: its init is at the top of what it sees.
    assert {line.rpartition(":")[2] for line in ssh(run, "cat /proc/1/cgroup").split()} <= {
        "/",
        "/init.scope",
    }
    ssh(run, "echo kept >/root/file; sync")

    run.provider.kill("proto-one")
    assert not answers(machine, 1.0)
    assert run.up() == 1
    assert ssh(run, "cat /root/file") == "kept"

    assert run.down() == 1
    assert cgroups_of("proto-one") == []
    assert not driver.directory("proto", "one").exists()
    assert not (Path("/sys/class/net") / xml.bridge_name("proto")).exists()


@pytest.mark.vm
@pytest.mark.timeout(600)
def test_a_virtual_machine_boots_with_its_own_kernel_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs(recipe.virtual_machine())
    monkeypatch.setenv("KYBERN_STATE", str(tmp_path))
    cluster = replace(CLUSTER, name="protovm", driver="qemu")
    kind = Qemu(lambda _text: None)

    with running(kind, cluster) as run:
        assert run.up(patience=500) == 2
        assert ssh(run, "hostname; cat /etc/machine-id") == f"one\n{wanted(cluster)[0].uuid.hex}"
        assert ssh(run, "uname -r").endswith("-amd64")
        assert ssh(run, "stat --file-system --format=%T /sys/fs/cgroup") == "cgroup2fs"
        assert run.down() == 1

    assert not driver.directory("protovm", "one").exists()
