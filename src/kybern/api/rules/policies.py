"""What validating and mutating admission policies share."""

from typing import Any

from kybern.api.rules.tables import UNSET, dig, selector, simple
from kybern.machinery.kind import Column, Raw


def param_kind(raw: Raw) -> str:
    """The kind of a policy's parameters as printed."""
    found = dig(raw, "spec", "paramKind")
    return f"{found.get('apiVersion', '')}/{found.get('kind', '')}" if found else UNSET


def _param_ref(raw: Raw) -> str:
    found = dig(raw, "spec", "paramRef")
    if not found:
        return UNSET
    if found.get("name"):
        return f"{found.get('namespace') or '*'}/{found['name']}"
    return selector(found.get("selector"))


def _cells(raw: Raw) -> list[Any]:
    return [dig(raw, "spec", "policyName") or "", _param_ref(raw)]


BINDING_TABLE = simple((Column("PolicyName"), Column("ParamRef")), _cells)
