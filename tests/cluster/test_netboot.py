"""A blank virtual machine is booted over the network, installed, and becomes a cluster. The server is a machine of a lab.

The machine is libvirt's, with an empty disk and nothing else: its firmware asks the network first and its disk second. It
is on the lab's bridge, where nobody answers but our server. Afterwards it is installed anew, and gets a disk with
something on it. The tests build on each other, since an installation takes minutes without KVM.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from kybern.machines import hypervisor, images, metal, xml
from kybern.machines.load import load
from kybern.machines.netboot import partition
from kybern.machines.qemu import accelerator
from kybern.machines.state import State
from tests.cluster.conftest import Lab

pytestmark = [pytest.mark.vm, pytest.mark.operations, pytest.mark.timeout(7200)]
SERVER, NAME, NODE, MAC = "netbootserver", "netbooted", "node-1", "52:54:00:62:00:11"
NETWORK, ADDRESS, MACHINE = "10.62.0.0/24", "10.62.0.5", "10.62.0.11"
PATIENCE = 3000  # seconds for an installation without KVM
# Emulated, SeaBIOS has been seen to crash in system management mode, on its way from the network to the disk.
DOMAIN = """
<domain type='{kind}'>
  <name>{name}</name><memory unit='MiB'>3072</memory><vcpu>2</vcpu>
  <os><type arch='x86_64' machine='q35'>hvm</type></os>
  <features><acpi/><smm state='off'/></features>{cpu}
  <on_reboot>restart</on_reboot>
  <devices>
    <disk type='file' device='disk'><driver name='qemu' type='qcow2' cache='unsafe'/><source file='{disk}'/>
      <target dev='vda' bus='virtio'/><boot order='2'/></disk>
    <interface type='bridge'><source bridge='{bridge}'/><mac address='{mac}'/><model type='virtio'/>
      <boot order='1'/></interface>
    <serial type='file'><source path='{log}'/></serial>
    <rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>
  </devices>
</domain>
"""
EMULATED = (
    "<cpu mode='custom' match='exact'><model>qemu64</model>"
    + "".join(
        f"<feature policy='require' name='{name}'/>"
        for name in ("cx16", "popcnt", "ssse3", "sse4.1", "sse4.2")
    )
    + "</cpu>"
)


def virsh(*words: str, check: bool = True) -> str:
    command = ["virsh", "--connect", "qemu:///system", *words]
    return subprocess.run(command, check=check, capture_output=True, text=True, timeout=60).stdout


@dataclass
class Bare:
    """The machine, and the server that it is installed by."""

    server: Lab
    lab: Lab
    topology: Path
    disk: Path

    def netboot(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        key = str(State.of(SERVER).key)
        return self.lab.kybern(
            "machines", "netboot", str(self.topology), "--key", key, "--accept-host-keys", *words,
            check=check, seconds=PATIENCE + 600,
        )  # fmt: skip

    def seen(self) -> dict[str, Any]:
        """What the server knows of the machine."""
        text = self.server.ssh("boot", "cat /var/lib/kybern-netboot/seen.json")
        return dict(json.loads(text)[partition(NAME, NODE)])

    def power_on(self) -> None:
        kernel = metal.build(print).kernel
        kind = accelerator(kernel)
        text = DOMAIN.format(
            kind=kind,
            name=NAME,
            cpu="<cpu mode='host-passthrough'/>" if kind == "kvm" else EMULATED,
            disk=self.disk,
            bridge=xml.bridge_name(SERVER),
            mac=MAC,
            log=self.disk.with_suffix(".log"),
        )
        domain = self.topology.with_suffix(".xml")
        domain.write_text(text)
        virsh("create", str(domain))

    def power_off(self) -> None:
        virsh("destroy", NAME, check=False)


def without_network_packages(server: Lab, folder: Path) -> None:
    """Bring dnsmasq onto the server, which reaches no mirror: fetched by this host's apt, for what that machine has."""
    for part in ("lists/partial", "archives/partial"):
        (folder / part).mkdir(parents=True)
    (folder / "status").write_text(server.ssh("boot", "cat /var/lib/dpkg/status"))
    (folder / "sources.list").write_text("\n".join(images.apt_sources("trixie")) + "\n")
    options = {
        "Dir::Etc::SourceList": folder / "sources.list",
        "Dir::Etc::SourceParts": "/dev/null",
        "Dir::State::Lists": folder / "lists",
        "Dir::State::status": folder / "status",
        "Dir::Cache": folder,
        "Dir::Cache::archives": folder / "archives",
        "APT::Sandbox::User": "root",
    }
    apt = [
        "apt-get",
        "-q",
        "-y",
        *(word for key, value in options.items() for word in ("-o", f"{key}={value}")),
    ]
    images.run([*apt, "update"], 600)
    images.run([*apt, "install", "--download-only", "--no-install-recommends", "dnsmasq-base"], 600)
    packed = subprocess.run(
        ["tar", "-C", str(folder / "archives"), "-c", "."], check=True, capture_output=True, timeout=60
    )
    unpack = "mkdir -p /root/debs && tar -C /root/debs -x && dpkg -i /root/debs/*.deb"
    subprocess.run(
        ["ssh", "-F", str(State.of(SERVER).ssh_config), "boot", unpack],
        input=packed.stdout, check=True, capture_output=True, timeout=120,
    )  # fmt: skip


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bare]:
    for program in ("qemu-system-x86_64", "zstd"):
        if not shutil.which(program):
            pytest.skip(f"there is no {program}")
    place = tmp_path_factory.mktemp("netboot")
    (place / "topology").mkdir()
    lab, machines = place / f"{SERVER}.yaml", place / "topology" / f"{NAME}.yaml"
    everything = ["etcd", "control-plane", "worker"]
    lab.write_text(
        yaml.safe_dump({
            "cluster": SERVER, "network": NETWORK,
            "machines": [{"name": "boot", "address": ADDRESS, "roles": everything}],
        })
    )  # fmt: skip
    machines.write_text(
        yaml.safe_dump({
            "cluster": NAME, "driver": "none", "network": NETWORK,
            # The last word is for a processor that is emulated (see kybern.machines.xml).
            "netboot": {"server": ADDRESS, "kernel": "console=ttyS0 clearcpuid=cx16"},
            "machines": [{"name": NODE, "address": MACHINE, "roles": everything, "mac": MAC}],
        })
    )  # fmt: skip
    server = Lab(load(lab))
    made = Bare(server, Lab(load(machines)), machines, images.STORE.parent / f"{NAME}.qcow2")
    try:
        server.kybern("machines", "up", str(lab), seconds=900)
        without_network_packages(server, place / "apt")
        hypervisor.start()
        if not made.disk.exists():
            images.run(["qemu-img", "create", "-q", "-f", "qcow2", str(made.disk), "10G"], 60)
        yield made
    finally:
        if not os.environ.get("KYBERN_KEEP"):
            made.power_off()
            server.kybern("machines", "down", str(lab), seconds=300)
            for suffix in (".qcow2", ".log", ".raw"):
                made.disk.with_suffix(suffix).unlink(missing_ok=True)
            State.of(NAME).remove()


