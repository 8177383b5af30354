"""What a check finds, and the words that checks share."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from kybern.machinery.kind import Raw


@dataclass(frozen=True, slots=True)
class Violation:
    """``reason`` is short, ``detail`` names containers and values; both are upstream's words."""

    reason: str
    detail: str

    def __str__(self) -> str:
        return f"{self.reason} ({self.detail})" if self.detail else self.reason


@dataclass(frozen=True, slots=True)
class Pod:
    """The parts of a pod, or of a pod template, that checks look at."""

    metadata: Raw
    spec: Raw
    version: int

    @property
    def security(self) -> Raw:
        return self.spec.get("securityContext") or {}

    @property
    def containers(self) -> Iterator[Any]:
        for field in ("initContainers", "containers", "ephemeralContainers"):
            yield from self.spec.get(field) or ()

    def named(self, bad: Callable[[Any], object]) -> list[str]:
        """Names of the containers for which ``bad`` is true."""
        return [container["name"] for container in self.containers if bad(container)]

    @property
    def on_windows(self) -> bool:
        return (self.spec.get("os") or {}).get("name") == "windows"

    @property
    def in_user_namespace(self) -> bool:
        """Root inside is nobody outside. The standards count on it since 1.35."""
        return self.version >= 35 and self.spec.get("hostUsers") is False


type Check = Callable[[Pod], Violation | None]


def security_of(container: Any) -> Raw:
    found: Raw = container.get("securityContext") or {}
    return found


def quoted(words: Iterable[str]) -> str:
    return ", ".join(f'"{word}"' for word in words)


def some(word: str, names: list[str]) -> str:
    """``container "a"`` or ``containers "a", "b"``."""
    return f"{word}{'' if len(names) == 1 else 's'} {quoted(names)}"


def setters(pod: object, names: list[str]) -> str:
    """``pod``, ``container "a"``, or both joined by "and"."""
    parts = (["pod"] if pod else []) + ([some("container", names)] if names else [])
    return " and ".join(parts)
