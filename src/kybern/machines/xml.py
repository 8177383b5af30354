"""libvirt's XML, written and read. Pure text: nothing here talks to libvirt.

The metadata element tells everything that discovery needs, so no file beside libvirt must be believed.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid5
from xml.etree import ElementTree as ET

from kybern.machines.moments import Taken
from kybern.machines.plan import NAMESPACE, Defined, Wanted
from kybern.machines.topology import Address, Network

URN = "urn:kybern:machine:1"
SIGNED = ("enrolled-keys", "secure-boot")
LXC_INIT = "/usr/lib/kybern/container-init"


def element(tag: str, attributes: Mapping[str, Any] | None = None, *children: ET.Element | str) -> Any:
    """One element with its children; a string child is its text."""
    made = ET.Element(tag, {key: str(value) for key, value in (attributes or {}).items()})
    for child in children:
        if isinstance(child, str):
            made.text = child
        else:
            made.append(child)
    return made


def network_name(cluster: str) -> str:
    return f"kybern-{cluster}"


def bridge_name(cluster: str) -> str:
    """An interface's name has fifteen characters at most, a cluster's may have more."""
    return "kyb" + hashlib.sha256(cluster.encode()).hexdigest()[:8]


def network(cluster: str, cidr: Network, gateway: Address) -> str:
    """A bridge of the cluster's own. The host is the gateway; addresses are static, so there is no DHCP and no DNS.

    Of IPv6, libvirt masquerades what leaves only if it is told to.
    """
    masquerade = [element("nat", {"ipv6": "yes"})] if cidr.version == 6 else []
    return ET.tostring(
        element(
            "network",
            None,
            element("name", None, network_name(cluster)),
            element("uuid", None, str(uuid5(NAMESPACE, "network/" + cluster))),
            element("metadata", None, element(f"{{{URN}}}network", {"cluster": cluster})),
            element("forward", {"mode": "nat"}, *masquerade),
            element("bridge", {"name": bridge_name(cluster), "stp": "off", "delay": 0}),
            element("dns", {"enable": "no"}),
            element("ip", {"family": family(gateway), "address": gateway, "prefix": cidr.prefixlen}),
        ),
        encoding="unicode",
    )


def family(address: Address) -> str:
    return f"ipv{address.version}"


def metadata(wanted: Wanted) -> Any:
    memory, cpus, disk, *disks = wanted.size
    more = {"disks": " ".join(map(str, disks))} if disks else {}
    if wanted.firmware != "bios":
        more["firmware"] = wanted.firmware
    if wanted.machine.autostart:
        more["autostart"] = "true"
    return element(
        "metadata",
        None,
        element(
            f"{{{URN}}}machine",
            {
                "cluster": wanted.cluster,
                "name": wanted.machine.name,
                "address": wanted.machine.address,
                "roles": " ".join(sorted(wanted.machine.roles)),
                "identity": wanted.identity,
                "memory": memory,
                "cpus": cpus,
                "disk": disk,
                **more,
            },
        ),
    )


def defined(domain: str, active: bool) -> Defined | None:
    """What a domain's XML says of it; None for a domain that is not ours."""
    ours = ET.fromstring(domain).find(f"metadata/{{{URN}}}machine")  # noqa: S314  # libvirt's own output
    if ours is None:
        return None
    get = ours.attrib
    return Defined(
        cluster=get["cluster"],
        machine=get["name"],
        address=get["address"],
        roles=frozenset(get["roles"].split()),
        identity=get["identity"],
        size=(
            *(int(get[key]) for key in ("memory", "cpus", "disk")),
            *map(int, get.get("disks", "").split()),
        ),
        active=active,
        firmware=get.get("firmware", "bios"),
        autostart="autostart" in get,
    )


def snapshot(name: str) -> str:
    return ET.tostring(element("domainsnapshot", None, element("name", None, name)), encoding="unicode")


def taken(description: str) -> Taken:
    """What a snapshot's XML says of it."""
    root = ET.fromstring(description)  # noqa: S314  # libvirt's own output
    return Taken(
        root.findtext("name", ""),
        int(root.findtext("creationTime", "0")),
        root.findtext("state") in ("running", "paused"),
    )


def _head(wanted: Wanted) -> list[Any]:
    return [
        element("name", None, wanted.name),
        element("uuid", None, str(wanted.uuid)),
        metadata(wanted),
        element("memory", {"unit": "MiB"}, str(wanted.machine.memory)),
        element("vcpu", None, str(wanted.machine.cpus)),
    ]


def _interface(wanted: Wanted, *children: Any) -> Any:
    if wanted.bridge:
        return _attached(wanted.mac, "bridge", wanted.bridge, *children)
    return _attached(wanted.mac, "network", network_name(wanted.cluster), *children)


def _attached(mac: str, kind: str, name: str, *children: Any) -> Any:
    source = element("source", {kind: name})
    return element("interface", {"type": kind}, element("mac", {"address": mac}), source, *children)


def _further_of_container(wanted: Wanted) -> list[Any]:
    """The interfaces beside the first, which libvirt itself gives their addresses."""
    made = []
    for number, one in enumerate(wanted.machine.networks, 1):
        address = one.address and {
            "address": one.address.ip,
            "family": "ipv4",
            "prefix": one.address.network.prefixlen,
        }
        ip = [element("ip", address)] if address else []
        guest = element("guest", {"dev": f"eth{number}"})
        made.append(
            _attached(wanted.mac_of(number), one.kind, one.name, *ip, guest, element("link", {"state": "up"}))
        )
    return made


