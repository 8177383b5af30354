"""metav1.Conditions of a status; pure.

The rules are apimachinery's SetStatusCondition: one condition a type, whose time moves only when its status does.
"""

from datetime import datetime

from kybern.api.meta_v1 import Condition
from kybern.machinery.struct import replace


def find(conditions: tuple[Condition, ...], type: str) -> Condition | None:  # noqa: A002  # the API's word
    return next((one for one in conditions if one.type == type), None)


def settled(conditions: tuple[Condition, ...], wanted: Condition, now: datetime) -> tuple[Condition, ...]:
    """The conditions with one set; in its place when there was one of its type, else at the end."""
    old = find(conditions, wanted.type)
    if old is None:
        return (*conditions, replace(wanted, last_transition_time=now.replace(microsecond=0)))
    since = old.last_transition_time if old.status == wanted.status else now.replace(microsecond=0)
    fresh = replace(wanted, last_transition_time=since)
    return tuple(fresh if one is old else one for one in conditions)
