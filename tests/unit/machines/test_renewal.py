"""The timer that renews certificates."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from kybern.machines.renewal import CALENDAR, units


def test_the_command_of_the_unit_runs(tmp_path: Path) -> None:
    found = units("lab", "lab", CALENDAR, Path.cwd(), sys.executable)
    (line,) = [
        line for line in found["kybern-renew-lab.service"].splitlines() if line.startswith("ExecStart=")
    ]
    command = line.removeprefix("ExecStart=").replace(" lab --when-worn", " --help")
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=60, check=True)

    assert "--when-worn" in done.stdout


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not here")
def test_systemd_takes_the_units(tmp_path: Path) -> None:
    for name, text in units("lab", "lab", CALENDAR, tmp_path, sys.executable).items():
        (tmp_path / name).write_text(text)
    command = ["systemd-analyze", "verify", "--man=no", *map(str, sorted(tmp_path.iterdir()))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert "kybern-renew-lab" not in done.stderr, done.stderr
