"""The merge patch (RFC 7386) that turns one JSON value into another; pure."""

from typing import Any

from kybern.machinery.kind import Raw


def difference(old: Raw, new: Raw) -> Raw:
    """What to send so that a server that has ``old`` comes to ``new``; empty when they are the same.

    Lists are replaced whole, as merge patches can only do.
    """
    found: dict[str, Any] = {key: None for key in old if key not in new}
    for key, value in new.items():
        if key not in old:
            found[key] = value
        elif isinstance(value, dict) and isinstance(old[key], dict):
            if changed := difference(old[key], value):
                found[key] = changed
        elif value != old[key]:
            found[key] = value
    return found
