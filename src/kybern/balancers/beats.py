"""Who is alive, told by datagrams between the speakers. Pure: time and bytes come in from outside.

A beat is the sender's name and a number that grows, with a keyed hash over both. Only who has the key can make one; and
one that was recorded is worth nothing, since its number has been seen. A speaker that starts anew goes on from the clock,
so that its numbers are higher than before.
"""

import hmac
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field

PERIOD = 0.5  # seconds between two beats
DEAD = 2.5  # seconds after which a node that was not heard is taken for dead; with takeover well below 5
_MAGIC = b"kybern-beat-1\0"
_HASH = 32
_LONGEST = 512


def pack(node: str, number: int, key: bytes) -> bytes:
    body = _MAGIC + struct.pack("!Q", number) + node.encode()
    return body + hmac.digest(key, body, "sha256")


def unpack(datagram: bytes, key: bytes) -> tuple[str, int] | None:
    """Name and number of a beat that was made with the key; None for anything else."""
    body, told = datagram[:-_HASH], datagram[-_HASH:]
    if len(datagram) > _LONGEST or not body.startswith(_MAGIC) or len(body) < len(_MAGIC) + 8:
        return None
    if not hmac.compare_digest(hmac.digest(key, body, "sha256"), told):
        return None
    (number,) = struct.unpack_from("!Q", body, len(_MAGIC))
    try:
        return body[len(_MAGIC) + 8 :].decode(), number
    except UnicodeDecodeError:
        return None


@dataclass(slots=True)
class Heard:
    """When each node was heard last, by our own clock. ``began``: when listening did."""

    node: str
    began: float
    _last: dict[str, tuple[int, float]] = field(default_factory=dict)

    def hear(self, node: str, number: int, now: float) -> bool:
        """Whether this was news; a number that is not higher than the last one is not."""
        if node == self.node or number <= self._last.get(node, (-1, 0.0))[0]:
            return False
        self._last[node] = (number, now)
        return True

    def alive(self, now: float) -> frozenset[str]:
        """This node, and those that were heard of late."""
        return frozenset({self.node, *(node for node, (_, at) in self._last.items() if now - at <= DEAD)})

    def is_settled(self, now: float) -> bool:
        """Whether everybody alive had time to be heard: before, a speaker would think that it is alone."""
        return now - self.began >= 3 * PERIOD

    def keep(self, nodes: Iterable[str]) -> None:
        """Forget nodes that the cluster does not have any more."""
        known = set(nodes)
        for gone in [node for node in self._last if node not in known]:
            del self._last[gone]
