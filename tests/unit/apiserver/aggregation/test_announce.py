"""Which APIServices this server keeps for what it serves itself, and what it publishes for aggregated servers."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from kybern.api.kinds import KINDS
from kybern.apiserver.aggregation import authentication
from kybern.apiserver.aggregation.announce import LABEL, Announce, steps, wanted
from kybern.apiserver.aggregation.registered import Registered
from kybern.apiserver.local import Local
from kybern.apiserver.route import Table
from kybern.auth.x509 import Authority


def one(name: str, label: str = "true", **spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "labels": {LABEL: label} if label else {}},
        "spec": spec or {"version": "v1"},
    }


def test_every_group_version_but_the_one_that_answers_here_has_one() -> None:
    found = wanted(Table.of(KINDS))
    assert found["v1."]["spec"] == {"version": "v1", "groupPriorityMinimum": 18000, "versionPriority": 1}
    assert found["v2.autoscaling"]["spec"]["versionPriority"] == 30
    assert "v1.apiregistration.k8s.io" not in found
    assert {raw["metadata"]["labels"][LABEL] for raw in found.values()} == {"onstart"}


@pytest.mark.parametrize(
    ("want", "there", "starting", "done"),
    [
        ([one("a")], [], False, ["create a"]),
        ([one("a", "onstart")], [], True, ["create a"]),
        ([one("a", "onstart")], [], False, []),
        ([one("a")], [one("a")], True, []),
        ([one("a")], [one("a", service={"name": "x"})], False, ["update a"]),
        ([one("a")], [one("a", "", service={"name": "x"})], True, []),
        ([one("a", "onstart")], [one("a", "onstart", versionPriority=3)], True, ["update a"]),
        ([one("a", "onstart")], [one("a", "onstart", versionPriority=3)], False, []),
        ([], [one("a")], False, ["delete a"]),
        ([], [one("a", "onstart")], True, ["delete a"]),
        ([], [one("a", "onstart")], False, []),
        ([], [one("a", "")], True, []),
    ],
)
def test_only_objects_with_our_label_are_kept_as_they_must_be(
    want: Any, there: Any, starting: bool, done: list[str]
) -> None:
    named = [{raw["metadata"]["name"]: raw for raw in raws} for raws in (want, there)]
    found = list(steps(*named, starting=starting))
    assert [f"{verb} {raw['metadata']['name']}" for verb, raw in found] == done
    assert all("service" not in raw["spec"] for verb, raw in found if verb == "update")


def test_what_is_built_in_is_missing_until_all_of_it_was_there_once() -> None:
    table, registered = Table.of(KINDS), Registered()
    announce = Announce(table, registered, cast("Local", None))
    registered.services |= {name: raw for name, raw in wanted(table).items() if name != "v1.apps"}

    assert announce.missing() == ["v1.apps"]
    registered.services["v1.apps"] = wanted(table)["v1.apps"]
    assert announce.missing() == []
    registered.services.clear()
    assert announce.missing() == []


NOW = datetime(2026, 1, 1, tzinfo=UTC)


def pem(name: str, made: datetime = NOW) -> str:
    return Authority.create(name, made).cert_pem.decode()


def test_authorities_are_added_and_leave_when_they_have_expired() -> None:
    old, other, own = pem("old", NOW - timedelta(days=20_000)), pem("other"), pem("own")
    there = {"client-ca-file": old + other, "more": "kept", "requestheader-allowed-names": '["a"]'}
    want = {"client-ca-file": own, "requestheader-allowed-names": '["b","a"]'}
    found = authentication.merged(there, want, NOW)
    assert found["client-ca-file"] == other + own
    assert json.loads(found["requestheader-allowed-names"]) == ["a", "b"]
    assert found["more"] == "kept"
    assert authentication.merged(found, want, NOW) == found


def test_what_makes_no_sense_is_replaced() -> None:
    there = {"client-ca-file": "none", "requestheader-allowed-names": "{"}
    own = pem("own")
    found = authentication.merged(there, {"client-ca-file": own, "requestheader-allowed-names": "[]"}, NOW)
    assert found == {"client-ca-file": own, "requestheader-allowed-names": "[]"}
