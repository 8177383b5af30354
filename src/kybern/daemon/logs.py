"""Logging in the form that upstream's daemons use: ``I0102 15:04:05.000000 PID file.py:LINE] message``.

Everything goes to standard error, where the journal of systemd takes it. Secrets are kept out at the place that logs:
nothing here can know them.
"""

import logging
import sys
from datetime import UTC, datetime
from typing import override

_LETTERS = {
    logging.DEBUG: "I",
    logging.INFO: "I",
    logging.WARNING: "W",
    logging.ERROR: "E",
    logging.CRITICAL: "F",
}
# klog shows details from verbosity 4 on; below it only what an operator acts on.
_DETAILS = 4


class _Klog(logging.Formatter):
    @override
    def format(self, record: logging.LogRecord) -> str:
        when = datetime.fromtimestamp(record.created, UTC).strftime("%m%d %H:%M:%S.%f")
        letter = _LETTERS.get(record.levelno, "I")
        text = f"{letter}{when} {record.process:>7} {record.filename}:{record.lineno}] {record.getMessage()}"
        if record.exc_info:
            text = f"{text}\n{self.formatException(record.exc_info)}"
        return text


def setup(verbosity: int = 0) -> None:
    """Send all records to standard error; ``verbosity`` is the number of ``-v``."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Klog())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.DEBUG if verbosity >= _DETAILS else logging.INFO)
    for chatty in ("aiohttp.access", "asyncio", "grpc._cython.cygrpc"):
        logging.getLogger(chatty).setLevel(logging.DEBUG if verbosity >= 2 * _DETAILS else logging.WARNING)
