"""Objects of ``apiserver.config.k8s.io`` in files: read strictly, so that a misspelt field is an error and no default."""

import re
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from kybern.daemon.flags import duration
from kybern.machinery import yaml
from kybern.machinery.errors import BadRequest, Cause
from kybern.machinery.struct import Struct

GROUP = "apiserver.config.k8s.io"
VERSIONS = tuple(f"{GROUP}/{version}" for version in ("v1", "v1beta1", "v1alpha1"))
_UNKNOWN = re.compile(r"Object contains unknown field `(?P<name>[^`]*)`(?: - at `\$\.?(?P<at>.*)`)?")
_WRONG = re.compile(r"(?P<what>.*) - at `\$\.?(?P<at>.*)`")


class Invalid(Exception):
    """A file that cannot be used; the message names the field."""


class Setting(Struct, forbid_unknown_fields=True):
    """A part of such an object."""


def read[T: Setting](content: bytes, kind: str, type: type[T]) -> T:  # noqa: A002  # as msgspec names it
    """Raises Invalid."""
    try:
        found, twice = yaml.decode_yaml(content, duplicates=True)
    except BadRequest as problem:
        raise Invalid(problem.message) from problem
    if twice:
        raise Invalid(f"strict decoding error: {', '.join(twice)}")
    if not isinstance(found, dict):
        raise Invalid("it is empty")
    if found.get("kind") != kind or found.get("apiVersion") not in VERSIONS:
        raise Invalid(f"it is not a {kind} of {VERSIONS[0]}")
    try:
        return msgspec.convert(found, type)
    except msgspec.ValidationError as problem:
        raise Invalid(f"strict decoding error: {_said(str(problem))}") from problem


def _said(text: str) -> str:
    if found := _UNKNOWN.fullmatch(text):
        at = found["at"] or ""
        return f'unknown field "{at}{"." if at else ""}{found["name"]}"'
    if found := _WRONG.fullmatch(text):
        return f"{found['at']}: {found['what']}"
    return text


def seconds(text: str | None, at: str) -> float:
    """Of a duration; 0 for none. Raises Invalid."""
    if not text:
        return 0.0
    try:
        return duration(text)
    except ValueError as problem:
        raise Invalid(f"{at}: {problem}") from problem


def joined(texts: Sequence[str]) -> str:
    """Several complaints as upstream's aggregates print them."""
    found = list(dict.fromkeys(texts))
    return found[0] if len(found) == 1 else f"[{', '.join(found)}]"


def require_none(causes: Iterable[Cause]) -> None:
    """Raises Invalid with all of them."""
    if lines := [cause.line() for cause in causes]:
        raise Invalid(joined(lines))


def raw(value: Any) -> Any:
    """A setting as plain values."""
    return msgspec.to_builtins(value)
