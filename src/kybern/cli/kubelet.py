"""kubelet: the agent of a node."""

import sys

from kybern.daemon import logs
from kybern.daemon.run import run
from kybern.kubelet.bootstrap import identity
from kybern.kubelet.daemon import main as serve
from kybern.kubelet.flags import FLAGS
from kybern.kubelet.settings import Settings, read


def main() -> None:
    values = FLAGS.parse(sys.argv[1:])
    logs.setup(values["v"])
    run(lambda: _kubelet(read(values)))


async def _kubelet(settings: Settings) -> None:
    async with identity(settings) as config:
        await serve(settings, config)
