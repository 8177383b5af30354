"""``kybern report``: all that a bug report needs, as one archive, with secrets taken out."""

import asyncio
import json
import time
from dataclasses import asdict
from datetime import UTC, datetime

from kybern.cli import machines
from kybern.cli.machines import Topology
from kybern.cli.status import look
from kybern.daemon.version import VERSION
from kybern.evidence.archive import pack
from kybern.evidence.gather import gather
from kybern.evidence.hiding import in_text
from kybern.machines.standing import standing
from kybern.machines.state import State


def report(topology: Topology = "lab") -> None:
    """Gather journals, states and objects of the cluster into one archive. Keys, tokens and Secrets stay out."""
    cluster = machines.read(topology, None)
    now = datetime.now(UTC)
    files = dict(asyncio.run(gather(cluster)))
    stands = standing(cluster, asyncio.run(look(cluster)), now)
    files["status.json"] = in_text(json.dumps(asdict(stands), indent=1))
    files["topology.yaml"] = in_text(machines.topology_path(topology).read_text())
    files["about.txt"] = f"kybern {VERSION}, {now:%FT%TZ}, cluster {cluster.name}\n"
    path = State.of(cluster.name).directory / "reports" / f"{cluster.name}-{now:%Y%m%dT%H%M%SZ}.tar.gz"
    pack(path, files, time.time())
    silent = sorted(name.split("/")[-2] for name in files if name.endswith("/silent.txt"))
    print(f"{path}: {len(files)} files, {path.stat().st_size / 1e6:.1f} MB.")
    if silent:
        print(f"No answer from: {', '.join(silent)}.")
    print(
        "Keys, tokens, values of environment variables, headers of probes, commands of containers, Secrets and "
        "ConfigMaps are left out. Names, addresses and log lines are in it: look through it before you hand it on."
    )
