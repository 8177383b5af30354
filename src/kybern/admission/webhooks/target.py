"""Whom to call: a webhook's clientConfig, as data, and what calling needs to be."""

import base64
import binascii
from dataclasses import dataclass
from typing import Protocol

from kybern.machinery.kind import Raw


@dataclass(frozen=True, slots=True)
class Target:
    """A URL, or a Service (``url`` empty). ``authority`` are PEM certificates; empty: those that the machine trusts."""

    url: str = ""
    namespace: str = ""
    service: str = ""
    port: int = 443
    path: str = ""
    authority: bytes = b""

    def address(self, seconds: int = 0) -> str:
        """The URL as errors show it; with the time that the caller will wait, when there is one."""
        host = f"https://{self.service}.{self.namespace}.svc:{self.port}{self.path or '/'}"
        return f"{self.url or host}{f'?timeout={seconds}s' if seconds else ''}"


def target_of(raw: Raw) -> Target:
    """A clientConfig."""
    authority = _pem(raw.get("caBundle") or "")
    service = raw.get("service")
    if service is None:
        return Target(url=raw.get("url") or "", authority=authority)
    path = service.get("path") or ""
    return Target(
        namespace=service.get("namespace") or "",
        service=service.get("name") or "",
        port=service.get("port") or 443,
        path=f"/{path.lstrip('/')}" if path else "",
        authority=authority,
    )


def _pem(text: str) -> bytes:
    try:
        return base64.b64decode(text)
    except binascii.Error:
        return text.encode()  # whoever calls will find that these are no certificates


class CallFailed(Exception):
    """No answer, or one that is an error. The text is in upstream's words, ``code`` what metrics count."""

    def __init__(self, text: str, code: int = 503) -> None:
        super().__init__(text)
        self.code = code


class Unusable(Exception):
    """A target that cannot be called at all."""


class Caller(Protocol):
    async def post(self, target: Target, body: bytes, seconds: int, *, told: bool = True) -> bytes:
        """The answer's body. ``told``: the URL says how long is waited. Raises CallFailed and Unusable."""
        ...