def lxc(wanted: Wanted, root: Path, binds: Mapping[str, Path], environment: Mapping[str, str]) -> str:
    """A container with a root directory, an address on eth0, and host directories bound over paths of it."""
    filesystems = [
        element(
            "filesystem",
            {"type": "mount", "accessmode": "passthrough"},
            element("source", {"dir": source}),
            element("target", {"dir": target}),
        )
        for target, source in {"/": root, **binds}.items()
    ]
    kind, anywhere = family(wanted.gateway), "::" if wanted.gateway.version == 6 else "0.0.0.0"
    address = {"address": wanted.machine.address, "family": kind, "prefix": wanted.network.prefixlen}
    default = {"family": kind, "address": anywhere, "prefix": 0, "gateway": wanted.gateway}
    return ET.tostring(
        element(
            "domain",
            {"type": "lxc"},
            *_head(wanted),
            element(
                "os",
                None,
                element("type", {"arch": "x86_64"}, "exe"),
                element("init", None, LXC_INIT),
                *(element("initenv", {"name": name}, value) for name, value in environment.items()),
            ),
            element("features", None, element("privnet"), element("capabilities", {"policy": "allow"})),
            element("on_poweroff", None, "destroy"),
            element("on_reboot", None, "restart"),
            element(
                "devices",
                None,
                *filesystems,
                _interface(
                    wanted,
                    element("ip", address),
                    element("route", default),
                    element("guest", {"dev": "eth0"}),
                ),
                *_further_of_container(wanted),
                element("console", {"type": "pty"}),
            ),
        ),
        encoding="unicode",
    )


@dataclass(frozen=True, slots=True)
class Drive:
    """A file that a virtual machine has as a disk. It finds the disk as /dev/disk/by-id/virtio-SERIAL, if it has one."""

    name: str
    path: Path
    kind: str = "qcow2"
    serial: str = ""

    @property
    def element(self) -> Any:
        more = [element("serial", None, self.serial)] if self.serial else []
        if self.kind != "qcow2":
            # What is no layer has no snapshots; libvirt takes one of a machine only if nothing else of it can change.
            more.append(element("readonly"))
        return element(
            "disk",
            {"type": "file", "device": "disk"},
            element("driver", {"name": "qemu", "type": self.kind, "cache": "writeback", "discard": "unmap"}),
            element("source", {"file": self.path}),
            element("target", {"dev": self.name, "bus": "virtio"}),
            *more,
        )


@dataclass(frozen=True, slots=True)
class Boot:
    """What a virtual machine starts from, without a boot loader."""

    kernel: Path
    initrd: Path
    command_line: str


# Under emulation by QEMU 7.2, whose cmpxchg16b fails, a 6.12 kernel panics early when it finds that instruction.
_WITHOUT = "clearcpuid=cx16"


def _emulated() -> Any:
    """The processor of emulated machines: richer models panic the kernel.

    What it has beyond its model makes it an x86-64-v2, which numpy's wheels ask for, and so the scheduler. That includes
    cmpxchg16b, which programs do not use and the kernel is told not to.
    """
    features = ("cx16", "popcnt", "ssse3", "sse4.1", "sse4.2")
    return element(
        "cpu",
        {"mode": "custom", "match": "exact"},
        element("model", None, "qemu64"),
        *(element("feature", {"policy": "require", "name": name}) for name in features),
    )


VOLUMES = 24
"""What a machine can be given while it runs: the targets vdb to vdy."""

_OWN = 8  # ports for the machine's own devices


def _ports() -> list[Any]:
    """A device that comes while a q35 runs needs a port that was there when it started; libvirt keeps one free, no more."""
    root = element("controller", {"type": "pci", "index": 0, "model": "pcie-root"})
    return [
        root,
        *(element("controller", {"type": "pci", "model": "pcie-root-port"}) for _ in range(VOLUMES + _OWN)),
    ]


def _virtio() -> Any:
    return element("model", {"type": "virtio"})


def qemu(wanted: Wanted, accelerator: str, boot: Boot, drives: Iterable[Drive], log: Path | None) -> str:
    """A virtual machine: ``accelerator`` is kvm or qemu (emulation); ``log`` is what its console says, if a file."""
    command_line = boot.command_line
    if accelerator == "kvm":
        cpu = element("cpu", {"mode": "host-passthrough"})
    else:
        cpu = _emulated()
        command_line += f" {_WITHOUT}"
    firmware = {"firmware": "efi"} if wanted.firmware == "uefi" else {}
    # Our image is not signed, so a firmware that wants signatures would not start it.
    unsigned = element(
        "firmware", None, *(element("feature", {"enabled": "no", "name": name}) for name in SIGNED)
    )
    return ET.tostring(
        element(
            "domain",
            {"type": accelerator},
            *_head(wanted),
            element(
                "os",
                firmware,
                element("type", {"arch": "x86_64", "machine": "q35"}, "hvm"),
                *([unsigned] if firmware else []),
                element("kernel", None, str(boot.kernel)),
                element("initrd", None, str(boot.initrd)),
                element("cmdline", None, command_line),
            ),
            element("features", None, element("acpi")),
            cpu,
            element("on_poweroff", None, "destroy"),
            element("on_reboot", None, "restart"),
            element(
                "devices",
                None,
                *(_ports() if wanted.takes_volumes else ()),
                *(drive.element for drive in drives),
                _interface(wanted, _virtio()),
                *(
                    _attached(wanted.mac_of(number), one.kind, one.name, _virtio())
                    for number, one in enumerate(wanted.machine.networks, 1)
                ),
                element("serial", {"type": "pty"}, *([element("log", {"file": log})] if log else [])),
                element("console", {"type": "pty"}, element("target", {"type": "serial", "port": 0})),
                element("rng", {"model": "virtio"}, element("backend", {"model": "random"}, "/dev/urandom")),
                element("memballoon", {"model": "none"}),
            ),
        ),
        encoding="unicode",
    )
