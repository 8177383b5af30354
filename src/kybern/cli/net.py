"""``kybern net``: looks at the network of a running cluster."""

import asyncio
import json
import secrets
import signal
from contextlib import suppress
from enum import StrEnum
from ipaddress import ip_address
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from kybern.cli import machines
from kybern.cli.machines import Topology
from kybern.cli.progress import Progress
from kybern.client import kubeconfig
from kybern.client.rest import Client
from kybern.machinery.errors import ApiError
from kybern.machines.errors import MachineError
from kybern.machines.state import State
from kybern.machines.topology import IPV4, Cluster
from kybern.reach.explain import Finding
from kybern.reach.machines import Machines
from kybern.reach.probes import Probe, Way
from kybern.reach.run import Check, Report

app = typer.Typer(help="The network of a running cluster.", no_args_is_help=True)
LIMIT = 240.0  # seconds for all of it


class Output(StrEnum):
    TABLE = "table"
    JSON = "json"


@app.callback()
def root() -> None:
    """The network of a running cluster."""


@app.command()
def check(
    topology: Topology = "lab",
    output: Annotated[
        Output, typer.Option("--output", "-o", help="How the result is printed.")
    ] = Output.TABLE,
    outside: Annotated[
        list[str] | None,
        typer.Option(
            "--outside",
            metavar="ADDRESS[:PORT]",
            help="What pods have to reach outside; the gateway of the machines' network when not given.",
        ),
    ] = None,
) -> None:
    """Try every way between all nodes, and tell where a packet stays that does not arrive. Fails if one does not."""
    cluster = machines.read(topology, None)
    # Beside IPv4, a gateway of IPv6 is known to the machines' routers alone.
    usual = [str(cluster.gateway)] if IPV4 in cluster.ip_families or cluster.has_no_ipv4 else []
    targets = [_target(text) for text in outside or usual]
    with Progress(f"Network of {cluster.name}") as progress:
        report = asyncio.run(_check(cluster, targets, progress))
    if output is Output.JSON:
        print(json.dumps(as_json(cluster, report), indent=2))
    else:
        show(cluster, report, Console())
    raise typer.Exit(1 if report.failed else 0)


async def _check(cluster: Cluster, outside: list[tuple[str, int]], progress: Progress) -> Report:
    config = State.of(cluster.name).directory / "admin.conf"
    if not config.exists():
        raise MachineError(f"there is no {config}: is {cluster.name} deployed from here?")
    name = f"kybern-net-check-{secrets.token_hex(3)}"
    this = asyncio.current_task()
    assert this is not None, "asyncio.run made one"
    # As Ctrl-C does: the check ends by taking its pods away.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, this.cancel)
    try:
        async with asyncio.timeout(LIMIT), Client(kubeconfig.load(config)) as client:
            return await Check(client, Machines(cluster), name, outside, progress.step).run()
    except TimeoutError as problem:
        raise MachineError(f"cannot check the network of {cluster.name} within {LIMIT:.0f} s") from problem
    except (ApiError, ExceptionGroup) as problem:
        first = _first(problem)
        if isinstance(first, MachineError):
            raise first from problem
        if not isinstance(first, ApiError):
            raise
        raise MachineError(f"cannot check the network: {first}") from problem


def _first(problem: BaseException) -> BaseException:
    """What several tasks failed of: the first of them."""
    while isinstance(problem, BaseExceptionGroup):
        problem = problem.exceptions[0]
    return problem


def _target(text: str) -> tuple[str, int]:
    with suppress(ValueError):
        return str(ip_address(text)), 0
    address, _, port = text.rpartition(":")
    try:
        return str(ip_address(address.strip("[]"))), int(port)
    except ValueError:
        raise MachineError(
            f'cannot try "{text}": give an address, or an address and a port, such as 192.0.2.1:443'
        ) from None


def show(cluster: Cluster, report: Report, console: Console) -> None:
    """A row for each pair of nodes, a column for each way; and below it what stands against those that failed."""
    table = Table(title=f"Who reaches whom in {cluster.name}", title_justify="left")
    ways = [way for way in Way if way is not Way.OUTSIDE]
    family = ("family",) if cluster.ipv6 else ()
    for head in (*family, "from", "to", *ways):
        table.add_column(head)
    errors = {one.probe: one.error for one in report.results}
    rows: dict[tuple[int, str, str], dict[Way, str]] = {}
    for probe, error in errors.items():
        rows.setdefault((probe.version, probe.source, probe.target), {})[probe.way] = error
    for (version, source, target), cells in rows.items():
        begin = (*(f"IPv{version}" for _ in family), source)
        if Way.OUTSIDE in cells:
            table.add_row(*begin, f"{target} (outside)", "", _cell(cells[Way.OUTSIDE]))
        else:
            table.add_row(*begin, target, *(_cell(cells[way]) for way in ways))
    console.print(table)
    for probe, findings in report.findings.items():
        family_of_it = f" by IPv{probe.version}" if cluster.ipv6 else ""
        console.print(f"[red]{_said(probe)}{family_of_it}[/red]: {errors[probe]}", highlight=False)
        for number, one in enumerate(findings, 1):
            console.print(f"  {number}. {_placed(one)}: {one.text}", markup=False, highlight=False)
    failed = len(report.failed)
    console.print(f"{len(report.results) - failed} of {len(report.results)} ways answer.", highlight=False)


def _cell(error: str) -> str:
    return "[red]fails[/red]" if error else "[green]ok[/green]"


def _said(probe: Probe) -> str:
    return f"{probe.way} from {probe.source} to {probe.target}"


def _placed(finding: Finding) -> str:
    return f"{finding.hop} on {finding.node}" if finding.node else finding.hop


def as_json(cluster: Cluster, report: Report) -> dict[str, Any]:
    """The report for programs; ``findings`` in the order of the packet's way."""
    return {
        "cluster": cluster.name,
        "ok": not report.failed,
        "ways": [
            {
                "way": one.probe.way.value,
                "family": f"IPv{one.probe.version}",
                "from": one.probe.source,
                "to": one.probe.target,
                "at": one.probe.at,
                "port": one.probe.port,
                "ok": not one.error,
                **({"error": one.error} if one.error else {}),
                "findings": [
                    {"hop": each.hop, "node": each.node, "text": each.text}
                    for each in report.findings.get(one.probe, ())
                ],
            }
            for one in report.results
        ],
    }