def test_a_machine_that_is_off_is_told_as_never_heard_of(bare: Bare) -> None:
    late = bare.netboot("--within", "1", check=False)

    assert late.returncode == 1
    assert f"{NODE} was never heard of: see that it is on" in late.stderr


def test_a_blank_machine_is_installed_and_answers_with_its_own_key(bare: Bare) -> None:
    bare.power_on()

    done = bare.netboot("--within", str(PATIENCE))

    assert f"1 machines of {NAME} answer by SSH" in done.stdout
    assert bare.lab.ssh(NODE, "hostname; findmnt -no FSTYPE /").split() == [NODE, "ext4"]
    assert bare.lab.ssh(NODE, "systemctl --failed --no-legend").strip() == ""
    assert f"{MACHINE},{NODE} ssh-ed25519 " in State.of(NAME).known_hosts.read_text()


def test_an_installed_machine_starts_from_its_disk_and_keeps_what_it_has(bare: Bare) -> None:
    bare.lab.ssh(NODE, "echo kept >/root/file && sync")
    boot = bare.lab.ssh(NODE, "cat /proc/sys/kernel/random/boot_id")
    bare.power_off()
    bare.power_on()

    bare.netboot("--within", str(PATIENCE))

    assert bare.lab.ssh(NODE, "cat /root/file").strip() == "kept"
    assert bare.lab.ssh(NODE, "cat /proc/sys/kernel/random/boot_id") != boot


def test_it_becomes_a_cluster(bare: Bare) -> None:
    bare.lab.kybern("deploy", str(bare.topology), seconds=PATIENCE)

    bare.lab.eventually("the node is ready", lambda: bare.lab.nodes_ready() == {NODE}, seconds=600)


def test_a_machine_is_installed_anew_by_order_alone(bare: Bare) -> None:
    key = State.of(NAME).known_hosts.read_text()
    bare.power_off()

    bare.netboot("--reinstall", NODE, "--within", "1", check=False)
    bare.power_on()
    bare.netboot("--within", str(PATIENCE))

    assert bare.lab.ssh(NODE, "ls /root; findmnt -no FSTYPE /").split() == ["ext4"]
    assert State.of(NAME).known_hosts.read_text() != key
    assert bare.seen()["phase"] == "installed"


def with_something_on_it(disk: Path) -> None:
    """A partition with a file system, of somebody else."""
    raw = disk.with_suffix(".raw")
    with raw.open("wb") as file:
        file.truncate(10 << 30)
    table = "label: gpt\nstart=2048, size=131072, name=precious\n"
    subprocess.run(["sfdisk", "-q", str(raw)], input=table.encode(), check=True, timeout=60)
    images.run(["mkfs.ext4", "-q", "-L", "precious", "-E", f"offset={2048 * 512}", str(raw), "64M"], 60)
    images.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(raw), str(disk)], 60)
    raw.unlink()


def test_a_disk_with_something_on_it_is_refused_when_it_is_to_be_installed_anew(bare: Bare) -> None:
    """An order to install anew is no leave to lose what is not ours."""
    bare.power_off()
    with_something_on_it(bare.disk)
    bare.netboot("--reinstall", NODE, "--within", "1", check=False)
    bare.power_on()

    bare.server.eventually("it is refused", lambda: bare.seen()["phase"] == "refused", seconds=PATIENCE)
    refused = bare.netboot("--within", "1", check=False)
    assert refused.returncode == 1
    assert "is not empty, it has: precious; when all of it may go, say wipe: true" in refused.stderr


def test_nothing_stays_on_the_server_when_it_is_switched_off(bare: Bare) -> None:
    bare.netboot("--off")

    assert (
        bare.server.ssh("boot", "ls /srv; systemctl list-units --no-legend 'kybern-netboot*'").strip() == ""
    )
