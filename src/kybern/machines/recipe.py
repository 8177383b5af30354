"""What a machine image is made of, as data. The digest of a recipe names the image, so a changed recipe is a new image."""

import hashlib
import json
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

SUITE = "trixie"
PACKAGES = (
    "busybox-static",
    "ca-certificates",
    "catatonit",
    "conntrack",
    "containerd",
    "containernetworking-plugins",
    "curl",
    "dbus",
    "etcd-client",
    "etcd-server",
    "ethtool",
    "haproxy",
    "iproute2",
    "ipset",
    "iptables",
    "iputils-ping",
    "keepalived",
    "kmod",
    "less",
    "nftables",
    "openssh-server",
    "procps",
    "python3",
    "python3-libvirt",
    "runc",
    "socat",
    "systemd-sysv",
    "tzdata",
    "util-linux",
)
# Volumes of a cloud are devices, which the node makes file systems on.
CONTAINER_PACKAGES = ("e2fsprogs",)
# A virtual machine brings its own kernel, and tools for what only that can do; a container has the host's.
VM_PACKAGES = (
    "apparmor",
    "e2fsprogs",
    "initramfs-tools",
    "linux-image-amd64",
    "open-iscsi",
    "udev",
    "xfsprogs",
)
# A machine of its own boots by itself, by BIOS and by UEFI, and nobody sets its clock; and what is booted to install it.
METAL_PACKAGES = (
    "dosfstools",
    "fdisk",
    "grub-efi-amd64-bin",
    "grub-pc-bin",
    "grub2-common",
    "ipxe",
    "systemd-timesyncd",
    "zstd",
)
EXCLUDED = ("doc", "locale", "man", "info", "lintian", "bug")
# The roles configure and start these; the rest only burns time in a machine that lives an hour.
DISABLED = (
    "apt-daily-upgrade.timer",
    "apt-daily.timer",
    "containerd.service",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "etcd.service",
    "fstrim.timer",
    "haproxy.service",
    "keepalived.service",
    "sshd-keygen.service",
    "systemd-pstore.service",
)
# It begins at boot what the kubelet begins when a pod needs it.
VM_DISABLED = ("open-iscsi.service",)
VM_ENABLED = ("kybern-settings.service", "systemd-networkd.service")


STEPS = (
    'chroot "$1" systemctl --quiet disable ' + " ".join(DISABLED) + " 2>/dev/null || true",
    # Each machine gets keys and an identity of its own.
    'rm -f "$1"/etc/ssh/ssh_host_* "$1"/var/lib/dbus/machine-id; : >"$1"/etc/machine-id',
    'rm -rf "$1"/usr/share/locale "$1"/var/cache/apt/* "$1"/var/lib/apt/lists/* "$1"/var/log/*.log',
    'mkdir -p "$1"/var/log/journal',
)
VM_STEPS = (
    'chroot "$1" systemctl --quiet disable ' + " ".join(VM_DISABLED),
    'chroot "$1" systemctl --quiet enable ' + " ".join(VM_ENABLED),
)

BOX_STEPS = (
    'chroot "$1" useradd --shell /bin/bash vagrant',
    'chroot "$1" chown -R vagrant: /home/vagrant',
    'chmod 700 "$1"/home/vagrant/.ssh; chmod 600 "$1"/home/vagrant/.ssh/authorized_keys',
    'chmod 440 "$1"/etc/sudoers.d/vagrant',
    # Vagrant reaches a machine before it has keys of ours.
    'chroot "$1" systemctl --quiet enable sshd-keygen.service',
)
METAL_STEPS = (
    'ls "$1"/lib/modules | xargs chroot "$1" mkinitramfs -d /usr/lib/kybern/installer -o /boot/kybern-installer',
)


def tree(name: str) -> Path:
    """The files that lie over the packages, by the name of their set."""
    return Path(str(resources.files("kybern.machines") / "image" / name))


@dataclass(frozen=True, slots=True)
class Recipe:
    """An image: a Debian suite, packages, what dpkg leaves out, shell steps in the root at the end, and sets of files.

    The files are there before the packages are configured, so that their scripts see our settings.
    """

    suite: str
    packages: tuple[str, ...]
    excluded: tuple[str, ...]
    steps: tuple[str, ...]
    trees: tuple[str, ...]

    @property
    def digest(self) -> str:
        fields = {name: getattr(self, name) for name in self.__slots__}
        contents = [digest_of(tree(name)) for name in self.trees]
        return hashlib.sha256(json.dumps([fields, contents], sort_keys=True).encode()).hexdigest()[:16]


def digest_of(root: Path) -> str:
    """A digest of names, modes and contents under a directory."""
    digest = hashlib.sha256()
    for path in sorted(path for path in root.rglob("*") if path.is_file()):
        executable = bool(path.stat().st_mode & 0o100)
        digest.update(f"{path.relative_to(root)} {executable} {path.stat().st_size}\n".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def container() -> Recipe:
    """The image of machines on lxc:///."""
    return Recipe(SUITE, PACKAGES + CONTAINER_PACKAGES, EXCLUDED, STEPS, ("root",))


def virtual_machine() -> Recipe:
    """The image of machines on qemu:///: the same, with a kernel."""
    return Recipe(SUITE, PACKAGES + VM_PACKAGES, EXCLUDED, STEPS + VM_STEPS, ("root", "vm"))


def box() -> Recipe:
    """The image of Vagrant's boxes: a virtual machine that lets Vagrant in."""
    steps = STEPS + VM_STEPS + BOX_STEPS
    return Recipe(SUITE, (*PACKAGES, *VM_PACKAGES, "sudo"), EXCLUDED, steps, ("root", "vm", "box"))


def bare_metal() -> Recipe:
    """The image of machines that are booted over the network: a virtual machine's, with boot loaders and every driver."""
    steps = STEPS + VM_STEPS + METAL_STEPS
    packages = PACKAGES + VM_PACKAGES + METAL_PACKAGES
    return Recipe(SUITE, packages, EXCLUDED, steps, ("root", "vm", "metal"))
