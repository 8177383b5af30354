"""Which header fields of a request or an answer are handed on. Pure.

What holds: fields that concern one connection only stay on it; what proves a client's identity to this server is not
shown to another one; an answer cannot open this server's origin to scripts of others.
"""

from collections.abc import Iterable

from kybern.auth.certificates import ProxyHeaders

type Fields = list[tuple[str, str]]

_HOP = frozenset(
    (
        "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer",
        "transfer-encoding", "upgrade",
    )
)  # fmt: skip
_CREDENTIALS = frozenset(("authorization", "expect", "host"))
_ORIGINS = frozenset(
    f"access-control-allow-{what}" for what in ("credentials", "headers", "methods", "origin")
)
_CLAIMS = ("impersonate-", "x-remote-user", "x-remote-uid", "x-remote-group", "x-remote-extra-")
"""How fields begin that say who somebody is. Under these names this server speaks for its users to others, so a client's
own must not get there, whatever names front proxies use towards this server."""
_FOR = "x-forwarded-for"


def asked(given: Iterable[tuple[str, str]], identity: ProxyHeaders, *, upgrade: bool = False) -> Fields:
    """Fields of a request as the other server may see them; ``upgrade`` keeps what asks for another protocol."""
    given = tuple(given)
    kept = {"connection", "upgrade"} if upgrade else set()
    dropped = (_hop(given) - kept) | _CREDENTIALS
    lowered = [(name.lower(), name, value) for name, value in given]
    return [
        (name, value)
        for low, name, value in lowered
        if low not in dropped and not low.startswith(_CLAIMS) and not identity.bears(low)
    ]


def answered(given: Iterable[tuple[str, str]]) -> Fields:
    """Fields of an answer as the client may see them."""
    given = tuple(given)
    dropped = _hop(given) | _ORIGINS
    return [(name, value) for name, value in given if name.lower() not in dropped]


def _hop(given: Iterable[tuple[str, str]]) -> set[str]:
    named = {
        word.strip().lower()
        for name, value in given
        if name.lower() == "connection"
        for word in value.split(",")
    }
    return set(_HOP) | named


def forwarded(given: Fields, client: str, uri: str) -> Fields:
    """With who asked, and by which path of ours."""
    before = [value for name, value in given if name.lower() == _FOR]
    rest = [(name, value) for name, value in given if name.lower() not in (_FOR, "x-forwarded-uri")]
    chain = ", ".join([*before, *filter(None, (client,))])
    return [*rest, *([("X-Forwarded-For", chain)] if chain else []), ("X-Forwarded-Uri", uri)]


def first(given: Iterable[tuple[str, str]], wanted: str) -> str:
    """The first value of a field; "" when there is none."""
    return next((value for name, value in given if name.lower() == wanted), "")
