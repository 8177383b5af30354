"""``kybern certificates``: how long they last, and new ones. Authorities' keys are on this side alone, and so is renewal.

Every deploy renews those of which less than a third of their life is left, and so does the timer, by itself; daemons read
them again without a restart. What a run did not come to ship, the timer ships the next time.
"""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from kybern.cli import machines
from kybern.cli.deploys import only, run_deploy
from kybern.cli.holding import BreakLock, holding
from kybern.cli.machines import Topology
from kybern.cli.progress import table
from kybern.cli.rotating import rotate_encryption_key
from kybern.cli.trusting import rotate_ca, rotate_service_account_key
from kybern.daemon.files import replace_file
from kybern.machines import renewal
from kybern.machines.errors import MachineError
from kybern.machines.expiry import Kept, kept
from kybern.machines.state import State
from kybern.machines.topology import Cluster
from kybern.machines.unshipped import Unshipped

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
    when_worn: Annotated[
        bool, typer.Option("--when-worn", help="Do nothing at all while none is worn: for a timer.")
    ] = False,
    break_lock: BreakLock = False,
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
    notes = Unshipped(_folder(cluster))
    wearers = [one.machine or cluster.masters[0].name for one in chosen]
    if when_worn:
        machines_asked = renewal.needing(cluster, machine, {*wearers, *notes.machines()})
        if not machines_asked:
            print(f"No certificate of {cluster.name} is worn.")
            return
    else:
        machines_asked = renewal.needing(cluster, machine)
    with holding(cluster, "certificates renew", break_lock):
        for one, wearer in zip(chosen, wearers, strict=True):
            # The deploy makes what is missing; should it not come to that, the note has the next look do it.
            notes.note(wearer)
            one.path.unlink()
        limit = only(machines_asked) if machine or when_worn else ()
        changes = run_deploy(topology, cluster, limit, verb="certificates")
        notes.drop(machines_asked)
    print(f"{len(chosen)} certificates of {cluster.name} made anew, {changes} changes on its machines.")


@app.command()
def timer(
    topology: Topology = "lab",
    calendar: Annotated[
        str,
        typer.Option(
            "--calendar",
            help="When to look, as systemd writes it; daily, or more often where certificates live shortly.",
        ),
    ] = "",
    remove: Annotated[bool, typer.Option("--remove", help="Take the timer away again.")] = False,
) -> None:
    """Renew worn certificates by themselves: a timer of this computer's systemd, where the authorities' keys are."""
    cluster = machines.read(topology, None)
    if os.geteuid():
        raise MachineError("a timer can only be made by root; run this with sudo")
    place = Path("/etc/systemd/system")
    name = renewal.unit(cluster.name)
    if remove:
        _systemctl("disable", "--now", f"{name}.timer")
        for suffix in renewal.SUFFIXES:
            (place / f"{name}{suffix}").unlink(missing_ok=True)
        _systemctl("daemon-reload")
        print(f"Certificates of {cluster.name} are renewed by deploys alone.")
        return
    when = renewal.schedule(cluster.certificate_life, calendar)
    found = renewal.units(cluster.name, topology, when, Path.cwd(), sys.executable)
    for path, text in found.items():
        replace_file(place / path, text.encode(), 0o644)
    _systemctl("daemon-reload")
    _systemctl("enable", "--now", f"{name}.timer")
    print(f"{name}.timer renews the certificates of {cluster.name}; see: systemctl list-timers {name}.timer")


def _systemctl(*words: str) -> None:
    try:
        done = subprocess.run(["systemctl", *words], capture_output=True, text=True, timeout=60, check=False)
    except FileNotFoundError as missing:
        raise MachineError(
            "this computer has no systemd; have cron run 'kybern certificates renew TOPOLOGY --when-worn' each day"
        ) from missing
    if done.returncode:
        raise MachineError(f"cannot systemctl {' '.join(words)}: {done.stderr.strip()}")


def _kept(cluster: Cluster, now: datetime) -> tuple[Kept, ...]:
    return kept(cluster, _folder(cluster), now)


def _folder(cluster: Cluster) -> Path:
    return State.of(cluster.name).directory / "pki"
