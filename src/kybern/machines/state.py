"""What the operator's side keeps of a cluster: ``.kybern/<cluster>/`` beside the inventories, mode 0700.

It holds the SSH key, the machines' host keys, the known_hosts file made from them, and what the deploy adds (pki/,
admin.conf). Keys are made here, so nobody has to trust a host key on first use.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from kybern.daemon.files import replace_file
from kybern.machines.topology import Cluster, Machine

MARKERS = ("config.py", "pyproject.toml")


def home() -> Path:
    """KYBERN_STATE, or ``.kybern`` of the repository that the working directory lies in."""
    if chosen := os.environ.get("KYBERN_STATE"):
        return Path(chosen)
    here = Path.cwd()
    for directory in (here, *here.parents):
        if any((directory / marker).exists() for marker in MARKERS):
            return directory / ".kybern"
    return here / ".kybern"


@dataclass(frozen=True, slots=True)
class State:
    """The state directory of one cluster."""

    directory: Path

    @classmethod
    def of(cls, cluster: str) -> "State":
        return cls(home() / cluster)

    @property
    def key(self) -> Path:
        return self.directory / "id_ed25519"

    @property
    def known_hosts(self) -> Path:
        return self.directory / "known_hosts"

    @property
    def ssh_config(self) -> Path:
        return self.directory / "ssh_config"

    @property
    def _hypervisors(self) -> Path:
        return self.directory / "hypervisors.json"

    def where(self) -> dict[str, str]:
        """The hypervisors that machines were on when they were last brought up, by the machines' names."""
        if not self._hypervisors.exists():
            return {}
        found = json.loads(self._hypervisors.read_text())
        return {str(machine): str(name) for machine, name in found.items()}

    def note(self, where: Mapping[str, str]) -> None:
        """For deploys, which ask no hypervisor."""
        write(self._hypervisors, (json.dumps(where, indent=1, sort_keys=True) + "\n").encode())

    def remove(self) -> None:
        """Forget the cluster."""
        shutil.rmtree(self.directory, ignore_errors=True)

    def host_key(self, machine: str) -> Path:
        return self.directory / "hosts" / machine / "ssh_host_ed25519_key"


def write(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Replace a file atomically, and only when its content differs."""
    if path.exists() and path.read_bytes() == content:
        return
    replace_file(path, content, mode, durable=True)


def ensure_key(path: Path, comment: str) -> str:
    """An ed25519 key pair at ``path`` and ``path.pub``; returns the public line."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not path.exists():
        key = ed25519.Ed25519PrivateKey.generate()
        write(
            path,
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
            ),
        )
    loaded = serialization.load_ssh_private_key(path.read_bytes(), None)
    public = loaded.public_key().public_bytes(
        serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    )
    line = f"{public.decode()} {comment}\n"
    write(path.with_name(path.name + ".pub"), line.encode(), 0o644)
    return line


def ssh_config(cluster: Cluster, state: State, user: str = "root") -> str:
    """A file for ``ssh -F``: names instead of addresses, our keys only, one connection kept for many commands."""
    lines = []
    for machine in cluster.machines:
        lines += [f"Host {machine.name}", f"    HostName {machine.address}", ""]
    lines += [
        "Host *",
        f"    User {user}",
        f"    IdentityFile {state.key}",
        "    IdentitiesOnly yes",
        f"    UserKnownHostsFile {state.known_hosts}",
        "    GlobalKnownHostsFile /dev/null",
        "    StrictHostKeyChecking yes",
        "    UpdateHostKeys no",
        "    LogLevel ERROR",
        "    ServerAliveInterval 15",
        "    ControlMaster auto",
        "    ControlPersist 60",
        # The name of a socket has 107 bytes at most, and a state directory may lie deep.
        "    ControlPath /tmp/kybern-%C",
        "",
    ]
    return "\n".join(lines)


def hang_up(kept: State, machine: str) -> None:
    """End the connection that ssh keeps to a machine: a machine that stops or starts would leave it hanging."""
    if kept.ssh_config.exists() and shutil.which("ssh"):
        quiet = subprocess.DEVNULL
        command = ["ssh", "-F", str(kept.ssh_config), "-O", "exit", machine]
        # None was open: that is what was wanted.
        subprocess.run(command, check=False, stdin=quiet, stdout=quiet, stderr=quiet, timeout=10)


def prepare(cluster: Cluster, state: State) -> None:
    """Make or complete the state of a cluster. What exists is kept."""
    state.directory.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    state.directory.mkdir(exist_ok=True, mode=0o700)
    state.directory.chmod(0o700)
    ensure_key(state.key, f"kybern-{cluster.name}")
    known = []
    for machine in cluster.machines:
        public = ensure_key(state.host_key(machine.name), machine.name)
        known.append(f"{machine.address},{machine.name} {' '.join(public.split()[:2])}\n")
    write(state.known_hosts, "".join(known).encode())
    write(state.ssh_config, ssh_config(cluster, state).encode())


@dataclass(frozen=True, slots=True)
class File:
    """A file that makes a machine of an image its own."""

    path: str
    content: bytes
    mode: int = 0o644


def settings(cluster: Cluster, machine: Machine, machine_id: str, state: State) -> tuple[File, ...]:
    """Name, identity and keys of a machine, the same for every driver."""
    host_key = state.host_key(machine.name)
    hosts = ["127.0.0.1 localhost\n", *(f"{each.address} {each.name}\n" for each in cluster.machines)]
    return (
        File("etc/hostname", f"{machine.name}\n".encode()),
        File("etc/hosts", "".join(hosts).encode()),
        File("etc/machine-id", f"{machine_id}\n".encode(), 0o444),
        File("etc/resolv.conf", resolvers().encode()),
        File("etc/ssh/ssh_host_ed25519_key", host_key.read_bytes(), 0o600),
        File("etc/ssh/ssh_host_ed25519_key.pub", host_key.with_name(host_key.name + ".pub").read_bytes()),
        File("root/.ssh/authorized_keys", state.key.with_name("id_ed25519.pub").read_bytes(), 0o600),
    )


def resolvers(path: Path = Path("/etc/resolv.conf")) -> str:
    """The host's name servers, but for those that only the host itself can reach."""
    try:
        lines = path.read_text().splitlines()
    except FileNotFoundError:
        lines = []
    kept = [
        line for line in lines if line.startswith("nameserver ") and not line.split()[1].startswith("127.")
    ]
    return "".join(f"{line}\n" for line in kept)
