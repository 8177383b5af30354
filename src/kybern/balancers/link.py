"""The link that addresses are announced on: raw frames in and out, and the groups that are asked about IPv6.

Answers are sent by this process and not by the kernel, so no interface bears the addresses: nothing is left of them when
the process dies, no connection of this machine begins from one, and it is the same for every backend of kube-proxy. The
ipvs backend has them on a link of its own on every node, and needs ``strictARP`` so that the kernel keeps silent.
"""

import ctypes
import fcntl
import logging
import socket
import struct
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

from kybern.balancers import frames
from kybern.machinery.pools import Address

log = logging.getLogger(__name__)

_GET_ADDRESS, _GET_HARDWARE = 0x8915, 0x8927  # SIOCGIFADDR, SIOCGIFHWADDR
_ATTACH_FILTER = 26  # SO_ATTACH_FILTER
_SIX = Path("/proc/net/if_inet6")
_AT_ONCE = 64
# Only neighbour solicitations wake us: IPv6 whose next header is ICMPv6 (58) and whose type is 135.
_SOLICITATIONS = (
    (0x30, 0, 0, 20),  # load byte 20
    (0x15, 0, 3, 58),
    (0x30, 0, 0, 54),  # load byte 54
    (0x15, 0, 1, 135),
    (0x06, 0, 0, 0x40000),  # take it
    (0x06, 0, 0, 0),  # leave it
)


def interface_of(address: Address) -> str:
    """The interface that has an address; "" when there is none."""
    return _interface_of_six(address) if isinstance(address, IPv6Address) else _interface_of_four(address)


def _interface_of_six(address: IPv6Address) -> str:
    """Lines of the kernel's table: the address in hexadecimal first, and the interface last."""
    try:
        shown = _SIX.read_text()
    except FileNotFoundError:
        return ""  # a kernel without IPv6
    rows = (line.split() for line in shown.splitlines())
    return next((row[-1] for row in rows if row[0] == address.packed.hex()), "")


def _interface_of_four(address: IPv4Address) -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        for _, name in socket.if_nameindex():
            try:
                answer = fcntl.ioctl(asked, _GET_ADDRESS, name.encode().ljust(40, b"\0"))
            except OSError:
                continue  # it has none
            if IPv4Address(answer[20:24]) == address:
                return name
    return ""


class Link:
    """Open sockets on one interface; needs CAP_NET_RAW."""

    def __init__(self, interface: str) -> None:
        self.interface = interface
        self._index = socket.if_nametoindex(interface)
        self._groups: dict[IPv6Address, int] = {}
        self._member = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) if socket.has_ipv6 else None
        self.sockets = (_raw(interface, frames.ARP), _raw(interface, frames.IPV6, _SOLICITATIONS))

    def close(self) -> None:
        for one in (*self.sockets, self._member):
            if one is not None:
                one.close()

    @property
    def hardware(self) -> bytes:
        """The interface's own address, as it is now."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
            answer = fcntl.ioctl(asked, _GET_HARDWARE, self.interface.encode().ljust(40, b"\0"))
        return answer[18:24]

    def questions(self, of: socket.socket) -> Iterator[frames.Question]:
        """What is asked on a socket that can be read."""
        for _ in range(_AT_ONCE):
            try:
                frame, (_, _, packet_type, *_) = of.recvfrom(2048)
            except BlockingIOError:
                return
            except OSError as problem:  # the interface is down for now
                log.debug("cannot read from %s: %s", self.interface, problem)
                return
            if packet_type != socket.PACKET_OUTGOING and (found := frames.question(frame)):
                yield found

    def send(self, told: Iterable[bytes]) -> None:
        """Frames are sent once; one that is lost is asked for, or announced, again."""
        for frame in told:
            try:
                self.sockets[0].send(frame)
            except OSError as problem:
                log.warning("cannot send on %s: %s", self.interface, problem)

    def listen(self, addresses: Iterable[Address]) -> None:
        """Be a member of the groups that are asked about these addresses: switches pass their frames on then."""
        wanted = {frames.group_of(one) for one in addresses if isinstance(one, IPv6Address)}
        for group in wanted - self._groups.keys():
            self._join(group, socket.IPV6_JOIN_GROUP)
            self._groups[group] = 1
        for group in self._groups.keys() - wanted:
            self._join(group, socket.IPV6_LEAVE_GROUP)
            del self._groups[group]

    def _join(self, group: IPv6Address, option: int) -> None:
        if self._member is None:
            return
        try:
            self._member.setsockopt(
                socket.IPPROTO_IPV6, option, group.packed + struct.pack("@I", self._index)
            )
        except OSError as problem:
            log.warning("cannot listen to %s on %s: %s", group, self.interface, problem)


def _raw(interface: str, kind: int, program: tuple[tuple[int, int, int, int], ...] = ()) -> socket.socket:
    # Without a protocol it hears nothing until it is bound, when the filter is in place.
    made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
    try:
        if program:
            code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *one) for one in program))
            made.setsockopt(
                socket.SOL_SOCKET, _ATTACH_FILTER, struct.pack("HL", len(program), ctypes.addressof(code))
            )
        made.bind((interface, kind))
    except OSError:
        made.close()
        raise
    return made
