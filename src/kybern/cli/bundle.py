"""``kybern bundle``: all that a deploy needs in one directory, for a place without a network; and whether it is whole."""

from pathlib import Path
from typing import Annotated

import typer

from kybern.cli import machines
from kybern.cli.progress import Progress, table
from kybern.machines.bundle.making import make
from kybern.machines.bundle.opened import Bundle, opened
from kybern.machines.errors import MachineError


def bundle(
    first: Annotated[str, typer.Argument(metavar="TOPOLOGY", help="As elsewhere; none with --check.")],
    second: Annotated[
        str, typer.Argument(metavar="DIR", help="Where it shall be; as the topology says in 'bundle'.")
    ] = "",
    check: Annotated[
        bool, typer.Option("--check", help="Only look whether each file of DIR is as its lock says.")
    ] = False,
    newest: Annotated[
        bool, typer.Option("--newest", help="Ask Debian and the package index again for what is there.")
    ] = False,
) -> None:
    """Fetch everything that the machines of a topology and this computer need into a directory, and lock it."""
    if check:
        verify(opened(Path(second or first)))
        return
    cluster = machines.read(first, None)
    where = second or cluster.bundle
    if not where:
        raise MachineError(f"cannot make a bundle of {cluster.name} nowhere: name a directory behind it")
    with Progress(f"Bundle: {cluster.name}") as progress:
        made = make(cluster, Path(where), progress.say, newest)
    summary(made.bundle)
    print(f"{where} is whole: {made.files} files fetched, {made.size / 1e6:.0f} MB.")


def verify(found: Bundle) -> None:
    """Tell every file that is not as the lock says. Raises MachineError when there is one."""
    faults = list(found.faults())
    for said in faults:
        print(said)
    if faults:
        raise MachineError(
            f"{found.directory} is not whole, {len(faults)} of {len(found.lock.artefacts)} files are not as its lock says; "
            f"where there is a network, mend it with: kybern bundle TOPOLOGY {found.directory}"
        )
    summary(found)
    print(f"{found.directory} is whole.")


def summary(found: Bundle) -> None:
    rows = [
        (part.name, str(len(part.artefacts)), f"{sum(one.size for one in part.artefacts) / 1e6:.0f} MB")
        for part in found.lock.parts
    ]
    table(("PART", "FILES", "SIZE"), rows)
