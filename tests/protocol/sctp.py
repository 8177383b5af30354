"""As much of SCTP as tells whether somebody answers, by raw packets: kernels without SCTP still know its connections.

``serve ADDRESS PORT`` answers each INIT with an INIT ACK, whose cookie says who answers and whom it saw.
``ask ADDRESS PORT`` sends an INIT and prints that cookie, or nothing. Chunks and checksum are those of RFC 9260.
"""

import secrets
import socket
import struct
import sys

_HEADER = struct.Struct(
    "!HHI"
)  # ports of source and destination, verification tag; the checksum stands behind
_INIT = struct.Struct("!BBHIIHHI")  # kind, flags, length, tag, window, streams out and in, first number
INIT, INIT_ACK, COOKIE = 1, 2, 7
PATIENCE = 1.5  # seconds


def checksum(data: bytes) -> bytes:
    """CRC32c, its lowest byte first."""
    found = 0xFFFFFFFF
    for byte in data:
        found ^= byte
        for _ in range(8):
            found = found >> 1 ^ (0x82F63B78 if found & 1 else 0)
    return struct.pack("<I", found ^ 0xFFFFFFFF)


def packet(source: int, destination: int, tag: int, chunk: bytes) -> bytes:
    header = _HEADER.pack(source, destination, tag)
    return header + checksum(header + bytes(4) + chunk) + chunk


def init(kind: int, tag: int, cookie: bytes = b"") -> bytes:
    parameter = struct.pack("!HH", COOKIE, 4 + len(cookie)) + cookie if cookie else b""
    padding = bytes(-len(parameter) % 4)
    length = _INIT.size + len(parameter)
    return _INIT.pack(kind, 0, length, tag, 65536, 1, 1, 1) + parameter + padding


def read(data: bytes) -> tuple[int, int, int, int, int, bytes]:
    """Ports of source and destination, verification tag, the chunk's kind, its own tag and its cookie."""
    source, destination, tag = _HEADER.unpack_from(data)
    kind, _, length, own, *_ = _INIT.unpack_from(data, 12)
    return source, destination, tag, kind, own, data[12 + _INIT.size + 4 : 12 + length]


class Wire:
    """Whole packets, from and to an address."""

    def __init__(self, address: str, *, bound: bool) -> None:
        self.is_four = ":" not in address
        family = socket.AF_INET if self.is_four else socket.AF_INET6
        self.socket = socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_SCTP)
        if bound:
            self.socket.bind((address, 0))

    def send(self, data: bytes, address: str) -> None:
        self.socket.sendto(data, (address, 0))

    def receive(self) -> tuple[bytes, str]:
        data, caller = self.socket.recvfrom(2000)
        return data[(data[0] & 15) * 4 if self.is_four else 0 :], caller[0]


def serve(address: str, port: int) -> None:
    wire = Wire(address, bound=True)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    while True:
        data, caller = wire.receive()
        source, destination, _, kind, tag, _ = read(data)
        if (destination, kind) == (port, INIT):
            chunk = init(INIT_ACK, secrets.randbits(32), f"{address} {caller}".encode())
            wire.send(packet(port, source, tag, chunk), caller)


def ask(address: str, port: int) -> str:
    """What the cookie says; "" when nobody answered from that address and port."""
    wire, own, tag = Wire(address, bound=False), 40000 + secrets.randbelow(20000), secrets.randbits(31) + 1
    wire.socket.settimeout(PATIENCE)
    try:
        wire.send(packet(own, port, 0, init(INIT, tag)), address)
        while True:
            data, answers = wire.receive()
            source, destination, told, kind, _, cookie = read(data)
            if (answers, source, destination, told, kind) == (address, port, own, tag, INIT_ACK):
                return cookie.decode()
    except OSError:
        return ""


if __name__ == "__main__":
    what, address, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
    if what == "serve":
        serve(address, port)
    sys.stdout.write(ask(address, port) + "\n")
