"""kubernetes.Semver: versions of semver.org; read as they are, or brought into that form first."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from kybern.machinery.causes import quoted
from kybern.machinery.cel import reading, types
from kybern.machinery.cel.functions import Function, Library, Overload
from kybern.machinery.cel.types import Type
from kybern.machinery.cel.values import EvaluationError

SEMVER = types.opaque("kubernetes.Semver")
_NUMBER = re.compile(r"[0-9]*", re.ASCII)
_WORD = re.compile(r"[0-9A-Za-z-]+", re.ASCII)
_LIMIT = 2**64


@dataclass(frozen=True, slots=True)
class SemverValue:
    """What comes before a release counts, what was built does not: ``pre`` holds numbers and words."""

    TYPE: ClassVar[Type] = SEMVER
    major: int
    minor: int
    patch: int
    pre: tuple[int | str, ...] = ()

    def key(self) -> tuple[Any, ...]:
        """In order: numbers before words, fewer parts before more, a release after all that comes before it."""
        parts = tuple((0, part, "") if isinstance(part, int) else (1, 0, part) for part in self.pre)
        return self.major, self.minor, self.patch, not self.pre, parts


def read(text: str) -> SemverValue:
    if not text:
        raise EvaluationError("Version string empty")
    parts = text.split(".", 2)
    if len(parts) != 3:
        raise EvaluationError("No Major.Minor.Patch elements found")
    rest, plus, build = parts[2].partition("+")
    patch, dash, pre = rest.partition("-")
    numbers = _number(parts[0], "major"), _number(parts[1], "minor"), _number(patch, "patch")
    found = tuple(_before(part) for part in pre.split(".")) if dash else ()
    for part in build.split(".") if plus else ():
        if not part:
            raise EvaluationError("Build meta data is empty")
        if not _WORD.fullmatch(part):
            raise EvaluationError(f"Invalid character(s) found in build meta data {quoted(part)}")
    return SemverValue(*numbers, found)


def _number(text: str, name: str) -> int:
    if not _NUMBER.fullmatch(text):
        raise EvaluationError(f"Invalid character(s) found in {name} number {quoted(text)}")
    if len(text) > 1 and text[0] == "0":
        raise EvaluationError(f"{name.title()} number must not contain leading zeroes {quoted(text)}")
    return _integer(text)


def _integer(text: str) -> int:
    if not text:
        raise EvaluationError('strconv.ParseUint: parsing "": invalid syntax')
    found = int(text) if len(text) < 100 else _LIMIT
    if found >= _LIMIT:
        raise EvaluationError(f"strconv.ParseUint: parsing {quoted(text)}: value out of range")
    return found


def _before(text: str) -> int | str:
    if not text:
        raise EvaluationError("Prerelease is empty")
    if _NUMBER.fullmatch(text):
        if len(text) > 1 and text[0] == "0":
            says = "Numeric PreRelease version must not contain leading zeroes"
            raise EvaluationError(f"{says} {quoted(text)}")
        return _integer(text)
    if not _WORD.fullmatch(text):
        raise EvaluationError(f"Invalid character(s) found in prerelease {quoted(text)}")
    return text


def normal(text: str) -> str:
    """Without a v before it and zeros before its numbers, and with all three numbers."""
    parts = [_without_zeros(part) for part in text.removeprefix("v").split(".", 2)]
    if len(parts) < 3:
        if re.search("[+-]", parts[-1]):
            raise EvaluationError("short version cannot contain PreRelease/Build meta data")
        parts += ["0"] * (3 - len(parts))
    return ".".join(parts)


def _without_zeros(part: str) -> str:
    if len(part) < 2:
        return part
    found = part.lstrip("0")
    return found if _NUMBER.fullmatch(found[:1]) and found else f"0{found}"


def of_string(text: str, normalize: bool = False) -> SemverValue:
    return read(normal(text) if normalize else text)


def is_semver(text: str, normalize: bool = False) -> bool:
    try:
        of_string(text, normalize)
    except EvaluationError:
        return False
    return True


def compare(one: SemverValue, other: SemverValue) -> int:
    return (one.key() > other.key()) - (one.key() < other.key())


def _read(overload: str, result: Type, call: Callable[..., Any], *others: Type) -> Overload:
    return Overload(
        overload, (types.STRING, *others), result, call, estimate=reading.estimate(), count=reading.count()
    )


def _member(overload: str, result: Type, call: Callable[..., Any], *others: Type) -> tuple[Overload, ...]:
    return (Overload(overload, (SEMVER, *others), result, call, member=True),)


LIBRARY = Library(
    "kubernetes.Semver",
    (
        Function(
            "semver",
            (
                _read("string_to_semver", SEMVER, of_string),
                _read("string_bool_to_semver", SEMVER, of_string, types.BOOL),
            ),
        ),
        Function(
            "isSemver",
            (
                _read("is_semver_string", types.BOOL, is_semver),
                _read("is_semver_string_bool", types.BOOL, is_semver, types.BOOL),
            ),
        ),
        Function(
            "isGreaterThan",
            _member("semver_is_greater_than", types.BOOL, lambda a, b: a.key() > b.key(), SEMVER),
        ),
        Function(
            "isLessThan", _member("semver_is_less_than", types.BOOL, lambda a, b: a.key() < b.key(), SEMVER)
        ),
        Function("compareTo", _member("semver_compare_to", types.INT, compare, SEMVER)),
        Function("major", _member("semver_major", types.INT, lambda value: value.major)),
        Function("minor", _member("semver_minor", types.INT, lambda value: value.minor)),
        Function("patch", _member("semver_patch", types.INT, lambda value: value.patch)),
    ),
)
