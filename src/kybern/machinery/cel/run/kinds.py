"""Which overload is meant where types are known only when values are there, and what is said when none is."""

from collections.abc import Callable
from typing import Any

from kybern.machinery.cel import texts
from kybern.machinery.cel.functions import Overload
from kybern.machinery.cel.run.frame import no_overload
from kybern.machinery.cel.types import Type
from kybern.machinery.cel.values import Duration, EvaluationError, Optional, Timestamp, Uint

_EXACT: dict[str, type] = {
    "bool": bool, "int": int, "uint": Uint, "double": float, "string": str, "bytes": bytes, "null_type": type(None),
    "google.protobuf.Duration": Duration, "google.protobuf.Timestamp": Timestamp,
}  # fmt: skip
_LOOSE: dict[str, type | tuple[type, ...]] = {
    "list": (list, tuple), "map": dict, "optional": Optional, "type": Type,
}  # fmt: skip
_ADD = (int, float, str, bytes, list, tuple, Duration, Timestamp)
_ORDERED = (bool, int, float, str, bytes, Duration, Timestamp)
_NUMBERS = (int, float)
_SINGLE: dict[str, tuple[type, ...]] = {
    "_+_": _ADD, "_-_": (int, float, Duration, Timestamp), "_*_": _NUMBERS, "_/_": _NUMBERS, "_%_": (int,),
    "-_": (int, float, Duration), "_<_": _ORDERED, "_<=_": _ORDERED, "_>_": _ORDERED, "_>=_": _ORDERED,
    "size": (str, bytes, list, tuple, dict), "matches": (str,), "@in": (object,), "!_": (object,),
    "contains": (object,), "startsWith": (object,), "endsWith": (object,),
}  # fmt: skip


def fits(wanted: Type, value: Any) -> bool:
    exact = _EXACT.get(wanted.name)
    if exact is not None:
        return type(value) is exact
    loose = _LOOSE.get(wanted.kind)
    if loose is not None:
        return isinstance(value, loose) and _first_fits(wanted, value)
    if wanted.kind == "opaque":
        return getattr(value, "TYPE", None) == wanted
    return True


def _first_fits(wanted: Type, value: Any) -> bool:
    """Of lists and maps the first item tells; ``flatten`` takes lists that are flat, too."""
    if wanted.kind == "list":
        inner = wanted.parameters[0]
        return not value or inner.kind == "list" or fits(inner, value[0])
    if wanted.kind == "map" and value:
        return all(map(fits, wanted.parameters, next(iter(value.items()))))
    return True


def choose(function: str, overloads: tuple[Overload, ...]) -> Callable[..., Any]:
    """A call that looks at its arguments first."""

    def call(*arguments: Any) -> Any:
        for overload in overloads:
            if all(map(fits, overload.parameters, arguments)):
                return overload.call(*arguments)
        raise _none(function, arguments)

    return call


def _none(function: str, arguments: tuple[Any, ...]) -> EvaluationError:
    """Operators say it in two ways: by whether the first argument has such an operator at all."""
    able = _SINGLE.get(function)
    if able is None:
        return EvaluationError(f"no such overload: {function}({', '.join(map(texts.type_name, arguments))})")
    first = arguments[0]
    if isinstance(first, able) and not (isinstance(first, bool) and bool not in able and object not in able):
        return no_overload()
    return EvaluationError(f"no such overload: {function}")
