"""haproxy as a program: what it runs with, and bringing it to run with something else without dropping a connection.

A configuration is a directory that never changes, named by what is in it; haproxy.cfg beside them is replaced at once by
a rename. haproxy says which one it runs with (its description), so after any interruption a look tells what is to do.
"""

import asyncio
import logging
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from kybern.daemon.files import replace_file
from kybern.ingress.model import Certificate
from kybern.ingress.render import CONFIGURATION, trial

log = logging.getLogger(__name__)

_PATIENCE = 10.0
_ASK = 3.0
_TRIAL = "trial"


class CannotApply(Exception):
    """haproxy refuses the configuration, or does not come to run with it; the one before stays in force."""


class Refused(CannotApply):
    """It looked at the configuration, and finds something wrong with it."""


class Haproxy:
    """``folder`` is this process's own; ``control`` and ``master`` are haproxy's sockets."""

    def __init__(self, folder: Path, control: Path, master: Path, program: str = "haproxy") -> None:
        self.folder, self._control, self._master, self._program = folder, control, master, program

    def write(self, digest: str, files: Mapping[str, str]) -> Path:
        """All files, readable by this user alone; gives where the configuration is."""
        place = self.folder / digest
        if not place.exists():
            beside = f"{digest}.new"
            self._written(beside, files)
            (self.folder / beside).rename(place)
        return place / CONFIGURATION

    def _written(self, name: str, files: Mapping[str, str]) -> Path:
        place = self.folder / name
        shutil.rmtree(place, ignore_errors=True)
        try:
            place.mkdir(mode=0o700)
            for file, text in files.items():
                _write(place / file, text)
        except OSError as problem:  # a full disk
            raise CannotApply(f"cannot write {place}: {problem.strerror}") from problem
        return place / CONFIGURATION

    async def check(self, configuration: Path) -> None:
        """Raises Refused with what haproxy says of it, and CannotApply where it comes to say nothing."""
        made = await asyncio.create_subprocess_exec(
            self._program, "-c", "-f", str(configuration),
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        try:
            async with asyncio.timeout(_PATIENCE):
                said, _ = await made.communicate()
        except TimeoutError as problem:
            raise CannotApply(f"haproxy does not judge {configuration} within {_PATIENCE:.0f} s") from problem
        finally:
            if made.returncode is None:
                made.kill()
                await made.wait()
        code = made.returncode or 0
        if code < 0:
            raise CannotApply(f"haproxy was ended by signal {-code} while it judged {configuration}")
        if code:
            raise Refused(f"haproxy refuses {configuration}: {said.decode(errors='replace')[-2000:]}")

    async def refused(self, certificates: Sequence[Certificate]) -> tuple[Certificate, ...]:
        """Those that haproxy takes from nobody, each found by halves; none when it takes all of them together.

        Raises CannotApply, rather than to blame one for what the machine lacks.
        """
        if not certificates or await self._takes(certificates):
            return ()
        if len(certificates) == 1:
            return tuple(certificates)
        half = len(certificates) // 2
        return (*await self.refused(certificates[:half]), *await self.refused(certificates[half:]))

    async def _takes(self, certificates: Sequence[Certificate]) -> bool:
        try:
            await self.check(self._written(_TRIAL, trial(certificates, f"{self.folder}/{_TRIAL}")))
        except Refused:
            return False
        finally:
            shutil.rmtree(self.folder / _TRIAL, ignore_errors=True)
        return True

    def has(self, digest: str) -> bool:
        """Whether this is what haproxy reads when it starts."""
        try:
            return f"description {digest}\n" in (self.folder / CONFIGURATION).read_text()
        except FileNotFoundError:
            return False

    def use(self, configuration: Path) -> None:
        """What haproxy reads the next time that it starts or loads."""
        replace_file(self.folder / CONFIGURATION, configuration.read_bytes())

    async def running(self) -> str:
        """The name of what it runs with; "" when it does not run."""
        try:
            told = await _asked(self._control, "show info")
        except (OSError, TimeoutError):
            return ""
        lines = (line.partition(":") for line in told.splitlines())
        return next((value.strip() for name, _, value in lines if name == "description"), "")

    async def load(self, digest: str) -> None:
        """Have it run with what ``use`` named. Where it does not run, it reads that when it starts."""
        if await self.running() in ("", digest):
            return
        try:
            await _asked(self._master, "reload")
        except ConnectionResetError:
            log.debug("haproxy began anew before it answered")
        except (OSError, TimeoutError) as problem:
            raise CannotApply(f"cannot tell haproxy to load {digest}: {problem}") from problem
        try:
            async with asyncio.timeout(_PATIENCE):
                while await self.running() != digest:  # noqa: ASYNC110  # it is another process, and tells nobody
                    await asyncio.sleep(0.05)
        except TimeoutError as problem:
            raise CannotApply(f"haproxy does not run with {digest} after {_PATIENCE:.0f} s") from problem

    def prune(self, digest: str) -> None:
        """Only what is in use stays: keys of certificates that are not must not lie about."""
        for one in self.folder.iterdir():
            if one.is_dir() and one.name != digest:
                shutil.rmtree(one, ignore_errors=True)


def _write(path: Path, text: str) -> None:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:  # noqa: PTH123  # with its mode
        file.write(text)


async def _asked(where: Path, words: str) -> str:
    async with asyncio.timeout(_ASK):
        reader, writer = await asyncio.open_unix_connection(str(where))
        try:
            writer.write(f"{words}\n".encode())
            # The master would wait for more.
            writer.write_eof()
            return (await reader.read()).decode(errors="replace")
        finally:
            writer.close()
