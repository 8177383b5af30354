"""Messages whose JSON is not an object of their fields: quantities, times, free-form JSON, lists in a wrapper.

Each has a reader (message bytes to JSON value) and a writer (JSON value to message bytes).
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from kybern.machinery import codec, times, wire

type Read = Callable[[bytes], Any]
type Write = Callable[[Any], bytes]


class _Fields:
    """The last value of each field, asked for by its type."""

    def __init__(self, data: bytes) -> None:
        self.values = {number: value for number, _, value in wire.fields(data)}

    def number(self, place: int) -> int:
        value = self.values.get(place, 0)
        if not isinstance(value, int):
            raise wire.Malformed("proto: wrong wireType = 2 for a number")
        return wire.signed(value)

    def binary(self, place: int) -> bytes:
        return wire.binary(self.values.get(place, b""))


def _read_quantity(data: bytes) -> str:
    if len(data) > 2 and data[0] == wire.FIRST and data[1] == len(data) - 2 < 0x80:
        return str(data[2:], "utf-8", "replace")
    return _Fields(data).binary(1).decode(errors="replace") or "0"


def _write_quantity(value: Any) -> bytes:
    return wire.text(1, str(value))


def _read_int_or_string(data: bytes) -> int | str:
    found = _Fields(data)
    return found.binary(3).decode(errors="replace") if found.number(1) else found.number(2)


def _write_int_or_string(value: Any) -> bytes:
    if isinstance(value, str):
        return b"\x08\x01" + b"\x10\x00" + wire.text(3, value)
    return b"\x08\x00" + wire.tag(2, wire.VARINT) + wire.varint(value) + wire.text(3, "")


def _moment(data: bytes) -> datetime | None:
    """Go's zero time has no bytes at all; all else is a time, the epoch too."""
    if not data:
        return None
    found = _Fields(data)
    seconds, nanos = found.number(1), found.number(2)
    try:
        return times.EPOCH + timedelta(seconds=seconds, microseconds=nanos // 1000)
    except OverflowError as error:
        raise wire.Malformed("a time out of range") from error


def _read_time(data: bytes) -> str | None:
    moment = _moment(data)
    return None if moment is None else times.form(moment)


def _read_micro_time(data: bytes) -> str | None:
    moment = _moment(data)
    return None if moment is None else times.form_micro(moment)


@lru_cache(maxsize=4096)
def _write_time(value: str) -> bytes:
    """Objects have few different times, and many objects the same."""
    span = times.parse(value) - times.EPOCH
    seconds, micro = span.days * 86400 + span.seconds, span.microseconds
    return b"\x08" + wire.varint(seconds) + b"\x10" + wire.varint(micro * 1000)


def _read_json(data: bytes) -> Any:
    raw = _Fields(data).binary(1)
    return codec.decode_json(raw)[0] if raw else None


def _write_json(value: Any) -> bytes:
    return wire.delimited(1, codec.encode_json(value))


def _read_strings(data: bytes) -> list[str]:
    return [
        wire.binary(value).decode(errors="replace") for number, _, value in wire.fields(data) if number == 1
    ]


def _write_strings(value: Any) -> bytes:
    return b"".join(wire.text(1, each) for each in value)


_META = "k8s.io.apimachinery.pkg.apis.meta.v1."
SPECIAL: dict[str, tuple[Read, Write]] = {
    "k8s.io.apimachinery.pkg.api.resource.Quantity": (_read_quantity, _write_quantity),
    "k8s.io.apimachinery.pkg.util.intstr.IntOrString": (_read_int_or_string, _write_int_or_string),
    f"{_META}Time": (_read_time, _write_time),
    f"{_META}MicroTime": (_read_micro_time, _write_time),
    f"{_META}FieldsV1": (_read_json, _write_json),
    "k8s.io.apiextensions_apiserver.pkg.apis.apiextensions.v1.JSON": (_read_json, _write_json),
    f"{_META}Verbs": (_read_strings, _write_strings),
    "k8s.io.api.authentication.v1.ExtraValue": (_read_strings, _write_strings),
    "k8s.io.api.authorization.v1.ExtraValue": (_read_strings, _write_strings),
    "k8s.io.api.certificates.v1.ExtraValue": (_read_strings, _write_strings),
}
