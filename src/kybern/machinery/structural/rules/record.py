"""A rule as a definition says it: an expression over the value in its place, and what to say when it does not hold."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

RULES = "x-kubernetes-validations"
REASONS = ("FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired")


@dataclass(frozen=True, slots=True)
class Rule:
    """``optional`` says that oldSelf may have no value; None: not said."""

    rule: str
    message: str = ""
    expression: str = ""
    reason: str | None = None
    path: str = ""
    optional: bool | None = None

    def shown(self) -> dict[str, Any]:
        """As upstream's errors print it."""
        return {
            "Rule": self.rule,
            "Message": self.message,
            "MessageExpression": self.expression,
            "Reason": self.reason,
            "FieldPath": self.path,
            "OptionalOldSelf": self.optional,
        }

    @property
    def name(self) -> str:
        """What errors call it."""
        return self.message.strip() or self.rule.strip()

    @property
    def says(self) -> str:
        return self.message.strip() if self.message else f"failed rule: {self.name}"


def read(schema: Mapping[str, Any]) -> tuple[Rule, ...]:
    """The rules of one place."""
    return tuple(
        Rule(
            each.get("rule") or "",
            each.get("message") or "",
            each.get("messageExpression") or "",
            each.get("reason"),
            each.get("fieldPath") or "",
            each.get("optionalOldSelf"),
        )
        for each in schema.get(RULES) or ()
    )


def anywhere(schema: Mapping[str, Any]) -> bool:
    """Whether there are rules in a schema, on the places that it describes."""
    if schema.get(RULES):
        return True
    inner = [
        *(schema.get("properties") or {}).values(),
        schema.get("items"),
        schema.get("additionalProperties"),
    ]
    return any(isinstance(each, Mapping) and anywhere(each) for each in inner)
