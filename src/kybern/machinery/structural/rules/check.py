"""Whether the rules of a definition compile, and what they may cost at the most.

A rule costs as much as its expression in the worst case, times how often its place may be in one object: lists and maps
above it say how many, or the size of a request does.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from kybern.machinery.causes import forbidden, invalid
from kybern.machinery.cel import measures
from kybern.machinery.cel.names import escaped
from kybern.machinery.cel.schemas import LARGEST_REQUEST, Declared, declare
from kybern.machinery.errors import Cause
from kybern.machinery.structural.node import EMBEDDED, LIST_TYPE, MAP_TYPE
from kybern.machinery.structural.rules.compiled import Compile, Compiled, compiled
from kybern.machinery.structural.rules.record import RULES

_RULE_LIMIT = 10_000_000
_WHOLE_LIMIT = 100_000_000
_SHOWN = 4
_HINT = (
    "(try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are"
    " declared)"
)
_NO_TYPE = (
    "Internal error: internal error: failed to construct type information for x-kubernetes-validations rules: unable to"
    " convert structural schema to CEL declarations"
)
_PART = "contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema"
_WHOLE = "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema"


@dataclass(slots=True)
class _Whole:
    """The definition: what compiles its rules, which places are wrong otherwise, and what its rules cost."""

    compile: Compile
    wrong: tuple[str, ...]
    total: int = 0
    dear: list[tuple[int, str]] = field(default_factory=list)

    def add(self, path: str, cost: int) -> None:
        self.total = measures.plus(self.total, cost)
        if cost >= _WHOLE_LIMIT // 100:
            self.dear.append((cost, path))


@dataclass(frozen=True, slots=True)
class _Place:
    """``declared`` is known at rules and below them; ``times`` is None where nothing bounds it.

    ``apart`` is the list or map above whose items cannot be told to be the same as before.
    """

    schema: Mapping[str, Any]
    path: str
    root: bool
    declared: Declared | None = None
    times: int | None = 1
    apart: str = ""


def check(
    schema: Mapping[str, Any], path: str, compile_: Compile, wrong: tuple[str, ...] = ()
) -> Iterator[Cause]:
    """What is wrong with the rules of a structural schema. Below what is ``wrong`` otherwise nothing is compiled."""
    whole = _Whole(compile_, wrong)
    yield from _place(_Place(schema, path, root=True), whole)
    if whole.total > _WHOLE_LIMIT:
        dear = sorted(whole.dear, key=lambda one: one[0], reverse=True)
        for _, at in dear[:_SHOWN]:
            yield forbidden(at, _PART)
        yield forbidden(path, _exceeds(_WHOLE, whole.total, _WHOLE_LIMIT))


def _place(place: _Place, whole: _Whole) -> Iterator[Cause]:
    schema = place.schema
    declared = place.declared
    if declared is None and schema.get(RULES):
        declared = declare(schema, "selfType", root=place.root or bool(schema.get(EMBEDDED)))
    for below in _below(place, declared):
        yield from _place(below, whole)
    if not schema.get(RULES) or any(each.startswith(place.path) for each in whole.wrong):
        return
    if declared is None:
        yield Cause(f"{place.path}.{RULES}", "InternalError", _NO_TYPE)
        return
    for i, rule in enumerate(compiled(schema, declared, whole.compile)):
        yield from _rule(rule, f"{place.path}.{RULES}[{i}]", _times(place, declared), place.apart, whole)


def _times(place: _Place, declared: Declared) -> int:
    return LARGEST_REQUEST // (declared.least + 1) if place.times is None else place.times


def _below(place: _Place, declared: Declared | None) -> Iterator[_Place]:
    schema, path = place.schema, place.path
    times = _more(schema, place.times)
    further, items = schema.get("additionalProperties"), schema.get("items")
    inner = declared.item if declared is not None else None
    if isinstance(further, Mapping):
        yield _Place(further, f"{path}.additionalProperties", False, inner, times, place.apart)
    granular = schema.get(MAP_TYPE) in (None, "granular", "atomic")
    for name, each in sorted((schema.get("properties") or {}).items()):
        found = declared.fields.get(escaped(name) or "") if declared is not None else None
        apart = place.apart if granular else place.apart or path
        yield _Place(each, f"{path}.properties[{name}]", False, found, times, apart)
    if isinstance(items, Mapping):
        apart = place.apart if schema.get(LIST_TYPE) == "map" else place.apart or path
        yield _Place(items, f"{path}.items", False, inner, times, apart)


def _more(schema: Mapping[str, Any], times: int | None) -> int | None:
    """How often what is below may be there."""
    limit: Any = 1
    if schema.get("type") == "object" and schema.get("additionalProperties") is not None:
        limit = schema.get("maxProperties")
    elif schema.get("type") == "array":
        limit = schema.get("maxItems")
    return None if times is None or limit is None else measures.times(times, max(int(limit), 0))


def _rule(found: Compiled, at: str, times: int, apart: str, whole: _Whole) -> Iterator[Cause]:
    shown = found.rule.shown()
    if found.program is not None:
        cost = measures.times(found.program.most, times)
        yield from _cost(f"{at}.rule", "estimated rule cost", cost, whole)
    if found.wrong:
        yield invalid(f"{at}.rule", shown, found.wrong)
    if found.message_wrong:
        yield invalid(f"{at}.messageExpression", shown, found.message_wrong)
    elif found.message is not None:
        name = "estimated messageExpression cost"
        yield from _cost(f"{at}.messageExpression", name, found.message.most, whole)
    if found.transition:
        if apart:
            text = f"oldSelf cannot be used on the uncorrelatable portion of the schema within {apart}"
            yield invalid(f"{at}.rule", found.rule.rule, text)
    elif found.rule.optional is not None:
        yield invalid(
            f"{at}.optionalOldSelf", found.rule.optional, "may not be set if oldSelf is not used in rule"
        )


def _cost(at: str, name: str, cost: int, whole: _Whole) -> Iterator[Cause]:
    if cost > _RULE_LIMIT:
        yield forbidden(at, _exceeds(name, cost, _RULE_LIMIT))
    whole.add(at, cost)


def _exceeds(name: str, cost: int, limit: int) -> str:
    factor = cost / limit
    precise = f"{factor:.6f}x" if factor < 1.5 else f"{factor:.1f}x"
    shown = "more than 100x" if factor > 100 else precise
    return f"{name} exceeds budget by factor of {shown} {_HINT}"
