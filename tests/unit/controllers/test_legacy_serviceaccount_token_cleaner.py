"""Generated tokens that nobody has used for long: marked, and later deleted."""

from dataclasses import replace as changed
from datetime import timedelta
from typing import Any

import pytest

from kybern.api.core_v1 import (
    ConfigMap,
    ObjectReference,
    Pod,
    PodSpec,
    Secret,
    SecretVolumeSource,
    ServiceAccount,
    Volume,
)
from kybern.api.meta_v1 import ObjectMeta
from kybern.auth.legacy_labels import INVALID_SINCE
from kybern.controllers.legacy_serviceaccount_token_cleaner import State, controller, diff, is_old, is_tracked
from kybern.loop.controller import Action, Call, Key
from kybern.loop.settings import Settings
from kybern.machinery.struct import Object, replace
from tests.unit.controllers.making import NOW, every, view

WEEK = timedelta(days=7)
SETTINGS = Settings(legacy_token_period=WEEK.total_seconds())
TOKEN = "kubernetes.io/service-account-token"
ACCOUNT = ServiceAccount(
    metadata=ObjectMeta(name="robot", namespace="a", uid="u"), secrets=(ObjectReference(name="key"),)
)
TODAY, LATER = NOW.date().isoformat(), (NOW - timedelta(days=8)).date().isoformat()
PATH = "/api/v1/namespaces/a/secrets/key"
MARK = Call("PATCH", PATH, {"metadata": {"uid": "s", "labels": {INVALID_SINCE: TODAY}}}, "merge")
GONE = Call(
    "DELETE",
    PATH,
    {"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": {"uid": "s", "resourceVersion": "7"}},
)


def secret(days: Any = 30, **labels: str) -> Secret:
    metadata = ObjectMeta(
        name="key", namespace="a", uid="s", resource_version="7", creation_timestamp=NOW - timedelta(days=days),
        annotations={"kubernetes.io/service-account.name": "robot", "kubernetes.io/service-account.uid": "u"},
        labels={f"kubernetes.io/legacy-token-{key.replace('_', '-')}": value for key, value in labels.items()},
    )  # fmt: skip
    return Secret(metadata=metadata, type=TOKEN)


def pod(name: str) -> Pod:
    volume = Volume(name="v", secret=SecretVolumeSource(secret_name=name))
    return Pod(metadata=ObjectMeta(name="p", namespace="a"), spec=PodSpec(volumes=(volume,)))


def actions(item: Secret, *others: Object, since: str | None = "2020-01-01") -> list[Action]:
    made = controller(SETTINGS)
    tracking = ConfigMap(data={"since": since}) if since is not None else None
    seen = view(made, item, *others, live=lambda _question: tracking)
    state = made.observe(seen, Key("a", "key"))
    return every(made.diff(state)) if state is not None else []


@pytest.mark.parametrize("labels", [{}, {"last_used": LATER}, {"invalid_since": "when?"}])
def test_a_token_that_nobody_used_for_long_is_marked(labels: dict[str, str]) -> None:
    assert actions(secret(**labels), ACCOUNT, pod("other")) == [MARK]


def test_one_that_has_been_marked_for_as_long_goes() -> None:
    assert actions(secret(invalid_since=LATER), ACCOUNT) == [GONE]


@pytest.mark.parametrize(
    ("kept", "others"),
    [
        (secret(days=6), (ACCOUNT,)),
        (secret(last_used=TODAY), (ACCOUNT,)),
        (secret(last_used="2025-12-25"), (ACCOUNT,)),
        (secret(last_used="long ago"), (ACCOUNT,)),
        (secret(invalid_since=TODAY), (ACCOUNT,)),
        (secret(), ()),
        (secret(), (replace(ACCOUNT, secrets=()),)),
        (secret(), (replace(ACCOUNT, metadata=ObjectMeta(name="robot", namespace="a", uid="v")),)),
        (secret(), (ACCOUNT, pod("key"))),
        (replace(secret(), type="Opaque"), (ACCOUNT,)),
    ],
    ids=["young", "used", "used on the day", "unreadable", "just marked", "no account", "made by hand", "another account",
         "mounted", "another type"],
)  # fmt: skip
def test_any_other_stays(kept: Secret, others: tuple[Object, ...]) -> None:
    assert actions(kept, *others) == []


@pytest.mark.parametrize("since", [None, "", "whenever", "2025-12-25", TODAY])
def test_nothing_is_done_before_uses_were_noted_for_as_long(since: str | None) -> None:
    assert actions(secret(), ACCOUNT, since=since) == []


def test_the_first_day_of_noting_does_not_count() -> None:
    assert is_tracked("2025-12-31", NOW)
    assert not is_tracked(TODAY, NOW)


def test_what_is_being_deleted_is_left_alone() -> None:
    gone = secret()
    assert not is_old(replace(gone, metadata=replace(gone.metadata, deletion_timestamp=NOW)), NOW)


def test_what_was_marked_comes_to_rest() -> None:
    state = State(secret(invalid_since=TODAY), ACCOUNT, (), "2020-01-01", NOW, WEEK)

    assert list(diff(state)) == []
    assert list(diff(changed(state, now=NOW + timedelta(days=8)))) == [GONE]


def test_an_account_wakes_the_secrets_that_it_lists() -> None:
    (_, wakes), *_ = controller(SETTINGS).watches
    seen: Any = None

    assert list(wakes(ACCOUNT, seen)) == [Key("a", "key")]
