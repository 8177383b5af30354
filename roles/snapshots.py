"""Snapshots of etcd: taken by a timer on every member, and one on demand that is brought to the operator's side.

Needs etcd. Leaves kybern-snapshot.timer, and the newest snapshots in /var/lib/kybern/snapshots, each with its checksum and
proven by a restore. They hold all secrets of the cluster, so only root reads them.
"""

import secrets
import shlex
from collections.abc import Generator
from pathlib import Path

from pyinfra.api import (
    FileDownloadCommand,
    FileUploadCommand,
    FunctionCommand,
    StringCommand,
    deploy,
    operation,
)

from kybern.machines.backups import ARRIVING, CHECKED, KINDS, Snapshot, finish, prepare
from kybern.machines.etcdctl import DATA
from kybern.machines.etcdctl import SNAPSHOTS as FOLDER
from roles.membership import etcdctl
from roles.operations import COMMAND_SECONDS, FACT_SECONDS, bundle, once
from roles.templates import render
from roles.tree import Directory, File

SCRIPT = "/etc/kybern/snapshot"
UNIT = "kybern-snapshot.service"
TIMER = "kybern-snapshot.timer"
MINUTES = 30
KEEP = 24
SAVE_SECONDS = 120
CHECK_SECONDS = 60
DOWNLOAD_SECONDS = 600

type Commands = Generator[StringCommand | FileDownloadCommand | FileUploadCommand | FunctionCommand]


@deploy("snapshots")
def snapshots() -> None:
    bundle(name="Files", files=[Directory(FOLDER, mode="700"), *files(), timer()])
    once(
        name="Timer",
        probe=f"systemctl is-active -q {TIMER} && systemctl is-enabled -q {TIMER} && "
        f'[ "$(systemctl show -P NeedDaemonReload {TIMER})" = no ]',
        command=f"systemctl enable --quiet {TIMER} && systemctl restart {TIMER}",
    )


@deploy("snapshots")
def snapshot_here(folder: Path) -> None:
    """One now, brought to ``folder`` of the operator's side."""
    bundle(name="Files", files=[Directory(FOLDER, mode="700"), *files()])
    take(name="Taken and brought here", folder=folder)


def files() -> tuple[File, ...]:
    return (
        File(
            SCRIPT,
            render("etcd/snapshot.sh", etcdctl=etcdctl(), folder=FOLDER, keep=KEEP, seconds=SAVE_SECONDS),
            mode="700",
        ),
        File(
            f"/etc/systemd/system/{UNIT}",
            render("etcd/kybern-snapshot.service", data=DATA, script=SCRIPT, folder=FOLDER),
        ),
    )


def timer() -> File:
    return File(f"/etc/systemd/system/{TIMER}", render("etcd/kybern-snapshot.timer", minutes=MINUTES))


@deploy("snapshots")
def checked(snapshot: Snapshot, quota: int) -> None:
    """A snapshot of the operator's side, restored here for a moment. ``quota`` in MiB."""
    bundle(name="Files", files=[Directory(FOLDER, mode="700")])
    check(name=f"{snapshot.name} restored for a test", snapshot=snapshot, quota=quota)


@deploy("snapshots")
def brought(folder: Path, name: str) -> None:
    """One that this machine keeps, brought to ``folder`` of the operator's side."""
    take(name=f"{name} brought here", folder=folder, printing=f"echo {FOLDER}/{name}.db")


@operation(is_idempotent=False)
def take(folder: Path, printing: str = SCRIPT) -> Commands:
    """A snapshot, in ``folder`` here; the last line of ``printing`` is its path there.

    It passes through a directory that nobody but the SSH user can enter.
    """
    passage = f"/var/tmp/kybern-{secrets.token_hex(8)}"  # noqa: S108  # made anew with mode 700, or the command fails
    yield StringCommand(f"mkdir -m 700 {passage}", _sudo=False, _timeout=FACT_SECONDS)
    yield StringCommand(
        f'said=$({printing}) || exit 1; last=$(echo "$said" | tail -n 1); [ -n "$last" ] && for kind in db json sha256; do '
        f'cp "${{last%.db}}.$kind" {passage}/snapshot.$kind || exit 1; done && chown --reference={passage} {passage}/*',
        _timeout=COMMAND_SECONDS,
    )
    yield FunctionCommand(prepare, (folder,), {})
    for kind in KINDS:
        yield FileDownloadCommand(
            f"{passage}/snapshot.{kind}",
            str(folder / ARRIVING / f"snapshot.{kind}"),
            _sudo=False,
            _timeout=DOWNLOAD_SECONDS,
        )
    yield StringCommand(f"rm -rf {passage}", _sudo=False, _timeout=FACT_SECONDS)
    yield FunctionCommand(finish, (folder,), {})


@operation(is_idempotent=False)
def check(snapshot: Snapshot, quota: int) -> Commands:
    """What is found is noted beside the snapshot."""
    passage = f"/var/tmp/kybern-{secrets.token_hex(8)}"  # noqa: S108  # made anew with mode 700, or the command fails
    yield StringCommand(f"mkdir -m 700 {passage}", _sudo=False, _timeout=FACT_SECONDS)
    yield FileUploadCommand(str(snapshot.path), f"{passage}/snapshot", _sudo=False)
    script = render(
        "etcd/check.sh",
        name="test",
        folder=FOLDER,
        snapshot=f"{passage}/snapshot",
        digest=snapshot.digest,
        revision=snapshot.revision,
        result=f"{passage}/{CHECKED}",
        quota=quota * 2 * 2**20,
        seconds=CHECK_SECONDS,
    )
    yield StringCommand(
        f"sh -c {shlex.quote(script.decode())} && chown --reference={passage} {passage}/{CHECKED} || "
        f"{{ rm -rf {passage}; exit 1; }}",
        _timeout=COMMAND_SECONDS,
    )
    yield FileDownloadCommand(
        f"{passage}/{CHECKED}",
        str(snapshot.path.with_suffix(f".{CHECKED}")),
        _sudo=False,
        _timeout=FACT_SECONDS,
    )
    yield StringCommand(f"rm -rf {passage}", _sudo=False, _timeout=FACT_SECONDS)
