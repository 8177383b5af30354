"""The lines of a container's log as CRI writes them: ``TIME STREAM TAG CONTENT``. Pure.

A tag of P marks a part of a line that goes on in the next; F the last or only part, whose end of line belongs to it.
"""

from datetime import UTC, datetime
from typing import NamedTuple


class Entry(NamedTuple):
    """One line; ``content`` has its newline when the line is whole."""

    time: bytes
    content: bytes


def parse(line: bytes) -> Entry | None:
    """A line of a log file, or None when it is none (cut off by a full disk, say)."""
    parts = line.split(b" ", 3)
    if len(parts) < 4 or not line.endswith(b"\n"):
        return None
    time, _stream, tag, content = parts
    return Entry(time, content[:-1] if tag.split(b":")[0] == b"P" else content)


def moment(text: bytes) -> datetime | None:
    """The time of an entry; nanoseconds are cut to microseconds."""
    whole, _, rest = text.decode(errors="replace").partition(".")
    digits = "".join(character for character in rest[:9] if character.isdigit())
    zone = rest.lstrip("0123456789") or whole[19:]
    try:
        found = datetime.fromisoformat(whole[:19] + "." + (digits + "000000")[:6] + (zone or "Z"))
    except ValueError:
        return None
    return found.astimezone(UTC)


def fixed(time: bytes) -> bytes:
    """The time of an entry with all its nine digits, as it is shown: the runtime leaves zeros at the end out."""
    whole, rest = time[:19], time[19:]
    digits = rest[1:].split(b"Z")[0].split(b"+")[0].split(b"-")[0] if rest.startswith(b".") else b""
    zone = rest[len(digits) + 1 :] if rest.startswith(b".") else rest
    return whole + b"." + digits.ljust(9, b"0")[:9] + (b"Z" if zone == b"+00:00" else zone)
