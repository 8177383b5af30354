"""What config maps and secrets share: a limit of size, and that they can be frozen."""

import base64
import binascii
import json
from collections.abc import Iterable, Iterator

from kybern.api.rules.causes import forbidden, too_long
from kybern.machinery.errors import Cause
from kybern.machinery.kind import Raw

LIMIT = 1024 * 1024


def not_too_large(field: str, texts: Iterable[str], encoded: Iterable[str]) -> Iterator[Cause]:
    """``encoded`` are base64, counted as what they stand for."""
    total = sum(len(text.encode()) for text in texts)
    total += sum(len(text) * 3 // 4 - text[-2:].count("=") for text in encoded if text)
    if total > LIMIT:
        yield too_long(field, LIMIT)


def frozen(new: Raw, old: Raw, *keys: str) -> Iterator[Cause]:
    """What is immutable stays so, and so does its content."""
    if not old.get("immutable"):
        return
    for key in ("immutable", *keys):
        if (new.get(key) or None) != (old.get(key) or None):
            yield forbidden(key, "field is immutable when `immutable` is set")


def is_json(encoded: str) -> bool:
    try:
        json.loads(base64.b64decode(encoded))
    except (ValueError, binascii.Error):
        return False
    return True
