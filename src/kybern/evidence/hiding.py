"""Secrets taken out of text and of objects. Pure.

Nothing that is gathered should hold any, since daemons log none and Secrets are not asked for; this is the second line.
What looks like a key, a token or a password is replaced, and what only an operator can judge (values of environment
variables and of headers that probes send, the words of commands) goes altogether.
"""

import re
from collections.abc import Mapping
from typing import Any

HIDDEN = "(hidden)"
PATTERNS = (
    re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL),
    # JSON web tokens, and the bootstrap tokens of joining nodes.
    re.compile(r"\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"),
    re.compile(r"\b[a-z0-9]{6}\.[a-z0-9]{16}\b"),
    re.compile(r"(?i)(?<=bearer )[\w.~+/-]{8,}=*"),
    re.compile(r"(?i)(?<=basic )[\w+/]{8,}=*"),
    # What a URL carries before its host.
    re.compile(r"(?<=://)[^\s/:@]+:[^\s/@]+(?=@)"),
)
# The value of what is named so, in flags, configuration and JSON: the name stays.
NAMED = re.compile(
    r"""(?ix) (?P<name>
        ["']? [\w.-]* (?: password | passwd | secret[-_]?key | access[-_]?key | key[-_]data | api[-_]?key | auth_pass )
            ["']? (?: \s* [:=] \s* | \s+ )
        | (?<![\w.*/-]) ["']? (?: token | secret ) ["']? \s* [:=] \s* )
    (?P<value> "[^"]*" | '[^']*' | [^\s"',;}]+ )""",
)
FREE = ("managedFields",)
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


def in_text(text: str) -> str:
    """The text without what looks like a secret."""
    for pattern in PATTERNS:
        text = pattern.sub(HIDDEN, text)
    return NAMED.sub(lambda found: found["name"] + HIDDEN, text)


def in_object(given: Any) -> Any:
    """A raw object without values that may be secret: environment, headers, commands, data, and what text gives away."""
    if isinstance(given, Mapping):
        return {key: _field(key, value) for key, value in given.items() if key not in FREE}
    if isinstance(given, list):
        return [in_object(each) for each in given]
    return in_text(given) if isinstance(given, str) else given


def _field(key: str, value: Any) -> Any:
    match key, value:
        # What a probe or a hook sends may be what lets it in.
        case (("env" | "httpHeaders"), list()):
            return [
                {**each, "value": HIDDEN} if isinstance(each, Mapping) and "value" in each else each
                for each in value
            ]
        case (("data" | "stringData" | "binaryData"), Mapping()):
            return dict.fromkeys(value, HIDDEN)
        case (("command" | "args"), list()):
            return [HIDDEN] * len(value)
        case "annotations", Mapping():
            return {name: in_object(text) for name, text in value.items() if name != LAST_APPLIED}
    return in_object(value)
