"""What a mutating policy's expressions give, as a patch or as a configuration to apply. Pure."""

import base64
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from kybern.api.rules.expressions import OBJECT
from kybern.machinery.cel import texts
from kybern.machinery.cel.values import Duration, Made, Optional, Timestamp
from kybern.machinery.kind import Raw


class Unusable(Exception):
    """An expression gave what cannot be used. The text is upstream's."""


def configuration(found: Any) -> Raw:
    """An ``Object`` as what is applied. Raises Unusable."""
    wrong = list(_misnamed(found, OBJECT))
    if wrong:
        raise Unusable(f"type mismatch: {wrong[0] if len(wrong) == 1 else f'[{", ".join(wrong)}]'}")
    made: Raw = plain(found)
    return made


def _misnamed(value: Any, name: str) -> Iterator[str]:
    """An object must be named after the field that it is for."""
    if isinstance(value, Made):
        if value.TYPE.name != name:
            yield (
                f'unexpected type name "{value.TYPE.name}", expected "{name}", which matches field name path from '
                "root Object type"
            )
        for key, part in value.items():
            yield from _misnamed(part, f"{name}.{key}")
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _misnamed(part, name)


def operations(found: list[Any]) -> list[Raw]:
    """A list of ``JSONPatch`` as JSON patch operations."""
    return [{key: plain(value) for key, value in one.items()} for one in found]


def plain(value: Any) -> Any:
    """A value of an expression as JSON has it."""
    if isinstance(value, dict):
        return {str(key): plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    if isinstance(value, Optional):
        return plain(value.value) if value.present else None
    write = _WRITTEN.get(type(value))
    return value if write is None else write(value)


_WRITTEN: Mapping[type, Callable[[Any], str]] = {
    Timestamp: texts.timestamp,
    Duration: texts.duration,
    bytes: lambda value: base64.b64encode(value).decode(),
}
