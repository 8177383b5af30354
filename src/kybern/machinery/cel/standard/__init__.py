"""What every expression may use: operators, conversions, functions of strings and times, optional values."""

from collections.abc import Mapping

from kybern.machinery.cel.functions import Function
from kybern.machinery.cel.standard import (
    arithmetic,
    collections,
    conversions,
    logic,
    optionals,
    order,
    strings,
    times,
)  # fmt: skip
from kybern.machinery.cel.types import (
    BOOL,
    BYTES,
    DOUBLE,
    DURATION,
    DYN,
    INT,
    NULL,
    STRING,
    TIMESTAMP,
    UINT,
    Type,
    list_of,
    map_of,
    optional_of,
    type_of,
)  # fmt: skip

FUNCTIONS: tuple[Function, ...] = (
    *logic.FUNCTIONS,
    *arithmetic.FUNCTIONS,
    *order.FUNCTIONS,
    *collections.FUNCTIONS,
    *conversions.FUNCTIONS,
    *strings.FUNCTIONS,
    *times.FUNCTIONS,
    *optionals.FUNCTIONS,
)
_TYPES = (BOOL, BYTES, DOUBLE, INT, NULL, STRING, UINT, TIMESTAMP, DURATION,
          list_of(DYN), map_of(DYN, DYN), optional_of(DYN), type_of(DYN))  # fmt: skip
TYPES: Mapping[str, Type] = {each.name: each for each in _TYPES}
