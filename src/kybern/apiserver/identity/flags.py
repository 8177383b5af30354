"""The flags of webhooks and issuers that tell who asks: upstream's names and defaults."""

from kybern.daemon.flags import Flags, duration

WEBHOOK = "authentication-token-webhook-config-file"


def identity_flags(known: Flags) -> Flags:
    """The flags of a server, and these."""
    return (
        known.flag(f"--{WEBHOOK}", str, "", "Kubeconfig of the server that is asked about bearer tokens.")
        .flag(
            "--authentication-token-webhook-version",
            str,
            "v1beta1",
            "Version of the TokenReview that this server is sent: v1 or v1beta1.",
        )
        .flag(
            "--authentication-token-webhook-cache-ttl",
            duration,
            120.0,
            "How long its answers hold.",
        )
    )
