"""One member of etcd: the way to it, and which calls can be made there."""

import ssl
from dataclasses import dataclass
from pathlib import Path

from kybern.daemon import tls
from kybern.storage.http2 import hpack
from kybern.storage.http2.channel import Channel
from kybern.storage.http2.link import Stream

ATTEMPT_SECONDS = 2.0
RANGE, TXN, COMPACT = "KV/Range", "KV/Txn", "KV/Compact"
GRANT, WATCH = "Lease/LeaseGrant", "Watch/Watch"
STATUS = "Maintenance/Status"


@dataclass(frozen=True, slots=True)
class Credentials:
    """Files of a TLS client; empty means none. Read again for each connection that is made."""

    ca: str = ""
    cert: str = ""
    key: str = ""

    def context(self) -> ssl.SSLContext:
        return tls.client_context(Path(self.ca).read_bytes() if self.ca else b"", self.cert, self.key)


class Member:
    """The way to one member. ``heads`` are the headers of each call, as bytes."""

    def __init__(self, endpoint: str, credentials: Credentials) -> None:
        self.streams: set[Stream] = set()
        self.channel = Channel(endpoint, credentials.context, ATTEMPT_SECONDS)
        scheme = "https" if self.channel.secure else "http"
        common = (
            (":authority", self.channel.authority), ("content-type", "application/grpc"), ("te", "trailers"),
            ("hasleader", "true"),
        )  # fmt: skip
        self.heads = {
            call: hpack.encoded(
                ((":method", "POST"), (":scheme", scheme), (":path", f"/etcdserverpb.{call}"), *common)
            )
            for call in (RANGE, TXN, COMPACT, GRANT, WATCH, STATUS)
        }

    async def ask(self, call: str, request: bytes) -> bytes:
        """The answer to a call. Raises Failed."""
        link = self.channel.link or await self.channel.connected()
        return await link.unary(self.heads[call], request)
