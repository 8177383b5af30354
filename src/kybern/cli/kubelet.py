"""kubelet: the agent of a node."""

import ctypes
import os
import sys
from dataclasses import replace

# Before gRPC is loaded: this daemon forks no copies of itself, and the handlers for that are in the way of threads.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "false")

from kybern.daemon import features, logs
from kybern.daemon.flags import Values
from kybern.daemon.run import run
from kybern.kubelet import process
from kybern.kubelet.configuration import read
from kybern.kubelet.daemon import main as serve
from kybern.kubelet.flags import FLAGS, shown
from kybern.kubelet.identity import identity

_M_ARENA_MAX = -8


def main() -> None:
    values = FLAGS.parse(sys.argv[1:])
    logs.setup(values["v"], values["logging-format"])
    _one_heap()
    run(lambda: _kubelet(values))


def _one_heap() -> None:
    """Keep glibc from giving every thread a heap of its own: that is worth ten megabytes here."""
    tune = getattr(ctypes.CDLL(None), "mallopt", None)
    if tune is not None:
        tune(_M_ARENA_MAX, 1)


async def _kubelet(values: Values) -> None:
    settings = replace(read(values), flags=shown(values))
    logs.setup(settings.verbosity, settings.log_format)
    features.show(settings.gates)
    process.prepare(settings)
    async with identity(settings) as config:
        await serve(settings, config)
