"""The kernel's named counters of packets (nfnetlink_acct), which a rule counts into by ``-m nfacct --nfacct-name NAME``.

They are the network namespace's: a counter stays when the rule that counts into it is written anew, and when the daemon
ends. The kernel knows them by names of at most 31 characters (linux/netfilter/nfnetlink_acct.h).
"""

import errno
import os
import socket
import struct

_NETFILTER = 12  # the family of netlink sockets (linux/netlink.h)
_SUBSYSTEM = 7 << 8  # NFNL_SUBSYS_ACCT
_NEW, _GET, _DELETE = 0, 1, 3
_REQUEST, _ACKNOWLEDGE, _CREATE = 0x1, 0x4, 0x400
_ERROR = 2  # NLMSG_ERROR, which is also how the kernel says yes
_HEADER = struct.Struct("=IHHII")  # length, kind, flags, sequence, port
_NFGEN = struct.Struct("=BBH")  # family, version, resource
_ATTRIBUTE = struct.Struct("=HH")  # length, kind
_NAME, _PACKETS = 1, 2  # NFACCT_NAME, NFACCT_PKTS
_TIMEOUT = 5.0  # seconds; the kernel answers at once


def ensure(name: str) -> None:
    """Have a counter of this name; one that is there keeps its count. Raises OSError where the kernel has none of them."""
    try:
        _ask(_NEW, _ACKNOWLEDGE | _CREATE, name)
    except FileExistsError:
        return
    except OSError as problem:
        if problem.errno != errno.EBUSY:  # how the kernel says that it is there
            raise


def packets(name: str) -> int:
    """How many were counted. Raises OSError, FileNotFoundError where there is no such counter."""
    return read(_ask(_GET, 0, name))


def remove(name: str) -> None:
    """Take a counter away. Raises OSError where a rule still counts into it; none of that name is no error."""
    try:
        _ask(_DELETE, _ACKNOWLEDGE, name)
    except FileNotFoundError:
        return


def read(answer: bytes) -> int:
    """The packets in the attributes of the kernel's answer. Pure."""
    at = 0
    while at + _ATTRIBUTE.size <= len(answer):
        size, kind = _ATTRIBUTE.unpack_from(answer, at)
        if kind == _PACKETS:
            (found,) = struct.unpack_from(">Q", answer, at + _ATTRIBUTE.size)
            return int(found)
        at += max(size + 3 & ~3, _ATTRIBUTE.size)
    raise OSError("cannot read a counter of packets: the kernel's answer has none")


def _ask(kind: int, flags: int, name: str) -> bytes:
    """The attributes that the kernel answers with."""
    text = name.encode() + b"\0"
    told = _ATTRIBUTE.pack(_ATTRIBUTE.size + len(text), _NAME) + text + bytes(-len(text) % 4)
    length = _HEADER.size + _NFGEN.size + len(told)
    message = _HEADER.pack(length, _SUBSYSTEM | kind, _REQUEST | flags, 1, 0) + _NFGEN.pack(0, 0, 0) + told
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETFILTER) as kernel:
        kernel.settimeout(_TIMEOUT)
        kernel.sendto(message, (0, 0))
        answer = kernel.recv(4096)
    _, what, _, _, _ = _HEADER.unpack_from(answer)
    if what == _ERROR:
        (code,) = struct.unpack_from("=i", answer, _HEADER.size)
        if code:
            raise OSError(-code, os.strerror(-code))
        return b""
    return answer[_HEADER.size + _NFGEN.size :]
