"""JSON values: a fresh copy of one, and how Go prints one in an error."""

from typing import Any

from kybern.machinery.walk import described


def fresh(value: Any) -> Any:
    """A copy that shares nothing that can change."""
    if value.__class__ is dict:
        return {key: fresh(each) for key, each in value.items()}
    if value.__class__ is list:
        return [fresh(each) for each in value]
    return value


def printed(value: Any) -> str:
    """Go's %v of a decoded JSON value."""
    if isinstance(value, dict):
        return f"map[{' '.join(f'{key}:{printed(value[key])}' for key in sorted(value))}]"
    if isinstance(value, list):
        return f"[{' '.join(printed(each) for each in value)}]"
    if value is None:
        return "<nil>"
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def not_an_object(value: Any) -> str:
    """Go's complaint about a JSON value that should have been an object."""
    return f"json: cannot unmarshal {described(value)} into Go value of type map[string]interface {{}}"
