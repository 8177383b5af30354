"""What machines are installed with over the network: our image as an archive, and what is booted to write it.

All of it comes out of one image, the boot loaders' network halves too, so what was tried together stays together.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path

from kybern.machines import images, qemu, recipe
from kybern.machines.errors import MachineError
from kybern.machines.state import File, State
from kybern.machines.topology import Cluster, Machine

LOADERS = ("undionly.kpxe", "snponly.efi")
"""By BIOS and by UEFI: iPXE with the driver of the firmware, which goes on over HTTP."""
# Made for each machine; the installer is no part of what it installs.
_LEFT_OUT = ("./boot/kybern-installer", "./usr/lib/kybern/installer")


@dataclass(frozen=True, slots=True)
class Metal:
    """Files of this computer."""

    kernel: Path
    installer: Path
    image: Path
    loaders: tuple[Path, ...]


def build(say: images.Say, offered: Path | None = None, store: Path = images.STORE) -> Metal:
    """All of it, made if it is not there."""
    if shutil.which("zstd") is None:
        raise MachineError("cannot pack the image for machines without zstd: run 'apt install zstd'")
    root = images.directory(recipe.bare_metal(), say, store, offered)

    def pack(building: Path) -> None:
        say("packing the image")
        without = [f"--exclude={each}" for each in _LEFT_OUT]
        # Capabilities of programs are attributes beside their modes.
        kept = ["--numeric-owner", "--xattrs", "--xattrs-include=security.*"]
        images.run(
            ["tar", "--use-compress-program=zstd -6 -T0", *kept, *without, "-C", str(root), "-cf", str(building), "."]
        )  # fmt: skip

    image = images.once(root.parent / "root.tar.zst", pack, store)
    kernel = max((root / "boot").glob("vmlinuz-*"))
    loaders = tuple(root / "usr/lib/ipxe" / name for name in LOADERS)
    return Metal(kernel, root / "boot/kybern-installer", image, loaders)


def settings(cluster: Cluster, machine: Machine, kept: State, resolvers: str) -> bytes:
    """What makes the image this machine: an archive without secrets, since it travels as it is. It makes its own keys."""
    key = kept.key.with_name("id_ed25519.pub").read_bytes()
    arguments = cluster.netboot.kernel if cluster.netboot else ""
    hosts = ["127.0.0.1 localhost\n", *(f"{each.address} {each.name}\n" for each in cluster.machines)]
    link = (
        f"[Match]\nMACAddress={machine.mac}\n\n[Network]\n"
        f"Address={machine.address}/{cluster.network.prefixlen}\nGateway={cluster.gateway}\n"
    )
    loader = f'GRUB_TIMEOUT=2\nGRUB_CMDLINE_LINUX_DEFAULT=""\nGRUB_CMDLINE_LINUX="{arguments}"\n'
    return qemu.archive((
        File("etc/hostname", f"{machine.name}\n".encode()),
        File("etc/hosts", "".join(hosts).encode()),
        File("etc/resolv.conf", resolvers.encode()),
        File("etc/systemd/network/10-kybern.network", link.encode()),
        File("etc/default/grub.d/kybern.cfg", loader.encode()),
        File("root/.ssh/authorized_keys", key, 0o600),
    ))  # fmt: skip
