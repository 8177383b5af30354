"""The audit log as a file: a line of JSON for each event, with full files moved aside, and old ones removed.

A file that is full becomes ``NAME-TIME.log`` beside it, which is upstream's naming, so that what collects such logs goes on
working. What cannot be written is counted and told once, and tried again with the next event.
"""

import asyncio
import gzip
import logging
import os
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

from kybern.apiserver import metrics

log = logging.getLogger(__name__)

MEBI = 1 << 20
DAY = 86_400
_STAMP = "%Y-%m-%dT%H-%M-%S.%f"


class LogFile:
    """``path`` "-" is the standard output, which is never moved. ``size`` in MiB, ``age`` in days; 0: no limit."""

    def __init__(
        self,
        path: str,
        size: int = 100,
        age: int = 0,
        backups: int = 0,
        *,
        compress: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._path = Path(path)
        self._most, self._age, self._backups, self._compress = size * MEBI, age, backups, compress
        self._clock = clock
        self._failing = False
        self._tidier = ThreadPoolExecutor(1, "audit-log")
        if path == "-":
            self._file, self._size, self._most = os.dup(1), 0, 0
        else:
            self._file, self._size = self._opened()

    def write(self, line: bytes) -> bool:
        """Whether all of it is in the file."""
        try:
            if self._most and self._size and self._size + len(line) > self._most:
                self._turn()
            written = os.write(self._file, line)
            self._size += written
            lost = f"only {written} of {len(line)} bytes fit" if written < len(line) else ""
        except OSError as problem:
            lost = problem.strerror or str(problem)
        if lost:
            metrics.audit_errors.labels("log").inc()
            if not self._failing:
                log.error("cannot write the audit log %s: %s; make room there", self._path, lost)
        self._failing = bool(lost)
        return not lost

    async def run(self, _tasks: asyncio.TaskGroup) -> None:
        """Nothing: it is written in place."""

    async def close(self) -> None:
        await asyncio.to_thread(self._tidier.shutdown)
        os.close(self._file)

    def _opened(self) -> tuple[int, int]:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        return file, os.fstat(file).st_size

    def _turn(self) -> None:
        """Move the full file aside and begin a new one. Requests do not wait for the tidying."""
        stamp = datetime.fromtimestamp(self._clock(), UTC).strftime(_STAMP)[:-3]
        self._path.rename(self._path.with_name(f"{self._path.stem}-{stamp}{self._path.suffix}"))
        full, (self._file, self._size) = self._file, self._opened()
        os.close(full)
        if self._age or self._backups or self._compress:
            self._tidier.submit(self._tidy)

    def _tidy(self) -> None:
        try:
            kept = sorted(self._old(), key=lambda path: path.name.removesuffix(".gz"), reverse=True)
            oldest = self._clock() - self._age * DAY
            for number, path in enumerate(kept):
                if (self._backups and number >= self._backups) or (
                    self._age and _made(path, self._path) < oldest
                ):
                    path.unlink(missing_ok=True)
                elif self._compress and path.suffix != ".gz":
                    _pack(path)
        except OSError as problem:
            log.warning("cannot tidy old files of the audit log %s: %s", self._path, problem)

    def _old(self) -> list[Path]:
        """The files that were moved aside; others of the directory are nobody's business here."""
        names = self._path.parent.glob(f"{self._path.stem}-*{self._path.suffix}*")
        return [path for path in names if _made(path, self._path)]


def _made(path: Path, log_path: Path) -> float:
    """When a file was moved aside, by its name; 0 for one that never was."""
    name = path.name.removesuffix(".gz")
    stamp = name.removeprefix(f"{log_path.stem}-").removesuffix(log_path.suffix)
    try:
        return (datetime.strptime(stamp, _STAMP).replace(tzinfo=UTC)).timestamp()
    except ValueError:
        return 0.0


def _pack(path: Path) -> None:
    """Replace a file by its packed form. One that is interrupted is begun again at the next turn."""
    unfinished = path.with_name(f".{path.name}.gz")
    with (
        path.open("rb") as source,
        os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as raw,
        gzip.GzipFile(fileobj=raw, mode="wb") as packed,
    ):
        shutil.copyfileobj(source, packed)
    unfinished.rename(path.with_name(f"{path.name}.gz"))
    path.unlink()
