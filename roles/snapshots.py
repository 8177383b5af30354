"""Snapshots of etcd: taken by a timer on every member, and one on demand that is brought to the operator's side.

Needs etcd. Leaves kybern-snapshot.timer, and the newest snapshots in /var/lib/kybern/snapshots, each with its checksum and
proven by a restore. They hold all secrets of the cluster, so only root reads them.
"""

import secrets
from collections.abc import Generator
from pathlib import Path

from pyinfra.api import FileDownloadCommand, FunctionCommand, StringCommand, deploy, operation

from kybern.machines.backups import ARRIVING, KINDS, finish, prepare
from roles.etcd import DATA
from roles.membership import etcdctl
from roles.operations import COMMAND_SECONDS, FACT_SECONDS, bundle, once
from roles.templates import render
from roles.tree import Directory, File

FOLDER = "/var/lib/kybern/snapshots"
SCRIPT = "/etc/kybern/snapshot"
UNIT = "kybern-snapshot.service"
TIMER = "kybern-snapshot.timer"
MINUTES = 30
KEEP = 24
SAVE_SECONDS = 120
DOWNLOAD_SECONDS = 600

type Commands = Generator[StringCommand | FileDownloadCommand | FunctionCommand]


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


@operation(is_idempotent=False)
def take(folder: Path) -> Commands:
    """A new snapshot, in ``folder`` here. It passes through a directory that nobody but the SSH user can enter."""
    passage = f"/var/tmp/kybern-{secrets.token_hex(8)}"  # noqa: S108  # made anew with mode 700, or the command fails
    yield StringCommand(f"mkdir -m 700 {passage}", _sudo=False, _timeout=FACT_SECONDS)
    yield StringCommand(
        f'last=$({SCRIPT} | tail -n 1) && [ -n "$last" ] && for kind in db json sha256; do '
        f'cp "${{last%.db}}.$kind" {passage}/snapshot.$kind; done && chown --reference={passage} {passage}/*',
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
