"""``--resume``: go on where the last run broke, and pass over what its journal says was done with the same inputs.

It saves questions, and nothing else: a deploy that is run again asks for each of these steps and finds nothing to do. What
runs, who is a member and what the API has is asked in any case.
"""

from datetime import UTC, datetime
from typing import Annotated

import typer

from kybern.machines import journal
from kybern.machines.errors import MachineError
from kybern.machines.state import State
from kybern.machines.topology import Cluster

Resume = Annotated[
    bool,
    typer.Option(
        "--resume", help="Go on with the last run, which broke: what it did to files is not asked again."
    ),
]


def broken(cluster: Cluster, topology: str, verb: str = "cluster") -> dict[str, str]:
    """What a deploy's environment says of the run that it goes on with. Raises MachineError when there is none."""
    paths = journal.known(State.of(cluster.name).directory)
    last = journal.parsed(paths[-1].read_text()) if paths else None
    if why := journal.cannot_resume(last, verb, (topology,), datetime.now(UTC)):
        raise MachineError(f"cannot resume: {why}; run the same without --resume, which asks for everything")
    return {journal.RESUME: str(paths[-1].absolute())}
