"""Which of the node's ids the users of a pod have, when it has users of its own (hostUsers: false, KEP-127).

What holds: no id belongs to two pods, nor to a pod and the node; what a pod has is in a file in its directory, in upstream's
format, before its sandbox is made, and is free again when that directory goes. A kubelet that starts again reads it there.
"""

import asyncio
import json
import logging
import pwd
import shutil
import subprocess
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kybern._proto import cri_pb2 as pb
from kybern.daemon.files import replace_file
from kybern.kubelet.convert import Abilities

log = logging.getLogger(__name__)

UNIT = 65536
FILE = "userns"
# Whose ids of /etc/subuid are for pods, where the node has such a user.
_USER = "kubelet"
_PATIENCE = 10.0


class CannotMap(Exception):
    """A pod cannot have users of its own."""


@dataclass(frozen=True, slots=True)
class Ids:
    """Ids for pods: ``each`` for every one, in ranges from ``first`` on, ``all`` together."""

    first: int = UNIT
    all: int = UNIT * 110
    each: int = UNIT

    def ranges(self) -> Iterator[int]:
        """The first id of each range."""
        return iter(range(self.first, self.first + self.all, self.each))


def check(ids: Ids, pods: int) -> None:
    """Raises ValueError where a node of so many pods cannot use them; the texts are upstream's."""
    if ids.each <= 0 or ids.each % UNIT:
        raise ValueError(f"kubelet user namespace length {ids.each} is not a multiple of {UNIT}")
    if ids.first % ids.each:
        raise ValueError(f"kubelet user assigned ID {ids.first} is not a multiple of {ids.each}")
    if ids.first < ids.each:
        raise ValueError(f"kubelet user assigned ID {ids.first} must be greater or equal to {ids.each}")
    if ids.all % ids.each:
        raise ValueError(f"kubelet user assigned IDs length {ids.all} is not a multiple of {ids.each}")
    if ids.all // ids.each < pods:
        raise ValueError(f"kubelet user assigned IDs are not enough to support {pods} pods")


def of_user(uids: str, gids: str, each: int) -> Ids:
    """From what ``getsubids`` prints of a user's ids and groups: one range, the same for both. Raises ValueError."""
    if uids != gids:
        raise ValueError(f'mismatched subuids and subgids for user "{_USER}"')
    lines = [line.split() for line in uids.splitlines() if line.strip()]
    if len(lines) != 1 or len(lines[0]) != 4:
        raise ValueError(f'user "{_USER}" must have one range of subordinate ids, not {len(lines)}')
    _number, _name, first, length = lines[0]
    return Ids(int(first), int(length), each)


def own(each: int, pods: int) -> Ids:
    """Those of the user "kubelet" where there is one, or else all after the first range. Blocking; raises ValueError."""
    default = Ids(each, each * pods, each)
    try:
        pwd.getpwnam(_USER)
    except KeyError:
        return default
    program = shutil.which("getsubids")
    if program is None:
        log.info("pods get the default ids: there is no getsubids to ask for those of the user %s", _USER)
        return default
    return of_user(_asked(program, _USER), _asked(program, "-g", _USER), each)


def _asked(*command: str) -> str:
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=_PATIENCE).stdout
    except subprocess.CalledProcessError as problem:
        raise ValueError(f"{' '.join(command)}: {problem.stderr.strip()}") from problem
    except (OSError, subprocess.TimeoutExpired) as problem:
        raise ValueError(f"{' '.join(command)}: {problem}") from problem


def verify(abilities: Abilities, handler: str) -> None:
    """Raises CannotMap for a handler of the runtime that knows no user namespaces, or does not say so."""
    if any(one.name == handler and one.user_namespaces for one in abilities.handlers):
        return
    text = f'RuntimeClass handler "{handler}" does not' if handler else "runtime does not"
    raise CannotMap(f"can't set `spec.hostUsers: false`, {text} support user namespaces")


def first_of(content: str, ids: Ids) -> int:
    """The first id of the range that a file tells; raises CannotMap for one that is not the node's."""
    try:
        told = json.loads(content)
        (uid,), (gid,) = told["uidMappings"], told["gidMappings"]
        first, inside, length = (int(uid[name]) for name in ("hostId", "containerId", "length"))
    except (ValueError, KeyError, TypeError) as problem:
        raise CannotMap(f"user namespace: invalid user namespace mappings file: {problem}") from problem
    if uid != gid or inside != 0:
        text = "GID and UID mapping should be identical, and map 0"
        raise CannotMap(f"user namespace: invalid user namespace configuration: {text}")
    if length != ids.each or first % ids.each or first not in range(ids.first, ids.first + ids.all):
        text = f"ids {first} to {first + length - 1} are none of those that are for pods"
        raise CannotMap(f"user namespace: {text}: drain the node, or give it back its ids")
    return first


def free(ids: Ids, taken: Collection[int]) -> int:
    """The first id of a range that nobody has; raises CannotMap when all are given away."""
    for first in ids.ranges():
        if first not in taken:
            return first
    raise CannotMap("create user namespace: could not find an empty slot to allocate a user namespace")


def content_of(first: int, ids: Ids) -> str:
    """What the file of a pod says."""
    mapping = [{"hostId": first, "containerId": 0, "length": ids.each}]
    return json.dumps({"uidMappings": mapping, "gidMappings": mapping}, separators=(",", ":"))


def on_node() -> Any:
    """CRI's UserNamespace of a pod whose users are the node's."""
    return pb.UserNamespace(mode=pb.NODE)


def message(first: int, ids: Ids) -> Any:
    """CRI's UserNamespace of a pod."""
    mapping = [pb.IDMapping(host_id=first, container_id=0, length=ids.each)]
    return pb.UserNamespace(mode=pb.POD, uids=mapping, gids=mapping)


class UserNamespaces:
    """Gives ranges to pods. ``pods`` is the directory of all pods' directories."""

    def __init__(self, pods: Path, ids: Ids) -> None:
        self._pods = pods
        self._ids = ids
        self._turn = asyncio.Lock()

    async def of(self, uid: str) -> Any:
        """CRI's UserNamespace of a pod, which has its range from now on. Raises CannotMap or OSError."""
        async with self._turn:
            return message(await asyncio.to_thread(self._given, uid), self._ids)

    def _given(self, uid: str) -> int:
        file = self._pods / uid / FILE
        if file.exists():
            return first_of(file.read_text(), self._ids)
        first = free(self._ids, frozenset(self._taken()))
        file.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        replace_file(file, content_of(first, self._ids).encode())
        return first

    def _taken(self) -> Iterator[int]:
        for file in self._pods.glob(f"*/{FILE}"):
            yield first_of(file.read_text(), self._ids)
