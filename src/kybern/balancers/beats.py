"""Who is alive, told by datagrams between the speakers. Pure: time and bytes come in from outside.

A beat is the sender's name and a number that grows, with a keyed hash over both. Only who has the key can make one; and
one that was recorded is worth nothing, since its number has been seen. A speaker that starts anew goes on from the clock,
so that its numbers are higher than before.

There are two sorts: of nodes that lead packets to pods, and of those that may not (``kybern.balancers.serving``).
The second has a name that speakers of before do not know, and take for noise: to them such a node was silent.
"""

import hmac
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

PERIOD = 0.5  # seconds between two beats
DEAD = 2.5  # seconds after which a node that was not heard is taken for dead; with takeover well below 5
_LEADS, _WAITS = b"kybern-beat-1\0", b"kybern-wait-1\0"
_MAGIC = len(_LEADS)
_HASH = 32
_LONGEST = 512


class Beat(NamedTuple):
    """``leads``: whether packets that the sender took would find pods."""

    node: str
    number: int
    leads: bool = True


def pack(beat: Beat, key: bytes) -> bytes:
    body = (_LEADS if beat.leads else _WAITS) + struct.pack("!Q", beat.number) + beat.node.encode()
    return body + hmac.digest(key, body, "sha256")


def unpack(datagram: bytes, key: bytes) -> Beat | None:
    """A beat that was made with the key; None for anything else."""
    body, told = datagram[:-_HASH], datagram[-_HASH:]
    sort = body[:_MAGIC]
    if len(datagram) > _LONGEST or sort not in {_LEADS, _WAITS} or len(body) < _MAGIC + 8:
        return None
    if not hmac.compare_digest(hmac.digest(key, body, "sha256"), told):
        return None
    (number,) = struct.unpack_from("!Q", body, _MAGIC)
    try:
        return Beat(body[_MAGIC + 8 :].decode(), number, sort == _LEADS)
    except UnicodeDecodeError:
        return None


@dataclass(slots=True)
class Heard:
    """When each node was heard last, by our own clock. ``began``: when listening did."""

    node: str
    began: float
    _last: dict[str, tuple[Beat, float]] = field(default_factory=dict)

    def hear(self, beat: Beat, now: float) -> bool:
        """Whether this was news; a number that is not higher than the last one is not."""
        old = self._last.get(beat.node)
        if beat.node == self.node or (old and beat.number <= old[0].number):
            return False
        self._last[beat.node] = (beat, now)
        return True

    def alive(self, now: float) -> frozenset[str]:
        """This node, and those that were heard of late."""
        return frozenset({self.node, *(beat.node for beat in self._lately(now))})

    def leading(self, now: float) -> frozenset[str]:
        """Of the other nodes that were heard of late, those that lead to pods."""
        return frozenset(beat.node for beat in self._lately(now) if beat.leads)

    def _lately(self, now: float) -> Iterable[Beat]:
        return (beat for beat, at in self._last.values() if now - at <= DEAD)

    def is_settled(self, now: float) -> bool:
        """Whether everybody alive had time to be heard: before, a speaker would think that it is alone."""
        return now - self.began >= 3 * PERIOD

    def keep(self, nodes: Iterable[str]) -> None:
        """Forget nodes that the cluster does not have any more."""
        known = set(nodes)
        for gone in [node for node in self._last if node not in known]:
            del self._last[gone]
