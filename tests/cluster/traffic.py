"""Requests at a steady rate from a machine of the lab, and what became of each."""

import json
import subprocess
from dataclasses import dataclass

from kybern.machines.state import State
from tests.cluster.conftest import Lab

# Asks with a new connection each time, until its standard input ends; then prints what it counted. Only the standard
# library, and no single quote: it goes to the machine in a pair of them.
ASK = r"""
import asyncio, json, sys, time

URL, RATE = sys.argv[1], float(sys.argv[2])
host, _, port = URL.partition(":")
counted = {"sent": 0, "answered": 0, "failed": {}, "longest": 0.0}

async def once():
    began = time.monotonic()
    counted["sent"] += 1
    try:
        async with asyncio.timeout(3):
            reader, writer = await asyncio.open_connection(host, int(port))
            try:
                writer.write(f"GET / HTTP/1.0\r\nHost: {host}\r\n\r\n".encode())
                answer = await reader.read()
            finally:
                writer.close()
        good = b" 200 " in answer.partition(b"\r\n")[0]
        what = "" if good else "cut short"
    except TimeoutError:
        what = "no answer in 3 s"
    except OSError as problem:
        what = type(problem).__name__
    if what:
        counted["failed"][what] = counted["failed"].get(what, 0) + 1
    else:
        counted["answered"] += 1
        counted["longest"] = max(counted["longest"], time.monotonic() - began)

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
    """``longest`` is in seconds, of those that were answered."""

    sent: int
    answered: int
    failed: dict[str, int]
    longest: float


class Traffic:
    """Starts to ask at once; ``stop`` ends it."""

    def __init__(self, lab: Lab, machine: str, address: str, *, rate: int = 200) -> None:
        config = State.of(lab.cluster.name).ssh_config
        remote = f"python3 -c '{ASK}' {address} {rate}"
        self._process = subprocess.Popen(
            ["ssh", "-F", str(config), machine, remote],
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
