"""A webhook of a configuration, read once."""

from dataclasses import dataclass

from kybern.admission.matching import Criteria, of_webhook
from kybern.admission.policies import conditions
from kybern.admission.policies.conditions import Conditions
from kybern.admission.webhooks.target import Target, target_of
from kybern.api.rules.expressions import Scope
from kybern.machinery.kind import Raw

_QUIET = ("None", "NoneOnDryRun")


@dataclass(frozen=True, slots=True)
class Webhook:
    """``uid`` tells it from every other one; ``closed``: a failure to call it refuses the write."""

    name: str
    configuration: str
    uid: str
    criteria: Criteria
    target: Target
    seconds: int = 10
    closed: bool = True
    dry: bool = True
    versions: tuple[str, ...] = ("v1",)
    again: bool = False
    conditions: Conditions = ()


def of_configuration(raw: Raw) -> tuple[Webhook, ...]:
    """The webhooks of either kind of configuration. A name that is there twice is told apart by a number."""
    configuration = raw["metadata"]["name"]
    found: list[Webhook] = []
    seen: dict[str, int] = {}
    for one in raw.get("webhooks") or ():
        name = one["name"]
        number = seen[name] = seen.get(name, -1) + 1
        found.append(_webhook(one, configuration, f"{configuration}/{name}/{number}"))
    return tuple(found)


def _webhook(raw: Raw, configuration: str, uid: str) -> Webhook:
    return Webhook(
        name=raw["name"],
        configuration=configuration,
        uid=uid,
        criteria=of_webhook(raw),
        target=target_of(raw["clientConfig"]),
        seconds=raw.get("timeoutSeconds") or 10,
        closed=raw.get("failurePolicy") != "Ignore",
        dry=raw.get("sideEffects") in _QUIET,
        versions=tuple(raw.get("admissionReviewVersions") or ()),
        again=raw.get("reinvocationPolicy") == "IfNeeded",
        conditions=conditions.of(raw.get("matchConditions") or (), Scope()),
    )
