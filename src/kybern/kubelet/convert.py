"""From CRI's messages to the frozen facts of ``runtime.py``."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from kybern._proto import cri_pb2 as pb
from kybern.kubelet import labels
from kybern.kubelet.message import termination_message
from kybern.kubelet.runtime import Instance, RunState

_STATES = {
    pb.CONTAINER_CREATED: RunState.CREATED,
    pb.CONTAINER_RUNNING: RunState.RUNNING,
    pb.CONTAINER_EXITED: RunState.EXITED,
    pb.CONTAINER_UNKNOWN: RunState.UNKNOWN,
}


@dataclass(frozen=True, slots=True)
class Image:
    """One image on the machine."""

    id: str
    tags: tuple[str, ...]
    digests: tuple[str, ...]
    size: int
    pinned: bool
    uid: int | None = None
    username: str = ""


@dataclass(frozen=True, slots=True)
class Handler:
    """One way in which the runtime runs pods (RuntimeClass), and what it can; the empty name is the usual one."""

    name: str = ""
    recursive_read_only: bool | None = None
    user_namespaces: bool | None = None


@dataclass(frozen=True, slots=True)
class Abilities:
    """``strict_groups``: whether it can leave out the groups of an image; None for a runtime that does not say."""

    handlers: tuple[Handler, ...] = (Handler(),)
    strict_groups: bool | None = None

    def recursive_read_only(self, handler: str) -> bool:
        """Whether pods of a handler can have mounts below which nothing at all can be written."""
        return any(one.name == handler and one.recursive_read_only for one in self.handlers)


def abilities_of(answer: Any) -> Abilities:
    """Of a CRI StatusResponse; runtimes before CRI 1.30 say nothing of their handlers."""
    handlers = tuple(
        Handler(found.name, found.features.recursive_read_only_mounts, found.features.user_namespaces)
        for found in answer.runtime_handlers
    )
    strict = answer.features.supplemental_groups_policy if answer.HasField("features") else None
    return Abilities(handlers or (Handler(),), strict)


def moment(nanoseconds: int) -> datetime | None:
    """A time of the runtime; 0 is none."""
    return datetime.fromtimestamp(nanoseconds / 1e9, UTC).replace(microsecond=0) if nanoseconds > 0 else None


def exact(nanoseconds: int) -> datetime:
    """The same with its fraction, for ordering."""
    return datetime.fromtimestamp(nanoseconds / 1e9, UTC)


def image_of(found: Any) -> Image:
    uid = found.uid.value if found.HasField("uid") else None
    return Image(
        found.id,
        tuple(found.repo_tags),
        tuple(found.repo_digests),
        found.size,
        found.pinned,
        uid,
        found.username,
    )


def state_of(state: Any) -> RunState:
    """Of CRI's number."""
    return _STATES.get(state, RunState.UNKNOWN)


def instance_of(status: Any, sandbox: str) -> Instance:
    notes = dict(status.annotations)
    state = state_of(status.state)
    user = None
    if status.HasField("user") and status.user.HasField("linux"):
        linux = status.user.linux
        user = (linux.uid, linux.gid, tuple(linux.supplemental_groups))
    return Instance(
        id=status.id,
        name=status.metadata.name,
        sandbox=sandbox,
        state=state,
        created_at=exact(status.created_at),
        attempt=labels.number(notes, labels.RESTART_COUNT, status.metadata.attempt),
        spec_hash=notes.get(labels.HASH, ""),
        started_at=moment(status.started_at),
        finished_at=moment(status.finished_at),
        exit_code=status.exit_code,
        reason=status.reason,
        message=termination_message(status, notes) if state is RunState.EXITED else status.message,
        image=status.image.image,
        image_id=status.image_id if "@" in status.image_id else status.image_ref,
        log_path=status.log_path,
        user=user,
        annotations=notes,
        round=labels.number(notes, labels.ROUND),
        deep=frozenset(mount.container_path for mount in status.mounts if mount.recursive_read_only),
    )
