"""Names and paths of what is behind a proxy. Pure."""

import posixpath
from dataclasses import dataclass
from urllib.parse import quote

_SAFE = "$&+,/:;=@"
_SCHEMES = ("", "http", "https")


@dataclass(frozen=True, slots=True)
class Place:
    """What ``[SCHEME:]NAME[:PORT]`` says; a port may be a name."""

    scheme: str
    name: str
    port: str


def place(text: str) -> Place | None:
    """None for what is no such thing."""
    parts = text.split(":")
    if len(parts) == 3:
        found = Place(*parts)
    elif len(parts) == 2:
        found = Place("", *parts)
    elif len(parts) == 1:
        found = Place("", text, "")
    else:
        return None
    return found if found.name and found.scheme in _SCHEMES else None


def joined(first: str, second: str) -> str:
    """One path of two, without dots and double slashes; a slash at the end stays."""
    if not first and not second:
        return ""
    whole = posixpath.normpath(f"/{first}/{second}")
    whole = "/" + whole.lstrip("/")
    return whole + "/" if second.endswith("/") and whole != "/" else whole


def below(tail: str, path: str) -> str:
    """What a proxied path asks of the backend: ``tail`` follows the subresource, ``path`` is the whole request's.

    "" when nothing follows, not even a slash.
    """
    found = joined("", tail)
    return found + "/" if path.endswith("/") and not found.endswith("/") else found


def encoded(path: str) -> str:
    """A decoded path as a request names it."""
    return quote(path, safe=_SAFE)


def host(name: str, port: int | str) -> str:
    """Host and port as a URL has them."""
    shown = f"[{name}]" if ":" in name else name
    return f"{shown}:{port}" if port else shown
