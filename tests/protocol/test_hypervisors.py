"""Machines over two hypervisors: real libvirt and QEMU, by the same commands that operators give.

The machines' kernel stops the processor at once, so they run, and cost nothing; whether they answer by SSH is a matter of
tests/cluster/test_vm_hypervisors.py.
"""

import json
import shutil
import signal
import socket
from collections.abc import Callable, Iterator
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest
import yaml

pytest.importorskip("libvirt")

from kybern.cli import machines, moments
from kybern.machines import booting, driver, hypervisor, images, qemu, remote, volumes
from kybern.machines.errors import MachineError
from kybern.machines.inventory import inventory
from kybern.machines.load import load
from kybern.machines.preflight import host as preflight
from kybern.machines.state import State
from tests.protocol.hypervisors_bed import BRIDGE, POOL, Host, able, hosts

pytestmark = [
    pytest.mark.libvirt,
    pytest.mark.timeout(300),
    pytest.mark.skipif(bool(able()), reason=able()),
    pytest.mark.skipif(not shutil.which("qemu-system-x86_64"), reason="there is no qemu"),
]

NETWORK = IPv4Network("10.213.78.0/24")
FRAIL = IPv4Network("10.213.80.0/24")
NAME = "far"
MASTER, WORKER = ["etcd", "control-plane"], ["worker"]


def kernel() -> bytes:
    """What QEMU takes for a kernel of Linux, version 2.00 of its boot protocol: it stops interrupts and the processor."""
    made = bytearray(4096)
    made[0x1F1] = 1  # sectors of set-up code
    made[0x1FE:0x200] = b"\x55\xaa"
    made[0x202:0x208] = b"HdrS\x00\x02"
    made[0x200:0x202] = b"\xeb\x6e"  # a jump over the header
    made[0x270:0x274] = b"\xfa\xf4\xeb\xfd"
    return bytes(made)


@pytest.fixture
def image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> qemu.Disk:
    store = tmp_path / "images/0123456789abcdef"
    store.mkdir(parents=True)
    images.run(["qemu-img", "create", "-q", "-f", "qcow2", str(store / "disk.qcow2"), "64M"])
    (store / "vmlinuz").write_bytes(kernel())
    (store / "initrd.img").write_bytes(b"\0" * 512)
    made = qemu.Disk(store / "disk.qcow2", store / "vmlinuz", store / "initrd.img")
    monkeypatch.setattr(images, "STORE", tmp_path / "images")
    monkeypatch.setattr(qemu, "build", lambda *_: made)
    monkeypatch.setattr(driver, "STORE", tmp_path / "machines")
    return made


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Host]]:
    """Made once: libvirt spends seconds on getting to know QEMU."""
    with hosts(tmp_path_factory.mktemp("racks"), NETWORK, "rack-1", "rack-2") as found:
        yield found


@pytest.fixture
def racks(lasting: list[Host]) -> Iterator[list[Host]]:
    """As a test found them, whatever it does with machines and volumes."""
    yield lasting
    for rack in lasting:
        rack.clear()


@pytest.fixture
def frail(tmp_path: Path) -> Iterator[list[Host]]:
    """For who breaks them."""
    with hosts(tmp_path, FRAIL, "rack-1", "rack-2") as found:
        yield found


class Operator:
    """Who has a topology, and gives commands."""

    def __init__(
        self, path: Path, racks: list[Host], capsys: pytest.CaptureFixture[str] | None = None
    ) -> None:
        self.path, self.racks, self._capsys = path, racks, capsys
        self.topology: dict[str, Any] = {
            "cluster": NAME,
            "network": str(NETWORK),
            "driver": "qemu",
            "bridge": BRIDGE,
            "hypervisors": {one.name: one.uri for one in racks},
            "defaults": {"memory": "64MiB", "disk": "128MiB"},
            "machines": [self.line("master-1", 11, MASTER), self.line("worker-1", 21, WORKER)],
        }
        self.write()

    @staticmethod
    def line(name: str, number: int, roles: list[str], **more: object) -> dict[str, object]:
        return {"name": name, "address": str(NETWORK[number]), "roles": roles, **more}

    def write(self, **more: object) -> None:
        self.topology |= more
        self.path.write_text(yaml.safe_dump(self.topology))

    def says(self, command: Callable[..., None], *words: object, **named: object) -> str:
        command(*words, **named)
        assert self._capsys is not None
        return self._capsys.readouterr().out

    def up(self, **named: object) -> str:
        return self.says(machines.up, str(self.path), **named)

    def changes(self, **named: object) -> int:
        return int(self.up(**named).partition(" run, ")[2].split()[0])

    def down(self) -> str:
        return self.says(machines.down, str(self.path))

    def listed(self) -> list[list[str]]:
        return [line.split() for line in self.says(machines.list_machines, str(self.path)).splitlines()[1:]]


