"""What a rule must be like apart from its expressions: said, on one line or with a message, with a reason that is one."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from kybern.machinery.causes import invalid, not_supported, required
from kybern.machinery.errors import Cause
from kybern.machinery.structural.rules import paths
from kybern.machinery.structural.rules.record import REASONS, RULES, Rule, read

_LINES = re.compile(r"[\n\r]")
_EMPTY = "must be non-empty if specified"
_BROKEN = "must not contain line breaks"


def check(schema: Mapping[str, Any], path: str) -> Iterator[Cause]:
    """What is wrong with the rules of one place."""
    for i, rule in enumerate(read(schema)):
        at = f"{path}.{RULES}[{i}]"
        yield from _message(rule, at)
        if rule.expression and not rule.expression.strip():
            yield required(f"{at}.messageExpression", "messageExpression must be non-empty if specified")
        if rule.reason is not None and rule.reason not in REASONS:
            yield not_supported(f"{at}.reason", rule.reason, REASONS)
        if rule.path:
            yield from _path(rule.path, schema, f"{at}.fieldPath")


def _message(rule: Rule, at: str) -> Iterator[Cause]:
    text, message = rule.rule.strip(), rule.message.strip()
    if not text:
        yield required(f"{at}.rule", "rule is not specified")
    elif rule.message and not message:
        yield invalid(f"{at}.message", rule.message, _EMPTY)
    elif _LINES.search(message):
        yield invalid(f"{at}.message", rule.message, _BROKEN)
    elif _LINES.search(text) and not message:
        yield required(f"{at}.message", "message must be specified if rule contains line breaks")


def _path(path: str, schema: Mapping[str, Any], at: str) -> Iterator[Cause]:
    if not path.strip():
        yield invalid(at, path, _EMPTY)
    if _LINES.search(path):
        yield invalid(at, path, _BROKEN)
    try:
        paths.normal(path, schema)
    except paths.PathError:
        yield invalid(at, path, "must be a valid path")
