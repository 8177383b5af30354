"""cloud-controller-manager as a program, with a real API server, the rights that the deploy gives it, and a real libvirt.

libvirt's test driver keeps its domains in the process that opened it, so a libvirtd of the test's own serves it over TLS:
the same way as to a hypervisor elsewhere, with certificates of an authority that nobody else knows.
"""

import asyncio
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from kybern.auth.x509 import Authority
from kybern.cloud.provider import CloudError, Impossible, NoRoom
from kybern.machines import hypervisor
from roles.cloud import objects as cloud_objects
from tests.protocol.apiserver_bed import Lab, Server
from tests.protocol.conftest import free_port

libvirt = pytest.importorskip("libvirt")

from kybern.cloud.libvirt.hypervisor import Hypervisor  # noqa: E402
from kybern.cloud.libvirt.provider import open_provider  # noqa: E402

pytestmark = [
    pytest.mark.etcd,
    pytest.mark.libvirt,
    pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("libvirtd"), reason="needs root and libvirtd"),
]

UUID = "6f2a1c5e-0000-4000-8000-000000000001"
DOMAIN = f"""<domain type='test'><name>lab-n1</name><uuid>{UUID}</uuid><metadata>
<k:machine xmlns:k='urn:kybern:machine:1' cluster='lab' name='n1' address='10.9.9.1'/></metadata>
<memory unit='MiB'>4096</memory><vcpu>2</vcpu><os><type>hvm</type></os></domain>"""
UNINITIALIZED = {
    "key": "node.cloudprovider.kubernetes.io/uninitialized",
    "value": "true",
    "effect": "NoSchedule",
}
SHUTDOWN = "node.cloudprovider.kubernetes.io/shutdown"


@dataclass
class Daemon:
    """A libvirtd that serves over TLS, and what its clients need."""

    uri: str
    connection: Any
    process: "subprocess.Popen[bytes]"


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    port, keys = free_port(), tmp_path / "keys"
    keys.mkdir()
    authority = Authority.create("hypervisors", datetime.now(UTC))
    (keys / "cacert.pem").write_bytes(authority.cert_pem)
    for name, pair in {
        "server": authority.issue("hypervisor", ips=("127.0.0.1",), server=True, client=False),
        "client": authority.issue("cloud-controller-manager"),
    }.items():
        (keys / f"{name}cert.pem").write_bytes(pair.cert_pem)
        (keys / f"{name}key.pem").write_bytes(pair.key_pem)
    config = tmp_path / "libvirtd.conf"
    config.write_text(
        f'listen_tls = 1\nlisten_tcp = 0\nlisten_addr = "127.0.0.1"\ntls_port = "{port}"\nauth_tls = "none"\n'
        f'key_file = "{keys}/serverkey.pem"\ncert_file = "{keys}/servercert.pem"\nca_file = "{keys}/cacert.pem"\n'
        f'unix_sock_dir = "{tmp_path}"\nlog_outputs = "3:stderr"\n'
    )
    # As a user of no rights: what it serves is in its own memory.
    for path in (tmp_path.parent, tmp_path, keys, *keys.iterdir(), config):
        os.chown(path, 65534, 65534) if path != tmp_path.parent else path.chmod(0o755)
    environment = {
        **os.environ,
        "HOME": str(tmp_path),
        "XDG_RUNTIME_DIR": str(tmp_path),
        "XDG_CACHE_HOME": str(tmp_path),
    }
    with (tmp_path / "libvirtd.log").open("wb") as log:
        process = subprocess.Popen(
            ["libvirtd", "--listen", "--config", str(config), "--pid-file", str(tmp_path / "pid")],
            user=65534, group=65534, extra_groups=[], env=environment, stdout=log, stderr=log,
        )  # fmt: skip
    uri = f"test+tls://127.0.0.1:{port}/default?pkipath={keys}"
    try:
        yield Daemon(uri, _opened(uri, process, tmp_path / "libvirtd.log"), process)
    finally:
        process.kill()
        process.wait(20)


def _opened(uri: str, process: "subprocess.Popen[bytes]", log: Path) -> Any:
    deadline = time.monotonic() + 20
    while True:
        try:
            return libvirt.open(uri)
        except libvirt.libvirtError as problem:
            if process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(log.read_text()) from problem
            time.sleep(0.1)


