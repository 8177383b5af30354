"""Asks from inside a pod, and prints one answer a line. A failure is a line that begins with ``error``.

ask.py http HOST:PORT/PATH [TIMES]
ask.py udp HOST:PORT TEXT [TIMES]
ask.py resolve NAME                  as programs do: hosts, search path
ask.py dns NAME TYPE [tcp]           of the first name server, by dnslib
"""

import http.client
import socket
import sys
from collections.abc import Callable
from pathlib import Path

SECONDS = 3


def http_(where: str) -> str:
    """The body; the status and it when that is not 200."""
    address, _, path = where.partition("/")
    host, _, port = address.rpartition(":")
    line = http.client.HTTPConnection(host, int(port), timeout=SECONDS)
    try:
        line.request("GET", f"/{path}")
        answer = line.getresponse()
        body = answer.read().decode()
        return body if answer.status == 200 else f"error {answer.status} {body}"
    finally:
        line.close()


def udp(where: str, text: str) -> str:
    host, _, port = where.rpartition(":")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
        line.settimeout(SECONDS)
        line.connect((host, int(port)))
        line.send(text.encode())
        return line.recv(2048).decode()


def resolve(name: str) -> str:
    return "\n".join(sorted({str(found[4][0]) for found in socket.getaddrinfo(name, None, socket.AF_INET)}))


def dns(name: str, kind: str, way: str = "udp") -> str:
    """What follows type and class in each answer, sorted; the code when it is another than NOERROR."""
    sys.path += [str(found) for found in Path("/opt/kybern").glob("dependencies-*")]
    from dnslib import RCODE, DNSRecord  # only here, and only from a node's own release

    servers = [
        line.split()[1]
        for line in Path("/etc/resolv.conf").read_text().splitlines()
        if line.startswith("nameserver")
    ]
    question = DNSRecord.question(name, kind)
    answer = DNSRecord.parse(question.send(servers[0], 53, tcp=way == "tcp", timeout=SECONDS))
    if answer.header.rcode:
        return f"error {RCODE[answer.header.rcode]}"
    return "\n".join(sorted(str(found.rdata) for found in answer.rr))


WAYS: dict[str, Callable[..., str]] = {"http": http_, "udp": udp, "resolve": resolve, "dns": dns}

if __name__ == "__main__":
    way, *words = sys.argv[1:]
    times = 1
    if (way, len(words)) in (("http", 2), ("udp", 3)):
        times = int(words.pop())
    for _ in range(times):
        try:
            said = WAYS[way](*words)
        except OSError as problem:
            said = f"error {type(problem).__name__}: {problem}"
        sys.stdout.write(f"{said}\n")
