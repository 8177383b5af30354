"""What a pattern is made of, apart from how it is written."""

from dataclasses import dataclass

type Node = One | At | Many | Row | Either


@dataclass(frozen=True, slots=True)
class One:
    """One sign of some: ``text`` is how Python writes which."""

    text: str


@dataclass(frozen=True, slots=True)
class At:
    """A place between signs."""

    text: str


@dataclass(frozen=True, slots=True)
class Many:
    """Something as often as it goes, or as rarely as it may; ``most`` is None where nothing bounds it."""

    of: Node
    least: int
    most: int | None
    lazy: bool


@dataclass(frozen=True, slots=True)
class Row:
    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Either:
    """The first that fits, in this order."""

    choices: tuple[Node, ...]


def written(node: Node) -> str:
    """The same pattern for Python."""
    match node:
        case One(text) | At(text):
            return text
        case Row(parts):
            return "".join(map(written, parts))
        case Either(choices):
            return f"(?:{'|'.join(map(written, choices))})"
        case Many(of, least, most, lazy):
            count = f"{{{least},{'' if most is None else most}}}"
            return f"(?:{written(of)}){count}{'?' if lazy else ''}"


def endless(node: Node) -> int:
    """How many repetitions there are that nothing bounds; those inside one another count a hundred times."""
    match node:
        case Row(parts) | Either(parts):
            return sum(map(endless, parts))
        case Many(of, _, most, _):
            inside = endless(of)
            if most is None:
                return 100 if inside or _choice(of) else 1
            return inside * max(most, 1)
    return 0


def _choice(node: Node) -> bool:
    """Whether there is more than one way through, so that each of a repetition's rounds has to be tried in each."""
    match node:
        case Either():
            return True
        case Row(parts):
            return any(map(_choice, parts))
        case Many(of, least, most, _):
            return least != most or _choice(of)
    return False


def size(node: Node) -> int:
    """How many signs it is long when all repetitions are written out."""
    match node:
        case Row(parts) | Either(parts):
            return sum(map(size, parts))
        case Many(of, least, most, _):
            return max(size(of), 1) * max(least, most or 1)
    return 1
