"""Processes of the tests that stand still for a while."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def frozen(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Stopped within, all threads of it: on a busy machine some run on for a moment after the signal."""
    process.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, process.pid, os.WSTOPPED)
    try:
        yield
    finally:
        process.send_signal(signal.SIGCONT)
