"""How long a request may take that is not one of those that last (watches, logs, streams, proxies). Pure.

Upstream's ``WithRequestDeadline``: the server's --request-timeout, or less when the request itself asks for less by
``?timeout=``; 0 asks for nothing. What had been stored by then stays.
"""

from collections.abc import Mapping

from kybern.daemon.flags import duration
from kybern.machinery.errors import BadRequest, Details, Timeout

LONGEST = 60.0
"""Seconds: upstream's default."""


def seconds(query: Mapping[str, str], longest: float) -> float:
    """Raises BadRequest for a ``timeout`` that is no duration."""
    text = query.get("timeout")
    if not text:
        return longest
    try:
        asked = duration(text)
    except ValueError as problem:
        raise BadRequest(f"invalid timeout specified in the request URL - {problem}") from problem
    return asked if 0 < asked < longest else longest


def exceeded() -> Timeout:
    """The 504 that upstream's timeout handler answers."""
    return Timeout("Timeout: request did not complete within the allotted timeout", Details())
