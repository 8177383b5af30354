"""Types as messages name them."""

from kybern.machinery.cel.types import Type

ERROR = Type("!error!", "error")
_NAMES = {
    "null_type": "null",
    "google.protobuf.Timestamp": "timestamp",
    "google.protobuf.Duration": "duration",
}


def shown(found: Type) -> str:
    if found.parameters:
        return f"{found.name}({', '.join(map(shown, found.parameters))})"
    return _NAMES.get(found.name, found.name)


def signature(arguments: list[Type], *, member: bool) -> str:
    target = f"{shown(arguments[0])}." if member else ""
    return f"{target}({', '.join(map(shown, arguments[1:] if member else arguments))})"
