"""Makes causes in the words of upstream's field errors: the type's phrase, the value as Go prints it, the detail.

Values are JSON values. Strings are quoted as Go's %q does; lists and objects appear as Go's JSON, with sorted keys where
they are maps and escaped angle brackets.
"""

import json
from collections.abc import Iterable
from typing import Any

from kybern.machinery.errors import Cause

_ESCAPES = {
    "\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v", "\\": "\\\\", '"': '\\"',
}  # fmt: skip


def quoted(text: str) -> str:
    """Go's %q."""
    if text.isascii() and text.isprintable() and '"' not in text and "\\" not in text:
        return f'"{text}"'
    return f'"{"".join(_escaped(sign) for sign in text)}"'


def _escaped(sign: str) -> str:
    if sign in _ESCAPES:
        return _ESCAPES[sign]
    if sign.isprintable():
        return sign
    number = ord(sign)
    if number < 0x80:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def json_of(value: Any) -> str:
    """Go's json.Marshal: no spaces, angle brackets and ampersands escaped."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def shown(value: Any) -> str:
    """A value as upstream's field errors print it."""
    return quoted(value) if isinstance(value, str) else json_of(value)


def _with(phrase: str, detail: str) -> str:
    return f"{phrase}: {detail}" if detail else phrase


def invalid(field: str, value: Any, detail: str) -> Cause:
    return Cause(field, "FieldValueInvalid", _with(f"Invalid value: {shown(value)}", detail))


def required(field: str, detail: str = "") -> Cause:
    return Cause(field, "FieldValueRequired", _with("Required value", detail))


def forbidden(field: str, detail: str) -> Cause:
    return Cause(field, "FieldValueForbidden", _with("Forbidden", detail))


def duplicate(field: str, value: Any) -> Cause:
    return Cause(field, "FieldValueDuplicate", f"Duplicate value: {shown(value)}")


def not_found(field: str, value: Any) -> Cause:
    return Cause(field, "FieldValueNotFound", f"Not found: {shown(value)}")


def not_supported(field: str, value: Any, supported: Iterable[str]) -> Cause:
    """The values are listed in the order given: sort them where upstream does."""
    names = ", ".join(quoted(name) for name in supported)
    return Cause(
        field, "FieldValueNotSupported", f"Unsupported value: {shown(value)}: supported values: {names}"
    )


def too_long(field: str, limit: int) -> Cause:
    return Cause(field, "FieldValueTooLong", f"Too long: may not be more than {limit} bytes")


def too_many(field: str, actual: int, limit: int) -> Cause:
    return Cause(field, "FieldValueTooMany", f"Too many: {actual}: must have at most {limit} items")


def wrong_type(field: str, value: Any, detail: str) -> Cause:
    return Cause(field, "FieldValueTypeInvalid", _with(f"Invalid value: {shown(value)}", detail))
