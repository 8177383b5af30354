"""What of a waiting pod's own change could help it, for the plugins that refused it. Pure.

Upstream's events of UnscheduledPod: labels, requests that shrink, tolerations, claims that were made for it.
"""

from kybern.api.core_v1 import Pod
from kybern.scheduler import requests
from kybern.scheduler.changes import Action, Happening, Hint, Wake
from kybern.scheduler.facts import PodFacts


def relabelled(_facts: PodFacts, what: Happening) -> bool:
    return bool(what.old.metadata.labels != what.new.metadata.labels)


def asks_less(_facts: PodFacts, what: Happening) -> bool:
    before, now = requests.of_pod(what.old), requests.of_pod(what.new)
    return any(now.get(name, 0) < number for name, number in before.items())


def tolerates_more(_facts: PodFacts, what: Happening) -> bool:
    return bool(what.old.spec.tolerations != what.new.spec.tolerations)


def got_claims(_facts: PodFacts, what: Happening) -> bool:
    return bool(what.old.status.resource_claim_statuses != what.new.status.resource_claim_statuses)


def needs_others(_facts: PodFacts, what: Happening) -> bool:
    return bool(what.old.spec != what.new.spec)


def when(hint: Hint) -> Wake:
    """The pod's own change of this sort."""
    return Wake(Pod, Action.RENEWED, hint)
