"""Calls of webhooks: over TLS with connections that are kept, to a URL or to what is behind a Service.

Whoever is called is known by its certificate: of a Service by the name NAME.NAMESPACE.svc, wherever that is dialled.
Failures are told in the words of upstream's client (Go's net/http and client-go), which end up in clients' errors.
"""

import asyncio
import errno
import socket
import ssl
from collections import OrderedDict

import aiohttp
import msgspec
from yarl import URL

from kybern.admission.webhooks.target import CallFailed, Target, Unusable
from kybern.apiserver.services.identities import Identities, Identity
from kybern.apiserver.services.reach import Reach, tls_name
from kybern.daemon import tls
from kybern.machinery.errors import ServiceUnavailable

AGENT = "kube-apiserver-admission"
_CONTEXTS, _MOST_ANSWER = 200, 16 << 20
_EXPIRED, _OTHER_NAME = 10, 62  # OpenSSL's X509_V_ERR_*
_SYSTEM = {
    errno.ECONNREFUSED: "connection refused",
    errno.EHOSTUNREACH: "no route to host",
    errno.ENETUNREACH: "network is unreachable",
    errno.ECONNRESET: "connection reset by peer",
}


class WebhookCaller:
    """See ``admission.webhooks.target.Caller``."""

    def __init__(self, session: aiohttp.ClientSession, reach: Reach, identities: Identities) -> None:
        self._session = session
        self._reach = reach
        self._identities = identities
        self._contexts: OrderedDict[tuple[bytes, Identity], ssl.SSLContext] = OrderedDict()

    async def post(self, target: Target, body: bytes, seconds: int, *, told: bool = True) -> bytes:
        identity = self._identities.of(_host(target))
        context = self._context(target.authority, identity)
        shown = target.address(seconds if told else 0)
        try:
            async with asyncio.timeout(seconds):
                return await self._post(target, URL(shown, encoded=True), body, context, identity)
        except TimeoutError:
            raise CallFailed(f'Post "{shown}": context deadline exceeded') from None
        except ServiceUnavailable as problem:
            raise CallFailed(f'Post "{shown}": {problem.message}') from problem
        except (aiohttp.ClientError, OSError) as problem:
            raise CallFailed(f'Post "{shown}": {_said(problem)}') from problem

    async def _post(
        self, target: Target, url: URL, body: bytes, context: ssl.SSLContext, identity: Identity
    ) -> bytes:
        headers = {"Content-Type": "application/json", "Accept": "application/json", "User-Agent": AGENT}
        headers |= identity.headers()
        name: str | None = None
        if target.service:
            name = tls_name(target.namespace, target.service)
            headers["Host"] = f"{name}:{target.port}"
            host, port = await self._reach.address(target.namespace, target.service, target.port)
            url = url.with_host(host).with_port(port)
        async with self._session.post(
            url, data=body, headers=headers, ssl=context, server_hostname=name, allow_redirects=False
        ) as response:
            data = await response.content.read(_MOST_ANSWER)
            if not response.content.at_eof():
                rest = await response.content.read(1)
                if rest:
                    raise CallFailed("the answer is too large", response.status)
            if not 200 <= response.status <= 206:
                raise CallFailed(_refused(response.status, data), response.status)
            return data

    def _context(self, authority: bytes, identity: Identity) -> ssl.SSLContext:
        """A context a set of authorities, since connections are kept by it."""
        key = authority, identity
        found = self._contexts.get(key)
        if found is None:
            found = self._contexts[key] = _made(authority, identity)
            if len(self._contexts) > _CONTEXTS:
                self._contexts.popitem(last=False)
        else:
            self._contexts.move_to_end(key)
        return found


def _host(target: Target) -> str:
    """How the identity for a target is named: host and port."""
    if target.service:
        return f"{tls_name(target.namespace, target.service)}:{target.port}"
    url = URL(target.url)
    return f"{url.host}:{url.port or 443}"


def _made(authority: bytes, identity: Identity) -> ssl.SSLContext:
    try:
        context = tls.client_context(authority)
        identity.load(context)
    except (ssl.SSLError, UnicodeDecodeError) as problem:
        raise Unusable("unable to load root certificates: unable to parse bytes as PEM block") from problem
    # Go's rule: a certificate is for the names in its subjectAltName.
    context.hostname_checks_common_name = False
    context.set_alpn_protocols(["http/1.1"])
    return context


def _said(problem: Exception) -> str:
    if isinstance(problem, aiohttp.ClientConnectorCertificateError):
        return _certificate(problem.certificate_error)
    if isinstance(problem, aiohttp.ClientConnectorError):
        return _dialled(problem)
    if isinstance(problem, aiohttp.ServerDisconnectedError):
        return "EOF"
    if isinstance(problem, ssl.SSLError):
        return f"remote error: tls: {problem.reason or problem}".lower()
    return str(problem) or type(problem).__name__


def _dialled(problem: aiohttp.ClientConnectorError) -> str:
    system = problem.os_error
    if isinstance(problem, aiohttp.ClientConnectorDNSError) or isinstance(system, socket.gaierror):
        return f"dial tcp: lookup {problem.host}: no such host"
    why = _SYSTEM.get(system.errno or 0)
    if why is None:
        return f"dial tcp {problem.host}:{problem.port}: {system.strerror or system}"
    return f"dial tcp {problem.host}:{problem.port}: connect: {why}"


def _certificate(problem: Exception) -> str:
    failed = "tls: failed to verify certificate: x509:"
    if not isinstance(problem, ssl.SSLCertVerificationError):
        return f"tls: {problem}"
    if problem.verify_code == _OTHER_NAME:
        return f"{failed} certificate is not valid for this name: {problem.verify_message}"
    if problem.verify_code == _EXPIRED:
        return f"{failed} certificate has expired or is not yet valid"
    return f"{failed} certificate signed by unknown authority"


def _refused(code: int, data: bytes) -> str:
    """An answer of another code, as upstream's client tells it."""
    try:
        found = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        found = None
    if isinstance(found, dict) and found.get("kind") == "Status" and found.get("message"):
        return str(found["message"])
    text = data[:2048].decode(errors="replace").strip()
    if code == 404:
        return "the server could not find the requested resource"
    if code >= 500:
        return f'an error on the server ("{_quoted(text) or "unknown"}") has prevented the request from succeeding'
    return (
        _CODES.get(code)
        or f"the server responded with the status code {code} but did not return more information"
    )


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


_CODES = {
    400: "the server rejected our request for an unknown reason",
    401: "the server has asked for the client to provide credentials",
    403: "unknown",
    405: "the server does not allow this method on the requested resource",
    429: "the server has received too many requests and has asked us to try again later",
}
