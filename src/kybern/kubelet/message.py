"""What a container left behind as its last words (terminationMessagePath), or the end of its log.

At most 4 KiB from the file, at most 2 KiB and 80 lines from the log, as upstream has it.
"""

from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kybern.kubelet import labels
from kybern.kubelet.logline import parse

_FROM_FILE = 4096
_FROM_LOG = 2048
_LINES = 80


def termination_message(status: Any, notes: Mapping[str, str]) -> str:
    """Of a CRI ContainerStatus that ended; the runtime's own message where the container left none."""
    path = notes.get(labels.MESSAGE_PATH, "")
    source = next((mount.host_path for mount in status.mounts if mount.container_path == path), "")
    text = _from_file(source) if path and source else ""
    fallback = notes.get(labels.MESSAGE_POLICY) == "FallbackToLogsOnError"
    failed = status.exit_code != 0 or status.reason == "OOMKilled"
    if not text and fallback and failed:
        text = _from_log(status.log_path)
    return text or str(status.message)


def _from_file(path: str) -> str:
    try:
        with Path(path).open("rb") as file:
            return file.read(_FROM_FILE).decode(errors="replace")
    except OSError as problem:
        return f"Error on reading termination log {path}: {problem}"


def _from_log(path: str) -> str:
    try:
        with Path(path).open("rb") as file:
            lines = deque(file, maxlen=_LINES)
    except OSError as problem:
        return f"Error reading termination message from logs: {problem}"
    text = b"".join(entry.content for entry in map(parse, lines) if entry is not None)
    return text[-_FROM_LOG:].decode(errors="replace")
