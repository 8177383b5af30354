"""What the objects of a custom kind must be like: by its schema, then by its rules.

Rules are compiled when the first object comes, and stay with the kind. What an object may keep because it was so before is
a warning; the engine asks for warnings right after it has asked what is wrong.
"""

from collections.abc import Iterator
from functools import cached_property
from time import perf_counter
from typing import Any

from kybern.apiserver.crd import metrics
from kybern.machinery.causes import invalid, required
from kybern.machinery.errors import Cause
from kybern.machinery.kind import Raw, ScalePaths
from kybern.machinery.structural import shape, unique, values
from kybern.machinery.structural.node import Structural, at
from kybern.machinery.structural.rules.build import build
from kybern.machinery.structural.rules.engine import compile_rule
from kybern.machinery.structural.rules.record import anywhere
from kybern.machinery.structural.rules.validate import Validator, validate

_NEGATIVE = "should be a non-negative integer"
_BLOCKING = frozenset((
    "FieldValueNotSupported", "FieldValueRequired", "FieldValueTooLong", "FieldValueTooMany", "FieldValueTypeInvalid",
))  # fmt: skip
_UNCHECKED = (
    "some validation rules were not checked because the object was invalid; correct the existing errors to complete"
    " validation"
)


class Judge:
    """Of one version of one kind."""

    def __init__(self, schema: Structural, kind: str, api_version: str, scale: ScalePaths | None) -> None:
        self._schema = schema
        self._kind = kind
        self._api_version = api_version
        self._scale = scale
        self._ruled = anywhere(schema.schema)
        self._warnings: list[str] = []

    @cached_property
    def _validator(self) -> Validator | None:
        began = perf_counter()
        found = build(self._schema.schema, compile_rule)
        metrics.COMPILED.of().observe(perf_counter() - began)
        return found

    def causes(self, new: Raw, old: Raw | None) -> Iterator[Cause]:
        """Everything that is wrong with an object."""
        self._warnings = []
        if new.get("kind", self._kind) != self._kind:
            yield invalid("kind", new["kind"], f"must be {self._kind}")
            return
        if new.get("apiVersion", self._api_version) != self._api_version:
            yield invalid("apiVersion", new["apiVersion"], f"must be {self._api_version}")
            return
        found = list(self._shaped(new, old))
        yield from found
        if self._ruled:
            yield from self._by_rules(new, old, found)

    def warnings(self, _new: Raw, _old: Raw | None) -> list[str]:
        """What the last object that was judged may keep."""
        return self._warnings

    def _shaped(self, new: Raw, old: Raw | None) -> Iterator[Cause]:
        yield from values.validate(new, self._schema.schema, old=old)
        if self._scale is not None:
            yield from _counted(new, self._scale)
        yield from _inner(new, self._schema)
        yield from unique.lists(new, self._schema)

    def _by_rules(self, new: Raw, old: Raw | None, found: list[Cause]) -> Iterator[Cause]:
        if any(cause.reason in _BLOCKING for cause in found):
            yield invalid(values.NOWHERE, None, _UNCHECKED)
            return
        validator = self._validator
        if validator is not None:
            began = perf_counter()
            walk = validate(validator, new, old)
            metrics.EVALUATED.of().observe(perf_counter() - began)
            self._warnings = walk.warnings
            yield from walk.causes


def _counted(raw: Raw, scale: ScalePaths) -> Iterator[Cause]:
    for path in (scale.spec, scale.status):
        count = at(raw, path)
        if isinstance(count, int) and count < 0:
            yield invalid(".".join(path), count, _NEGATIVE)


def _inner(raw: Raw, schema: Structural) -> Iterator[Cause]:
    found: list[Cause] = []

    def check(value: dict[str, Any], path: str) -> None:
        if not path:
            return
        missing = (key for key in ("apiVersion", "kind") if not value.get(key))
        found.extend(required(f"{path}.{key}", "must not be empty") for key in missing)

    shape.embedded(raw, schema, check)
    yield from found
