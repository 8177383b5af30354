"""What a part of the kubelet has to know after its next start, in a file that several tasks write."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from kybern.daemon.files import replace_file


class Checkpoint:
    """A file of the state that ``content`` gives, as JSON or what it likes; readable by the kubelet's user alone."""

    def __init__(self, file: Path, content: Callable[[], bytes]) -> None:
        self._file, self._content, self._writing = file, content, asyncio.Lock()

    async def keep(self) -> None:
        """Have on disk what there is by now. Raises OSError.

        One at a time, and each asks for the state when its turn comes: an older picture never replaces a newer one.
        """
        async with self._writing:
            await asyncio.to_thread(self._write, self._content())

    def _write(self, content: bytes) -> None:
        self._file.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        replace_file(self._file, content)
