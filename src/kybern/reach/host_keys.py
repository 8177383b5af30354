"""The host keys that machines show, by ssh-keyscan. What is shown is not trusted: whoever asks compares it."""

import asyncio
from collections.abc import Mapping, Sequence

from kybern.machines.adopting import ORDER, HostKey, best_key
from kybern.machines.errors import MachineError

SECONDS = 5  # for each machine


async def shown(addresses: Sequence[str]) -> Mapping[str, HostKey]:
    """By address; who shows none is left out. Raises MachineError without ssh-keyscan."""
    try:
        process = await asyncio.create_subprocess_exec(
            "ssh-keyscan",
            *("-T", str(SECONDS), "-t", "ed25519,ecdsa,rsa"),
            *addresses,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
    except FileNotFoundError as missing:
        raise MachineError("there is no ssh-keyscan on this computer; install openssh-client") from missing
    try:
        async with asyncio.timeout(SECONDS * len(ORDER) * len(addresses) + SECONDS):
            said, _ = await process.communicate()
    except TimeoutError:
        raise MachineError(f"cannot read host keys: {', '.join(addresses)} take too long to answer") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    lines = said.decode(errors="replace").splitlines()
    found = {address: best_key(lines, address) for address in addresses}
    return {address: key for address, key in found.items() if key is not None}