@pytest.fixture
def desk(tmp_path: Path, image: qemu.Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an operator's host has."""
    monkeypatch.setenv("KYBERN_STATE", str(tmp_path / "state"))
    monkeypatch.setattr(booting, "answers", lambda *_: True)
    monkeypatch.setattr(moments, "wait_for_ssh", lambda *_: None)
    monkeypatch.setattr(preflight, "distribution", lambda _release: None)
    monkeypatch.setattr(hypervisor, "stop", lambda: None)


@pytest.fixture
def operator(tmp_path: Path, racks: list[Host], desk: None, capsys: pytest.CaptureFixture[str]) -> Operator:
    return Operator(tmp_path / "far.yaml", racks, capsys)


def own(host: Host) -> set[str]:
    """The volumes that are no image's."""
    return {name for name in host.volumes() if not name.startswith(volumes.IMAGE)}


def test_machines_are_spread_found_again_and_removed_without_a_trace(operator: Operator) -> None:
    first, second = operator.racks

    assert operator.changes() == 4
    assert operator.changes() == 0

    assert (first.domains(), second.domains()) == ({"far-master-1": True}, {"far-worker-1": True})
    assert own(first) == {"kybern.far.master-1.disk.qcow2", "kybern.far.master-1.settings.tar"}
    listed = [(line[1], line[3], line[-1]) for line in operator.listed()]
    assert listed == [("master-1", "rack-1", "running"), ("worker-1", "rack-2", "running")]
    zones = {name: data["machine"].hypervisor for group in inventory(operator.path) for name, data in group}
    assert zones == {"@machine/master-1": "rack-1", "@machine/worker-1": "rack-2"}

    # What an interrupted run has left goes, and what is another cluster's stays.
    for name in ("kybern.far.old.disk.qcow2", "kybern.far-away.old.disk.qcow2"):
        first.inside("virsh", "-c", "qemu:///system", "vol-create-as", POOL, name, "1M")
    assert operator.down() == "2 machines of far removed.\n"
    assert (own(first), own(second)) == ({"kybern.far-away.old.disk.qcow2"}, set())
    for rack in (first, second):
        assert rack.domains() == {}
        assert len(rack.volumes() - own(rack)) == 4, "the image is kept for the next ones, with its mark"
    assert not State.of(NAME).directory.exists()


def test_a_machine_more_moves_nobody_and_one_elsewhere_is_replaced_only_when_that_is_said(
    operator: Operator,
) -> None:
    first, second = operator.racks
    operator.up()
    lines = operator.topology["machines"]
    operator.write(machines=[operator.line("a-worker", 22, WORKER, disks=["16MiB"]), *lines])
    assert operator.changes() == 2
    assert first.domains().keys() == {"far-master-1", "far-a-worker"}
    assert "kybern.far.a-worker.data-1.qcow2" in own(first)

    operator.write(
        machines=[operator.line("a-worker", 22, WORKER, disks=["16MiB"], hypervisor="rack-2"), *lines]
    )
    with pytest.raises(MachineError, match="far-a-worker would be removed with all data"):
        operator.up()
    assert operator.changes(replace_machines=True) == 3

    assert first.domains().keys() == {"far-master-1"}
    assert own(first) == {"kybern.far.master-1.disk.qcow2", "kybern.far.master-1.settings.tar"}
    assert second.domains().keys() == {"far-worker-1", "far-a-worker"}

    operator.write(hypervisors={"rack-1": first.uri}, machines=lines)
    with pytest.raises(MachineError, match="far has worker-1 on rack-2, which the topology's"):
        operator.up()


def test_a_disk_grows_and_a_machine_has_its_power_pulled_and_given_back(operator: Operator) -> None:
    first = operator.racks[0]
    operator.up()
    lines = [
        operator.line("master-1", 11, MASTER, disk="256MiB", disks=["8MiB"]),
        operator.topology["machines"][1],
    ]
    machines.kill(str(operator.path), "master-1")
    assert first.domains() == {"far-master-1": False}
    operator.write(machines=lines)

    assert operator.changes() == 2

    said = first.inside(
        "qemu-img",
        "info",
        "-U",
        "--output=json",
        f"/var/lib/libvirt/images/kybern.{NAME}.master-1.disk.qcow2",
    )
    assert json.loads(said)["virtual-size"] == 256 * 2**20
    assert "kybern.far.master-1.data-1.qcow2" in own(first)
    assert first.domains() == {"far-master-1": True}


def test_snapshots_are_of_all_machines_on_all_hypervisors(operator: Operator) -> None:
    operator.up()

    assert "of 2 machines taken" in operator.says(moments.take, str(operator.path), "before")
    assert "master-1 worker-1" in operator.says(moments.list_snapshots, str(operator.path))
    assert "2 run" in operator.says(moments.return_to, str(operator.path), "before")
    assert "of 2 machines removed" in operator.says(moments.remove, str(operator.path), "before")


@pytest.mark.usefixtures("desk")
def test_a_dead_hypervisor_is_named_and_the_others_go_on(
    frail: list[Host], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = frail
    operator = Operator(tmp_path / "far.yaml", frail, capsys)
    operator.up()
    machines.kill(str(operator.path), "master-1")
    second.kill()

    with pytest.raises(MachineError, match="machines of rack-2 are not listed: it does not answer"):
        operator.listed()
    told = capsys.readouterr()
    assert "master-1" in told.out
    assert f"cannot reach hypervisor rack-2 at {second.uri}" in told.err

    with pytest.raises(MachineError, match="worker-1: left as they are, because rack-2 does not answer"):
        operator.up()
    assert first.domains() == {"far-master-1": True}, "the others are brought up"
    assert State.of(NAME).where() == {"master-1": "rack-1", "worker-1": "rack-2"}

    with pytest.raises(MachineError, match="cannot take or use snapshots of far: rack-2 does not answer"):
        moments.take(str(operator.path), "before")
    with pytest.raises(MachineError, match="1 machines of far removed, and those of rack-2 are left"):
        operator.down()
    assert first.domains() == {}
    assert State.of(NAME).key.exists(), "the keys are those of the machines that are left"

    first.kill()
    with pytest.raises(MachineError, match="none of the hypervisors of far answers: rack-1, rack-2"):
        operator.up()


def test_what_a_hypervisor_lacks_is_told_with_what_to_do(operator: Operator) -> None:
    first, second = operator.racks

    operator.write(bridge="br7")
    with pytest.raises(MachineError, match=r"hypervisor rack-1 has no bridge br7; make it there"):
        operator.up()
    operator.write(bridge=BRIDGE, pool="fast")
    with pytest.raises(
        MachineError, match=r'rack-1 has no storage pool "fast"; make it with .* pool-define-as fast dir'
    ):
        operator.up()
    operator.write(pool=POOL)
    second.inside("virsh", "-c", "qemu:///system", "pool-destroy", POOL)
    with pytest.raises(
        MachineError, match=r'pool "default" of hypervisor rack-2 is not started; run .* pool-start default'
    ):
        operator.up()
    lines = operator.topology["machines"]
    second.inside("virsh", "-c", "qemu:///system", "pool-start", POOL)
    operator.write(machines=[lines[0], operator.line("worker-1", 21, WORKER, networks=[{"network": "none"}])])
    with pytest.raises(MachineError, match="hypervisor rack-2 has no active network none; make it there"):
        operator.up()

    assert (first.domains(), second.domains()) == ({}, {})


def test_a_machine_has_further_networks(operator: Operator) -> None:
    first = operator.racks[0]
    first.inside("ip", "link", "add", "br1", "type", "bridge")
    networks = [{"bridge": "br1", "address": "10.213.79.11/24"}, {"bridge": BRIDGE}]
    lines = [operator.line("master-1", 11, MASTER, networks=networks), operator.topology["machines"][1]]
    operator.write(machines=lines)

    assert operator.changes() == 4

    said = first.inside("virsh", "-c", "qemu:///system", "domiflist", "far-master-1").splitlines()[2:]
    assert [line.split()[2] for line in said if line] == [BRIDGE, "br1", BRIDGE]
    operator.write(machines=[operator.line("master-1", 11, MASTER), lines[1]])
    with pytest.raises(MachineError, match="far-master-1 would be removed with all data"):
        operator.up()


def test_an_image_that_was_sent_by_halves_is_sent_anew(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = operator.racks[0]
    whole = volumes.Volumes._send

    def broken(self: volumes.Volumes, name: str, content: bytes) -> None:
        if name.endswith(volumes.COMPLETE):
            raise MachineError("the line broke")
        whole(self, name, content)

    with monkeypatch.context() as patched:
        patched.setattr(volumes.Volumes, "_send", broken)
        with pytest.raises(MachineError, match="the line broke"):
            operator.up()
    assert len(first.volumes()) == 3
    assert first.domains() == {}

    assert operator.changes() == 4

    (path,) = (name for name in first.volumes() if name.endswith("vmlinuz"))
    sent = first.inside("sha256sum", f"/var/lib/libvirt/images/{path}").split()[0]
    images.run(["sh", "-c", f"echo '{sent}  {images.STORE}/0123456789abcdef/vmlinuz' | sha256sum --check"])


@pytest.mark.usefixtures("image")
def test_a_hypervisor_that_falls_silent_fails_the_call_that_waits_for_it(
    racks: list[Host], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "KEEPALIVE", 1)
    monkeypatch.setattr(remote, "UNANSWERED", 2)
    rack = racks[0]
    operator = Operator(tmp_path / "far.yaml", racks)
    found = remote.Remote(rack.name, rack.uri, load(operator.path), lambda _text: None)
    rack.signal(signal.SIGSTOP)
    try:
        with pytest.raises(MachineError, match="hypervisor rack-1 refuses"):
            found.defined()
    finally:
        rack.signal(signal.SIGCONT)
        found.close()


def test_a_hypervisor_that_takes_a_connection_and_says_nothing_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        uri = f"qemu+tcp://127.0.0.1:{silent.getsockname()[1]}/system"
        with pytest.raises(MachineError, match=r"cannot reach hypervisor far at .*: no answer within 0 s"):
            remote.connected("far", uri, 0.3)
