"""kube-apiserver: the API of the cluster, over etcd."""

import sys

from kybern.apiserver.config import ACTS, FLAGS, read
from kybern.apiserver.serve import serve
from kybern.daemon import features, logs
from kybern.daemon.flags import Values
from kybern.daemon.run import run


def main() -> None:
    values = FLAGS.parse(sys.argv[1:])
    logs.setup(values["v"], values["logging-format"])
    # Read inside, so that a setting that cannot be used ends the daemon with one line.
    run(lambda: _serve(values))


async def _serve(values: Values) -> None:
    config = read(values)
    features.show({name: name in config.gates for name in ACTS})
    await serve(config)
