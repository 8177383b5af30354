"""Keeping the logs of containers from filling the disk: a file that grew too large is set aside, and the oldest go.

The runtime is told to open its file again after the rename, so nothing is lost. Files set aside are compressed, except the
newest, which readers may still have open (upstream's ContainerLogManager).
"""

import asyncio
import gzip
import logging
import re
import shutil
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from kybern.kubelet.agent import Agent
from kybern.kubelet.cri import RuntimeFailure
from kybern.kubelet.settings import Settings
from kybern.kubelet.surroundings import Surroundings
from kybern.machinery.quantity import parse

log = logging.getLogger(__name__)

_STAMP = "%Y%m%d-%H%M%S"
_STAMPED = re.compile(r"\d{8}-\d{6}")


def surplus(files: list[Path], keep: int) -> list[Path]:
    """Which of the files set aside must go so that so many stay, the oldest first. Names sort by time. Pure."""
    return sorted(files)[: max(0, len(files) - keep)]


def name_aside(path: Path, older: Iterable[Path], now: datetime) -> Path:
    """What a log is called that is set aside now: after all that were before, though the clock was set back. Pure."""
    stamps = [found.name.removeprefix(f"{path.name}.").removesuffix(".gz") for found in older]
    last = max((stamp for stamp in stamps if _STAMPED.fullmatch(stamp)), default="")
    stamp = now.strftime(_STAMP)
    if stamp <= last:
        after = datetime.strptime(last, _STAMP).replace(tzinfo=UTC) + timedelta(seconds=1)
        stamp = after.strftime(_STAMP)
    return path.with_name(f"{path.name}.{stamp}")


class Rotator:
    """``run`` belongs into the daemon's TaskGroup."""

    def __init__(self, agent: Agent, here: Surroundings, settings: Settings) -> None:
        self._agent = agent
        self._here = here
        self._most = parse(settings.log_max_size).value()
        self._files = settings.log_max_files
        self._every = settings.log_every
        self._turns = asyncio.Semaphore(settings.log_workers)

    async def run(self) -> None:
        while True:
            await asyncio.sleep(self._every)
            await self.look()

    async def look(self) -> None:
        """Look at the logs of all that runs once."""
        async with asyncio.TaskGroup() as tasks:
            for worker, _task in list(self._agent.workers.values()):
                for instance in worker.actual.instances:
                    path = Path(instance.log_path)
                    if instance.running and instance.log_path and 0 <= self._most <= _size(path):
                        tasks.create_task(self._one(path, instance.id))

    async def _one(self, path: Path, identity: str) -> None:
        async with self._turns:
            try:
                await self._rotate(path, identity)
            except (OSError, RuntimeFailure) as problem:
                log.warning("cannot rotate %s: %s", path, problem)

    async def _rotate(self, path: Path, identity: str) -> None:
        older = []
        for found in path.parent.glob(f"{path.name}.*"):
            if found.suffix == ".tmp":
                # A kubelet that was killed left it: what it was made from is still there.
                found.unlink(missing_ok=True)
            else:
                older.append(found)
        aside = name_aside(path, older, datetime.now(UTC))
        # One place is for the file itself and one for what is set aside now.
        for found in surplus(older, self._files - 2):
            found.unlink(missing_ok=True)
            older.remove(found)
        for found in older:
            if found.suffix != ".gz":
                await asyncio.to_thread(_compressed, found)
        await asyncio.to_thread(path.rename, aside)
        try:
            await self._here.runtime.reopen_log(identity)
        except RuntimeFailure:
            await asyncio.to_thread(aside.rename, path)
            raise


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _compressed(path: Path) -> None:
    """Pack a file. One that cannot be packed stays as it is: without the rotation a full disk would never have room."""
    packed = path.with_name(f"{path.name}.gz")
    temporary = path.with_name(f"{path.name}.tmp")
    try:
        with path.open("rb") as source, gzip.open(temporary, "wb") as target:
            shutil.copyfileobj(source, target)
        temporary.replace(packed)
    except OSError as problem:
        log.warning("cannot compress %s: %s", path, problem)
        temporary.unlink(missing_ok=True)
        return
    path.unlink()
