"""The timer that renews worn certificates: units of the operator's computer, since the authorities' keys are there alone.

Pure. The deploy that the renewal is takes what it needs from the directory that Kybern is run in.
"""

from collections.abc import Collection
from datetime import timedelta
from pathlib import Path

from kybern.machines.topology import Cluster

DAILY = """\
OnCalendar=daily
# What was missed while this computer was off is made up for.
Persistent=yes
RandomizedDelaySec=10min"""
# Looks while a certificate lives: the last third of its life has four of them, should the first ones fail.
LOOKS = 12
SUFFIXES = (".service", ".timer")


def needing(cluster: Cluster, machine: str, among: Collection[str] | None = None) -> tuple[str, ...]:
    """The machines to ship to: one when it is named, those ``among`` which are needed, or everybody."""
    return tuple(
        each.name
        for each in cluster.machines
        if machine in ("", each.name) and (among is None or each.name in among)
    )


def unit(cluster: str) -> str:
    return f"kybern-renew-{cluster}"


def schedule(life: timedelta, calendar: str = "") -> str:
    """When to look, as lines of a timer: as the operator says, daily, or more often where certificates live shortly."""
    if calendar:
        return DAILY.replace("daily", calendar, 1)
    every = life / LOOKS
    if every >= timedelta(days=1):
        return DAILY
    seconds = int(every.total_seconds())
    # After the end of the last look, since one that renews takes its time.
    return f"OnActiveSec=1s\nOnBootSec={seconds}s\nOnUnitInactiveSec={seconds}s\nAccuracySec=1s"


def units(cluster: str, topology: str, when: str, directory: Path, python: str) -> dict[str, str]:
    """The units' files by name. ``topology`` is what names the cluster on the command line, ``when`` a ``schedule``."""
    paths = f"PYTHONPATH={directory}/src:{directory}"
    return {
        f"{unit(cluster)}.service": f"""[Unit]
Description=Renew worn certificates of {cluster}
Wants=network-online.target
After=network-online.target

[Service]
Type=oneshot
WorkingDirectory={directory}
Environment={paths}
ExecStart={python} -m kybern.cli.main certificates renew {topology} --when-worn
TimeoutStartSec=30min
""",
        f"{unit(cluster)}.timer": f"""[Unit]
Description=Look for worn certificates of {cluster}

[Timer]
{when}

[Install]
WantedBy=timers.target
""",
    }
