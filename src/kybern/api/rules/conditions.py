"""Conditions of the form that most newer kinds have (meta/v1.Condition)."""

import re
from collections.abc import Iterator

from kybern.api.rules.causes import all_invalid, duplicate, invalid, not_supported, required, too_long
from kybern.api.rules.formats import qualified_name
from kybern.machinery.errors import Cause
from kybern.machinery.kind import Raw
from kybern.machinery.names import expects

_STATUSES = ("False", "True", "Unknown")
_REASON = "[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?"
_REASON_SAYS = expects(
    "a condition reason must start with alphabetic character, optionally followed by a string of alphanumeric "
    "characters or '_,:', and must end with an alphanumeric character or '_'",
    _REASON,
    "my_name",
    "MY_NAME",
    "MyName",
    "ReasonA,ReasonB",
    "ReasonA:ReasonB",
)
_LONGEST_REASON = 1024
_LONGEST_MESSAGE = 32768
_is_reason = re.compile(_REASON).fullmatch


def conditions(field: str, found: list[Raw]) -> Iterator[Cause]:
    """Upstream's ValidateConditions: of each type one, with a status, a time and a reason."""
    seen = set()
    for i, one in enumerate(found):
        at, kind = f"{field}[{i}]", one.get("type") or ""
        if kind in seen:
            yield duplicate(f"{at}.type", kind)
        seen.add(kind)
        yield from _condition(at, kind, one)


def _condition(at: str, kind: str, one: Raw) -> Iterator[Cause]:
    yield from all_invalid(f"{at}.type", kind, qualified_name(kind))
    if one.get("status") not in _STATUSES:
        yield not_supported(f"{at}.status", one.get("status") or "", _STATUSES)
    if (one.get("observedGeneration") or 0) < 0:
        yield invalid(
            f"{at}.observedGeneration", one["observedGeneration"], "must be greater than or equal to zero"
        )
    if not one.get("lastTransitionTime"):
        yield required(f"{at}.lastTransitionTime", "must be set")
    reason = one.get("reason") or ""
    if not reason:
        yield required(f"{at}.reason", "must be set")
    elif not _is_reason(reason):
        yield invalid(f"{at}.reason", reason, _REASON_SAYS)
    if len(reason.encode()) > _LONGEST_REASON:
        yield too_long(f"{at}.reason", _LONGEST_REASON)
    if len((one.get("message") or "").encode()) > _LONGEST_MESSAGE:
        yield too_long(f"{at}.message", _LONGEST_MESSAGE)
