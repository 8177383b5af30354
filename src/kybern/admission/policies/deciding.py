"""What a validating policy says of a write: pure, given what its expressions see."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from kybern.admission.policies import conditions
from kybern.admission.policies.expression import Evaluation, Failed, OutOfBudget
from kybern.admission.policies.policy import Policy, Validation

_LONGEST_MESSAGE = 5 * 1024


@dataclass(frozen=True, slots=True)
class Denial:
    """``index`` is the validation's place; ``reason`` empty for the usual one; ``error`` what metrics call its cause."""

    message: str
    reason: str = ""
    index: int = 0
    error: str = "no_error"


@dataclass(frozen=True, slots=True)
class Said:
    """``annotations`` by key; ``faults`` are annotations that could not be made, and refuse whatever the binding says.

    ``passed_over`` are kinds of errors that the policy lets pass, for metrics.
    """

    denials: tuple[Denial, ...] = ()
    annotations: tuple[tuple[str, str], ...] = ()
    faults: tuple[Denial, ...] = ()
    passed_over: tuple[str, ...] = ()


def decided(policy: Policy, seen: Mapping[str, Any]) -> Said:
    try:
        if policy.conditions and not conditions.hold(policy.conditions, seen, policy.variables):
            return Said()
    except conditions.Unclear as problem:
        return _fault(policy, str(problem), Failed.kind)
    evaluation = Evaluation(seen, policy.variables)
    try:
        found = tuple(_denials(policy, evaluation))
        annotations, faults = _annotations(policy, Evaluation(seen, policy.variables))
    except OutOfBudget as problem:
        return _fault(policy, str(problem), problem.kind)
    denials = tuple(one for one in found if isinstance(one, Denial))
    return Said(
        denials, tuple(annotations), tuple(faults), tuple(one for one in found if isinstance(one, str))
    )


def _fault(policy: Policy, message: str, error: str) -> Said:
    return Said((Denial(message, error=error),)) if policy.closed else Said(passed_over=(error,))


def _denials(policy: Policy, evaluation: Evaluation) -> Iterator[Denial | str]:
    """Who is against it, and kinds of errors that the policy lets pass."""
    for index, validation in enumerate(policy.validations):
        try:
            if evaluation.value(validation.expression) is True:
                continue
        except OutOfBudget:
            raise
        except Failed as problem:
            yield Denial(str(problem), index=index, error=problem.kind) if policy.closed else problem.kind
            continue
        yield Denial(_message(validation, evaluation), validation.reason or "Invalid", index)


def _message(validation: Validation, evaluation: Evaluation) -> str:
    if validation.says is not None:
        try:
            said = evaluation.value(validation.says)
        except OutOfBudget as problem:
            return f"failed messageExpression: {problem}"
        except Failed:
            said = None  # upstream logs it, and says what else there is
        text = said.strip() if isinstance(said, str) else ""
        if text and "\n" not in text and len(text.encode()) <= _LONGEST_MESSAGE:
            return text
    return validation.message or f"failed expression: {validation.expression.source.strip()}"


def _annotations(policy: Policy, evaluation: Evaluation) -> tuple[list[tuple[str, str]], list[Denial]]:
    found: list[tuple[str, str]] = []
    faults: list[Denial] = []
    for annotation in policy.annotations:
        try:
            value = evaluation.value(annotation.value)
        except OutOfBudget:
            raise
        except Failed as problem:
            if policy.closed:
                faults.append(Denial(str(problem), error=problem.kind))
            continue
        text = value.strip() if isinstance(value, str) else ""
        if text:
            found.append((annotation.key, text))
    return found, faults
