"""Sizes, membership, places. Reading a place is planned by the evaluator."""

from typing import Any

from kybern.machinery.cel import measures
from kybern.machinery.cel.compare import among
from kybern.machinery.cel.functions import Function, Overload, Range
from kybern.machinery.cel.standard.logic import planned
from kybern.machinery.cel.types import BOOL, BYTES, INT, STRING, A, B, Type, list_of, map_of, optional_of
from kybern.machinery.cel.values import EvaluationError

_LIST, _MAP = list_of(A), map_of(A, B)
_SIZED: tuple[tuple[str, Type], ...] = (("bytes", BYTES), ("list", _LIST), ("map", _MAP), ("string", STRING))


def _each(sizes: tuple[Range, ...]) -> Range:
    return Range(sizes[1].least, sizes[1].most)


def _each_count(arguments: tuple[Any, ...], _result: Any) -> int:
    return measures.size_of(arguments[1])


def _has_key(key: Any, entries: dict[Any, Any]) -> bool:
    """Lists and maps are keys of nothing, and true is not 1."""
    try:
        found = key in entries
    except TypeError:
        return False
    if found and key in (0, 1):
        return any(each == key and isinstance(each, bool) == isinstance(key, bool) for each in entries)
    return found


def insert(into: dict[Any, Any], key: Any, value: Any) -> dict[Any, Any]:
    if key in into:
        shown = str(key).lower() if isinstance(key, bool) else key
        raise EvaluationError(f"insert failed: key {shown} already exists")
    return {**into, key: value}


def _insert_all(into: dict[Any, Any], more: dict[Any, Any]) -> dict[Any, Any]:
    for key, value in more.items():
        into = insert(into, key, value)
    return into


FUNCTIONS: tuple[Function, ...] = (
    Function(
        "size",
        tuple(
            each
            for name, kind in _SIZED
            for each in (
                Overload(f"size_{name}", (kind,), INT, len),
                Overload(f"{name}_size", (kind,), INT, len, member=True),
            )
        ),
    ),
    Function(
        "@in",
        (
            Overload("in_list", (A, _LIST), BOOL, among, estimate=_each, count=_each_count),
            Overload("in_map", (A, _MAP), BOOL, _has_key),
        ),
    ),
    Function(
        "_[_]",
        (
            Overload("index_list", (_LIST, INT), A, planned),
            Overload("index_map", (_MAP, A), B, planned),
            Overload("optional_list_index_int", (optional_of(_LIST), INT), optional_of(A), planned),
            Overload("optional_map_index_value", (optional_of(_MAP), A), optional_of(B), planned),
        ),
    ),
    Function(
        "_[?_]",
        (
            Overload("list_optindex_optional_int", (_LIST, INT), optional_of(A), planned),
            Overload(
                "optional_list_optindex_optional_int", (optional_of(_LIST), INT), optional_of(A), planned
            ),
            Overload("map_optindex_optional_value", (_MAP, A), optional_of(B), planned),
            Overload("optional_map_optindex_optional_value", (optional_of(_MAP), A), optional_of(B), planned),
        ),
    ),
    Function(
        "cel.@mapInsert",
        (
            Overload("@mapInsert_map_key_value", (_MAP, A, B), _MAP, insert),
            Overload("@mapInsert_map_map", (_MAP, _MAP), _MAP, _insert_all),
        ),
    ),
)
