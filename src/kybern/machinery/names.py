"""What names, labels and keys may look like. Each check yields messages (upstream's), none when the text is fine."""

import re
from collections.abc import Callable, Iterable

LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
SUBDOMAIN = rf"{LABEL}(\.{LABEL})*"
DNS1035 = "[a-z]([-a-z0-9]*[a-z0-9])?"
QUALIFIED = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
VALUE = f"({QUALIFIED})?"
CONFIG_KEY = "[-._a-zA-Z0-9]+"
ENV_NAME = "[-._a-zA-Z][-._a-zA-Z0-9]*"
PERCENT = "[0-9]+%"
WILDCARD = rf"\*\.{SUBDOMAIN}"
HTTP_PATH = r"[A-Za-z0-9/\-._~%!$&'()*+,;=:]+"
HTTP_HEADER = "[-A-Za-z0-9]+"

_label = re.compile(LABEL).fullmatch
_subdomain = re.compile(SUBDOMAIN).fullmatch
_dns1035 = re.compile(DNS1035).fullmatch
_qualified = re.compile(QUALIFIED).fullmatch
_value = re.compile(VALUE).fullmatch
_config_key = re.compile(CONFIG_KEY).fullmatch
_env_name = re.compile(ENV_NAME).fullmatch
_percent = re.compile(PERCENT).fullmatch
_wildcard = re.compile(WILDCARD).fullmatch
_http_header = re.compile(HTTP_HEADER).fullmatch
_path = re.compile(HTTP_PATH).fullmatch

_LABEL_SAYS = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with "
    "an alphanumeric character"
)
_SUBDOMAIN_SAYS = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and "
    "end with an alphanumeric character"
)
_DNS1035_SAYS = (
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and "
    "end with an alphanumeric character"
)
_QUALIFIED_SAYS = (
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end "
    "with an alphanumeric character"
)
_VALUE_SAYS = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end "
    "with an alphanumeric character"
)
_WILDCARD_SAYS = (
    "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of lower "
    "case alphanumeric characters, '-' or '.' and end with an alphanumeric character"
)


def expects(says: str, pattern: str, *examples: str) -> str:
    """Upstream's RegexError."""
    if not examples:
        return f"{says} (regex used for validation is '{pattern}')"
    shown = "".join(f"{' or ' if at else ''}'{example}', " for at, example in enumerate(examples))
    return f"{says} (e.g. {shown}regex used for validation is '{pattern}')"


def _size(text: str) -> int:
    """Length in bytes, as Go counts."""
    return len(text) if text.isascii() else len(text.encode(errors="surrogatepass"))


def _too_long(text: str, limit: int, unit: str = "characters") -> Iterable[str]:
    """Upstream counts bytes everywhere, and says so of labels only."""
    if _size(text) > limit:
        yield f"must be no more than {limit} {unit}"


def dns1123_label(text: str) -> Iterable[str]:
    yield from _too_long(text, 63)
    if not _label(text):
        if _subdomain(text):
            yield "must not contain dots"
        else:
            yield expects(_LABEL_SAYS, LABEL, "my-name", "123-abc")


def dns1123_subdomain(text: str, unit: str = "characters") -> Iterable[str]:
    yield from _too_long(text, 253, unit)
    if not _subdomain(text):
        yield expects(_SUBDOMAIN_SAYS, SUBDOMAIN, "example.com")


def wildcard_subdomain(text: str) -> Iterable[str]:
    yield from _too_long(text, 253)
    if not _wildcard(text):
        yield expects(_WILDCARD_SAYS, WILDCARD, "*.example.com")


def dns1035_label(text: str) -> Iterable[str]:
    yield from _too_long(text, 63)
    if not _dns1035(text):
        yield expects(_DNS1035_SAYS, DNS1035, "my-name", "abc-123")


def path_segment(text: str) -> Iterable[str]:
    """Names of kinds such as ClusterRole: anything that can be one segment of a URL path."""
    if text in {".", ".."}:
        yield f"may not be '{text}'"
        return
    for bad in ("/", "%"):
        if bad in text:
            yield f"may not contain '{bad}'"


