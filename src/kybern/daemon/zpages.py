"""What a daemon says of itself to people: /statusz (which version, since when) and /flagz (with what flags).

Text is for reading; a program asks for the kinds Statusz and Flagz of config.k8s.io/v1beta1, and must name all of that
(``Accept: application/json;g=config.k8s.io;v=v1beta1;as=Statusz``). Upstream separates names and values by a sign that it
draws by lot, so that no program reads the text; here it is always the same.
"""

import json
import platform
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import yaml
from prometheus_client import REGISTRY

from kybern.daemon.version import COMPATIBLE, MINOR, VERSION

GROUP, API_VERSION = "config.k8s.io", "v1beta1"
TEXT = "text/plain; charset=utf-8"
_WARNING = (
    "Warning: This endpoint is not meant to be machine parseable, has no formatting compatibility guarantees and is "
    "for debugging purposes only."
)
_UNACCEPTABLE = (
    "only the following media types are accepted: text/plain, application/json and application/yaml with "
    f"g={GROUP};v={API_VERSION};as={{}}\n"
)


@dataclass(frozen=True, slots=True)
class Page:
    body: bytes
    content_type: str = TEXT
    code: int = 200


def started() -> float:
    """When this process began, in seconds since 1970."""
    return REGISTRY.get_sample_value("process_start_time_seconds") or 0.0


@dataclass(frozen=True, slots=True)
class Pages:
    """The pages of one daemon. ``flags`` as they are shown; ``paths`` are what else it serves.

    ``emulates``: whether it has upstream's versions of emulation, as the daemons of the masters have.
    """

    component: str
    flags: Mapping[str, str]
    paths: tuple[str, ...] = ()
    emulates: bool = True
    start: Callable[[], float] = field(default=started)

    def statusz(self, accept: str, now: float) -> Page:
        """What runs, and since when; ``now`` in seconds since 1970."""
        start = datetime.fromtimestamp(int(self.start()), UTC)
        up = max(int(now - start.timestamp()), 0)
        found = {
            "startTime": start.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "uptimeSeconds": up,
            "goVersion": f"python{platform.python_version()}",
            "binaryVersion": VERSION.removeprefix("v"),
            **(
                {"emulationVersion": MINOR, "minimumCompatibilityVersion": COMPATIBLE}
                if self.emulates
                else {}
            ),
            "paths": list(self.paths),
        }
        lines = [
            f"Started: {start:%a %b} {start.day:2} {start:%H:%M:%S} UTC {start.year}",
            f"Up: {up // 3600} hr {up // 60 % 60:02} min {up % 60:02} sec",
            f"Go version: {found['goVersion']}",
            f"Binary version: {found['binaryVersion']}",
            *(
                [f"Emulation version: {MINOR}", f"Minimum Compatibility version: {COMPATIBLE}"]
                if self.emulates
                else ()
            ),
            f"Paths: {' '.join(self.paths)}",
        ]
        return self._page(accept, "Statusz", found, f"{self.component} statusz", lines)

    def flagz(self, accept: str) -> Page:
        """The flags that it runs with, those that were left out among them."""
        flags = dict(sorted(self.flags.items()))
        lines = [f"{name}={value}" for name, value in flags.items()]
        return self._page(accept, "Flagz", {"flags": flags}, f"{self.component} flags", lines)

    def _page(self, accept: str, kind: str, found: Mapping[str, Any], title: str, lines: list[str]) -> Page:
        media = negotiated(accept, kind)
        if not media:
            return Page(_UNACCEPTABLE.format(kind).encode(), code=406)
        if media == "text/plain":
            return Page("\n".join(("", title, _WARNING, "", *lines, "")).encode())
        head = {"kind": kind, "apiVersion": f"{GROUP}/{API_VERSION}", "metadata": {"name": self.component}}
        if media == "application/yaml":
            return Page(yaml.safe_dump({**head, **found}).encode(), media)
        return Page(json.dumps({**head, **found}, separators=(",", ":")).encode() + b"\n", media)


def negotiated(accept: str, kind: str) -> str:
    """The media type to answer with, for a header ``Accept``; nothing when none of those asked for is there. Pure."""
    if not accept.strip():
        return "text/plain"
    return next(filter(None, (_media(*asked, kind) for asked in _asked(accept))), "")


def _asked(accept: str) -> Iterator[tuple[str, dict[str, str]]]:
    for one in accept.split(","):
        media, *rest = (part.strip() for part in one.split(";"))
        parameters = dict(part.partition("=")[::2] for part in rest)
        parameters.pop("q", None)
        yield media.lower(), parameters


def _media(media: str, parameters: Mapping[str, str], kind: str) -> str:
    if media in ("text/plain", "text/*", "*/*", "*"):
        plain = not parameters or {key: value.lower() for key, value in parameters.items()} == {
            "charset": "utf-8"
        }
        return "text/plain" if plain else ""
    named = {"g": GROUP, "v": API_VERSION, "as": kind}
    return media if media in ("application/json", "application/yaml") and parameters == named else ""
