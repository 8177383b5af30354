"""Asks from inside a pod, and prints one answer a line. A failure is a line that begins with ``error``.

ask.py http HOST:PORT/PATH [TIMES]
ask.py udp HOST:PORT TEXT [TIMES]
ask.py resolve NAME                  as programs do: hosts, search path
ask.py dns NAME TYPE [tcp]           of the first name server
ask.py pause SECONDS WAY ...         waits first, and then asks
ask.py from PORT udp ...             from a port of the asker's choice

HOST may be an address of IPv6 in brackets.
"""

import http.client
import os
import socket
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path

SECONDS = 3
OWN = {"port": 0}
KINDS = {"A": 1, "CNAME": 5, "PTR": 12, "AAAA": 28, "SRV": 33}
CODES = {2: "SERVFAIL", 3: "NXDOMAIN", 5: "REFUSED"}


def http_(where: str) -> str:
    """The body; the status and it when that is not 200."""
    address, _, path = where.partition("/")
    host, _, port = address.rpartition(":")
    line = http.client.HTTPConnection(host.strip("[]"), int(port), timeout=SECONDS)
    try:
        line.request("GET", f"/{path}")
        answer = line.getresponse()
        body = answer.read().decode()
        return body if answer.status == 200 else f"error {answer.status} {body}"
    finally:
        line.close()


def udp(where: str, text: str) -> str:
    host, _, port = where.rpartition(":")
    family = socket.AF_INET6 if host.startswith("[") else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as line:
        line.settimeout(SECONDS)
        line.bind(("", OWN["port"]))
        line.connect((host.strip("[]"), int(port)))
        line.send(text.encode())
        return line.recv(4096).decode()


def resolve(name: str) -> str:
    return "\n".join(sorted({str(found[4][0]) for found in socket.getaddrinfo(name, None, socket.AF_INET)}))


def dns(name: str, kind: str, way: str = "udp") -> str:
    """What each answer says, sorted; the code when it is another than NOERROR."""
    words = name.encode().strip(b".").split(b".")
    asked = b"".join(bytes([len(word)]) + word for word in words) + b"\0"
    message = (
        struct.pack(">6H", os.getpid() & 0xFFFF, 0x100, 1, 0, 0, 0)
        + asked
        + struct.pack(">2H", KINDS[kind], 1)
    )
    server = name_server()
    family = socket.AF_INET6 if ":" in server else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM if way == "tcp" else socket.SOCK_DGRAM) as line:
        line.settimeout(SECONDS)
        line.connect((server, 53))
        if way == "tcp":
            line.sendall(struct.pack(">H", len(message)) + message)
            with line.makefile("rb") as stream:
                said = stream.read(struct.unpack(">H", stream.read(2))[0])
        else:
            line.send(message)
            said = line.recv(4096)
    number, flags, _, answers = struct.unpack(">4H", said[:8])
    if number != os.getpid() & 0xFFFF:
        return "error an answer to another question"
    if flags & 0xF:
        return f"error {CODES.get(flags & 0xF, flags & 0xF)}"
    at, found = 12 + len(asked) + 4, []
    for _ in range(answers):
        _, at = read_name(said, at)
        this, _, _, size = struct.unpack(">2HIH", said[at : at + 10])
        found.append(read_data(said, this, at + 10))
        at += 10 + size
    return "\n".join(sorted(found))


def name_server() -> str:
    """The first of the pod's."""
    lines = [line.split() for line in Path("/etc/resolv.conf").read_text().splitlines()]
    return next(line[1] for line in lines if line[:1] == ["nameserver"])


def read_data(said: bytes, kind: int, at: int) -> str:
    """RFC 1035 and 2782: an address, a name, or priority, weight, port and name."""
    if kind == KINDS["A"]:
        return socket.inet_ntoa(said[at : at + 4])
    if kind == KINDS["AAAA"]:
        return socket.inet_ntop(socket.AF_INET6, said[at : at + 16])
    if kind == KINDS["SRV"]:
        return " ".join(map(str, struct.unpack(">3H", said[at : at + 6]))) + " " + read_name(said, at + 6)[0]
    return read_name(said, at)[0]


def read_name(said: bytes, at: int) -> tuple[str, int]:
    """A name and the place behind it; the rest of a name may be that of an earlier one."""
    words = ""
    while size := said[at]:
        if size >= 0xC0:
            rest = struct.unpack(">H", said[at : at + 2])[0] & 0x3FFF
            return words + read_name(said, rest)[0], at + 2
        words += said[at + 1 : at + 1 + size].decode() + "."
        at += 1 + size
    return words, at + 1


WAYS: dict[str, Callable[..., str]] = {"http": http_, "udp": udp, "resolve": resolve, "dns": dns}

if __name__ == "__main__":
    way, *words = sys.argv[1:]
    if way == "pause":
        time.sleep(float(words[0]))
        way, *words = words[1:]
    if way == "from":
        OWN["port"] = int(words[0])
        way, *words = words[1:]
    times = 1
    if (way, len(words)) in (("http", 2), ("udp", 3)):
        times = int(words.pop())
    for _ in range(times):
        try:
            said = WAYS[way](*words)
        except OSError as problem:
            said = f"error {type(problem).__name__}: {problem}"
        sys.stdout.write(f"{said}\n")