async def test_machines_are_read_over_tls_without_the_right_to_change_any(daemon: Daemon) -> None:
    domain = daemon.connection.defineXML(DOMAIN)
    domain.create()
    cloud = open_provider(f"cluster: lab\nregion: home\nhypervisors: {{h1: '{daemon.uri}'}}")
    try:
        found = await cloud.find("n1", "")
        assert found is not None
        assert (found.provider_id, found.running) == (f"libvirt://h1/{UUID}", True)
        assert (found.instance_type, found.addresses[0].address) == ("cpu2-mem4096", "10.9.9.1")
        domain.destroy()
        stopped = await cloud.find("n1", found.provider_id)
        assert stopped is not None
        assert not stopped.running
        domain.undefine()
        assert await cloud.find("n1", found.provider_id) is None
        assert await cloud.find("n1", "") is None
    finally:
        await cloud.close()
    reading = libvirt.openReadOnly(daemon.uri)
    with pytest.raises(libvirt.libvirtError, match="read only"):
        reading.defineXML(DOMAIN)


async def test_volumes_are_made_copied_and_removed_over_tls(daemon: Daemon) -> None:
    cloud = open_provider(f"cluster: lab\nhypervisors: {{h1: '{daemon.uri}'}}\nvolumes: true")
    volumes, given = cloud.volumes, {"pool": "default-pool"}
    assert volumes is not None
    try:
        before = (await volumes.room(given))["h1"]
        assert await volumes.room({"pool": "none"}) == {}
        for _ in range(2):
            made = await volumes.create("pvc-1", 64 << 20, "h1", given)
        assert (made.size, made.zone, volumes.zone(made.handle)) == (64 << 20, "h1", "h1")
        assert (await volumes.room(given))["h1"] <= before - (64 << 20)
        with pytest.raises(NoRoom, match="not enough space in pool default-pool of h1"):
            await volumes.create("pvc-2", before, "h1", given)
        for _ in range(2):  # what an earlier attempt left is made anew
            taken = await volumes.snapshot(made.handle, "snapshot-1")
        assert taken.size == 64 << 20
        copy = await volumes.create("pvc-3", 64 << 20, "h1", given, taken.handle)
        with pytest.raises(Impossible, match="a copy stays on its hypervisor"):
            await volumes.create("pvc-4", 64 << 20, "h2", given, taken.handle)
        with pytest.raises(CloudError, match="h1 has no machine n1"):
            await volumes.attach(made.handle, "n1", "")
        await volumes.detach(made.handle, "n1", "")
        for _ in range(2):
            for handle in (made.handle, copy.handle, taken.handle):
                await volumes.delete(handle)
        assert (await volumes.room(given))["h1"] == before
    finally:
        await cloud.close()


async def test_a_hypervisor_that_goes_away_is_an_error_and_not_the_end_of_its_machines(
    daemon: Daemon,
) -> None:
    daemon.connection.defineXML(DOMAIN)
    one = Hypervisor("h1", daemon.uri, patience=5)
    assert await one.by_uuid(UUID) is not None
    daemon.process.kill()
    daemon.process.wait(20)
    with pytest.raises(CloudError, match="cannot ask h1"):
        await one.by_uuid(UUID)
    with pytest.raises(CloudError, match="cannot ask h1"):
        await one.all()
    await one.close()


