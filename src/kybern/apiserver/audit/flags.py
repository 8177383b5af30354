"""The flags of the audit log: upstream's names and defaults."""

from kybern.apiserver.audit.policy import VERSION
from kybern.daemon.flags import Flags, duration


def audit_flags(known: Flags) -> Flags:
    """The flags of a server, and these."""
    return (
        known.flag(
            "--audit-policy-file", str, "", "Audit policy: which requests are told, and how much of them."
        )
        .flag("--audit-log-path", str, "", 'File of the audit log; "-" is the standard output.')
        .flag("--audit-log-format", str, "json", "Only json: one event a line.")
        .flag("--audit-log-version", str, VERSION, "Only audit.k8s.io/v1.")
        .flag(
            "--audit-log-mode",
            str,
            "blocking",
            "batch, blocking, or blocking-strict (told, or not answered).",
        )
        .flag("--audit-log-maxsize", int, 100, "MiB at which the file is moved aside. 0: never.")
        .flag("--audit-log-maxage", int, 0, "Days that moved files are kept. 0: for ever.")
        .flag("--audit-log-maxbackup", int, 0, "How many moved files are kept. 0: all.")
        .flag("--audit-log-compress", bool, False, "Pack moved files with gzip.")
        .flag("--audit-log-batch-buffer-size", int, 10_000, "Events that may wait to be written.")
        .flag("--audit-log-batch-max-size", int, 1, "Events that are written together.")
        .flag("--audit-log-batch-max-wait", duration, 30.0, "How long events wait at most.")
        .flag("--audit-webhook-config-file", str, "", "Kubeconfig of the server that events are posted to.")
        .flag("--audit-webhook-mode", str, "batch", "Only batch.")
        .flag("--audit-webhook-version", str, VERSION, "Only audit.k8s.io/v1.")
        .flag("--audit-webhook-batch-buffer-size", int, 10_000, "Events that may wait to be posted.")
        .flag("--audit-webhook-batch-max-size", int, 400, "Events that are posted together.")
        .flag("--audit-webhook-batch-max-wait", duration, 30.0, "How long events wait at most.")
        .flag("--audit-webhook-initial-backoff", duration, 10.0, "How long to wait after a first failure.")
    )
