"""Machines as containers of lxc:///: an overlay over the image's directory for a root, and systemd in it.

- The overlay is mounted where libvirtd sees it (see ``hypervisor``), and containerd and etcd get plain directories of the
  host's file system, because an overlay cannot lie on an overlay and a database wants a real fsync.
- The init of the image moves the machine into cgroups of its own, so libvirt's ``destroy`` may not reach its processes.
  The container's init is therefore known by its pid before a machine is stopped, and its end is waited for.
"""

import contextlib
import os
import shutil
import signal
import subprocess
from pathlib import Path

from kybern.machines import driver, hypervisor, images, recipe, xml
from kybern.machines.clouds import SOCKETS
from kybern.machines.errors import MachineError
from kybern.machines.plan import Wanted
from kybern.machines.state import File

CGROUPS = Path("/sys/fs/cgroup")
# What must not lie on the overlay.
PLAIN = {"/var/lib/containerd": "containerd", "/var/lib/etcd": "etcd"}
# systemd of Debian 13 refuses version 1 of cgroups unless it is told twice.
LEGACY = "systemd.unified_cgroup_hierarchy=0 SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1"
POWEROFF = signal.SIGRTMIN + 4
KILL = 20.0  # seconds


def legacy_cgroups() -> bool:
    """The host has version 1 of cgroups, alone or beside version 2."""
    return not (CGROUPS / "cgroup.controllers").exists()


def cgroups_of(name: str) -> list[Path]:
    """The directory of a machine in every hierarchy."""
    tops = [CGROUPS, *(path for path in CGROUPS.iterdir() if path.is_dir() and not path.is_symlink())]
    return [top / "machines" / name for top in tops if (top / "machines" / name).is_dir()]


class Lxc:
    """The driver for lxc:///."""

    uri = "lxc:///system"
    patience = 120.0

    def __init__(self, say: images.Say) -> None:
        self._say = say

    def image(self, offered: Path | None = None) -> None:
        images.directory(recipe.container(), self._say, offered=offered)

    def create(self, wanted: Wanted, files: tuple[File, ...]) -> None:
        image = recipe.container().digest
        images.directory(recipe.container(), self._say)
        home = driver.directory(wanted.cluster, wanted.machine.name)
        self._unmount(home)
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir(parents=True, mode=0o711)
        for name in ("upper", "work", "root", *PLAIN.values()):
            (home / name).mkdir(mode=0o755)
        for file in files:
            _install(home / "upper", file)
        (home / "image").write_text(image)

    def resize(self, wanted: Wanted) -> None:
        """It has a directory of the host, as large as the host's disk."""

    def xml(self, wanted: Wanted) -> str:
        home = driver.directory(wanted.cluster, wanted.machine.name)
        environment = {"KYBERN_MACHINE": wanted.name, "KYBERN_MEMORY": str(wanted.machine.memory * 2**20)}
        if legacy_cgroups():
            environment["SYSTEMD_PROC_CMDLINE"] = LEGACY
        binds = {target: home / name for target, name in PLAIN.items()}
        if wanted.sees_libvirt:
            # The directory, since a libvirt that starts again makes new sockets.
            binds[SOCKETS] = hypervisor.SOCKET_FOLDER
        return xml.lxc(wanted, home / "root", binds, environment)

    def remove(self, cluster: str, machine: str) -> None:
        shutil.rmtree(driver.directory(cluster, machine), ignore_errors=True)

    def before_start(self, wanted_name: str, directory: Path) -> None:
        self.after_stop(wanted_name, directory)
        lower = images.STORE / (directory / "image").read_text() / "root"
        layers = f"lowerdir={lower},upperdir={directory / 'upper'},workdir={directory / 'work'}"
        hypervisor.mount_inside("-t", "overlay", "-o", layers, wanted_name, str(directory / "root"))

    def power_button(self, name: str) -> bool:
        if pid := self.anchor(name):
            os.kill(pid, POWEROFF)
        return True

    def anchor(self, name: str) -> int | None:
        """The container's init: the child of its controller, or of the supervisor below that."""
        try:
            controller = int(Path(f"/run/libvirt/lxc/{name}.pid").read_text())
            children = Path(f"/proc/{controller}/task/{controller}/children").read_text().split()
        except (FileNotFoundError, ProcessLookupError):
            return None
        return int(children[0]) if children else None

    def after_stop(self, name: str, directory: Path) -> None:
        self._unmount(directory)
        found = cgroups_of(name)
        _end_rest(name, found)
        for cgroup in found:
            _remove_cgroup(cgroup)

    def _unmount(self, home: Path) -> None:
        quiet = subprocess.DEVNULL
        command = hypervisor.inside("umount", "--lazy", str(home / "root"))
        # Not mounted is what was wanted; what else is wrong shows at the next mount.
        subprocess.run(command, check=False, stdout=quiet, stderr=quiet, timeout=30)


def _install(root: Path, file: File) -> None:
    path = root / file.path
    for parent in reversed(path.relative_to(root).parents[:-1]):
        (root / parent).mkdir(exist_ok=True, mode=0o700 if parent.name in (".ssh", "root") else 0o755)
    path.write_bytes(file.content)
    path.chmod(file.mode)


def _end_rest(name: str, cgroups: list[Path]) -> None:
    """A container that libvirt gave up may live on in parts: its processes are known by their cgroup."""
    left = {int(pid) for top in cgroups for listed in top.rglob("cgroup.procs") for pid in _processes(listed)}
    for pid in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    for pid in left:
        if not hypervisor.wait_gone(pid, KILL):
            raise MachineError(f"process {pid} of {name} does not end; look at it with ps")


def _processes(listed: Path) -> list[str]:
    try:
        return listed.read_text().split()
    except OSError:
        return []  # the cgroup went away meanwhile


def _remove_cgroup(top: Path) -> None:
    """A cgroup goes when those below it have gone. One that is still in use stays, and does no harm."""
    for directory, _, _ in os.walk(top, topdown=False):
        try:
            Path(directory).rmdir()
        except OSError:
            return
