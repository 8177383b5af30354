"""The timer that renews worn certificates: units of the operator's computer, since the authorities' keys are there alone.

Pure. The deploy that the renewal is takes what it needs from the directory that Kybern is run in.
"""

from pathlib import Path

CALENDAR = "daily"
SUFFIXES = (".service", ".timer")


def unit(cluster: str) -> str:
    return f"kybern-renew-{cluster}"


def units(cluster: str, topology: str, calendar: str, directory: Path, python: str) -> dict[str, str]:
    """The units' files by name. ``topology`` is what names the cluster on the command line."""
    run = 'import sys; from kybern.cli.main import main; sys.argv[0] = "kybern"; main()'
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
ExecStart={python} -c '{run}' certificates renew {topology} --when-worn
TimeoutStartSec=30min
""",
        f"{unit(cluster)}.timer": f"""[Unit]
Description=Look for worn certificates of {cluster}

[Timer]
OnCalendar={calendar}
# What was missed while this computer was off is made up for.
Persistent=yes
RandomizedDelaySec=10min

[Install]
WantedBy=timers.target
""",
    }
