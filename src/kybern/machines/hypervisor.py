"""The libvirtd to talk to: the system's where one runs, else a private one that is started here and stopped after its use.

A private one has a mount namespace of its own. On a host with the hybrid cgroup layout the unified hierarchy is
unmounted there, because libvirt's LXC driver cannot start a domain beside it; the host keeps its own view. What such a
libvirtd shall see must be mounted in its namespace: ``inside`` puts a command there.

Only what ``start`` has started is stopped by ``stop``: each process is known by a pid file of ours and its start time.
"""

import os
import select
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from kybern.machines.errors import MachineError
from kybern.machines.images import run

RUN = Path("/run/kybern")
SOCKET_FOLDER = Path("/run/libvirt")
SOCKETS = ("/run/libvirt/libvirt-sock", "/run/libvirt/virtlxcd-sock")
BUS = Path("/run/dbus/system_bus_socket")
QEMU = Path("/etc/libvirt/qemu.conf")
LIBVIRTD = Path("/etc/libvirt/libvirtd.conf")
# Who may only read is let in without being asked for by polkit, whose own rule is the same where it runs, and which
# cannot know the users of containers.
READERS = 'auth_unix_ro = "none"'
UNIFIED = Path("/sys/fs/cgroup/unified")
PATIENCE = 20.0


def started(pid: int) -> str | None:
    """When a process started, in the kernel's ticks: tells it from a later one with the same number."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = text.rpartition(")")[2].split()
    return None if fields[0] == "Z" else fields[19]


def pid_of(name: str) -> int | None:
    """The pid of a process of ours that still runs."""
    try:
        pid, _, since = (RUN / f"{name}.pid").read_text().partition(" ")
    except FileNotFoundError:
        return None
    return int(pid) if since and started(int(pid)) == since else None


def record(name: str, pid: int) -> None:
    (RUN / f"{name}.pid").write_text(f"{pid} {started(pid)}")


def wait_gone(pid: int, seconds: float) -> bool:
    """True when the process has ended within that time."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        ended, _, _ = select.select([descriptor], [], [], seconds)
        return bool(ended)
    finally:
        os.close(descriptor)


def inside(*command: str) -> list[str]:
    """A command as it must be run to change what libvirtd sees."""
    pid = pid_of("libvirtd")
    return [*(["nsenter", "--target", str(pid), "--mount", "--"] if pid else []), *command]


def alive(socket: str) -> bool:
    """A daemon listens there: a socket's file outlives it."""
    import socket as sockets  # noqa: PLC0415  # the parameter is the better name

    with sockets.socket(sockets.AF_UNIX) as client:
        client.settimeout(5)
        return client.connect_ex(socket) == 0


# Daemons outlive the process that starts them; a process object that is collected before its process ends complains.
_started: list[subprocess.Popen[bytes]] = []


def _daemonize(name: str, command: list[str], socket: str) -> None:
    """Start a daemon in the background, and wait until it listens."""
    RUN.mkdir(mode=0o755, exist_ok=True)
    log = (RUN / f"{name}.log").open("ab")
    with log:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    _started.append(process)
    record(name, process.pid)
    descriptor = os.pidfd_open(process.pid)
    try:
        waited = 0.0
        while not alive(socket):
            # A tenth of a second, or at once when the daemon has died.
            ended, _, _ = select.select([descriptor], [], [], 0.1)
            waited += 0.1
            if ended or waited > PATIENCE:
                last = (RUN / f"{name}.log").read_text().strip().splitlines()[-1:]
                raise MachineError(f"{name} does not start: {last[0] if last else 'it said nothing'}")
    finally:
        os.close(descriptor)


def answers() -> bool:
    return any(alive(path) for path in SOCKETS)


def start() -> bool:
    """Make sure that a libvirtd answers. True when it is one of ours."""
    if answers():
        return pid_of("libvirtd") is not None
    if not shutil.which("dnsmasq"):
        # libvirtd needs it for nothing here, but dies without it when it comes back to a network that is up.
        raise MachineError("dnsmasq is not installed; run 'make setup', or install the package dnsmasq-base")
    if os.geteuid():
        raise MachineError("no libvirtd runs, and only root can start one; run this with sudo")
    if not alive(str(BUS)):
        BUS.parent.mkdir(exist_ok=True)
        _daemonize("dbus", ["dbus-daemon", "--system", "--nofork", "--nopidfile"], str(BUS))
    Path("/run/libvirt").mkdir(exist_ok=True)
    # libvirt notes the addresses of its networks there, with or without a dnsmasq.
    Path("/var/lib/libvirt/dnsmasq").mkdir(parents=True, exist_ok=True)
    if not alive("/run/libvirt/virtlogd-sock"):
        _daemonize("virtlogd", ["virtlogd"], "/run/libvirt/virtlogd-sock")
    steps = [f"if mountpoint -q {UNIFIED}; then umount {UNIFIED}; fi"]
    # libvirt's private /dev for a QEMU cannot be made where ``hide`` has put a mount. Without the system's libvirt there
    # is no file to mount ours over: an empty one says nothing, and goes with ``stop``.
    QEMU.touch()
    (RUN / QEMU.name).write_text(QEMU.read_text() + "\nnamespaces = []\n")
    steps.append(f"mount --bind {RUN / QEMU.name} {QEMU}")
    steps.append('exec "$@"')
    config = RUN / LIBVIRTD.name
    config.write_text(f"{LIBVIRTD.read_text() if LIBVIRTD.exists() else ''}\n{READERS}\n")
    program = [sys.executable, "-m", "kybern.machines.reaper", "libvirtd", "--config", str(config)]
    Path("/run/libvirtd.pid").unlink(missing_ok=True)
    _daemonize("libvirtd", ["unshare", "--mount", "sh", "-c", "; ".join(steps), "sh", *program], SOCKETS[0])
    return True


def has_machines(run: Path = Path("/run/libvirt")) -> bool:
    """Whether a domain runs, ours or another's: Vagrant's are libvirt's, too."""
    for path in (*run.glob("qemu/*.pid"), *run.glob("lxc/*.pid")):
        text = path.read_text().strip()
        if text.isdigit() and not wait_gone(int(text), 0):
            return True
    return False


def stop() -> None:
    """Stop what was started here, in the reverse order, unless a machine of somebody else needs it."""
    if has_machines():
        return
    for name in ("libvirtd", "virtlogd", "dbus"):
        if pid := pid_of(name):
            os.kill(pid, signal.SIGTERM)
            if not wait_gone(pid, PATIENCE):
                os.kill(pid, signal.SIGKILL)
                wait_gone(pid, PATIENCE)
        (RUN / f"{name}.pid").unlink(missing_ok=True)
        (RUN / f"{name}.log").unlink(missing_ok=True)
    for name in ("empty", QEMU.name):
        (RUN / name).unlink(missing_ok=True)
    if QEMU.exists() and not QEMU.stat().st_size:
        QEMU.unlink()


def hide(device: Path) -> None:
    """Take a device away from our own libvirtd: it asks QEMU again and again about a KVM that does not work.

    An empty file on a read-only mount is one that not even root may open for writing.
    """
    if (
        not pid_of("libvirtd")
        or not subprocess.run(inside("mountpoint", "-q", str(device)), check=False).returncode
    ):
        return
    empty = RUN / "empty"
    empty.touch()
    mount_inside("--bind", str(empty), str(device))
    mount_inside("-o", "remount,bind,ro", str(device))


def mount_inside(*arguments: str) -> None:
    run(inside("mount", *arguments), 30)
