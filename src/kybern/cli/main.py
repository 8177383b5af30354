"""``kybern``: the operator's command. Each sub-command is a file beside this one, and one line here."""

import sys

import typer

from kybern.cli import backup, certificates, cluster, machines, moments, net, plan
from kybern.cli.adopt import adopt
from kybern.cli.audit import audit
from kybern.cli.bundle import bundle
from kybern.cli.defragment import defragment
from kybern.cli.monitoring import monitoring
from kybern.cli.netbooting import netboot
from kybern.cli.preflight import preflight
from kybern.cli.recover import recover
from kybern.cli.remove import remove
from kybern.cli.report import report
from kybern.cli.reset import reset
from kybern.cli.status import status
from kybern.cli.upgrade import upgrade
from kybern.machines.errors import MachineError

INTERRUPTED = 130
app = typer.Typer(
    name="kybern",
    help="Highly available Kubernetes clusters out of bare machines.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
machines.app.add_typer(moments.app, name="snapshot")
machines.app.command()(netboot)
app.add_typer(machines.app, name="machines")
app.add_typer(net.app, name="net")
app.add_typer(certificates.app, name="certificates")
app.command()(cluster.lab)
app.command()(bundle)
app.command()(preflight)
app.command()(adopt)
app.command()(plan.plan)
app.command()(plan.apply)
app.command()(cluster.deploy)
app.command()(cluster.verify)
app.command()(audit)
app.command()(status)
app.command()(report)
app.command()(monitoring)
app.command()(remove)
app.command()(reset)
app.command()(upgrade)
app.command()(backup.backup)
app.command()(backup.restore)
app.command()(recover)
app.command()(defragment)


@app.callback()
def root() -> None:
    """Kybern."""


def main() -> None:
    try:
        app(prog_name="kybern")
    except MachineError as error:
        print(f"kybern: {error}", file=sys.stderr)
        sys.exit(1)
    except SystemExit as ended:
        if ended.code == INTERRUPTED:  # typer has made this of KeyboardInterrupt
            print("kybern: interrupted; run the same command again to go on", file=sys.stderr)
        raise


if __name__ == "__main__":
    main()
