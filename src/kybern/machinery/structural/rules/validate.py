"""Values checked by their rules: each rule where it stands, with what was there before, within one budget.

A rule that speaks of the past is asked only where the past is known: items of lists have one if they are told apart by keys.
What was wrong before and is as it was may stay: a rule that speaks only of the present then warns.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from kybern.machinery.causes import forbidden, required, shown
from kybern.machinery.cel.binding import Bind
from kybern.machinery.cel.values import NONE, BudgetExceeded, EvaluationError, Optional
from kybern.machinery.errors import Cause
from kybern.machinery.structural.rules.compiled import OLD, SELF, Compiled, Outcome
from kybern.machinery.structural.rules.past import NOWHERE, Past

ROOT = "<nil>"
"""Upstream's path of what has none."""
CALL_LIMIT = 1_000_000
BUDGET = 10_000_000
_LONGEST_MESSAGE = 5 * 1024
_OUT = "failed due to running out of cost budget, no further validation rules will be run"


@dataclass(frozen=True, slots=True)
class Validator:
    """One place with rules at it or below it. ``kind`` is the type of the schema; ``tellable``: keys have a past."""

    kind: str
    rules: tuple[Compiled, ...] = ()
    bind: Bind | None = None
    properties: Mapping[str, "Validator"] = field(default_factory=dict)
    additional: "Validator | None" = None
    items: "Validator | None" = None
    map_keys: tuple[str, ...] = ()
    tellable: bool = True


@dataclass(slots=True)
class Walk:
    """What was found on the way, and what may still be spent."""

    left: int = BUDGET
    causes: list[Cause] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


class _Spent(Exception):
    """Nothing more is evaluated."""


def validate(
    validator: Validator, new: Any, old: Any = None, *, keep: bool = True, budget: int = BUDGET
) -> Walk:
    """Everything that the rules have against a value. ``keep`` lets be what was so before."""
    walk = Walk(budget)
    past = Past(new, old) if keep and old is not None else NOWHERE
    with suppress(_Spent):
        _place(validator, new, "", past, old, walk)
    return walk


def _place(validator: Validator, value: Any, path: str, past: Past, old: Any, walk: Walk) -> None:
    if value is None:
        return
    if validator.rules:
        _rules(validator, value, path, past, old, walk)
    if isinstance(value, list) and validator.items is not None:
        for i, item in enumerate(value):
            inner = past.item(i, validator.map_keys)
            _place(validator.items, item, f"{path}[{i}]", inner, _same(item, old, validator), walk)
    elif isinstance(value, dict):
        _entries(validator, value, path, past, old, walk)


def _same(item: Any, old: Any, validator: Validator) -> Any:
    """The old item that this one was."""
    return Past.keyed(item, old, validator.map_keys)


def _entries(
    validator: Validator, value: dict[str, Any], path: str, past: Past, old: Any, walk: Walk
) -> None:
    known = old if isinstance(old, dict) and validator.tellable else {}
    for key, each in value.items():
        below = validator.properties.get(key)
        place = f"{path}.{key}" if path else key
        if below is None:
            below, place = validator.additional, f"{path}[{key}]"
        if below is not None:
            _place(below, each, place, past.key(key), known.get(key), walk)


def _rules(validator: Validator, value: Any, path: str, past: Past, old: Any, walk: Walk) -> None:
    if walk.left <= 0:
        walk.causes.append(_wrong(path, validator.kind, f"validation {_OUT}"))
        raise _Spent
    bind = validator.bind
    seen = value if bind is None else _bound(bind, value)
    seen_old = old if bind is None or old is None else _bound(bind, old)
    for rule in validator.rules:
        if rule.wrong:
            walk.causes.append(_wrong(path, validator.kind, f"rule compile error: {rule.wrong}"))
        elif rule.program is not None and (old is not None or not rule.transition or rule.rule.optional):
            variables = _variables(rule, seen, seen_old, known=old is not None)
            _rule(rule, variables, _Subject(validator.kind, value, path, past), walk)


def _bound(bind: Bind, value: Any) -> Any:
    """What cannot be read is an error when it is used, not before."""
    try:
        return bind(value)
    except EvaluationError as problem:
        return problem


