"""The flags that say who decides what is allowed: upstream's names, defaults and refusals."""

from pathlib import Path

from kybern.apiserver.config_file import joined
from kybern.apiserver.rights.configuration import AUTHORIZED, TYPES, UNAUTHORIZED, WEBHOOK, Wanted, Webhook
from kybern.auth import abac
from kybern.daemon.flags import Flags, Values, commas, duration
from kybern.daemon.run import Fatal

CONFIG = "authorization-config"
_MODE, _PREFIX = "authorization-mode", "authorization-webhook-"
_ABAC, _POLICY = "ABAC", "authorization-policy-file"
DEFAULT_NAME = "default"


def rights_flags(known: Flags) -> Flags:
    """The flags of a server, and these."""
    return (
        known.flag(
            f"--{_MODE}", commas, (), f"{', '.join(TYPES)}; in the order of asking. Default: AlwaysAllow."
        )
        .flag(f"--{_POLICY}", str, "", "Rules of the mode ABAC, one JSON object a line.")
        .flag(
            f"--{CONFIG}",
            str,
            "",
            "AuthorizationConfiguration: the authorizers, in the order of asking. Read again when it changes.",
        )
        .flag(
            f"--{_PREFIX}config-file",
            str,
            "",
            "Kubeconfig of the server that is asked in the mode Webhook.",
        )
        .flag(
            f"--{_PREFIX}version",
            str,
            "v1beta1",
            "Version of the SubjectAccessReview that it is sent: v1 or v1beta1.",
        )
        .flag(f"--{_PREFIX}cache-authorized-ttl", duration, AUTHORIZED, "How long it holds when it allows.")
        .flag(
            f"--{_PREFIX}cache-unauthorized-ttl",
            duration,
            UNAUTHORIZED,
            "How long it holds when it does not allow.",
        )
    )


def by_flags(values: Values) -> tuple[Wanted, ...]:
    """The authorizers that the flags name, where there is no file. Raises Fatal."""
    modes: tuple[str, ...] = values[_MODE]
    if not values.given(_MODE):
        modes = ("AlwaysAllow",)
    if problems := list(_problems(values, modes)):
        raise Fatal(f"kube-apiserver: {joined(problems)}")
    return tuple(
        Wanted(mode, DEFAULT_NAME, _webhook(values)) if mode == WEBHOOK else Wanted(mode, mode.lower())
        for mode in modes
    )


def check_together(values: Values) -> None:
    """Raises Fatal when a file and flags of its own are there at once."""
    legacy = (_MODE, *(f"{_PREFIX}{name}" for name in _LEGACY))
    if values[CONFIG] and any(values.given(name) for name in legacy):
        raise Fatal(
            f"kube-apiserver: --{CONFIG} can not be specified when --{_MODE} or --{_PREFIX}* flags are defined"
        )


def attributes(values: Values, *, wanted: bool) -> abac.Authorizer:
    """The rules of mode ABAC. Raises Fatal."""
    path = values[_POLICY]
    if wanted and not path:
        raise Fatal(f"kube-apiserver: cannot use the authorizer ABAC: give its rules by --{_POLICY}")
    try:
        return abac.Authorizer(abac.read(Path(path).read_text()) if path else ())
    except (OSError, UnicodeDecodeError, abac.Unreadable) as problem:
        raise Fatal(f"kube-apiserver: cannot read --{_POLICY} {path}: {problem}") from problem


_LEGACY = ("config-file", "version", "cache-authorized-ttl", "cache-unauthorized-ttl")


def _problems(values: Values, modes: tuple[str, ...]) -> list[str]:
    file = values[f"{_PREFIX}config-file"]
    found = []
    if not modes:
        found.append("at least one authorization-mode must be passed")
    found += [f'authorization-mode "{mode}" is not a valid mode' for mode in modes if mode not in TYPES]
    if _ABAC in modes and not values[_POLICY]:
        found.append("authorization-mode ABAC's authorization policy file not passed")
    if values[_POLICY] and _ABAC not in modes:
        found.append(f"cannot specify --{_POLICY} without mode ABAC")
    if WEBHOOK in modes and not file:
        found.append("authorization-mode Webhook's authorization config file not passed")
    if file and WEBHOOK not in modes:
        found.append(f"cannot specify --{_PREFIX}config-file without mode Webhook")
    if len(set(modes)) < len(modes):
        shown = " ".join(f'"{mode}"' for mode in modes)
        found.append(f"authorization-mode [{shown}] has mode specified more than once")
    version = values[f"{_PREFIX}version"]
    if WEBHOOK in modes and version not in ("v1", "v1beta1"):
        found.append(
            f'unsupported webhook authorizer version "{version}", supported versions are "v1", "v1beta1"'
        )
    return found


def _webhook(values: Values) -> Webhook:
    return Webhook(
        values[f"{_PREFIX}config-file"],
        values[f"{_PREFIX}version"],
        authorized=values[f"{_PREFIX}cache-authorized-ttl"],
        unauthorized=values[f"{_PREFIX}cache-unauthorized-ttl"],
    )
