"""How texts must be formed: names, keys, paths, addresses. Each function gives complaints, none when the text is good.

Complaints are upstream's (apimachinery/pkg/util/validation); each tells the rule, an example and the expression.
"""

import ipaddress
import re
from functools import lru_cache

_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"
_QUALIFIED = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_DNS1035 = "[a-z]([-a-z0-9]*[a-z0-9])?"
_PERCENT = "[0-9]+%"
_HEADER = "[-A-Za-z0-9]+"
_DATA_KEY = "[-._a-zA-Z0-9]+"
_WILDCARD = rf"\*\.{_SUBDOMAIN}"
_C_IDENTIFIER = "[A-Za-z_][A-Za-z0-9_]*"

_COMPILED = {
    text: re.compile(text)
    for text in (
        _LABEL, _SUBDOMAIN, _QUALIFIED, _DNS1035, _PERCENT, _HEADER, _DATA_KEY, _WILDCARD, _C_IDENTIFIER,
    )
}  # fmt: skip
_PORT_NAME = re.compile("[-a-z0-9]+")
_ENVIRONMENT = re.compile("[ -<>-~]+")


def _must_match(text: str, pattern: str, rule: str, *examples: str) -> list[str]:
    if _COMPILED[pattern].fullmatch(text):
        return []
    return [f"{rule} {_hint(pattern, examples)}"]


def _hint(pattern: str, examples: tuple[str, ...]) -> str:
    if not examples:
        return f"(regex used for validation is '{pattern}')"
    found = " or ".join(f"'{example}', " for example in examples)
    return f"(e.g. {found}regex used for validation is '{pattern}')"


def _at_most(text: str, limit: int) -> list[str]:
    return [f"must be no more than {limit} bytes"] if len(text.encode()) > limit else []


@lru_cache(maxsize=4096)
def _label(text: str) -> tuple[str, ...]:
    rule = (
        "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', "
        "and must start and end with an alphanumeric character"
    )
    return (*_at_most(text, 63), *_must_match(text, _LABEL, rule, "my-name", "123-abc"))


def label(text: str) -> tuple[str, ...]:
    """A lowercase RFC 1123 label, such as the name of a container."""
    return _label(text)


@lru_cache(maxsize=4096)
def subdomain(text: str) -> tuple[str, ...]:
    """A lowercase RFC 1123 subdomain, such as most names of objects."""
    rule = (
        "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', "
        "and must start and end with an alphanumeric character"
    )
    return (*_at_most(text, 253), *_must_match(text, _SUBDOMAIN, rule, "example.com"))


def dns1035(text: str) -> tuple[str, ...]:
    """A label that starts with a letter, such as the name of a service."""
    rule = (
        "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic "
        "character, and end with an alphanumeric character"
    )
    return (*_at_most(text, 63), *_must_match(text, _DNS1035, rule, "my-name", "abc-123"))


def wildcard(text: str) -> tuple[str, ...]:
    rule = (
        "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist "
        "of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character"
    )
    return (*_at_most(text, 253), *_must_match(text, _WILDCARD, rule, "*.example.com"))


@lru_cache(maxsize=4096)
def qualified_name(text: str) -> tuple[str, ...]:
    """A name with an optional domain before a slash, such as a label's key."""
    found: list[str] = []
    prefix, slash, name = text.rpartition("/")
    if "/" in prefix:
        rule = (
            "a qualified name must consist of alphanumeric characters, '-', '_' or '.', and must start and end "
            "with an alphanumeric character"
        )
        hint = _hint(_QUALIFIED, ("MyName", "my.name", "123-abc"))
        return (f"{rule} {hint} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')",)
    if slash and not prefix:
        found.append("prefix part must be non-empty")
    elif prefix:
        found += [f"prefix part {complaint}" for complaint in subdomain(prefix)]
    if not name:
        found.append("name part must be non-empty")
    elif len(name.encode()) > 63:
        found.append("name part must be no more than 63 bytes")
    rule = (
        "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an "
        "alphanumeric character"
    )
    return (*found, *_must_match(name, _QUALIFIED, rule, "MyName", "my.name", "123-abc"))


