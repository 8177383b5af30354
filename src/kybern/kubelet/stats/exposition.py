"""Metrics as text, for those that bear the time at which they were taken. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple


class Sample(NamedTuple):
    """One value. ``time`` in seconds since 1970; 0 leaves it to who reads."""

    labels: Mapping[str, str]
    value: float
    time: float = 0.0


class Family(NamedTuple):
    """All samples of one name; ``kind`` is counter or gauge."""

    name: str
    kind: str
    help: str
    samples: Iterable[Sample]


def text(families: Iterable[Family]) -> str:
    """The text format, version 0.0.4. A family without samples is left out, as upstream's registry does."""
    return "".join(line + "\n" for family in families for line in _lines(family))


def _lines(family: Family) -> Iterator[str]:
    samples = list(family.samples)
    if samples:
        yield f"# HELP {family.name} {family.help}"
        yield f"# TYPE {family.name} {family.kind}"
    for sample in samples:
        inside = ",".join(f'{name}="{_escaped(value)}"' for name, value in sorted(sample.labels.items()))
        labels = f"{{{inside}}}" if inside else ""
        when = f" {int(sample.time * 1000)}" if sample.time else ""
        yield f"{family.name}{labels} {_number(sample.value)}{when}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)
