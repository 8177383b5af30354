"""Files of environment variables in a volume, and one variable in one of them (fileKeyRef, KEP-3721). The parser is pure.

The format is a part of what a POSIX shell reads: lines of ``NAME='value'``, where everything up to the next quote is the
value, also over several lines; blank lines and lines that begin with ``#`` are passed over, as is what follows a value
behind a ``#``. The texts of errors are upstream's (pkg/kubelet/util/env).
"""

from pathlib import Path

from kybern.kubelet.volumes import subpath
from kybern.kubelet.volumes.plugin import CannotMount

MOST = 1024 * 1024
"""Bytes of a file: variables of a process are no more than that together."""


def read(volume: Path, below: str) -> str | None:
    """The text of a file in a volume, or None where there is none. Blocking; raises CannotMount."""
    try:
        content = subpath.read(volume, below, MOST)
    except FileNotFoundError:
        return None
    except OSError as problem:
        raise CannotMount(
            f"failed to open environment variable file {below!r}: {problem.strerror}"
        ) from problem
    if len(content) > MOST:
        raise CannotMount(
            f"error reading environment variable file {below!r}: it is longer than {MOST} bytes"
        )
    return content.decode(errors="replace")


def value(text: str, key: str) -> str | None:
    """The value of a variable, or None where the file does not have it.

    Raises ValueError for a line before it that is wrong.
    """
    at, line = 0, 1
    while at < len(text):
        end = text.find("\n", at)
        end = len(text) if end < 0 else end
        start = text[at:end].lstrip(" \t")
        if not start.strip() or start.startswith("#"):
            at, line = end + 1, line + 1
            continue
        name, found, rest = _assignment(text, end - len(start), line)
        if name == key:
            return found
        line += text.count("\n", at, rest) + 1
        at = text.find("\n", rest) + 1 or len(text)
    return None


def _assignment(text: str, at: int, line: int) -> tuple[str, str, int]:
    """Name and value of the assignment that begins there, and where what follows the value begins."""
    wrong = f"invalid environment variable format at line {line}"
    end = text.find("\n", at)
    sign = text.find("=", at, len(text) if end < 0 else end)
    if sign <= at:
        raise ValueError(wrong)
    name = text[at:sign]
    if name[-1].isspace():
        raise ValueError(f"{wrong}: whitespace before '=' is not allowed")
    if text[sign + 1 : sign + 2] != "'":
        raise ValueError(f"{wrong}: value must be enclosed in single quotes")
    quote = text.find("'", sign + 2)
    if quote < 0:
        raise ValueError(f"unexpected end of file: the single quote of line {line} is not closed")
    rest, _, _ = text[quote + 1 :].partition("\n")
    if rest.strip() and not (rest[0].isspace() and rest.lstrip().startswith("#")):
        raise ValueError(f"{wrong}: unexpected content after closing quote")
    return name, text[sign + 2 : quote], quote + 1
