"""Files that are replaced as a whole: who reads one finds the old content or the new, also after a crash."""

import os
import tempfile
from pathlib import Path


def replace_file(path: Path, content: bytes, mode: int = 0o600, *, durable: bool = False) -> None:
    """Have that content at ``path``, with that mode. Whoever writes the same file beside us does not disturb us.

    A ``durable`` file is on disk when this returns; the others survive a killed process, and not a lost machine. Raises
    OSError, and leaves nothing beside then.
    """
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".new", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            os.fchmod(handle, mode)
            if durable:
                file.flush()
                os.fsync(handle)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
