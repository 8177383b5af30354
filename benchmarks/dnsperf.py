"""Name servers under dnsperf, on loopback: kybern-dns with a zone, as a node's cache, and unbound as a cache beside it.

All answer the same thousand names; the two caches ask kybern-dns once for each, and from then on answer from what they kept.
Told are questions for each second of the server's own processor time, which another load on the machine does not change.
10,000 a second and core were asked for. Without dnsperf there is nothing to tell, without unbound only ours.
"""

import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks.dns import SERVICES
from benchmarks.measure import Benchmark, Row, cpu_seconds
from benchmarks.server import CannotMeasure

SECONDS, CLIENTS = 5, 20
_DONE = re.compile(r"Queries completed:\s+(\d+)")
_LOST = re.compile(r"Queries lost:\s+(\d+)")
_ZONE = "from benchmarks.dnsperf import zone_server; zone_server()"
_DAEMON = "from kybern.cli.dns import main; main()"
_UNBOUND = """server:
  interface: 127.0.0.1@{port}
  access-control: 127.0.0.0/8 allow
  do-daemonize: no
  do-not-query-localhost: no
  num-threads: 1
  module-config: "iterator"
  chroot: ""
  username: ""
  pidfile: ""
  directory: "{directory}"
  use-syslog: no
  local-zone: "cluster.local." nodefault
forward-zone:
  name: "."
  forward-addr: 127.0.0.1@{behind}
remote-control:
  control-enable: no
"""


def rows() -> Iterable[Row]:
    if not shutil.which("dnsperf"):
        raise CannotMeasure("there is no dnsperf; install Debian's package of that name")
    with ExitStack() as ends:
        directory = Path(ends.enter_context(tempfile.TemporaryDirectory()))
        names = directory / "names"
        names.write_text("".join(f"s{number}.default.svc.cluster.local A\n" for number in range(SERVICES)))
        zone, cache, other = _ports(3)
        served = ends.enter_context(_server(zone, sys.executable, "-c", _ZONE, str(zone)))
        flags = (f"--cluster-servers=127.0.0.1:{zone}", "--bind-address=127.0.0.1", f"--port={cache}")
        cached = ends.enter_context(
            _server(cache, sys.executable, "-c", _DAEMON, *flags, "--health-bind-address=")
        )
        yield _asked("dnsperf: kybern-dns, names of its zone", served, zone, names)
        yield _asked("dnsperf: kybern-dns, a node's cache", cached, cache, names)
        if shutil.which("unbound"):
            config = directory / "unbound.conf"
            config.write_text(_UNBOUND.format(port=other, behind=zone, directory=directory))
            unbound = ends.enter_context(_server(other, "unbound", "-d", "-c", str(config)))
            yield _asked("dnsperf: unbound, a cache of one thread", unbound, other, names)


def zone_server() -> None:
    """A process with the zone of ``benchmarks.dns`` at the port that its command line names."""
    import asyncio  # noqa: PLC0415  # only the server's process needs these

    import uvloop  # noqa: PLC0415

    from benchmarks.dns import responder  # noqa: PLC0415
    from kybern.dns.serve import Connections, Datagrams, bound  # noqa: PLC0415

    async def serve(port: int) -> None:
        async with asyncio.TaskGroup() as tasks:
            ours = responder(tasks)
            tasks.create_task(Datagrams(bound("127.0.0.1", port), ours, tasks).run())
            tasks.create_task(Connections("127.0.0.1", port, ours, tasks).run())

    uvloop.run(serve(int(sys.argv[1])))


def _ports(count: int) -> list[int]:
    with ExitStack() as held:
        sockets = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [one.getsockname()[1] for one in sockets]


@contextmanager
def _server(port: int, *command: str) -> Iterator[int]:
    """A name server's process, once it takes connections."""
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(command, stdout=quiet, stderr=quiet)
    try:
        ends = time.monotonic() + 30
        while not _takes(port):
            if process.poll() is not None or time.monotonic() > ends:
                raise CannotMeasure(f"{command[0]} does not answer at port {port}")
            time.sleep(0.05)
        yield process.pid
    finally:
        process.terminate()
        process.wait(10)


def _takes(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def _asked(operation: str, pid: int, port: int, names: Path) -> Row:
    """One run warms up; the next one counts. What is lost ends it with an error, and not with a better number."""
    _dnsperf(port, names, 1)
    before = cpu_seconds(pid)
    answered = _dnsperf(port, names, SECONDS)
    return Row(operation, answered / (cpu_seconds(pid) - before), "/s core", count=answered)


def _dnsperf(port: int, names: Path, seconds: int) -> int:
    command = [
        "dnsperf",
        "-s",
        "127.0.0.1",
        "-p",
        str(port),
        "-d",
        str(names),
        "-l",
        str(seconds),
        "-c",
        str(CLIENTS),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 30, check=True)
    completed, lost = _DONE.search(done.stdout), _LOST.search(done.stdout)
    if completed is None or lost is None or int(lost[1]) > int(completed[1]) // 100:
        raise CannotMeasure(f"dnsperf lost questions or said nothing: {done.stdout[-500:]}")
    return int(completed[1])


BENCHMARKS = (Benchmark("dnsperf", rows),)
