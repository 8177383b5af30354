"""How often the rules of this network namespace were changed, by anybody: the kernel's generation of nftables.

It is one message to ask for it, where reading the rules may take ``nft`` a second: it reads all elements of all maps with
them. While the number stays, nothing of ours can have been lost.

Our own writes count, too, one for each batch that a program sends: a run of ``nft -f``, or a table (a ``COMMIT``) of
iptables-restore. So ``Seen`` tells them from those of others without a look at the rules.
"""

import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from kybern.netfilter.programs import CannotApply

_NETFILTER = 12  # the family of netlink sockets (linux/netlink.h)
_GET = 10 << 8 | 16  # subsystem nftables, its message NFT_MSG_GETGEN (linux/netfilter/nf_tables.h)
_REQUEST = 1
_HEADER = struct.Struct("=IHHII")  # length, kind, flags, sequence, port
_NFGEN = struct.Struct("=BBH")  # family, version, resource
_ATTRIBUTE = struct.Struct("=HH")  # length, kind
_ID = 1  # NFTA_GEN_ID
_TIMEOUT = 5.0  # seconds; the kernel answers at once


def generation() -> int:
    """Raises CannotApply where it cannot be asked for."""
    try:
        return read(_asked())
    except OSError as problem:
        raise CannotApply(f"cannot ask the kernel how often its rules were changed: {problem}") from problem


@dataclass(slots=True)
class Writes:
    """Transactions of ours so far, each of which changed something."""

    count: int = 0


@dataclass(slots=True)
class Seen:
    """The generation of the kernel in which all of ours was last known to be there; None for none so far.

    It goes on with a write of ours only where nobody else wrote from before it until after it: otherwise it stays, so that
    the next look is at the rules themselves. Whoever looks takes note of the generation before the look.
    """

    ask: Callable[[], int] = generation
    last: int | None = None

    @contextmanager
    def writing(self, *, whole: bool) -> Iterator[Writes]:
        """Around a write, which counts its transactions. A ``whole`` one needs nothing to have been there before."""
        before, writes = self.ask(), Writes()
        yield writes
        if (whole or before == self.last) and self.ask() == before + writes.count:
            self.last = before + writes.count


def _asked() -> bytes:
    length = _HEADER.size + _NFGEN.size
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETFILTER) as kernel:
        kernel.settimeout(_TIMEOUT)
        kernel.sendto(_HEADER.pack(length, _GET, _REQUEST, 1, 0) + _NFGEN.pack(0, 0, 0), (0, 0))
        return kernel.recv(4096)


def read(answer: bytes) -> int:
    """The number in the kernel's answer. Pure."""
    at = _HEADER.size + _NFGEN.size
    while at + _ATTRIBUTE.size <= len(answer):
        size, kind = _ATTRIBUTE.unpack_from(answer, at)
        if kind == _ID:
            (found,) = struct.unpack_from(">I", answer, at + _ATTRIBUTE.size)
            return int(found)
        at += max(size + 3 & ~3, _ATTRIBUTE.size)
    raise OSError("cannot read the generation of nftables: the kernel's answer has none")
