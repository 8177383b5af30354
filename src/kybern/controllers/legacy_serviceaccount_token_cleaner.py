"""Let tokens go that the control plane of old put into Secrets, and that nobody has used for long.

Reads Secret, ServiceAccount, Pod, and the config map that says since when uses are noted. Writes Secret (the label
kubernetes.io/legacy-token-invalid-since, deletion). Only a Secret that its account lists is such a token. It is marked as
invalid when nobody has used it for the clean-up period and no pod names it; when it has been so for the same time again,
it is deleted. Whoever misses it takes the label away. Dates are days in UTC: the API server notes no more.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import msgspec

from kybern.api.core_v1 import ConfigMap, Pod, Secret, ServiceAccount
from kybern.auth import references
from kybern.auth.legacy_labels import INVALID_SINCE, LAST_USED, TRACKING, is_date
from kybern.client import paths
from kybern.loop.controller import Action, Call, Controller, Key, View
from kybern.loop.settings import Settings
from kybern.machinery.struct import encode

TYPE = "kubernetes.io/service-account-token"
NAME = "kubernetes.io/service-account.name"
UID = "kubernetes.io/service-account.uid"
_DAY = 86400.0


@dataclass(frozen=True, slots=True)
class State:
    """``since`` is the date in the config map, as it is written there; ``period`` how long a token may be unused."""

    secret: Secret
    account: ServiceAccount | None
    pods: tuple[Pod, ...]
    since: str
    now: datetime
    period: timedelta


def observing(settings: Settings) -> Callable[[View, Key], State | None]:
    period = timedelta(seconds=settings.legacy_token_period)

    def observe(view: View, key: Key) -> State | None:
        secret = view.get(Secret, *key)
        if secret is None or secret.type != TYPE or not is_old(secret, view.now - period):
            return None
        account = view.get(ServiceAccount, key.namespace, secret.metadata.annotations.get(NAME, ""))
        tracking = view.live(ConfigMap, *TRACKING)
        since = tracking.data.get("since", "") if tracking is not None else ""
        pods = tuple(view.index(Pod, "namespace", key.namespace))
        return State(secret, account, pods, since, view.now, period)

    return observe


def is_old(secret: Secret, before: datetime) -> bool:
    """Whether it was made and last used before then. A date that cannot be read says nothing, so the Secret stays."""
    metadata = secret.metadata
    if metadata.deletion_timestamp is not None:
        return False
    if metadata.creation_timestamp is None or metadata.creation_timestamp >= before:
        return False
    used = metadata.labels.get(LAST_USED)
    return used is None or (is_date(used) and used < before.date().isoformat())


def diff(state: State) -> Iterable[Action]:
    secret, before = state.secret, state.now - state.period
    if not is_tracked(state.since, before) or not _is_generated(state) or _is_mounted(state):
        return
    path = paths.one(Secret, secret.metadata.namespace, secret.metadata.name)
    invalid = secret.metadata.labels.get(INVALID_SINCE, "")
    if not is_date(invalid):
        labels = {INVALID_SINCE: state.now.date().isoformat()}
        yield Call("PATCH", path, {"metadata": {"uid": secret.metadata.uid, "labels": labels}}, "merge")
    elif invalid < before.date().isoformat():
        # A use in the meantime would have changed the Secret, and then it stays.
        known = {"uid": secret.metadata.uid, "resourceVersion": secret.metadata.resource_version}
        yield Call("DELETE", path, {"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": known})


def is_tracked(since: str, before: datetime) -> bool:
    """Whether uses have been noted for the whole period; of the first day only a part was."""
    if not is_date(since):
        return False
    first = date.fromisoformat(since) + timedelta(days=1)
    return before >= datetime(first.year, first.month, first.day, tzinfo=before.tzinfo)


def _is_generated(state: State) -> bool:
    account = state.account
    if account is None or state.secret.metadata.annotations.get(UID, "") not in {"", account.metadata.uid}:
        return False
    return any(one.name == state.secret.metadata.name for one in account.secrets)


def _is_mounted(state: State) -> bool:
    name = state.secret.metadata.name
    return any(name in references.secrets(msgspec.json.decode(encode(pod))) for pod in state.pods)


def listed(account: ServiceAccount, _view: View) -> Iterable[Key]:
    """An account's Secrets: they may be its own now."""
    return (Key(account.metadata.namespace, one.name) for one in account.secrets)


def by_namespace(pod: Pod) -> Iterable[str]:
    yield pod.metadata.namespace


def controller(settings: Settings) -> Controller[State]:
    return Controller(
        "legacy-serviceaccount-token-cleaner-controller",
        Secret,
        observing(settings),
        diff,
        watches=((ServiceAccount, listed),),
        indexes=((Pod, "namespace", by_namespace),),
        component="legacy-service-account-token-cleaner",
        every=_DAY,
    )
