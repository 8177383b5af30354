"""Hosts with a libvirt of their own, on this one: each in namespaces, with its own directories, network and keys.

Bridges ``br0`` of all are ports of one switch, which this host is on, too, with the first address of the network. libvirt is
reached there over TLS, so nothing of what a hypervisor has is seen but through its connection. Whatever runs in a host ends
with it.
"""

import itertools
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import libvirt

from kybern.auth.x509 import Authority

BRIDGE, POOL = "br0", "default"
QEMU = 'namespaces = []\nsecurity_driver = "none"\nstdio_handler = "file"\ncgroup_controllers = []\n'
# Its sysfs shows its own network. It is not to see a KVM: one that is there need not work.
BEGIN = """\
mount -t proc proc /proc
mount -t sysfs sysfs /sys
for pair in run:/run/libvirt lib:/var/lib/libvirt cache:/var/cache/libvirt log:/var/log/libvirt etc:/etc/libvirt; do
    mkdir -p "${pair#*:}"
    mount --bind "$0/${pair%%:*}" "${pair#*:}"
done
if test -e /dev/kvm; then mount --bind "$0/none" /dev/kvm; mount -o remount,bind,ro /dev/kvm; fi
ip link set lo up
ip link add br0 type bridge
ip link set br0 up
touch "$0/ready"
until test -e "$0/plugged"; do sleep 0.1; done
exec "$1" -m kybern.machines.reaper libvirtd --listen --pid-file /run/libvirt/pid
"""
FOLDERS = ("run", "lib/images", "cache", "log", "etc")


_numbers = itertools.count()


@dataclass
class Host:
    """One hypervisor; ``address`` is where its libvirt listens."""

    name: str
    address: str
    place: Path
    keys: Path
    process: "subprocess.Popen[bytes]"

    @property
    def uri(self) -> str:
        return f"qemu+tls://{self.address}/system?pkipath={self.keys}"

    def inside(self, *command: str) -> str:
        """What a command says there."""
        into = ["nsenter", "--target", str(self.process.pid), "--mount", "--net", "--"]
        done = subprocess.run([*into, *command], check=True, capture_output=True, text=True, timeout=60)
        return done.stdout.strip()

    def connection(self) -> Any:
        return libvirt.open(self.uri)

    def volumes(self) -> set[str]:
        connection = self.connection()
        try:
            pool = connection.storagePoolLookupByName(POOL)
            pool.refresh()
            return set(pool.listVolumes())
        finally:
            connection.close()

    def domains(self) -> dict[str, bool]:
        """Whether each runs."""
        connection = self.connection()
        try:
            return {one.name(): bool(one.isActive()) for one in connection.listAllDomains()}
        finally:
            connection.close()

    def clear(self) -> None:
        """No machine, no volume."""
        connection = self.connection()
        try:
            for one in connection.listAllDomains():
                if one.isActive():
                    one.destroy()
                one.undefineFlags(libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA)
            pool = connection.storagePoolLookupByName(POOL)
            pool.refresh()
            for each in pool.listAllVolumes():
                each.delete()
        finally:
            connection.close()

    def signal(self, number: int) -> None:
        """To its libvirtd, which is the first child of the only one of our own child."""
        (first,) = _children(self.process.pid)
        os.kill(_children(first)[0], number)

    def kill(self) -> None:
        """As by a loss of power: its machines, too."""
        self.process.kill()
        self.process.wait(20)


def _children(pid: int) -> list[int]:
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def run(*command: str) -> None:
    subprocess.run(command, check=True, timeout=30)


def able() -> str:
    """Why there can be none here; empty if there can."""
    if os.geteuid():
        return "only root makes namespaces"
    missing = [tool for tool in ("libvirtd", "unshare", "nsenter", "ip") if not shutil.which(tool)]
    return f"there is no {', '.join(missing)}" if missing else ""


@contextmanager
def hosts(place: Path, network: IPv4Network, *names: str) -> Iterator[list[Host]]:
    """Hosts with the addresses behind this host's, which is the network's first."""
    switch = f"kyh{os.getpid()}-{next(_numbers)}"
    with ExitStack() as stack:
        run("ip", "link", "add", switch, "type", "bridge")
        stack.callback(run, "ip", "link", "delete", switch)
        run("ip", "address", "add", f"{network[1]}/{network.prefixlen}", "dev", switch)
        run("ip", "link", "set", switch, "up")
        authority = Authority.create("hypervisors", datetime.now(UTC))
        client = authority.issue("operator")
        keys = place / "keys"
        keys.mkdir()
        _write(
            keys, {"cacert": authority.cert_pem, "clientcert": client.cert_pem, "clientkey": client.key_pem}
        )
        found = []
        for number, name in enumerate(names, 2):
            host = _started(place / name, name, str(network[number]), authority, keys)
            stack.callback(host.kill)
            _plug(host, switch, f"{switch}-{number}", network.prefixlen)
            found.append(host)
        for host in found:
            _make_pool(host)
        yield found


def _write(folder: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        (folder / f"{name}.pem").write_bytes(content)


def _started(place: Path, name: str, address: str, authority: Authority, keys: Path) -> Host:
    for folder in FOLDERS:
        (place / folder).mkdir(parents=True)
    pair = authority.issue(name, ips=(address,), server=True, client=False)
    _write(place / "etc", {"ca": authority.cert_pem, "cert": pair.cert_pem, "key": pair.key_pem})
    (place / "none").touch()
    (place / "etc/qemu.conf").write_text(QEMU)
    here = "/etc/libvirt"
    (place / "etc/libvirtd.conf").write_text(
        f'listen_tls = 1\nlisten_tcp = 0\nlisten_addr = "{address}"\nauth_tls = "none"\nca_file = "{here}/ca.pem"\n'
        f'cert_file = "{here}/cert.pem"\nkey_file = "{here}/key.pem"\nlog_outputs = "3:stderr"\n'
    )
    apart = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "sh", "-ec", BEGIN, str(place)]
    # QEMU leaves its parent, and the first process of a namespace is who buries orphans.
    apart.append(sys.executable)
    with (place / "log.txt").open("wb") as log:
        process = subprocess.Popen(apart, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    host = Host(name, address, place, keys, process)
    _until(host, (place / "ready").exists)
    return host


def _plug(host: Host, switch: str, port: str, prefix: int) -> None:
    run("ip", "link", "add", port, "type", "veth", "peer", "name", "up0", "netns", str(host.process.pid))
    run("ip", "link", "set", port, "master", switch, "up")
    host.inside("ip", "link", "set", "up0", "master", BRIDGE, "up")
    host.inside("ip", "address", "add", f"{host.address}/{prefix}", "dev", BRIDGE)
    (host.place / "plugged").touch()


def _make_pool(host: Host) -> None:
    _until(host, lambda: _answers(host))
    connection = host.connection()
    try:
        target = "<target><path>/var/lib/libvirt/images</path></target>"
        pool = connection.storagePoolDefineXML(f"<pool type='dir'><name>{POOL}</name>{target}</pool>")
        pool.create()
        pool.setAutostart(True)
    finally:
        connection.close()


def _answers(host: Host) -> bool:
    try:
        host.connection().close()
    except libvirt.libvirtError:
        return False
    return True


def _until(host: Host, true: Any) -> None:
    ends = time.monotonic() + 60
    while not true():
        if host.process.poll() is not None or time.monotonic() > ends:
            raise AssertionError((host.place / "log.txt").read_text())
        time.sleep(0.1)
