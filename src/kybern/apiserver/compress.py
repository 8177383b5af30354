"""Long answers as gzip. What was compressed last is kept, with what it was made of.

Many clients list the same at the same time, as when a server starts and everybody comes back to it. Comparing bodies
costs a small part of compressing one, and bodies that are equal are the same compressed, whatever they are.
"""

import gzip

FROM = 128 * 1024
MOST_KEPT = 8 << 20


class Compressor:
    def __init__(self) -> None:
        self._body = self._compressed = b""

    def compressed(self, body: bytes) -> bytes:
        if self._compressed and body == self._body:
            return self._compressed
        found = gzip.compress(body, 1)
        if len(body) <= MOST_KEPT:
            self._body, self._compressed = body, found
        return found
