"""Requests at a steady rate, from a machine of the lab or from the test's own host, and what became of each."""

import json
import subprocess
import sys
from dataclasses import dataclass

from kybern.machines.state import State
from tests.cluster.conftest import Lab

# Asks with a new connection each time, until its standard input ends; then prints what it counted. Only the standard
# library, and no single quote: it goes to the machine in a pair of them. Each time from another port, also of what asked
# before: the kernel would come back to one within a minute, and for two minutes it leads it where it led one that was not
# answered.
ASK = r"""
import asyncio, errno, json, sys, time

URL, RATE = sys.argv[1], float(sys.argv[2])
host, _, port = URL.partition(":")
counted = {"sent": 0, "answered": 0, "failed": {}, "longest": 0.0, "silent": 0.0, "last_failure": 0.0}
heard = time.monotonic()
FIRST, PORTS = 33000, 27000
port_of_own = int(time.time() * RATE) % PORTS

async def connected():
    global port_of_own
    while True:
        port_of_own = (port_of_own + 1) % PORTS
        try:
            return await asyncio.open_connection(host, int(port), local_addr=("0.0.0.0", FIRST + port_of_own))
        except OSError as problem:
            if problem.errno != errno.EADDRINUSE:
                raise

async def once():
    global heard
    began, clock = time.monotonic(), time.time()
    counted["sent"] += 1
    try:
        async with asyncio.timeout(6):
            reader, writer = await connected()
            try:
                writer.write(f"GET / HTTP/1.0\r\nHost: {host}\r\n\r\n".encode())
                answer = await reader.read()
            finally:
                writer.close()
        good = b" 200 " in answer.partition(b"\r\n")[0]
        what = "" if good else "cut short"
    except TimeoutError:
        what = "no answer in 6 s"
    except OSError as problem:
        what = type(problem).__name__
    if what:
        counted["failed"][what] = counted["failed"].get(what, 0) + 1
        counted["last_failure"] = max(counted["last_failure"], clock)
    else:
        now = time.monotonic()
        counted["answered"] += 1
        counted["longest"] = max(counted["longest"], now - began)
        counted["silent"] = max(counted["silent"], now - heard)
        heard = now

async def run():
    loop = asyncio.get_running_loop()
    told = loop.run_in_executor(None, sys.stdin.read)
    asked, began = set(), time.monotonic()
    while not told.done():
        task = asyncio.create_task(once())
        asked.add(task)
        task.add_done_callback(asked.discard)
        rest = began + counted["sent"] / RATE - time.monotonic()
        await asyncio.sleep(max(rest, 0))
    await asyncio.gather(*asked)
    print(json.dumps(counted))

asyncio.run(run())
"""


@dataclass(frozen=True, slots=True)
class Counted:
    """``longest``: the slowest answer, in seconds. ``silent``: the longest time without any, in seconds.

    ``last_failure``: when the last one that failed was sent, by the asker's clock (seconds since 1970); 0 for none. The
    machines of a lab have the clock of their host.
    """

    sent: int
    answered: int
    failed: dict[str, int]
    longest: float
    silent: float
    last_failure: float


class Traffic:
    """Starts to ask at once; ``stop`` ends it. ``machine`` is the one that asks; the test's own host for ""."""

    def __init__(self, lab: Lab, machine: str, address: str, *, rate: int) -> None:
        config = State.of(lab.cluster.name).ssh_config
        remote = ["ssh", "-F", str(config), machine, f"python3 -c '{ASK}' {address} {rate}"]
        self._process = subprocess.Popen(
            remote if machine else [sys.executable, "-c", ASK, address, str(rate)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def stop(self) -> Counted:
        out, said = self._process.communicate("", timeout=30)
        if self._process.returncode:
            raise AssertionError(f"cannot ask: {said[-2000:]}")
        return Counted(**json.loads(out))
