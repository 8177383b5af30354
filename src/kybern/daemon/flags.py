"""Command lines as upstream's daemons read them (pflag's spelling), from a table of flags.

What holds: ``--flag=value`` and ``--flag value`` are the same; a bool needs no value, and takes one only after ``=``;
underscores in names count as dashes; lists and maps may be given in one comma-separated value or by repeating the flag,
and the first one given replaces the default. Anything that is not in the table is an error that names it, with exit
code 2, because a misspelt flag must not become a default that nobody asked for.
"""

import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NoReturn, Self

from kybern.daemon import logs
from kybern.daemon.version import VERSION

_UNITS: Mapping[str, float] = {
    "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9,
}  # fmt: skip
_DURATION = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|ms|s|m|h)")


class BadFlag(Exception):
    """A command line that cannot be understood; the message is one line for whoever typed it."""


def duration(text: str) -> float:
    """Seconds of Go's notation, such as 10s, 1m30s, 500ms; a plain 0 needs no unit."""
    sign, body = (-1, text[1:]) if text.startswith("-") else (1, text)
    if body == "0":
        return 0.0
    parts = _DURATION.findall(body)
    if not parts or "".join(number + unit for number, unit in parts) != body:
        raise ValueError(f'"{text}" is no duration such as 10s or 1m30s')
    return sign * sum(float(number) * _UNITS[unit] for number, unit in parts)


def boolean(text: str) -> bool:
    """The spellings that Go's strconv.ParseBool takes."""
    if text in ("1", "t", "T", "true", "TRUE", "True"):
        return True
    if text in ("0", "f", "F", "false", "FALSE", "False"):
        return False
    raise ValueError(f'"{text}" is neither true nor false')


