"""Walkers for values that hold no others: scalars, bytes, and the types that read themselves."""

import base64
import binascii
from collections.abc import Callable
from typing import Any

from kybern.machinery import gotypes, quantity, times
from kybern.machinery.walk import Undecodable, Walk

type Walker = Callable[[Any, Walk], Any]

LIMITS = {"int32": 2**31, "int64": 2**63}


def scalar(below: str, kind: str, owner: str) -> Walker:
    limit = LIMITS.get(below)

    def whole(value: Any, state: Walk) -> Any:
        assert limit is not None
        if value.__class__ is not int or not -limit <= value < limit:
            return state.mismatch(value, owner, kind)
        return value

    def floating(value: Any, state: Walk) -> Any:
        return value if value.__class__ in {int, float} else state.mismatch(value, owner, kind)

    expected = gotypes.SCALARS[below]

    def simple(value: Any, state: Walk) -> Any:
        return value if value.__class__ is expected else state.mismatch(value, owner, kind)

    return whole if limit else floating if below == "float64" else simple


def binary(kind: str, owner: str) -> Walker:
    def walk(value: Any, state: Walk) -> Any:
        if value.__class__ is not str:
            return state.mismatch(value, owner, kind)
        text = value.replace("\n", "").replace("\r", "") if "\n" in value or "\r" in value else value
        try:
            binary = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            if state.wrong is None:
                state.wrong = f"illegal base64 data at input byte {_bad_byte(value)}"
            return None
        return text if len(text) == (len(binary) + 2) // 3 * 4 else base64.b64encode(binary).decode()

    return walk


def _bad_byte(text: str) -> int:
    """Where Go's decoder stops: the first sign that is not of the alphabet, or the end of a group that is not whole."""
    letters = 0
    for at, sign in enumerate(text):
        if sign in "\r\n":
            continue
        if sign == "=":
            return _bad_padding(text, at, letters)
        if not (sign.isascii() and (sign.isalnum() or sign in "+/")):
            return at
        letters += 1
    return len(text.rstrip("\r\n")) - letters % 4 if letters % 4 else len(text)


def _bad_padding(text: str, at: int, letters: int) -> int:
    place = letters % 4
    if place < 2:
        return at
    rest = text[at:].replace("\r", "").replace("\n", "")
    if place == 2 and rest[1:2] != "=":
        return len(text) if len(rest) == 1 else at
    return at + (4 - place)


def moment(owner: str, normal: Callable[[str], str]) -> Walker:
    def walk(value: Any, state: Walk) -> Any:
        if value.__class__ is not str:
            raise Undecodable(state.complaint(value, owner, "string"))
        try:
            return normal(value)
        except times.TimeError as error:
            raise Undecodable(str(error)) from error

    return walk


def amount(value: Any, _state: Walk) -> Any:
    if value.__class__ is float and value.is_integer():
        value = int(value)
    text = value.strip() if value.__class__ is str else repr(value)
    try:
        return quantity.canonical(text)
    except quantity.QuantityError as error:
        raise Undecodable(str(error)) from error


def int_or_string(owner: str) -> Walker:
    def walk(value: Any, state: Walk) -> Any:
        if value.__class__ is str or (value.__class__ is int and -(2**31) <= value < 2**31):
            return value
        raise Undecodable(state.complaint(value, owner, "int32"))

    return walk


def anything(value: Any, _state: Walk) -> Any:
    return value
