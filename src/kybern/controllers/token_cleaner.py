"""Delete bootstrap tokens that have expired.

Reads Secret. Writes Secret (deletion). Only tokens in kube-system count; an expiration that cannot be read counts as past,
and a token without one stays.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from kybern.api.core_v1 import Secret
from kybern.auth import bootstrap_token
from kybern.loop.controller import Action, Again, Controller, Delete, Key, View
from kybern.loop.settings import Settings


@dataclass(frozen=True, slots=True)
class State:
    secret: Secret
    now: datetime


def observe(view: View, key: Key) -> State | None:
    if key.namespace != bootstrap_token.NAMESPACE:
        return None
    secret = view.get(Secret, *key)
    is_token = secret is not None and secret.type == bootstrap_token.TYPE
    return State(secret, view.now) if is_token and secret is not None else None


def diff(state: State) -> Iterable[Action]:
    left = bootstrap_token.seconds_left(state.secret.data, state.now.timestamp())
    if left is None or state.secret.metadata.deletion_timestamp is not None:
        return
    yield Again(left) if left > 0 else Delete(state.secret)


def controller(_settings: Settings) -> Controller[State]:
    return Controller("token-cleaner-controller", Secret, observe, diff, component="token-cleaner")
