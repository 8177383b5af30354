"""What a look at one thing comes to: preflight and the benchmark judge machines, each by levels of its own."""

from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class Outcome[Level: StrEnum]:
    """What was seen; ``why`` it is so, or what to do about it."""

    level: Level
    said: str
    why: str = ""
