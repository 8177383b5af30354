"""Many questions to a machine in one script, and the named parts of its answer. Pure.

A part that a machine cannot give holds the words in which it refused; none keeps the others from being told.
"""

from collections.abc import Iterator, Mapping
from shlex import quote

MARK = "KYBERN-PART"
SECONDS = 10  # for each part


def script(commands: Mapping[str, str], seconds: int = SECONDS) -> str:
    """Asks for the parts, one after the other, each with a limit of its own."""
    lines = ["exec 2>/dev/null"]
    for name, command in commands.items():
        lines.append(f"printf '\\n{MARK} %s\\n' {quote(name)}")
        lines.append(f'timeout {seconds} bash -c {quote(command)} 2>&1 </dev/null || echo "(ended with $?)"')
    return "\n".join([*lines, "exit 0", ""])


def answers(text: str) -> Iterator[tuple[str, str]]:
    """The parts of an answer: name and text."""
    for piece in f"\n{text}".split(f"\n{MARK} ")[1:]:
        name, _, said = piece.partition("\n")
        yield name, said
