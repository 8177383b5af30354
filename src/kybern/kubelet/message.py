"""What a container left behind as its last words (terminationMessagePath), or the end of its log.

Behind what the runtime says itself. At most the last 4 KiB of the file, the last 2 KiB and 80 lines of the log, and 12 KiB
for all containers of a pod, as upstream has it.
"""

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kybern.kubelet import labels
from kybern.kubelet.logline import parse
from kybern.kubelet.logs import start_of_tail

_FROM_FILE = 4096
_FROM_LOG = 2048
_LINES = 80
_OF_POD = 12 * 1024


def termination_message(status: Any, notes: Mapping[str, str]) -> str:
    """Of a CRI ContainerStatus that ended; the runtime's own message where the container left none."""
    path = notes.get(labels.MESSAGE_PATH, "")
    source = next((mount.host_path for mount in status.mounts if mount.container_path == path), "")
    text = _from_file(source) if path and source else ""
    fallback = notes.get(labels.MESSAGE_POLICY) == "FallbackToLogsOnError"
    failed = status.exit_code != 0 or status.reason == "OOMKilled"
    if not text and fallback and failed:
        text = _from_log(status.log_path)
    return ": ".join(filter(None, (str(status.message), text)))


def share(containers: int) -> int:
    """How many bytes of a message each container of a pod may show: 12 KiB are parted among all (status_manager.go)."""
    return _OF_POD // containers if containers else _OF_POD


def cut(text: str, most: int) -> str:
    """The text within so many bytes; a character is kept whole or left out."""
    encoded = text.encode()
    return text if len(encoded) <= most else encoded[:most].decode(errors="ignore")


def _from_file(path: str) -> str:
    """The end of a file. What the container put there instead of a file (a pipe, a directory) is not read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        # It went with the volumes of a pod that is over.
        return ""
    except OSError as problem:
        return f"Error on reading termination log {path}: {problem}"
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            return f"Error on reading termination log {path}: it is no regular file"
        return os.pread(descriptor, _FROM_FILE, max(0, status.st_size - _FROM_FILE)).decode(errors="replace")
    finally:
        os.close(descriptor)


def _from_log(path: str) -> str:
    try:
        with Path(path).open("rb") as file:
            file.seek(start_of_tail(file, _LINES))
            lines = file.readlines()
    except OSError as problem:
        return f"Error reading termination message from logs: {problem}"
    text = b"".join(entry.content for entry in map(parse, lines) if entry is not None)
    return text[-_FROM_LOG:].decode(errors="replace")
