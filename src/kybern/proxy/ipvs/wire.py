"""Messages to and from the kernel's table of virtual servers: generic netlink, family "IPVS" (linux/ip_vs.h). Pure.

Written here because a first write is tens of thousands of messages: made by a library that describes every attribute, they
would take a minute. Numbers are the machine's order, but ports, which are the network's.
"""

import struct
import sys
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import NamedTuple

from kybern.proxy.families import version_of
from kybern.proxy.ipvs.servers import HASHED, Change, Found, Held, Real, Server, Terms

_HEADER = struct.Struct("=IHHII")  # length, kind, flags, sequence, port
_COMMAND = struct.Struct("=BBH")  # command, version, reserved
_ATTRIBUTE = struct.Struct("=HH")  # length, kind
_NESTED, _KIND = 0x8000, 0x3FFF
_REQUEST, _ACK, _DUMP = 0x1, 0x4, 0x300
_ERROR, _DONE = 2, 3
CONTROL, _GET_FAMILY, _FAMILY_NAME, _FAMILY_ID = 0x10, 3, 2, 1  # the family that tells the others' numbers
FAMILY = b"IPVS\0"
_GET_SERVICE, _GET_DEST, _SET_CONFIG = 4, 8, 12
_SERVICE, _DEST = 1, 2  # attributes of a message; then the time-outs
_TCP, _TCP_FIN, _UDP = 4, 5, 6
_AF, _PROTOCOL, _ADDRESS, _PORT, _FWMARK, _SCHEDULER, _FLAGS, _TIMEOUT, _NETMASK = range(1, 10)  # of a server
_R_ADDRESS, _R_PORT, _R_METHOD, _R_WEIGHT, _R_UPPER, _R_LOWER, _R_ACTIVE, _R_INACTIVE = range(
    1, 9
)  # of a real server
_R_FAMILY = 11
_FOUR, _SIX = 2, 10  # AF_INET, AF_INET6
_MASQUERADE = 0  # IP_VS_CONN_F_MASQ: real servers see another destination
_ALL_FLAGS = 0xFFFFFFFF
_WHOLE = {4: 0xFFFFFFFF, 6: 128}  # a client is one address: a mask, and the length of a prefix
PROTOCOLS = {"TCP": 6, "UDP": 17, "SCTP": 132}
_NAMES = {number: name for name, number in PROTOCOLS.items()}


class Answer(NamedTuple):
    """``error`` is an errno, 0 for success; ``is_last`` that no more comes for this sequence number."""

    sequence: int
    is_last: bool
    error: int
    body: bytes


def family_question(sequence: int) -> bytes:
    body = _COMMAND.pack(_GET_FAMILY, 1, 0) + _attribute(_FAMILY_NAME, FAMILY)
    return _message(CONTROL, _REQUEST, sequence, body)


def family_number(body: bytes) -> int:
    """Raises KeyError where the answer has none."""
    return int.from_bytes(_attributes(body[_COMMAND.size :])[_FAMILY_ID], sys.byteorder)


def change(family: int, sequence: int, one: Change) -> bytes:
    """The message of a change; the kernel acknowledges it."""
    parts = _COMMAND.pack(one.command, 1, 0) + _attribute(_SERVICE | _NESTED, _server(one.server, one.terms))
    if one.real is not None:
        parts += _attribute(_DEST | _NESTED, _real(one.real, one.weight))
    return _message(family, _REQUEST | _ACK, sequence, parts)


def servers_question(family: int, sequence: int) -> bytes:
    return _message(family, _REQUEST | _DUMP, sequence, _COMMAND.pack(_GET_SERVICE, 1, 0))


def reals_question(family: int, sequence: int, server: Server) -> bytes:
    body = _COMMAND.pack(_GET_DEST, 1, 0) + _attribute(_SERVICE | _NESTED, _server(server, None))
    return _message(family, _REQUEST | _DUMP, sequence, body)


def timeouts(family: int, sequence: int, tcp: int, tcp_fin: int, udp: int) -> bytes:
    """How long connections are kept, in seconds; 0 leaves one as it is."""
    body = _COMMAND.pack(_SET_CONFIG, 1, 0)
    for kind, seconds in ((_TCP, tcp), (_TCP_FIN, tcp_fin), (_UDP, udp)):
        body += _attribute(kind, struct.pack("=I", seconds))
    return _message(family, _REQUEST | _ACK, sequence, body)


