"""URLs as Go's net/url reads them, with its words for what is wrong: clients see both in the answers.

``parse`` takes what may stand in a document, ``parse_request`` only what a request could name: absolute URLs and paths.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import quote, unquote_to_bytes

from kybern.machinery.causes import quoted

_SCHEME = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_ESCAPE = re.compile(r"%(?![0-9a-fA-F]{2}).{0,2}", re.DOTALL)
_PORT = re.compile(r"(:[0-9]*)?", re.ASCII)
_USER = re.compile(r"[A-Za-z0-9\-._:~!$&'()*+,;=%@]*", re.ASCII)
# What stands in a path as it is, beside letters, digits and -_.~
_PATH_SIGNS = "$&+,/:;=@"
_PATH_ENCODED = re.compile(r"[A-Za-z0-9\-_.~$&+,/:;=@!'()*\[\]%]*", re.ASCII)
_HOST_SIGN = re.compile(r"[A-Za-z0-9\-_.~!$&'()*+,;=:\[\]<>\"%]|[^\x00-\x7f]", re.ASCII)
_HOST_ESCAPE = re.compile(r"%[0-7][0-9a-fA-F]")


class UrlError(ValueError):
    """Text that is no URL; says why in Go's words."""


@dataclass(frozen=True, slots=True)
class Url:
    """``path`` as it was sent, and so are the rest; ``host`` with the port, if there is one."""

    scheme: str = ""
    opaque: str = ""
    user: str = ""
    host: str = ""
    path: str = ""
    query: str = ""
    fragment: str = ""

    @property
    def hostname(self) -> str:
        name = self._split()[0]
        return name[1:-1] if name.startswith("[") and name.endswith("]") else name

    @property
    def port(self) -> str:
        return self._split()[1]

    def _split(self) -> tuple[str, str]:
        name, colon, port = self.host.rpartition(":")
        return (name, port) if colon and _PORT.fullmatch(f":{port}") else (self.host, "")

    @property
    def escaped_path(self) -> str:
        """The path as it was sent when that is an encoding of it, otherwise the usual one."""
        if self.path == "*" or _PATH_ENCODED.fullmatch(self.path):
            return self.path
        return quote(unquote_to_bytes(self.path), safe=_PATH_SIGNS)

    def values(self) -> dict[str, list[str]]:
        """The query's values by key; parts that are not well formed are left out."""
        found: dict[str, list[str]] = {}
        for part in self.query.split("&"):
            key, _, value = part.partition("=")
            if part and ";" not in part and not _ESCAPE.search(part):
                found.setdefault(_unescaped(key, plus=True), []).append(_unescaped(value, plus=True))
        return found


def parse(text: str) -> Url:
    rest, _, fragment = text.partition("#")
    found = _said(rest, lambda: _parse(rest, request=False))
    _said(text, lambda: _check(fragment))
    return Url(found.scheme, found.opaque, found.user, found.host, found.path, found.query, fragment)


def parse_request(text: str) -> Url:
    return _said(text, lambda: _parse(text, request=True))


def _said[T](text: str, read: Callable[[], T]) -> T:
    try:
        return read()
    except UrlError as problem:
        raise UrlError(f"parse {quoted(text)}: {problem}") from None


def _parse(text: str, *, request: bool) -> Url:
    if _CONTROL.search(text):
        raise UrlError("net/url: invalid control character in URL")
    if not text and request:
        raise UrlError("empty url")
    if text == "*":
        return Url(path="*")
    scheme, rest = _scheme(text)
    rest, _, query = rest.partition("?")
    if not rest.startswith("/"):
        if scheme:
            return Url(scheme, opaque=rest, query=query)
        _relative(rest, request=request)
    host = user = ""
    if rest.startswith("//") and (scheme or not (request or rest.startswith("///"))):
        authority, slash, path = rest[2:].partition("/")
        user, host = _authority(authority)
        rest = slash + path
    _check(rest)
    return Url(scheme, "", user, host, rest, query)


def _scheme(text: str) -> tuple[str, str]:
    if text.startswith(":"):
        raise UrlError("missing protocol scheme")
    found = _SCHEME.match(text)
    if found is None or text[found.end() : found.end() + 1] != ":":
        return "", text
    return found[0].lower(), text[found.end() + 1 :]


def _relative(rest: str, *, request: bool) -> None:
    if request:
        raise UrlError("invalid URI for request")
    if ":" in rest.partition("/")[0]:
        raise UrlError("first path segment in URL cannot contain colon")


def _authority(text: str) -> tuple[str, str]:
    user, _, host = text.rpartition("@")
    host = _host(host)
    if not _USER.fullmatch(user):
        raise UrlError("net/url: invalid userinfo")
    _check(user)
    return user, host


def _host(text: str) -> str:
    if text.startswith("["):
        end = text.rfind("]")
        if end < 0:
            raise UrlError("missing ']' in host")
        _port(text[end + 1 :])
    elif ":" in text:
        _port(text[text.index(":") :])
    zone = text.find("%25") if text.startswith("[") else -1
    name = text if zone < 0 else text[:zone] + text[text.rfind("]") :]
    _check(name)
    found = _HOST_ESCAPE.search(name.replace("%25", ""))
    if found:
        raise UrlError(f"invalid URL escape {quoted(found[0])}")
    for sign in name:
        if not _HOST_SIGN.fullmatch(sign):
            raise UrlError(f"invalid character {quoted(sign)} in host name")
    return _unescaped(text)


def _port(text: str) -> None:
    if not _PORT.fullmatch(text):
        raise UrlError(f"invalid port {quoted(text)} after host")


def _check(text: str) -> None:
    """A percent sign begins an escape, always."""
    found = _ESCAPE.search(text)
    if found:
        raise UrlError(f"invalid URL escape {quoted(found[0])}")


def _unescaped(text: str, *, plus: bool = False) -> str:
    return unquote_to_bytes(text.replace("+", " ") if plus else text).decode(errors="replace")