def commas(text: str) -> tuple[str, ...]:
    """A comma-separated list."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def pairs(text: str) -> Mapping[str, str]:
    """A comma-separated list of key=value."""
    found: dict[str, str] = {}
    for part in commas(text):
        key, sign, value = part.partition("=")
        if not sign:
            raise ValueError(f'"{part}" is not of the form key=value')
        found[key.strip()] = value.strip()
    return found


def shown_duration(seconds: float) -> str:
    """Seconds in Go's notation: 1h0m0s, 1m30s, 500ms."""
    sign, left = ("-" if seconds < 0 else ""), abs(seconds)
    if 0 < left < 1:
        unit, size = next(((unit, size) for unit, size in _UNITS.items() if left >= size), ("ns", 1e-9))
        return f"{sign}{left / size:.9g}{unit}"
    hours, minutes = int(left // 3600), int(left // 60 % 60)
    text = f"{round(left % 60, 9):.11g}s"
    if hours:
        return f"{sign}{hours}h{minutes}m{text}"
    return f"{sign}{minutes}m{text}" if minutes else f"{sign}{text}"


_SHOWN: Mapping[Callable[[str], Any], Callable[[Any], str]] = {
    str: str,
    logs.form: str,
    int: str,
    float: lambda value: f"{value:.12g}",
    boolean: lambda value: str(value).lower(),
    duration: shown_duration,
    commas: lambda value: f"[{','.join(value)}]",
    pairs: lambda value: ",".join(f"{key}={item}" for key, item in value.items()),
}


@dataclass(frozen=True, slots=True)
class Flag:
    """One flag; ``read`` turns its text into a value and raises ValueError. ``fixed``: why it takes its default only."""

    name: str
    read: Callable[[str], Any]
    default: Any
    help: str
    short: str
    fixed: str = ""

    def value(self, text: str) -> Any:
        """Raises ValueError."""
        found = self.read(text)
        if self.fixed and found != self.default:
            raise ValueError(self.fixed)
        return found

    def line(self) -> str:
        """How the flag shows in --help."""
        head = f"-{self.short}, --{self.name}" if self.short else f"    --{self.name}"
        shown = (
            ""
            if self.default in ("", None, (), {}) or self.default is False
            else f" (default {self.default})"
        )
        return f"  {head}\n          {self.help}{shown}"


class Values(Mapping[str, Any]):
    """What a command line says, by flag name with or without the dashes."""

    def __init__(
        self, values: Mapping[str, Any], given: frozenset[str], texts: Mapping[str, str] | None = None
    ) -> None:
        self._values = values
        self._given = given
        self._texts = texts or {}

    def __getitem__(self, name: str) -> Any:
        return self._values[_plain(name)]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def given(self, name: str) -> bool:
        """Whether the flag was on the command line: configuration files yield to those that were."""
        return _plain(name) in self._given

    def text(self, name: str) -> str:
        """What was given for a flag, as it was written; empty for one that was not."""
        return self._texts.get(_plain(name), "")


def _plain(name: str) -> str:
    return name.lstrip("-").replace("_", "-")


class Flags:
    """The table of a daemon's flags. Every table has --version, --help, -v and --logging-format."""

    def __init__(self, name: str, description: str) -> None:
        self.name = name
        self.description = description
        self._flags: dict[str, Flag] = {}
        self._short: dict[str, Flag] = {}
        self.flag("--version", bool, False, "Print version information and quit.")
        self.flag("--help", bool, False, f"Help for {name}.", short="h")
        self.flag("--v", int, 0, "Number for the log level verbosity.", short="v")
        self.flag(
            "--logging-format", logs.form, "text", "text: lines as klog has them; json: an object a line."
        )

    def flag(
        self,
        name: str,
        type: Callable[[str], Any] = str,  # noqa: A002  # as argparse names it
        default: Any = None,
        help: str = "",  # noqa: A002  # as argparse names it
        *,
        short: str = "",
    ) -> Self:
        """Add one. ``type`` is str, int, float, bool, duration, commas, pairs, or any function that raises ValueError."""
        found = Flag(_plain(name), boolean if type is bool else type, default, help, short)
        self._flags[found.name] = found
        if short:
            self._short[short] = found
        return self

    def fixed(self, name: str, type: Callable[[str], Any], default: Any, why: str) -> Self:  # noqa: A002  # as above
        """Add one of upstream's that cannot be honoured: anything but its default is an error that says ``why``."""
        self.flag(name, type, default, f"Only the default: {why}.")
        self._flags[_plain(name)] = replace(self._flags[_plain(name)], fixed=why)
        return self

    def __iter__(self) -> Iterator[Flag]:
        """The flags by name."""
        return iter(sorted(self._flags.values(), key=lambda flag: flag.name))

    def parse(self, argv: Sequence[str]) -> Values:
        """Read a command line (without the program's name); exits on --help, --version, and on what is wrong."""
        try:
            values = self.read(argv)
        except BadFlag as problem:
            self._quit(2, f"{self.name}: {problem}")
        if values["help"]:
            self._quit(0, self.usage())
        if values["version"]:
            self._quit(0, f"Kubernetes {VERSION}")
        return values

    def read(self, argv: Sequence[str]) -> Values:
        """The same without an exit: raises BadFlag."""
        given: dict[str, Any] = {}
        texts: dict[str, str] = {}
        rest = list(argv)
        while rest:
            flag, text = self._next(rest)
            try:
                value = flag.value(text)
            except ValueError as problem:
                raise BadFlag(f'invalid argument "{text}" for "--{flag.name}" flag: {problem}') from problem
            given[flag.name] = _joined(given.get(flag.name), value)
            texts[flag.name] = text
        values = {flag.name: given.get(flag.name, flag.default) for flag in self._flags.values()}
        return Values(values, frozenset(given), texts)

    def _next(self, rest: list[str]) -> tuple[Flag, str]:
        word = rest.pop(0)
        if word.startswith("--") and len(word) > 2:
            name, sign, text = word[2:].partition("=")
            flag = self._flags.get(_plain(name))
            if flag is None:
                raise BadFlag(f"unknown flag: --{name}")
        elif word.startswith("-") and len(word) > 1:
            flag = self._short.get(word[1])
            if flag is None:
                raise BadFlag(f"unknown shorthand flag: '{word[1]}' in {word}")
            text = word[2:].removeprefix("=")
            sign = text
        else:
            raise BadFlag(f'unknown argument "{word}": this command takes flags only')
        if sign:
            return flag, text
        if flag.read is boolean:
            return flag, "true"
        if not rest:
            raise BadFlag(f"flag needs an argument: {word}")
        return flag, rest.pop(0)

    def shown(self, values: Values) -> dict[str, str]:
        """All flags but those that end the program at once, with their values as upstream's daemons print them.

        A value with a form of its own is shown as it was given; its default, which nobody wrote, is not.
        """
        known = (flag for flag in self if flag.name not in ("help", "version"))
        return {flag.name: _shown(flag, values) for flag in known}

    def usage(self) -> str:
        flags = "\n".join(flag.line() for flag in self)
        return f"{self.description}\n\nUsage:\n  {self.name} [flags]\n\nFlags:\n{flags}"

    def _quit(self, code: int, text: str) -> NoReturn:
        (sys.stderr if code else sys.stdout).write(text + "\n")
        sys.exit(code)


def _shown(flag: Flag, values: Values) -> str:
    show, value = _SHOWN.get(flag.read), values[flag.name]
    if show is None:
        return values.text(flag.name)
    return "" if value is None else show(value)


def _joined(before: Any, value: Any) -> Any:
    """A flag that is given again: lists and maps grow, anything else is replaced."""
    if isinstance(before, tuple) and isinstance(value, tuple):
        return before + value
    if isinstance(before, Mapping) and isinstance(value, Mapping):
        return {**before, **value}
    return value
