"""Bodies as bytes to plain values and back: JSON here, YAML in ``yaml``.

JSON is read by msgspec; only when somebody wants to know of duplicate keys (strict field validation) a slower reader
looks for them.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

import msgspec

from kybern.machinery.errors import BadRequest
from kybern.machinery.yaml import decode_yaml, encode_yaml

__all__ = ["decode_json", "decode_yaml", "encode_json", "encode_yaml"]

_SPACED = re.compile(rb'"\s+:')
_DECODER = msgspec.json.Decoder()
_ENCODER = msgspec.json.Encoder()
_SURROGATE = re.compile("[\ud800-\udfff]")


class _Pairs(list[tuple[str, Any]]):
    """An object that has a key twice, with everything it said."""


def encode_json(value: Any) -> bytes:
    return _ENCODER.encode(value)


def decode_json(body: bytes, duplicates: bool = False) -> tuple[Any, list[str]]:
    """The value, and (if asked for) upstream's complaints about duplicate keys. Raises BadRequest with Go's words."""
    try:
        value = _DECODER.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        value = _leniently(body)
    return value, _duplicates(body) if duplicates and not _once(body, value) else []


def _once(body: bytes, value: Any) -> bool:
    """Whether no key can be there twice: no more keys were written than were read.

    A key ends with a quote and a colon. Texts in which these stand otherwise (a blank between them, or both within a
    string) are looked at in full: the first could hide a key, the second only count one too many.
    """
    try:
        return body.count(b'":') == _keys(value) and _SPACED.search(body) is None
    except RecursionError:
        return False


def _keys(value: Any) -> int:
    if isinstance(value, dict):
        return len(value) + sum([_keys(each) for each in value.values() if isinstance(each, dict | list)])
    if isinstance(value, list):
        return sum([_keys(each) for each in value if isinstance(each, dict | list)])
    return 0


def _leniently(body: bytes) -> Any:
    """What Go reads and msgspec does not: broken UTF-8 and lone surrogates become replacement characters."""
    text = body.decode("utf-8", "replace")

    def constant(name: str) -> Any:
        raise json.JSONDecodeError("Expecting value", text, text.index(name))

    try:
        return _clean(json.loads(text, parse_constant=constant))
    except (ValueError, RecursionError) as error:
        raise BadRequest(_complaint(text, error)) from error


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return _SURROGATE.sub("\ufffd", value)
    if isinstance(value, dict):
        return {_clean(key): _clean(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_clean(each) for each in value]
    return value


def _complaint(text: str, error: Exception) -> str:
    """Go's words for text that is no JSON, as far as they can be told from where the reader stopped."""
    if isinstance(error, RecursionError):
        return "exceeded max depth"
    at = error.pos if isinstance(error, json.JSONDecodeError) else 0
    while at < len(text) and text[at] in " \t\r\n":
        at += 1
    if at >= len(text) or "Unterminated" in str(error):
        return "unexpected end of JSON input"
    sign = "'\\''" if text[at] == "'" else "'\"'" if text[at] == '"' else f"'{text[at]}'"
    return f"invalid character {sign} {_place(str(error))}"


def _place(says: str) -> str:
    for word, place in (
        ("property name", "looking for beginning of object key string"),
        ("':'", "after object key"),
        ("','", "after object key:value pair"),
        ("Extra data", "after top-level value"),
        ("control character", "in string literal"),
        ("escape", "in string escape code"),
    ):
        if word in says:
            return place
    return "looking for beginning of value"


def _duplicates(body: bytes) -> list[str]:
    twice = False

    def pairs(found: list[tuple[str, Any]]) -> Any:
        nonlocal twice
        as_dict = dict(found)
        if len(as_dict) == len(found):
            return as_dict
        twice = True
        return _Pairs(found)

    value = json.loads(body.decode("utf-8", "replace"), object_pairs_hook=pairs)
    if not twice:
        return []
    return list(dict.fromkeys(_duplicate(path) for path, again in _walked(value, "") if again))


def _duplicate(path: str) -> str:
    return f'duplicate field "{path}"'


def in_order(body: bytes, complaints: list[str]) -> list[str]:
    """Complaints about unknown and duplicate fields, as the JSON text has these: Go makes them while it reads."""
    value = json.loads(body.decode("utf-8", "replace"), object_pairs_hook=_Pairs)
    told = (_duplicate(path) if again else f'unknown field "{path}"' for path, again in _walked(value, ""))
    found = [says for says in dict.fromkeys(told) if says in complaints]
    return found + [says for says in complaints if says not in found]


def _walked(value: Any, path: str) -> Iterator[tuple[str, bool]]:
    """The path of every key in the order of the text, and whether its object had that key before."""
    if isinstance(value, _Pairs | dict):
        seen: set[str] = set()
        for key, each in value if isinstance(value, _Pairs) else value.items():
            here = f"{path}.{key}" if path else key
            yield here, key in seen
            seen.add(key)
            yield from _walked(each, here)
    elif isinstance(value, list):
        for at, each in enumerate(value):
            yield from _walked(each, f"{path}[{at}]")