async def test_a_hypervisor_that_hangs_is_given_up_in_time() -> None:
    async def never(_reader: Any, writer: Any) -> None:
        held.append(writer)

    held: list[Any] = []
    server = await asyncio.start_server(never, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    one = Hypervisor("h1", f"test+tcp://127.0.0.1:{port}/default", patience=0.5)
    before = time.monotonic()
    for _ in range(2):  # the second finds a thread of its own
        with pytest.raises(CloudError, match="no answer within"):
            await one.all()
    assert time.monotonic() - before < 20
    for writer in held:
        writer.close()
    await one.close()
    server.close()


READING = """
mount -t tmpfs none /run && mount -t tmpfs none /etc/libvirt && mount -t tmpfs none /var/lib/libvirt
ip link set lo up && mkdir /run/libvirt && echo "$1" >/run/libvirtd.conf
libvirtd --config /run/libvirtd.conf 2>/run/log &
for _ in $(seq 200); do [ -S /run/libvirt/libvirt-sock-ro ] && break; sleep 0.1; done
uri='lxc+unix:///system?socket=/run/libvirt/libvirt-sock-ro'
as_nobody() { setpriv --reuid 65534 --regid 65534 --clear-groups env HOME=/nonexistent virsh -c "$uri" "$@"; }
as_nobody list --all && as_nobody net-define /dev/null
kill %1
"""


@pytest.mark.parametrize(
    ("setting", "said"),
    [(hypervisor.READERS, "read only access prevents"), ("", "failed to connect to the hypervisor")],
)
def test_a_user_without_rights_reads_by_the_socket_and_is_held_to_that(setting: str, said: str) -> None:
    """In namespaces of its own: no other libvirt of this host is touched, and there is no polkit to ask."""
    alone = [
        "unshare",
        "--mount",
        "--net",
        "--pid",
        "--fork",
        "--mount-proc",
        "bash",
        "-c",
        READING,
        "bash",
        setting,
    ]
    done = subprocess.run(alone, capture_output=True, text=True, timeout=60, check=False)
    assert said in done.stderr, done.stdout + done.stderr


@pytest.fixture(scope="module")
def server(lab: Lab) -> Server:
    made = lab.start(free_port())
    for one in cloud_objects():
        status, said = made.ask("POST", one.place.rpartition("/")[0], yaml.safe_load(one.file.content))
        assert status == 201, said
    return made


@pytest.fixture
def started(lab: Lab, server: Server, daemon: Daemon, tmp_path: Path) -> Iterator[Path]:
    """The program, where a second package registers nothing but what ours does: an installation of before has it, too."""
    installed = tmp_path / "site/kybern_libvirt-1.0.dist-info"
    installed.mkdir(parents=True)
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: kybern-libvirt\nVersion: 1.0\n")
    entry = "[kybern.cloud_providers]\nlibvirt = kybern.cloud.libvirt.provider:open_provider\n"
    (installed / "entry_points.txt").write_text(entry)
    (tmp_path / "cloud.yaml").write_text(f"cluster: lab\nregion: home\nhypervisors: {{h1: '{daemon.uri}'}}")
    path = os.pathsep.join(filter(None, [str(installed.parent), os.environ.get("PYTHONPATH"), *sys.path]))
    log = tmp_path / "ccm.log"
    command = [sys.executable, "-c", "from kybern.cli.cloud_controller_manager import main; main()"]
    command += [
        "--cloud-provider=libvirt",
        f"--cloud-config={tmp_path}/cloud.yaml",
        "--node-monitor-period=200ms",
    ]
    command += [
        f"--kubeconfig={lab.kubeconfig(server, 'cloud')}",
        "--bind-address=127.0.0.1",
        f"--secure-port={free_port()}",
    ]
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, env={**os.environ, "PYTHONPATH": path})
    yield log
    process.terminate()
    assert process.wait(20) == 0, log.read_text()
    print(log.read_text())  # noqa: T201  # shown when the test fails
    assert "orbidden" not in log.read_text()


def test_a_node_is_completed_marked_and_removed_by_what_its_domain_is(
    server: Server, daemon: Daemon, started: Path
) -> None:
    domain = daemon.connection.defineXML(DOMAIN)
    domain.create()
    node = {"metadata": {"name": "n1"}, "spec": {"taints": [UNINITIALIZED]}}
    assert server.ask("POST", "/api/v1/nodes", node)[0] == 201
    _ready(server, "True")

    found = _eventually(server, lambda node: UNINITIALIZED["key"] not in _taints(node), started)
    assert found["spec"]["providerID"] == f"libvirt://h1/{UUID}"
    labels = found["metadata"]["labels"]
    assert labels["topology.kubernetes.io/zone"] == "h1"
    assert labels["topology.kubernetes.io/region"] == "home"
    assert labels["node.kubernetes.io/instance-type"] == "cpu2-mem4096"
    _eventually(server, lambda node: node["status"].get("addresses"), started)

    domain.destroy()
    _ready(server, "Unknown")
    _eventually(server, lambda node: SHUTDOWN in _taints(node), started)
    domain.create()
    _ready(server, "True")
    _eventually(server, lambda node: SHUTDOWN not in _taints(node), started)
    domain.destroy()
    domain.undefine()
    _ready(server, "Unknown")
    _eventually(server, lambda node: node["kind"] == "Status", started)
    events = server.ask("GET", "/api/v1/namespaces/default/events")[1]["items"]
    assert {"Synced", "DeletingNode"} <= {one["reason"] for one in events}


def _taints(node: dict[str, Any]) -> list[str]:
    return [one["key"] for one in node["spec"].get("taints", [])]


def _ready(server: Server, status: str) -> None:
    told = {"status": {"conditions": [{"type": "Ready", "status": status}]}}
    assert server.ask("PATCH", "/api/v1/nodes/n1/status", told, form="merge-patch+json")[0] == 200


def _eventually(server: Server, holds: Callable[[dict[str, Any]], Any], log: Path) -> dict[str, Any]:
    deadline = time.monotonic() + 40
    while not holds(found := dict(server.ask("GET", "/api/v1/nodes/n1")[1])):
        assert time.monotonic() < deadline, f"{found}\n{log.read_text()}"
        time.sleep(0.1)
    return found
