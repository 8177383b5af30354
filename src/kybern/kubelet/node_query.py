"""Queries for the logs of the node's services: which are meant, what is wrong with them, what journalctl is asked. Pure.

Texts and limits are upstream's (kubelet_server_journal.go): at most four services, at most 100,000 lines; a query with a
slash means a file below /var/log, and takes no options.
"""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from multidict import MultiMapping

_MOST_LINES = 100_000
_LONGEST = 256
_MOST = 4
_UNSAFE = re.compile(r"[^a-zA-Z\-_0-9@]")


class BadQuery(ValueError):
    """What is asked cannot be answered. ``status``: 400 for what cannot be read, 406 for what does not go together."""

    def __init__(self, status: int, problems: Iterable[str]) -> None:
        found = list(problems)
        super().__init__(found[0] if len(found) == 1 else f"[{', '.join(found)}]")
        self.status = status


@dataclass(frozen=True, slots=True)
class Query:
    """Either services with options, or one file."""

    services: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    since: datetime | None = None
    until: datetime | None = None
    tail: int | None = None
    boot: int | None = None
    pattern: str = ""

    @property
    def has_options(self) -> bool:
        return bool(self.pattern) or any(
            value is not None for value in (self.since, self.until, self.tail, self.boot)
        )


def query_of(parameters: MultiMapping[str]) -> Query | None:
    """What is asked for; None when nothing is, and a path is meant. Raises BadQuery."""
    problems: list[str] = []
    asked = parameters.getall("query", [])
    files = tuple(one for one in asked if "/" in one or "\\" in one)
    services = tuple(one for one in asked if one not in files and one.strip())
    if asked and not files and not services:
        problems.append(_invalid("query", asked, "query cannot be empty"))
    found = Query(
        services,
        files,
        _time(parameters, "sinceTime", problems),
        _time(parameters, "untilTime", problems),
        _number(parameters, "tailLines", problems),
        _number(parameters, "boot", problems),
        parameters.get("pattern", ""),
    )
    if problems:
        raise BadQuery(400, problems)
    return None if found == Query() else found


def check(query: Query) -> None:
    """Raises BadQuery for what does not go together."""
    problems = [*_names(query), *_together(query), *_ranges(query)]
    if problems:
        raise BadQuery(406, problems)


def arguments(query: Query, services: Iterable[str]) -> list[str]:
    """What journalctl is asked."""
    found = ["--utc", "--no-pager", "--output=short-precise"]
    for name, time in (("since", query.since), ("until", query.until)):
        if time is not None:
            found.append(f"--{name}={time.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC")
    if query.tail is not None:
        found += ["--pager-end", f"--lines={query.tail}"]
    found += (f"--unit={service}" for service in services)
    if query.pattern:
        found.append(f"--grep={query.pattern}")
    if query.boot is not None:
        found.append(f"--boot={query.boot}")
    return found


def _invalid(name: str, value: Any, why: str) -> str:
    return f"{name}: Invalid value: {json.dumps(value)}: {why}"


def _time(parameters: MultiMapping[str], name: str, problems: list[str]) -> datetime | None:
    text = parameters.get(name, "")
    if not text:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None or "T" not in text:
        problems.append(_invalid(name, text, "invalid time format"))
        return None
    return found


def _number(parameters: MultiMapping[str], name: str, problems: list[str]) -> int | None:
    text = parameters.get(name, "")
    if not text:
        return None
    if not re.fullmatch(r"[+-]?[0-9]+", text, re.ASCII):
        problems.append(_invalid(name, text, f'strconv.Atoi: parsing "{text}": invalid syntax'))
        return None
    return int(text)


def _names(query: Query) -> Iterator[str]:
    for service in query.services:
        if len(service) > _LONGEST:
            yield _invalid("query", service, "length must be less than 100")
        elif _UNSAFE.search(service):
            yield _invalid("query", service, "input contains unsupported characters")
    if len(query.services) > _MOST:
        yield f"query: Too many: {len(query.services)}: must have at most {_MOST} items"


def _together(query: Query) -> Iterator[str]:
    if not query.files and not query.services:
        yield "query: Required value: cannot be empty with options"
    elif query.files and query.services:
        shown = f"[{' '.join(query.files)}], [{' '.join(query.services)}]"
        yield _invalid("query", shown, "cannot specify a file and service")
    elif len(query.files) > 1:
        yield _invalid("query", query.files, "cannot specify more than one file")
    elif query.files and query.has_options:
        yield _invalid("query", query.files, "cannot specify file with options")


def _ranges(query: Query) -> Iterator[str]:
    if query.since is not None and query.until is not None and query.since > query.until:
        yield _invalid("untilTime", query.until.isoformat(), "must be after `sinceTime`")
    if query.boot is not None and query.boot > 0:
        yield _invalid("boot", query.boot, "must be less than 1")
    if query.tail is not None and not 0 <= query.tail <= _MOST_LINES:
        yield _invalid("tailLines", query.tail, f"must be between 0 and {_MOST_LINES}, inclusive")
    try:
        re.compile(query.pattern)
    except re.error as problem:
        yield _invalid("pattern", query.pattern, f"error parsing regexp: {problem}")
