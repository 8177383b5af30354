"""Logging in the forms that upstream's daemons use: ``I0102 15:04:05.000000 PID file.py:LINE] message``, or JSON.

A line of JSON has upstream's fields (component-base/logs/json): ``ts`` in milliseconds, ``logger`` where it is not ours,
``caller``, ``msg``, and ``v`` (verbosity), which an error does not have; it has ``err`` instead where there is an exception.
Everything goes to standard error, where the journal of systemd takes it. Secrets are kept out at the place that logs:
nothing here can know them.
"""

import json
import logging
import sys
from datetime import UTC, datetime
from pathlib import PurePath
from typing import Any, override

_LETTERS = {
    logging.DEBUG: "I",
    logging.INFO: "I",
    logging.WARNING: "W",
    logging.ERROR: "E",
    logging.CRITICAL: "F",
}
# klog shows details from verbosity 4 on; below it only what an operator acts on.
_DETAILS = 4
_OURS = "kybern."


class _Klog(logging.Formatter):
    @override
    def format(self, record: logging.LogRecord) -> str:
        when = datetime.fromtimestamp(record.created, UTC).strftime("%m%d %H:%M:%S.%f")
        letter = _LETTERS.get(record.levelno, "I")
        text = f"{letter}{when} {record.process:>7} {record.filename}:{record.lineno}] {record.getMessage()}"
        if record.exc_info:
            text = f"{text}\n{self.formatException(record.exc_info)}"
        return text


class _Json(logging.Formatter):
    @override
    def format(self, record: logging.LogRecord) -> str:
        place = PurePath(record.pathname)
        shown: dict[str, Any] = {"ts": round(record.created * 1000, 4)}
        if not record.name.startswith(_OURS):
            shown["logger"] = record.name
        shown["caller"] = f"{place.parent.name}/{place.name}:{record.lineno}"
        shown["msg"] = record.getMessage()
        if record.levelno < logging.ERROR:
            shown["v"] = _DETAILS if record.levelno < logging.INFO else 0
        if record.exc_info and record.exc_info[1] is not None:
            shown["err"] = str(record.exc_info[1])
            shown["stacktrace"] = self.formatException(record.exc_info)
        return json.dumps(shown, ensure_ascii=False)


_FORMS: dict[str, type[logging.Formatter]] = {"text": _Klog, "json": _Json}


def form(text: str) -> str:
    """A --logging-format value; raises ValueError."""
    if text not in _FORMS:
        raise ValueError(f'format: Invalid value: "{text}": Unsupported log format')
    return text


def setup(verbosity: int = 0, form: str = "text") -> None:
    """Send all records to standard error; ``verbosity`` is the number of ``-v``, ``form`` text or json."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_FORMS.get(form, _Klog)())
    logging.getLogger().handlers[:] = [handler]
    level(verbosity)


def level(verbosity: int) -> None:
    """Say more, or less, in the same form."""
    logging.getLogger().setLevel(logging.DEBUG if verbosity >= _DETAILS else logging.INFO)
    for chatty in ("aiohttp.access", "asyncio", "grpc._cython.cygrpc"):
        logging.getLogger(chatty).setLevel(logging.DEBUG if verbosity >= 2 * _DETAILS else logging.WARNING)
