"""What a run of pyinfra says, and what of it reaches whoever started it."""

import sys
from collections.abc import Sequence
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from kybern.cli import deploys
from kybern.machines.topology import Cluster, Machine

ONE = Machine("m1", ip_address("192.0.2.11"), frozenset({"etcd", "control-plane", "worker"}))
CLUSTER = Cluster("one", ip_network("192.0.2.0/24"), ip_address("192.0.2.1"), None, (ONE,))


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KYBERN_STATE", str(tmp_path))
    (tmp_path / "one").mkdir()


def runs(monkeypatch: pytest.MonkeyPatch, code: int, *lines: str) -> None:
    """In place of pyinfra: a process that says these lines and ends."""
    program = f"print({chr(10).join(lines)!r}); raise SystemExit({code})"

    def command(_topology: str, _cluster: Cluster, _verb: str, _more: Sequence[str] = ()) -> list[str]:
        return [sys.executable, "-c", program]

    monkeypatch.setattr(deploys, "command_of", command)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (
            "--> Operation error in /x/roles/settled.py line 16: m1 is of another cluster",
            "m1 is of another cluster",
        ),
        ('kybern.machines.errors.TopologyError: "a" cannot be used: b', '"a" cannot be used: b'),
    ],
)
def test_what_a_role_refuses_before_it_begins_is_the_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], line: str, why: str
) -> None:
    runs(monkeypatch, 1, "    [m1] Connected", line)

    with pytest.raises(deploys.StepFailed, match=rf"cannot deploy one: {why}$"):
        deploys.run_deploy("one", CLUSTER)
    with pytest.raises(deploys.StepFailed, match=rf"cannot plan one: {why}$"):
        deploys.run_plan("one", CLUSTER)
    assert "Connected" not in capsys.readouterr().err


def test_what_is_waited_for_is_shown_at_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    runs(
        monkeypatch,
        0,
        "kybern: waits for process 7, which builds in /s",
        "--> Starting operation: etcd | Files ",
    )

    deploys.run_deploy("one", CLUSTER)

    shown = capsys.readouterr().err
    assert "cluster: waits for process 7, which builds in /s" in shown
    assert "cluster: etcd | Files" in shown