def label_key(text: str) -> Iterable[str]:
    """A qualified name: ``[prefix/]name``."""
    parts = text.split("/")
    pattern = expects(_QUALIFIED_SAYS, QUALIFIED, "MyName", "my.name", "123-abc")
    if len(parts) > 2:
        yield f"a valid label key {pattern} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
        return
    if len(parts) == 2:
        if not parts[0]:
            yield "prefix part must be non-empty"
        else:
            yield from (f"prefix part {says}" for says in dns1123_subdomain(parts[0], "bytes"))
    name = parts[-1]
    if not name:
        yield "name part must be non-empty"
    elif _size(name) > 63:
        yield "name part must be no more than 63 bytes"
    if not _qualified(name):
        yield f"name part {pattern}"


def label_value(text: str) -> Iterable[str]:
    yield from _too_long(text, 63, "bytes")
    if not _value(text):
        yield expects(_VALUE_SAYS, VALUE, "MyValue", "my_value", "12345")


def config_key(text: str) -> Iterable[str]:
    """A key in the data of a ConfigMap or a Secret."""
    yield from _too_long(text, 253)
    if not _config_key(text):
        says = "a valid config key must consist of alphanumeric characters, '-', '_' or '.'"
        yield expects(says, CONFIG_KEY, "key.name", "KEY_NAME", "key-name")
    else:
        yield from _not_a_parent(text)


def _not_a_parent(text: str) -> Iterable[str]:
    if text in {".", ".."}:
        yield f"must not be '{text}'"
    elif text.startswith(".."):
        yield "must not start with '..'"


def environment_name(text: str) -> Iterable[str]:
    """A variable's name under the strict rule."""
    if not _env_name(text):
        says = (
            "a valid environment variable name must consist of alphabetic characters, digits, '_', '-', or '.', and must "
            "not start with a digit"
        )
        yield expects(says, ENV_NAME, "my.env-name", "MY_ENV.NAME", "MyEnvName1")
    yield from _not_a_parent(text)


def relaxed_environment_name(text: str) -> Iterable[str]:
    """A variable's name under the rule of today: printable ASCII without an equals sign."""
    if not text:
        yield "environment variable name must be non-empty"
    elif not all(" " <= sign <= "~" and sign != "=" for sign in text):
        yield "a valid environment variable name must consist only of printable ASCII characters other than '='"


def percent(text: str) -> Iterable[str]:
    if not _percent(text):
        says = "a valid percent string must be a numeric string followed by an ending '%'"
        yield expects(says, PERCENT, "1%", "93%")


def http_header(text: str) -> Iterable[str]:
    if not _http_header(text):
        says = "a valid HTTP header must consist of alphanumeric characters or '-'"
        yield expects(says, HTTP_HEADER, "X-Header-Name")


def port_name(text: str) -> Iterable[str]:
    """An IANA service name: at most 15 of a-z, 0-9 and single dashes, with a letter."""
    yield from _too_long(text, 15)
    if not re.fullmatch("[-a-z0-9]+", text):
        yield "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)"
    if not re.search("[a-z]", text):
        yield "must contain at least one letter (a-z)"
    if "--" in text:
        yield "must not contain consecutive hyphens"
    if text[:1] == "-" or text[-1:] == "-":
        yield "must not begin or end with a hyphen"


def port_number(number: int) -> Iterable[str]:
    if not 1 <= number <= 65535:
        yield "must be between 1 and 65535, inclusive"


def domain_path(text: str) -> Iterable[str]:
    """``domain/path``: names of signers and the like. Empty text is the caller's to refuse."""
    domain, slash, path = text.partition("/")
    if not slash or not domain or not path:
        yield 'must be a domain-prefixed path (such as "acme.io/foo")'
        return
    yield from dns1123_subdomain(domain)
    if not _path(path):
        yield expects("Invalid path", HTTP_PATH)


def generated(check: Callable[[str], Iterable[str]], prefix: str) -> Iterable[str]:
    """What is wrong with a metadata.generateName: a dash at its end is fine."""
    masked = prefix[:-2] + "a" if len(prefix) > 1 and prefix.endswith("-") else prefix
    return check(masked)
