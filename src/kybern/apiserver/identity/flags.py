"""The flags of webhooks and issuers that tell who asks: upstream's names, defaults and refusals."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from kybern.apiserver.config_file import Invalid
from kybern.apiserver.identity.configuration import (
    ClaimMappings,
    ClaimRule,
    File,
    IssuerSetting,
    JWTSetting,
    PrefixedClaim,
    check,
)
from kybern.auth.oidc.keys import ALGORITHMS
from kybern.daemon.flags import Flags, Values, commas, duration
from kybern.daemon.run import Fatal

WEBHOOK = "authentication-token-webhook-config-file"
CONFIG = "authentication-config"
_OIDC = (
    "issuer-url", "client-id", "ca-file", "username-claim", "username-prefix", "groups-claim", "groups-prefix",
    "signing-algs", "required-claim",
)  # fmt: skip


def pair(text: str) -> Mapping[str, str]:
    """One key=value; commas are part of the value."""
    key, sign, value = text.partition("=")
    if not sign:
        raise ValueError("malformed pair, expect string=string")
    return {key.strip(): value.strip()}


def identity_flags(known: Flags) -> Flags:
    """The flags of a server, and these."""
    known = (
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
        .flag(
            f"--{CONFIG}",
            str,
            "",
            "AuthenticationConfiguration: issuers of identity tokens, and who may come as nobody. Read again when it "
            "changes.",
        )
    )
    return (
        known.flag("--oidc-issuer-url", str, "", "Issuer of identity tokens (OpenID Connect), an https URL.")
        .flag("--oidc-client-id", str, "", "Audience that its tokens must be for.")
        .flag("--oidc-ca-file", str, "", "Authorities of the issuer's server. Empty: those of this machine.")
        .flag("--oidc-username-claim", str, "sub", "Claim that is the user's name.")
        .flag(
            "--oidc-username-prefix",
            str,
            "",
            'What names get in front; "-" for nothing. Default: the issuer and #, but nothing for the claim email.',
        )
        .flag("--oidc-groups-claim", str, "", "Claim that has the user's groups.")
        .flag("--oidc-groups-prefix", str, "", "What groups get in front.")
        .flag(
            "--oidc-signing-algs",
            commas,
            ("RS256",),
            f"Algorithms that tokens may be signed by, of {', '.join(ALGORITHMS)}.",
        )
        .flag(
            "--oidc-required-claim",
            pair,
            {},
            "key=value that tokens must have; may be given several times.",
        )
    )


def checked(values: Values) -> Path | None:
    """The file, if there is one. Raises Fatal when flags exclude each other or need each other."""
    given = any(values.given(f"oidc-{name}") for name in _OIDC)
    if values[CONFIG]:
        if given:
            raise Fatal("kube-apiserver: authentication-config file and oidc-* flags are mutually exclusive")
        return Path(values[CONFIG])
    if given and not (values["oidc-issuer-url"] and values["oidc-client-id"]):
        raise Fatal(
            "kube-apiserver: oidc-issuer-url and oidc-client-id must be specified together when any oidc-* flags are set"
        )
    return None


def by_flags(values: Values, disallowed: Sequence[str]) -> tuple[File, Sequence[str]]:
    """What the flags say as a file would, and the algorithms. Raises OSError and Invalid."""
    url = values["oidc-issuer-url"]
    if not url:
        return File(), ALGORITHMS
    algorithms: tuple[str, ...] = values["oidc-signing-algs"]
    for one in algorithms:
        if one not in ALGORITHMS:
            raise Invalid(f'oidc: unsupported signing alg: "{one}"')
    claim, prefix = values["oidc-username-claim"], values["oidc-username-prefix"]
    if not prefix and claim != "email":
        prefix = f"{url}#"
    groups = values["oidc-groups-claim"]
    authority = values["oidc-ca-file"]
    file = File(
        jwt=(
            JWTSetting(
                issuer=IssuerSetting(
                    url=url,
                    audiences=(values["oidc-client-id"],),
                    certificate_authority=Path(authority).read_text() if authority else "",
                ),
                claim_mappings=ClaimMappings(
                    username=PrefixedClaim(claim=claim, prefix="" if prefix == "-" else prefix),
                    groups=PrefixedClaim(claim=groups, prefix=values["oidc-groups-prefix"])
                    if groups
                    else PrefixedClaim(),
                ),
                claim_validation_rules=tuple(
                    ClaimRule(claim=key, required_value=value)
                    for key, value in sorted(values["oidc-required-claim"].items())
                ),
            ),
        )
    )
    check(file, disallowed)
    return file, algorithms
