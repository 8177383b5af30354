"""The fields of a topology file: read from YAML nodes, so that what is wrong is told with its line, value and remedy."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import yaml

from kybern.machines.errors import TopologyError

SIZE = re.compile(r"([0-9]+)(MiB|GiB|TiB)")
UNITS = {"MiB": 1, "GiB": 1024, "TiB": 1024 * 1024}
LIFE = re.compile(r"([0-9]{1,6})([mhd])")
LIFE_UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}
# A third of it is the time to exchange a certificate in, which takes a run of some ten seconds or more.
LEAST_LIFE = timedelta(minutes=3)


@dataclass(frozen=True, slots=True)
class Place:
    """Where in which file."""

    file: Path
    line: int

    def error(self, message: str) -> TopologyError:
        return TopologyError(f"{self.file}:{self.line}: {message}")


@dataclass(frozen=True, slots=True)
class Value:
    """A scalar of the file, with its place."""

    text: str
    at: Place

    def parse[T](self, parser: Callable[[str], T], wanted: str) -> T:
        try:
            return parser(self.text)
        except ValueError as error:
            raise self.at.error(f'"{self.text}" is not {wanted}') from error


class Fields:
    """A mapping of the file: every key must be taken, so that a misspelt one is told."""

    def __init__(self, file: Path, node: yaml.Node, what: str, known: tuple[str, ...]) -> None:
        self.at = Place(file, node.start_mark.line + 1)
        if not isinstance(node, yaml.MappingNode):
            raise self.at.error(f"{what} must be a mapping with the keys {', '.join(known)}")
        self._file, self._what = file, what
        self._nodes: dict[str, yaml.Node] = {}
        for key, value in node.value:
            place = Place(file, key.start_mark.line + 1)
            if key.value not in known:
                raise place.error(f'unknown key "{key.value}" in {what}; it may have {", ".join(known)}')
            if key.value in self._nodes:
                raise place.error(f'duplicate key "{key.value}" in {what}; remove one of the two')
            self._nodes[key.value] = value

    def within(self, node: yaml.Node, what: str, known: tuple[str, ...]) -> "Fields":
        """The fields of a mapping inside of this one."""
        return Fields(self._file, node, what, known)

    def node(self, key: str) -> yaml.Node | None:
        return self._nodes.get(key)

    def value(self, key: str) -> Value | None:
        node = self.node(key)
        if node is None:
            return None
        place = Place(self._file, node.start_mark.line + 1)
        if not isinstance(node, yaml.ScalarNode) or not node.value:
            raise place.error(f'"{key}" of {self._what} must be a single value')
        return Value(node.value, place)

    def required(self, key: str) -> Value:
        found = self.value(key)
        if found is None:
            raise self.at.error(f'{self._what} lacks "{key}"; add it')
        return found

    def parse[T](self, key: str, parser: Callable[[str], T], wanted: str, default: T) -> T:
        found = self.value(key)
        return default if found is None else found.parse(parser, wanted)

    def items(self, key: str) -> Iterator[yaml.Node]:
        node = self.node(key)
        if node is None:
            raise self.at.error(f'{self._what} lacks "{key}"; add a list')
        if not isinstance(node, yaml.SequenceNode) or not node.value:
            raise Place(self._file, node.start_mark.line + 1).error(
                f'"{key}" must be a list that is not empty'
            )
        yield from node.value


def size(text: str) -> int:
    """Mebibytes of "512MiB" or "1GiB"."""
    match = SIZE.fullmatch(text)
    if not match:
        raise ValueError(text)
    return int(match[1]) * UNITS[match[2]]


def life(text: str) -> timedelta:
    """How long certificates last: "365d", "12h", "3m". Raises ValueError."""
    match = LIFE.fullmatch(text)
    found = int(match[1]) * LIFE_UNITS[match[2]] if match else timedelta()
    if found < LEAST_LIFE:
        raise ValueError(text)
    return found


def positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


def yes_or_no(text: str) -> bool:
    return one_of("true", "false")(text) == "true"


def one_of(*choices: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in choices:
            raise ValueError(text)
        return text

    return parse


def matching(pattern: re.Pattern[str]) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if not pattern.fullmatch(text):
            raise ValueError(text)
        return text

    return parse