@lru_cache(maxsize=4096)
def label_value(text: str) -> tuple[str, ...]:
    rule = (
        "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must "
        "start and end with an alphanumeric character"
    )
    pattern = f"({_QUALIFIED})?"
    if not text or _COMPILED[_QUALIFIED].fullmatch(text):
        return tuple(_at_most(text, 63))
    return (*_at_most(text, 63), f"{rule} {_hint(pattern, ('MyValue', 'my_value', '12345'))}")


def data_key(text: str) -> tuple[str, ...]:
    """A key of a config map or secret: it becomes a file's name."""
    rule = "a valid config key must consist of alphanumeric characters, '-', '_' or '.'"
    found = [f"must be no more than {253} characters"] if len(text) > 253 else []
    found += _must_match(text, _DATA_KEY, rule, "key.name", "KEY_NAME", "key-name")
    return (*found, *file_name(text))


def file_name(text: str) -> tuple[str, ...]:
    """What can't be the name of a file in a volume."""
    if text == ".":
        return ("must not be '.'",)
    if text == "..":
        return ("must not be '..'",)
    return ("must not start with '..'",) if text.startswith("..") else ()


def environment_name(text: str) -> tuple[str, ...]:
    """The name of an environment variable: printable ASCII but for the equals sign."""
    if _ENVIRONMENT.fullmatch(text):
        return ()
    return (
        "a valid environment variable name must consist only of printable ASCII characters other than '='",
    )


def c_identifier(text: str) -> tuple[str, ...]:
    rule = (
        "a valid C identifier must start with alphabetic character or '_', followed by a string of alphanumeric "
        "characters or '_'"
    )
    return tuple(_must_match(text, _C_IDENTIFIER, rule, "my_name", "MY_NAME", "MyName"))


def percent(text: str) -> tuple[str, ...]:
    rule = "a valid percent string must be a numeric string followed by an ending '%'"
    return tuple(_must_match(text, _PERCENT, rule, "1%", "93%"))


def http_header(text: str) -> tuple[str, ...]:
    rule = "a valid HTTP header must consist of alphanumeric characters or '-'"
    return tuple(_must_match(text, _HEADER, rule, "X-Header-Name"))


def port_name(text: str) -> tuple[str, ...]:
    """The name of a port: an IANA service name."""
    found = []
    if len(text) > 15:
        found.append("must be no more than 15 characters")
    if not _PORT_NAME.fullmatch(text):
        found.append("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)")
    if not any(character.isalpha() for character in text):
        found.append("must contain at least one letter (a-z)")
    if "--" in text:
        found.append("must not contain consecutive hyphens")
    if text and "-" in (text[0], text[-1]):
        found.append("must not begin or end with a hyphen")
    return tuple(found)


def path_segment(text: str) -> tuple[str, ...]:
    """A name that only has to fit into a path, such as a role's."""
    if text in (".", ".."):
        return (f"may not be '{text}'",)
    return tuple(f"may not contain '{part}'" for part in ("/", "%") if part in text)


def ip(text: str) -> tuple[str, ...]:
    """An address; leading zeroes have meant different things to different programs, so none are allowed."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        parts = text.split(".")
        if len(parts) == 4 and all(part.isdecimal() and int(part) < 256 for part in parts):
            return ("must not have leading 0s",)
        return ("must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",)
    return ()


def cidr(text: str) -> tuple[str, ...]:
    address, slash, length = text.partition("/")
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        found = None
    if not slash or found is None or not length.isdecimal() or int(length) > found.max_prefixlen:
        return ("must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)",)
    return ()


def domain_path(text: str) -> tuple[str, ...]:
    """A domain, a slash and a path, such as the name of a controller."""
    domain, slash, path = text.partition("/")
    if not (domain and slash and path):
        return ('must be a domain-prefixed path (such as "acme.io/foo")',)
    found = list(subdomain(domain))
    if not re.fullmatch(r"[A-Za-z0-9/\-._~%!$&'()*+,;=:]+", path):
        found.append(f"Invalid path (regex used for validation is '{_PATH}')")
    return tuple(found)


_PATH = r"[A-Za-z0-9/\-._~%!$&'()*+,;=:]+"
