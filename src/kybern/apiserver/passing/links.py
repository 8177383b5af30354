"""Links of a page behind a proxy, made to lead through the proxy. Pure.

A link that names no host, or the one that was asked, and starts at the root, gets the proxy's path in front. Only tags in
which something changes are written anew; everything else of a page stays byte for byte as it was.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from html import escape
from html.parser import HTMLParser
from urllib.parse import urlsplit

from kybern.apiserver.passing.places import joined

# Of HTML 4 and 5: the attributes that are links.
_LINKS = {
    "a": ("href",),
    "applet": ("codebase",),
    "area": ("href",),
    "audio": ("src",),
    "base": ("href",),
    "blockquote": ("cite",),
    "body": ("background",),
    "button": ("formaction",),
    "command": ("icon",),
    "del": ("cite",),
    "embed": ("src",),
    "form": ("action",),
    "frame": ("longdesc", "src"),
    "head": ("profile",),
    "html": ("manifest",),
    "iframe": ("longdesc", "src"),
    "img": ("longdesc", "src", "usemap"),
    "input": ("src", "usemap", "formaction"),
    "ins": ("cite",),
    "link": ("href",),
    "object": ("classid", "codebase", "data", "usemap"),
    "q": ("cite",),
    "script": ("src",),
    "source": ("src",),
    "video": ("poster", "src"),
}


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a page came from: ``dialled`` is the backend's host and port, ``asked`` what the client's Host field said."""

    prefix: str
    dialled: str
    asked: str


def link(target: str, origin: Origin) -> str:
    """A link as the client must follow it."""
    try:
        parts = urlsplit(target)
    except ValueError:
        return target
    elsewhere = parts.netloc and parts.netloc not in (origin.dialled, origin.asked)
    if elsewhere or not parts.path.startswith("/"):
        return target
    if parts.netloc != origin.asked:
        parts = parts._replace(scheme="", netloc="")
    if not parts.path.startswith(origin.prefix):
        parts = parts._replace(path=joined(origin.prefix, parts.path))
    return parts.geturl()


class _Tags(HTMLParser):
    """Collects what to put in place of which stretch of the page."""

    def __init__(self, text: str, change: Callable[[str], str]) -> None:
        super().__init__(convert_charrefs=False)
        self._change = change
        self._lines = [0, *(at + 1 for at, letter in enumerate(text) if letter == "\n")]
        self.changes: list[tuple[int, int, str]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._tag(tag, attrs, ">")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._tag(tag, attrs, "/>")

    def _tag(self, tag: str, attrs: list[tuple[str, str | None]], end: str) -> None:
        links = _LINKS.get(tag, ())
        new = [(name, self._change(value) if value and name in links else value) for name, value in attrs]
        if new == attrs:
            return
        line, column = self.getpos()
        start = self._lines[line - 1] + column
        shown = "".join(f' {name}="{escape(value or "")}"' for name, value in new)
        self.changes.append((start, start + len(self.get_starttag_text() or ""), f"<{tag}{shown}{end}"))


def page(text: str, change: Callable[[str], str]) -> str:
    """A page with every link changed."""
    return "".join(_pieces(text, _Tags(text, change).changes))


def _pieces(text: str, changes: list[tuple[int, int, str]]) -> Iterator[str]:
    at = 0
    for start, end, new in changes:
        yield text[at:start]
        yield new
        at = end
    yield text[at:]
