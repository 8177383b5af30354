"""The timer that renews certificates."""

import shutil
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from kybern.machines.renewal import needing, schedule, units
from tests.unit.machines.test_certificates import CLUSTER

YEAR = timedelta(days=365)


def test_the_command_of_the_unit_runs(tmp_path: Path) -> None:
    found = units("lab", "lab", schedule(YEAR), Path.cwd(), sys.executable)
    (line,) = [
        line for line in found["kybern-renew-lab.service"].splitlines() if line.startswith("ExecStart=")
    ]
    command = line.removeprefix("ExecStart=").replace(" lab --when-worn", " --help")
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=60, check=True)

    assert "--when-worn" in done.stdout


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not here")
@pytest.mark.parametrize(
    "when", [schedule(YEAR), schedule(timedelta(minutes=3)), schedule(YEAR, "Mon *-*-* 03:00:00")]
)
def test_systemd_takes_the_units(tmp_path: Path, when: str) -> None:
    for name, text in units("lab", "lab", when, tmp_path, sys.executable).items():
        (tmp_path / name).write_text(text)
    command = ["systemd-analyze", "verify", "--man=no", *map(str, sorted(tmp_path.iterdir()))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert "kybern-renew-lab" not in done.stderr, done.stderr


def test_it_looks_daily_and_more_often_where_certificates_live_shortly() -> None:
    assert "OnCalendar=daily" in schedule(YEAR)
    assert "OnCalendar=daily" in schedule(timedelta(days=30))
    assert "OnUnitInactiveSec=3600s" in schedule(timedelta(hours=12))
    assert "OnUnitInactiveSec=15s" in schedule(timedelta(minutes=3))
    assert "OnCalendar=Mon *-*-* 03:00:00" in schedule(timedelta(minutes=3), "Mon *-*-* 03:00:00")


def test_only_machines_that_need_it_are_asked() -> None:
    assert needing(CLUSTER, "") == ("m1", "w1")
    assert needing(CLUSTER, "w1") == ("w1",)
    assert needing(CLUSTER, "", {"w1", "gone"}) == ("w1",)
    assert needing(CLUSTER, "m1", {"w1"}) == ()
