"""What a person sees while something runs: one live line a machine on a terminal, plain lines elsewhere."""

import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.table import Table


class Progress:
    """Steps of several things at once. ``step`` may be called from any thread."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._console = Console(stderr=True)
        self._lock = threading.Lock()
        self._rows: dict[str, str] = {}
        self._began = time.monotonic()
        self._live = Live(console=self._console, auto_refresh=False) if self._console.is_terminal else None

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()

    def step(self, name: str, text: str) -> None:
        with self._lock:
            self._rows[name] = text
            if self._live:
                self._live.update(self._picture(), refresh=True)
            else:
                print(f"{time.monotonic() - self._began:6.1f}s {name}: {text}", file=sys.stderr, flush=True)

    def say(self, text: str) -> None:
        with self._lock:
            if self._live:
                self._live.console.print(text)
            else:
                print(text, file=sys.stderr, flush=True)

    def _picture(self) -> Table:
        picture = Table(title=self._title, title_justify="left", show_header=False, box=None)
        for name in sorted(self._rows):
            picture.add_row(name, self._rows[name])
        return picture


@contextmanager
def timed(what: str) -> Iterator[None]:
    began = time.monotonic()
    yield
    print(f"{what}: {time.monotonic() - began:.1f} s", flush=True)


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Columns as kubectl prints them: they can be read and cut."""
    lines = [tuple(heads), *(tuple(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(heads))]
    for line in lines:
        print("   ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