def answers(data: bytes) -> Iterator[Answer]:
    """What one read from the socket holds."""
    at = 0
    while at + _HEADER.size <= len(data):
        length, kind, _, sequence, _ = _HEADER.unpack_from(data, at)
        body = data[at + _HEADER.size : at + length]
        if kind == _ERROR:
            yield Answer(sequence, True, -struct.unpack_from("=i", body)[0], b"")
        else:
            yield Answer(sequence, kind == _DONE, 0, b"" if kind == _DONE else body)
        at += max(length + 3 & ~3, _HEADER.size)


def server_in(body: bytes) -> tuple[Server, Found] | None:
    """A server that the kernel tells of, without its real ones; None for one of another kind, which is not ours."""
    held = _attributes(_attributes(body[_COMMAND.size :])[_SERVICE])
    protocol = _NAMES.get(int.from_bytes(held.get(_PROTOCOL, b""), sys.byteorder))
    if _FWMARK in held or protocol is None:
        return None
    flags = int.from_bytes(held[_FLAGS][:4], sys.byteorder) & ~HASHED
    scheduler = held[_SCHEDULER].rstrip(b"\0").decode()
    is_six = int.from_bytes(held[_AF], sys.byteorder) == _SIX
    server = Server(_address(held[_ADDRESS], is_six), protocol, int.from_bytes(held[_PORT], "big"))
    timeout = int.from_bytes(held[_TIMEOUT], sys.byteorder) if flags & 1 else 0
    return server, Found(Terms(scheduler, timeout), flags, {})


def real_in(body: bytes) -> tuple[Real, Held]:
    held = _attributes(_attributes(body[_COMMAND.size :])[_DEST])
    is_six = int.from_bytes(held[_R_FAMILY], sys.byteorder) == _SIX
    weight, active, inactive = (
        int.from_bytes(held[kind], sys.byteorder) for kind in (_R_WEIGHT, _R_ACTIVE, _R_INACTIVE)
    )
    real = Real(_address(held[_R_ADDRESS], is_six), int.from_bytes(held[_R_PORT], "big"))
    return real, Held(weight, active + inactive)


def _server(server: Server, terms: Terms | None) -> bytes:
    """What names a server; with terms, all of it."""
    version = version_of(server.ip)
    parts = [
        _attribute(_AF, struct.pack("=H", _SIX if version == 6 else _FOUR)),
        _attribute(_PROTOCOL, struct.pack("=H", PROTOCOLS[server.protocol])),
        _attribute(_ADDRESS, ip_address(server.ip).packed),
        _attribute(_PORT, struct.pack(">H", server.port)),
    ]
    if terms is not None:
        parts += [
            _attribute(_SCHEDULER, terms.scheduler.encode() + b"\0"),
            _attribute(_FLAGS, struct.pack("=II", terms.flags, _ALL_FLAGS)),
            _attribute(_TIMEOUT, struct.pack("=I", terms.timeout)),
            _attribute(_NETMASK, struct.pack("=I", _WHOLE[version])),
        ]
    return b"".join(parts)


def _real(real: Real, weight: int) -> bytes:
    family = _SIX if version_of(real.ip) == 6 else _FOUR
    numbers = ((_R_METHOD, _MASQUERADE), (_R_WEIGHT, weight), (_R_UPPER, 0), (_R_LOWER, 0))
    return b"".join(
        (
            _attribute(_R_ADDRESS, ip_address(real.ip).packed),
            _attribute(_R_PORT, struct.pack(">H", real.port)),
            *(_attribute(kind, struct.pack("=I", number)) for kind, number in numbers),
            _attribute(_R_FAMILY, struct.pack("=H", family)),
        )
    )


def _address(packed: bytes, is_six: bool) -> str:
    return str(IPv6Address(packed) if is_six else IPv4Address(packed[:4]))


def _attribute(kind: int, value: bytes) -> bytes:
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), kind) + value + bytes(-len(value) % 4)


def _attributes(data: bytes) -> dict[int, bytes]:
    found, at = {}, 0
    while at + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, at)
        found[kind & _KIND] = data[at + _ATTRIBUTE.size : at + length]
        at += max(length + 3 & ~3, _ATTRIBUTE.size)
    return found


def _message(kind: int, flags: int, sequence: int, body: bytes) -> bytes:
    return _HEADER.pack(_HEADER.size + len(body), kind, flags, sequence, 0) + body
