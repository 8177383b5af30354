"""What daemons hold in memory: at rest, and for each thousand objects that they know of.

One API server, and the daemons that need nothing of the machine. A kubelet and a kube-proxy would change it; of these
the code alone is measured, loaded and idle.
"""

import asyncio
import contextlib
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec
import uvloop

from benchmarks.apiserver import ALL_PODS, MAPS, NAMESPACE, config_map, pod, ready
from benchmarks.measure import Benchmark, Row, cpu_seconds, resident_mebibytes
from benchmarks.server import CannotMeasure, Load, Request, Server, free_port, load, process, server

OBJECTS = 2000
# At rest is who needed less than this share of a processor for so many seconds.
QUIET, FOR, PATIENCE = 0.05, 3.0, 120.0
LOADED = """
import importlib, sys
importlib.import_module(sys.argv[1])
for line in open("/proc/self/status"):
    if line.startswith("VmRSS:"):
        print(line.split()[1])
"""


@dataclass(frozen=True, slots=True)
class Daemon:
    """``module`` is where its ``main`` is; ``kubeconfig`` comes to its flags."""

    name: str
    module: str
    flags: tuple[str, ...]


def daemons(at: Path) -> tuple[Daemon, ...]:
    """With all control loops on, each with its own account."""
    certificate = (f"--tls-cert-file={at}/server.crt", f"--tls-private-key-file={at}/server.key")
    serving = ("--bind-address=127.0.0.1", "--leader-elect=false", *certificate)
    loops = (
        "--use-service-account-credentials", "--allocate-node-cidrs=true", "--cluster-cidr=10.244.0.0/16",
        f"--root-ca-file={at}/ca.crt", f"--service-account-private-key-file={at}/sa.key",
        f"--cluster-signing-cert-file={at}/ca.crt", f"--cluster-signing-key-file={at}/ca.key",
    )  # fmt: skip
    return (
        Daemon(
            "controller manager", "controller_manager", (*serving, f"--secure-port={free_port()}", *loops)
        ),
        Daemon("scheduler", "scheduler", (*serving, f"--secure-port={free_port()}")),
        Daemon(
            "dns",
            "dns",
            ("--bind-address=127.0.0.1", f"--port={free_port()}", f"--health-bind-address=127.0.0.1:{free_port()}"),
        ),
    )  # fmt: skip


def kubeconfig(found: Server) -> Path:
    """JSON is YAML."""
    at = found.directory
    user = {"client-certificate": f"{at}/admin.crt", "client-key": f"{at}/admin.key"}
    cluster = {"server": found.url, "certificate-authority": f"{at}/ca.crt"}
    raw = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "it",
        "clusters": [{"name": "it", "cluster": cluster}],
        "users": [{"name": "it", "user": user}],
        "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
    }
    path = at / "kubeconfig"
    path.write_bytes(msgspec.json.encode(raw))
    return path


async def rest(pids: Mapping[str, int]) -> None:
    """Wait until all of them have little to do."""
    ends, since = time.monotonic() + PATIENCE, time.monotonic()
    before = {name: cpu_seconds(pid) for name, pid in pids.items()}
    while time.monotonic() - since < FOR:
        await asyncio.sleep(0.5)
        now = {name: cpu_seconds(pid) for name, pid in pids.items()}
        if any(now[name] - before[name] > QUIET for name in pids):
            since = time.monotonic()
        before = now
        if time.monotonic() > ends:
            raise CannotMeasure(f"{', '.join(pids)}: not at rest within {PATIENCE:.0f} s")


def running(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


async def made_map(load: Load, number: int) -> None:
    await load.ask("POST", MAPS, config_map(number))


async def made_pod(load: Load, number: int) -> None:
    await load.ask("POST", ALL_PODS, pod(number))


async def grown(clients: Load, pids: Mapping[str, int], what: str, request: Request) -> AsyncIterator[Row]:
    before = {name: resident_mebibytes(pid) for name, pid in pids.items()}
    await clients.measure(what, OBJECTS, request)
    await rest(pids)
    for name, pid in pids.items():
        more = (resident_mebibytes(pid) - before[name]) * 1000 / OBJECTS
        yield Row(f"{name}: 1,000 {what} more", more, "MiB", count=OBJECTS)


async def measure(found: Server, pids: dict[str, int], stack: contextlib.ExitStack) -> AsyncIterator[Row]:
    async with load(found) as clients:
        await ready(clients)
        await rest(pids)
        yield Row("API server: at rest, alone", resident_mebibytes(found.pid), "MiB")
        logs: dict[str, Path] = {"API server": found.directory / "server.log"}
        config = f"--kubeconfig={kubeconfig(found)}"
        for daemon in daemons(found.directory):
            code = f"from kybern.cli.{daemon.module} import main; main()"
            command = [sys.executable, "-c", code, config, *daemon.flags]
            log = found.directory / f"{daemon.module}.log"
            logs[daemon.name] = log
            pids[daemon.name] = stack.enter_context(process(command, log)).pid
        await rest(pids)
        for name, pid in pids.items():
            if not running(pid):
                raise CannotMeasure(f"the {name} ended:\n{logs[name].read_text()[-2000:]}")
            yield Row(f"{name}: at rest, all running", resident_mebibytes(pid), "MiB")
        with contextlib.suppress(CannotMeasure):  # a control loop may have made it
            await clients.ask("POST", NAMESPACE + "serviceaccounts", b'{"metadata":{"name":"default"}}')
        async for row in grown(clients, pids, "config maps of 1 KB", made_map):
            yield row
        async for row in grown(clients, pids, "pods", made_pod):
            yield row
    for name in ("kubelet", "proxy"):
        yield Row(f"{name}: its code", loaded(f"kybern.cli.{name}"), "MiB")


def loaded(module: str) -> float:
    """What a process that only loads a module holds."""
    command = [sys.executable, "-c", LOADED, module]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    return int(said) / 1024


def rows() -> Iterable[Row]:
    async def collected(found: Server, stack: contextlib.ExitStack) -> list[Row]:
        return [row async for row in measure(found, {"API server": found.pid}, stack)]

    with server() as found, contextlib.ExitStack() as stack:
        yield from uvloop.run(collected(found, stack))


BENCHMARKS = (Benchmark("memory", rows),)
