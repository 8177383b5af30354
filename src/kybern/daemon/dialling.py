"""Why another server cannot be reached, in the words that Kubernetes' clients know (those of Go's net package). Pure."""

import errno
import os
import ssl

import aiohttp


def refusal(problem: BaseException, host: str, port: int) -> str:
    """What is wrong with a connection to a host and port."""
    shown = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    if isinstance(problem, TimeoutError) or (
        isinstance(problem, OSError) and problem.errno == errno.ETIMEDOUT
    ):
        return f"dial tcp {shown}: i/o timeout"
    if isinstance(problem, aiohttp.ClientConnectorDNSError):
        return f"dial tcp: lookup {host}: no such host"
    if isinstance(problem, aiohttp.ServerDisconnectedError):
        return "EOF"
    return _secure(problem) or _system(problem, shown) or str(problem) or type(problem).__name__


def _secure(problem: BaseException) -> str:
    if isinstance(problem, aiohttp.ClientConnectorCertificateError):
        return f"tls: failed to verify certificate: {problem.certificate_error}"
    if isinstance(problem, ssl.SSLCertVerificationError):
        return f"tls: failed to verify certificate: {problem.verify_message}"
    return f"tls: {problem.reason or problem}" if isinstance(problem, ssl.SSLError) else ""


def _system(problem: BaseException, shown: str) -> str:
    if not isinstance(problem, OSError) or not problem.errno or problem.errno < 0:
        return ""
    # aiohttp words its errors itself; the number is the system's.
    return f"dial tcp {shown}: connect: {os.strerror(problem.errno).lower()}"
