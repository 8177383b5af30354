"""What the literals of strings and bytes stand for."""

import re

_ESCAPE = re.compile(
    r"""\\(?:(?P<one>[abfnrtv"'\\?`])|(?P<octal>[0-3][0-7]{2})|[xX](?P<hex>[0-9a-fA-F]{2})"""
    r"""|u(?P<short>[0-9a-fA-F]{4})|U(?P<long>[0-9a-fA-F]{8}))"""
)
_ONE = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_HIGHEST = 0x10FFFF


class LiteralError(ValueError):
    """A literal that stands for nothing; the text is cel-go's."""


def _body(literal: str) -> tuple[str, bool]:
    """What is between the quotes, and whether it is raw."""
    literal = literal.replace("\r\n", "\n").replace("\r", "\n")
    raw = literal[0] in "rR"
    quoted = literal[1:] if raw else literal
    triple = len(quoted) >= 6 and quoted[:3] in ('"""', "'''")
    return (quoted[3:-3] if triple else quoted[1:-1]), raw


def text(literal: str) -> str:
    body, raw = _body(literal)
    return body if raw else _ESCAPE.sub(_sign, body)


def _sign(found: re.Match[str]) -> str:
    if found["one"]:
        return _ONE.get(found["one"], found["one"])
    code = _code(found)
    if code > _HIGHEST or 0xD800 <= code < 0xE000:
        raise LiteralError("invalid unicode code point")
    return chr(code)


def _code(found: re.Match[str]) -> int:
    if found["octal"]:
        return int(found["octal"], 8)
    return int(found["hex"] or found["short"] or found["long"], 16)


def data(literal: str) -> bytes:
    """The bytes of a literal, its ``b`` taken away: numbers stand for bytes, not for characters."""
    body, raw = _body(literal)
    if raw:
        return body.encode()
    found = bytearray()
    end = 0
    for each in _ESCAPE.finditer(body):
        found += body[end : each.start()].encode()
        if each["short"] or each["long"]:
            raise LiteralError("unable to unescape string")
        found += _ONE.get(each["one"], each["one"]).encode() if each["one"] else bytes([_code(each)])
        end = each.end()
    return bytes(found + body[end:].encode())
