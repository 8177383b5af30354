"""From the flags to what tells of requests: policy, sinks, and what they need to run."""

import asyncio
import logging
from collections.abc import Sequence
from pathlib import Path

from kybern.apiserver.audit import policy
from kybern.apiserver.audit.batches import Batches
from kybern.apiserver.audit.files import LogFile
from kybern.apiserver.audit.trail import Behind, Sink, Trail, Untold
from kybern.apiserver.audit.webhook import Webhook
from kybern.client.kubeconfig import load
from kybern.client.rest import Client
from kybern.daemon.flags import Values
from kybern.daemon.run import Fatal

log = logging.getLogger(__name__)

MODES = ("batch", "blocking", "blocking-strict")


def setting(values: Values) -> Untold:
    """Tells nobody without a policy or without a place for events. Raises Fatal for what cannot work."""
    _check(values)
    path, config = values["audit-log-path"], values["audit-webhook-config-file"]
    if not values["audit-policy-file"] or not (path or config):
        return Untold()
    wanted = _policy(values["audit-policy-file"])
    # They are let go of in this order: what waits before what it waits for.
    behind: list[Behind] = []
    sinks: list[Sink] = []
    if path:
        file = _log(values)
        batched = _batched(file, values) if values["audit-log-mode"] == "batch" else file
        sinks.append(batched)
        behind += [batched, file] if batched is not file else [file]
    if config:
        hook = _webhook(config)
        batches = _posted(hook, values)
        sinks.append(batches)
        behind += [batches, hook]
    return Trail(wanted, tuple(sinks), values["audit-log-mode"] == "blocking-strict", tuple(behind))


def _check(values: Values) -> None:
    _choices(values)
    for kind in ("log", "webhook"):
        for name in (f"audit-{kind}-batch-buffer-size", f"audit-{kind}-batch-max-size"):
            if values[name] < 1:
                raise Fatal(f"kube-apiserver: --{name} {values[name]} must be greater than 0")
    for name in ("audit-log-maxsize", "audit-log-maxage", "audit-log-maxbackup"):
        if values[name] < 0:
            raise Fatal(f"kube-apiserver: --{name} {values[name]} must be a positive number or 0")
    if values["audit-policy-file"] and not (values["audit-log-path"] or values["audit-webhook-config-file"]):
        log.warning(
            "--audit-policy-file has no effect without --audit-log-path or --audit-webhook-config-file"
        )


def _choices(values: Values) -> None:
    for name, known in (
        ("audit-log-mode", MODES),
        ("audit-webhook-mode", ("batch",)),
        ("audit-log-format", ("json",)),
        ("audit-log-version", (policy.VERSION,)),
        ("audit-webhook-version", (policy.VERSION,)),
    ):
        if values[name] not in known:
            raise Fatal(f"kube-apiserver: --{name} {values[name]!r} is not one of {', '.join(known)}")


def _policy(path: str) -> policy.Policy:
    try:
        return policy.read(Path(path).read_text())
    except (OSError, ValueError) as problem:
        raise Fatal(f"kube-apiserver: cannot use --audit-policy-file {path}: {problem}") from problem


def _log(values: Values) -> LogFile:
    try:
        return LogFile(
            values["audit-log-path"],
            values["audit-log-maxsize"],
            values["audit-log-maxage"],
            values["audit-log-maxbackup"],
            compress=values["audit-log-compress"],
        )
    except OSError as problem:
        raise Fatal(
            f"kube-apiserver: cannot write --audit-log-path {values['audit-log-path']}: {problem.strerror}"
        ) from problem


def _batched(file: LogFile, values: Values) -> Batches:
    async def send(lines: Sequence[bytes]) -> None:
        await asyncio.to_thread(file.write, b"".join(lines))

    return Batches(
        "log",
        send,
        values["audit-log-batch-buffer-size"],
        values["audit-log-batch-max-size"],
        values["audit-log-batch-max-wait"],
    )


def _posted(hook: Webhook, values: Values) -> Batches:
    return Batches(
        "webhook",
        hook.send,
        values["audit-webhook-batch-buffer-size"],
        values["audit-webhook-batch-max-size"],
        values["audit-webhook-batch-max-wait"],
        values["audit-webhook-initial-backoff"],
    )


def _webhook(path: str) -> Webhook:
    try:
        return Webhook(Client(load(path)))
    except OSError as problem:
        raise Fatal(f"kube-apiserver: cannot use --audit-webhook-config-file: {problem}") from problem
