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
    "iptables",
    "iputils-ping",
    "keepalived",
    "kmod",
    "less",
    "nftables",
    "openssh-server",
    "procps",
    "python3",
    "runc",
    "socat",
    "systemd-sysv",
    "tzdata",
    "util-linux",
)
# A virtual machine brings its own kernel; a container has the host's.
VM_PACKAGES = ("e2fsprogs", "initramfs-tools", "linux-image-amd64", "udev")
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
VM_ENABLED = ("kybern-settings.service", "systemd-networkd.service")


def tree() -> Path:
    """The files that lie over the packages."""
    return Path(str(resources.files("kybern.machines") / "image" / "root"))


@dataclass(frozen=True, slots=True)
class Recipe:
    """An image: a Debian suite, packages, services off and on, and the digest of the files laid over them."""

    suite: str
    packages: tuple[str, ...]
    disabled: tuple[str, ...]
    enabled: tuple[str, ...]
    excluded: tuple[str, ...]
    files: str

    @property
    def digest(self) -> str:
        fields = {name: getattr(self, name) for name in self.__slots__}
        return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:16]


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
    return Recipe(SUITE, PACKAGES, DISABLED, (), EXCLUDED, digest_of(tree()))


def virtual_machine() -> Recipe:
    """The image of machines on qemu:///: the same, with a kernel."""
    return Recipe(SUITE, PACKAGES + VM_PACKAGES, DISABLED, VM_ENABLED, EXCLUDED, digest_of(tree()))
