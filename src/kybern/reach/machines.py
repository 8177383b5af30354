"""Scripts on machines, by the same SSH as deploys use: the cluster's key, its known hosts, its user.

A script travels on the standard input. Every call has a limit; a machine that does not answer gives no text, which is
itself an observation.
"""

import asyncio
import logging
from dataclasses import dataclass, field
from pathlib import Path

from kybern.machines.errors import MachineError
from kybern.machines.state import State
from kybern.machines.topology import Cluster

LOG = logging.getLogger(__name__)
CONNECT = 15  # seconds, the greeting among them


@dataclass(frozen=True, slots=True)
class Machines:
    """The machines of a cluster."""

    cluster: Cluster
    # Scripts run as the user that SSH logs in.
    plain: bool = field(default=False, kw_only=True)
    # Why machines gave no answer the last time that they were asked, by their names.
    silences: dict[str, str] = field(default_factory=dict, init=False, compare=False)

    async def run(self, node: str, script: str, seconds: float) -> str:
        """What a script prints on a machine, run by root's shell; empty when the machine does not answer."""
        try:
            process = await asyncio.create_subprocess_exec(
                *self._command(node),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
        except FileNotFoundError as missing:
            raise MachineError("there is no ssh on this computer; install openssh-client") from missing
        try:
            async with asyncio.timeout(seconds):
                said, noted = await process.communicate(script.encode())
        except TimeoutError:
            LOG.info("%s did not end in %.0f s", node, seconds)
            self.silences[node] = f"no answer within {seconds:.0f} s"
            return ""
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        self.silences.pop(node, None)
        if process.returncode and not said:
            last = noted.decode(errors="replace").strip().rpartition("\n")[2]
            self.silences[node] = last.strip() or f"exit status {process.returncode} and not a word"
        return said.decode(errors="replace")

    def _command(self, node: str) -> list[str]:
        address = next(str(one.address) for one in self.cluster.machines if one.name == node)
        state, user = State.of(self.cluster.name), self.cluster.ssh_user
        shell = "bash -s" if self.plain or user == "root" else "sudo -n bash -s"
        options = {
            "BatchMode": "yes",
            "ConnectTimeout": str(CONNECT),
            "GlobalKnownHostsFile": "/dev/null",
            "IdentitiesOnly": "yes",
            "IdentityFile": _absolute(state.key),
            "StrictHostKeyChecking": "yes",
            "UserKnownHostsFile": _absolute(state.known_hosts),
        }
        words = [word for key, value in options.items() for word in ("-o", f"{key}={value}")]
        return ["ssh", "-F", "/dev/null", *words, f"{user}@{address}", shell]


def _absolute(path: Path) -> str:
    return str(path.absolute())
