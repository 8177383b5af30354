"""Ethernet frames that say where an address is: ARP (RFC 826) and neighbour discovery (RFC 4861). Pure.

A question is answered to who asked; an announcement goes to all, and makes them forget who had the address before.
"""

import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from kybern.machinery.pools import Address

ARP, IPV6 = 0x0806, 0x86DD
_ARP = struct.Struct("!HHBBH6s4s6s4s")
_ETHERNET = struct.Struct("!6s6sH")
_EVERYBODY = b"\xff" * 6
_REQUEST, _REPLY = 1, 2
_ICMPV6 = 58
_SOLICITATION, _ADVERTISEMENT = 135, 136
_HOP_LIMIT = 255  # one that has crossed a router has less, and is refused
_SOLICITED, _OVERRIDE = 0x40000000, 0x20000000
_ALL_NODES = IPv6Address("ff02::1")
_UNSPECIFIED = IPv6Address(0)


@dataclass(frozen=True, slots=True)
class Question:
    """Who has ``address``? ``asker`` and ``hardware`` are where the answer goes."""

    address: Address
    asker: Address
    hardware: bytes


def group_of(address: IPv6Address) -> IPv6Address:
    """The multicast group that is asked about an address."""
    return IPv6Address(int(IPv6Address("ff02::1:ff00:0")) | int(address) & 0xFFFFFF)


def question(frame: bytes) -> Question | None:
    """What a frame asks; None for one that asks nothing, or that is not whole."""
    if len(frame) < _ETHERNET.size:
        return None
    _, source, kind = _ETHERNET.unpack_from(frame)
    body = frame[_ETHERNET.size :]
    if kind == ARP:
        return _arp_question(body)
    return _solicitation(source, body) if kind == IPV6 else None


def _arp_question(body: bytes) -> Question | None:
    if len(body) < _ARP.size:
        return None
    hardware, protocol, hlen, plen, operation, sender, sender_ip, _, target_ip = _ARP.unpack_from(body)
    # An announcement of somebody's own address is no question.
    if (hardware, protocol, hlen, plen, operation) != (1, 0x0800, 6, 4, _REQUEST) or sender_ip == target_ip:
        return None
    return Question(IPv4Address(target_ip), IPv4Address(sender_ip), sender)


def _solicitation(source: bytes, body: bytes) -> Question | None:
    # 40 bytes of IPv6, then type, code, checksum, 4 reserved, target.
    if len(body) < 64 or body[6] != _ICMPV6 or body[7] != _HOP_LIMIT or body[40] != _SOLICITATION:
        return None
    target, asker = IPv6Address(body[48:64]), IPv6Address(body[8:24])
    return Question(target, asker, source)


def answer(asked: Question, hardware: bytes) -> bytes:
    """The frame that tells who asked that ``hardware`` has the address."""
    if isinstance(asked.address, IPv4Address):
        body = _ARP.pack(
            1, 0x0800, 6, 4, _REPLY, hardware, asked.address.packed, asked.hardware, asked.asker.packed
        )
        return _ETHERNET.pack(asked.hardware, hardware, ARP) + body
    if asked.asker == _UNSPECIFIED:
        # Somebody looks whether the address is free: all are told that it is not.
        return announcements(asked.address, hardware)[0]
    assert isinstance(asked.asker, IPv6Address), "who asks about IPv6 has it"
    flags = _SOLICITED | _OVERRIDE
    return _advertisement(asked.address, asked.asker, (asked.hardware, hardware), flags)


def announcements(address: Address, hardware: bytes) -> tuple[bytes, ...]:
    """Frames to all. ARP in both forms: some systems take only the one, some only the other."""
    if isinstance(address, IPv6Address):
        target = b"\x33\x33" + _ALL_NODES.packed[-4:]
        return (_advertisement(address, _ALL_NODES, (target, hardware), _OVERRIDE),)
    head = _ETHERNET.pack(_EVERYBODY, hardware, ARP)
    return tuple(
        head + _ARP.pack(1, 0x0800, 6, 4, operation, hardware, address.packed, target, address.packed)
        for operation, target in ((_REQUEST, bytes(6)), (_REPLY, _EVERYBODY))
    )


def _advertisement(address: IPv6Address, to: IPv6Address, ends: tuple[bytes, bytes], flags: int) -> bytes:
    """``ends`` are the hardware addresses of the receiver and of the sender."""
    target, hardware = ends
    message = struct.pack("!BBHI", _ADVERTISEMENT, 0, 0, flags) + address.packed + b"\x02\x01" + hardware
    checksum = _checksum(address.packed + to.packed + struct.pack("!II", len(message), _ICMPV6) + message)
    message = message[:2] + struct.pack("!H", checksum) + message[4:]
    head = struct.pack("!IHBB", 6 << 28, len(message), _ICMPV6, _HOP_LIMIT) + address.packed + to.packed
    return _ETHERNET.pack(target, hardware, IPV6) + head + message


def _checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071) of an even number of bytes."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
