"""``kybern certificates``: how long they last, and new ones. Authorities' keys are on this side alone, and so is renewal.

Every deploy renews those of which less than a third of their life is left; daemons read them again without a restart.
"""

import json
from datetime import UTC, datetime
from typing import Annotated

import typer

from kybern.cli import machines
from kybern.cli.deploys import only, run_deploy
from kybern.cli.machines import Topology
from kybern.cli.progress import table
from kybern.cli.rotating import rotate_encryption_key
from kybern.cli.trusting import rotate_ca, rotate_service_account_key
from kybern.machines.errors import MachineError
from kybern.machines.expiry import Kept, kept
from kybern.machines.state import State
from kybern.machines.topology import Cluster

app = typer.Typer(help="Certificates of a cluster.", no_args_is_help=True)
app.command()(rotate_encryption_key)
app.command()(rotate_ca)
app.command()(rotate_service_account_key)
Output = Annotated[str, typer.Option("--output", "-o", help="text or json")]


@app.command("list")
def show(topology: Topology = "lab", output: Output = "text") -> None:
    """Every certificate and when it expires, the next one first."""
    cluster, now = machines.read(topology, None), datetime.now(UTC)
    found = _kept(cluster, now)
    if output == "json":
        print(json.dumps([one.as_json(now) for one in found], indent=2))
        return
    table(
        ("MACHINE", "CERTIFICATE", "SUBJECT", "UNTIL", "DAYS", "NEXT DEPLOY"),
        [
            (
                one.machine or "-",
                one.name,
                one.subject,
                f"{one.until:%Y-%m-%d %H:%M}",
                str(one.days(now)),
                "renews it" if one.is_worn and one.signer else "keeps it",
            )
            for one in found
        ],
    )


@app.command()
def renew(
    topology: Topology = "lab",
    everything: Annotated[
        bool, typer.Option("--all", help="All of them, and not only those that are worn.")
    ] = False,
    machine: Annotated[str, typer.Option("--machine", help="Only this machine's.")] = "",
) -> None:
    """Make new certificates and ship them, and nothing else of a deploy. Nothing is restarted."""
    cluster, now = machines.read(topology, None), datetime.now(UTC)
    if machine and machine not in {each.name for each in cluster.machines}:
        raise MachineError(f'cluster {cluster.name} has no machine "{machine}"')
    chosen = [
        one
        for one in _kept(cluster, now)
        if one.signer and (everything or one.is_worn) and machine in ("", one.machine)
    ]
    for one in chosen:
        # The deploy makes what is missing; should it not come to that, the next one does.
        one.path.unlink()
    changes = run_deploy(topology, cluster, only([machine]) if machine else (), verb="certificates")
    print(f"{len(chosen)} certificates of {cluster.name} made anew, {changes} changes on its machines.")


def _kept(cluster: Cluster, now: datetime) -> tuple[Kept, ...]:
    return kept(cluster, State.of(cluster.name).directory / "pki", now)