def _variables(rule: Compiled, seen: Any, seen_old: Any, *, known: bool) -> dict[str, Any]:
    if not rule.transition:
        return {SELF: seen}
    if not rule.rule.optional:
        return {SELF: seen, OLD: seen_old}
    return {SELF: seen, OLD: Optional(present=True, value=seen_old) if known else NONE}


@dataclass(frozen=True, slots=True)
class _Subject:
    """What a rule is asked about."""

    kind: str
    value: Any
    path: str
    past: Past


def _rule(rule: Compiled, variables: Mapping[str, Any], subject: _Subject, walk: Walk) -> None:
    assert rule.program is not None
    outcome = _run(rule, variables)
    if outcome.cost > walk.left:
        walk.causes.append(_wrong(subject.path, subject.kind, f"validation {_OUT}"))
        raise _Spent
    walk.left -= outcome.cost
    if outcome.error is not None:
        _failed(rule, outcome.error, subject, walk)
    elif outcome.value is not True:
        _refused(rule, variables, subject, walk)


def _run(rule: Compiled, variables: Mapping[str, Any]) -> Outcome:
    assert rule.program is not None
    broken = next((each for each in variables.values() if isinstance(each, EvaluationError)), None)
    return Outcome(None, 0, broken) if broken else rule.program.run(variables, CALL_LIMIT)


def _failed(rule: Compiled, error: EvaluationError, subject: _Subject, walk: Walk) -> None:
    text, name = str(error), rule.rule.name
    if isinstance(error, BudgetExceeded):
        says = f"'{text}': no further validation rules will be run due to call cost exceeds limit for rule: {name}"
        walk.causes.append(_wrong(subject.path, subject.kind, says))
        raise _Spent
    if text.startswith("no such overload"):
        says = f"'{text}': call arguments did not match a supported operator, function or macro signature for rule: {name}"
    else:
        says = f"{text} evaluating rule: {name}"
    walk.causes.append(_wrong(subject.path, subject.kind, says))


def _refused(rule: Compiled, variables: Mapping[str, Any], subject: _Subject, walk: Walk) -> None:
    at = ".".join(filter(None, (subject.path, rule.path))) or ROOT
    says, spent = rule.rule.says, False
    if rule.message is not None:
        outcome = rule.message.run(variables, CALL_LIMIT)
        wrong = _unpaid(rule, outcome, walk)
        if wrong:
            cause, spent = _wrong(at, subject.kind, wrong), True
        else:
            walk.left -= outcome.cost
            cause = _cause(rule, at, subject, _message(outcome) or says)
    else:
        cause = _cause(rule, at, subject, says)
    if not rule.transition and subject.past.same():
        walk.warnings.append(cause.line())
    else:
        walk.causes.append(cause)
    if spent:
        raise _Spent


def _unpaid(rule: Compiled, outcome: Outcome, walk: Walk) -> str:
    if outcome.cost > walk.left:
        return f"messageExpression evaluation {_OUT}"
    if isinstance(outcome.error, BudgetExceeded):
        said = shown(rule.rule.expression)
        return f"no further validation rules will be run due to call cost exceeds limit for messageExpression: {said}"
    return ""


def _message(outcome: Outcome) -> str:
    """The text of a message, if it is one: a line, neither empty nor too long."""
    text = outcome.value.strip() if outcome.error is None and isinstance(outcome.value, str) else ""
    return "" if "\n" in text or len(text.encode(errors="surrogatepass")) > _LONGEST_MESSAGE else text


def _wrong(path: str, kind: str, says: str) -> Cause:
    return Cause(path or ROOT, "FieldValueInvalid", f"Invalid value: {shown(kind)}: {says}")


def _cause(rule: Compiled, at: str, subject: _Subject, says: str) -> Cause:
    """Objects and lists are not shown: they may be long."""
    reason = rule.rule.reason or "FieldValueInvalid"
    if reason == "FieldValueForbidden":
        return forbidden(at, says)
    if reason == "FieldValueRequired":
        return required(at, says)
    value = "" if subject.kind in ("object", "array") else f": {shown(subject.value)}"
    if reason == "FieldValueDuplicate":
        return Cause(at, reason, f"Duplicate value{value}")
    return Cause(at, "FieldValueInvalid", f"Invalid value{value}: {says}")
