"""What the condition Terminating of a definition says while its objects are taken away, in upstream's words. Pure."""

from collections.abc import Sequence
from copy import deepcopy
from datetime import datetime

from kybern.apiserver.crd import conditions
from kybern.machinery.kind import Raw

type Says = tuple[str, str, str]
"""Status, reason and message."""

PATIENCE = 60.0
"""Seconds for which objects may take their time before it is said that they do."""

UNDER_WAY: Says = ("True", "InstanceDeletionInProgress", "CustomResource deletion is in progress")
DONE: Says = ("False", "InstanceDeletionCompleted", "removed all instances")
NEVER: Says = ("False", "NeverEstablished", "resource was never established")
FOREIGN: Says = (
    "False",
    "OverlappingBuiltInResource",
    "instances overlap with built-in resources in storage",
)
_LATE: Says = (
    "True",
    "InstanceDeletionCheck",
    "could not confirm zero CustomResources remaining: timed out waiting for the condition",
)


def is_fresh(definition: Raw) -> bool:
    """Whether nothing has been said of it since somebody asked for its deletion."""
    found = (definition.get("status") or {}).get("conditions") or ()
    said = next((each for each in found if each.get("type") == "Terminating"), None)
    return said is None or said.get("reason") == "InstanceDeletionPending"


def stuck(definition: Raw, errors: Sequence[str], now: float) -> Says:
    """Some objects are left: because of errors, because they take their time, or because they have not had it yet."""
    if errors:
        text = errors[0] if len(errors) == 1 else f"[{', '.join(dict.fromkeys(errors))}]"
        return "True", "InstanceDeletionFailed", f"could not issue all deletes: {text}"
    since = datetime.fromisoformat(definition["metadata"]["deletionTimestamp"]).timestamp()
    return _LATE if now - since >= PATIENCE else UNDER_WAY


def told(definition: Raw, says: Says, now: str) -> Raw:
    """The status of a definition that says this."""
    status: Raw = deepcopy(definition.get("status") or {})
    conditions.settled(status, "Terminating", says, now)
    return status
