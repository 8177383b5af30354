"""What a container runtime has of a pod, as frozen facts: sandboxes and containers, newest first."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType

_EMPTY: Mapping[str, str] = MappingProxyType({})


class RunState(StrEnum):
    CREATED = "created"
    RUNNING = "running"
    EXITED = "exited"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Sandbox:
    """One attempt at the pod's own environment: its network and its cgroup."""

    id: str
    ready: bool
    created_at: datetime
    attempt: int = 0
    ips: tuple[str, ...] = ()
    host_network: bool = False


@dataclass(frozen=True, slots=True)
class Instance:
    """One run of a container. ``attempt`` counts restarts from 0; ``spec_hash`` is of the spec that it was made from."""

    id: str
    name: str
    sandbox: str
    state: RunState
    created_at: datetime
    attempt: int = 0
    spec_hash: str = ""
    started_at: datetime | None = None
    finished_at: datetime | None = None
    exit_code: int = 0
    reason: str = ""
    message: str = ""
    image: str = ""
    image_id: str = ""
    log_path: str = ""
    user: tuple[int, int, tuple[int, ...]] | None = None
    annotations: Mapping[str, str] = _EMPTY
    round: int = 0
    """How often all containers of the pod had begun anew before it."""
    deep: frozenset[str] = frozenset()
    """The paths below which nothing can be written, not even in what is mounted there."""

    @property
    def running(self) -> bool:
        return self.state is RunState.RUNNING


def newest_first[T: (Sandbox, Instance)](found: Iterable[T]) -> tuple[T, ...]:
    """By the attempt, which only grows; the clock that says when each was made may have been set back in between."""
    return tuple(sorted(found, key=lambda one: (one.attempt, one.created_at), reverse=True))


@dataclass(frozen=True, slots=True)
class Actual:
    """All that the runtime has under one pod uid."""

    uid: str
    name: str = ""
    namespace: str = ""
    sandboxes: tuple[Sandbox, ...] = ()
    instances: tuple[Instance, ...] = ()

    @property
    def sandbox(self) -> Sandbox | None:
        """The newest sandbox."""
        return self.sandboxes[0] if self.sandboxes else None

    @property
    def ready_sandbox(self) -> Sandbox | None:
        return self.sandbox if self.sandbox is not None and self.sandbox.ready else None

    def runs(self, name: str) -> tuple[Instance, ...]:
        """The runs of one container, newest first."""
        return tuple(instance for instance in self.instances if instance.name == name)

    def latest(self, name: str) -> Instance | None:
        return next((instance for instance in self.instances if instance.name == name), None)

    def here(self, name: str) -> Instance | None:
        """The latest run of a container, if it belongs to the newest sandbox."""
        found = self.latest(name)
        return found if found is not None and self.sandbox and found.sandbox == self.sandbox.id else None

    @property
    def alive(self) -> bool:
        """Whether anything is left to stop."""
        running = any(i.state in (RunState.RUNNING, RunState.UNKNOWN) for i in self.instances)
        return running or any(sandbox.ready for sandbox in self.sandboxes)
