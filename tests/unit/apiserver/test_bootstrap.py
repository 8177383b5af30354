"""What a server makes at its start, and what it leaves alone."""

import copy
from typing import Any

import pytest

from kybern.apiserver.bootstrap import Verb, Wanted, Write, step, wanted

WANTED = tuple(wanted())
BY_NAME = {(want.plural, want.name): want for want in WANTED}


def stored(want: Wanted, **changes: Any) -> dict[str, Any]:
    """The object as a server would keep it."""
    found = copy.deepcopy(want.object)
    found["metadata"] |= {"uid": "u", "generation": 1}
    return found | changes


def test_everything_is_there_in_order_and_once() -> None:
    plurals = list(dict.fromkeys(want.plural for want in WANTED))

    assert plurals == [
        "namespaces", "priorityclasses", "clusterroles", "clusterrolebindings", "roles", "rolebindings",
        "prioritylevelconfigurations", "flowschemas",
    ]  # fmt: skip
    assert len({(want.plural, want.namespace, want.name) for want in WANTED}) == len(WANTED)
    assert BY_NAME["clusterroles", "cluster-admin"].object["apiVersion"] == "rbac.authorization.k8s.io/v1"
    assert "rules" not in BY_NAME["clusterroles", "admin"].object


@pytest.mark.parametrize("want", WANTED, ids=lambda want: f"{want.plural}/{want.name}")
def test_what_is_absent_is_made_and_what_is_there_is_left(want: Wanted) -> None:
    assert step(want, None) == Write(Verb.CREATE, want.object)
    assert step(want, stored(want)) is None


def test_missing_rules_are_added_and_others_kept() -> None:
    want = BY_NAME["clusterroles", "system:discovery"]
    own = {"verbs": ["get"], "nonResourceURLs": ["/mine"]}
    part = {
        "verbs": ["get"],
        "nonResourceURLs": ["/api", "/api/*", "/apis", "/apis/*", "/openapi", "/openapi/*", "/version*"],
    }

    write = step(want, stored(want, rules=[own, part]))

    assert write is not None
    assert write.verb is Verb.UPDATE
    added = [{"verbs": ["get"], "nonResourceURLs": [url]} for url in ("/healthz", "/livez", "/readyz")]
    assert write.object["rules"] == [own, part, *added]
    assert step(want, write.object) is None


def test_an_object_that_says_so_is_never_updated() -> None:
    want = BY_NAME["clusterroles", "system:discovery"]
    found = stored(want, rules=[])
    found["metadata"]["annotations"] = {"rbac.authorization.kubernetes.io/autoupdate": "false"}

    assert step(want, found) is None


def test_missing_subjects_and_labels_are_added() -> None:
    want = BY_NAME["clusterrolebindings", "system:discovery"]
    mine = {"kind": "User", "name": "me", "apiGroup": "rbac.authorization.k8s.io"}
    found = stored(want, subjects=[mine])
    found["metadata"]["labels"] = {"mine": "1"}

    write = step(want, found)

    assert write is not None
    assert write.object["subjects"] == [mine, *want.object["subjects"]]
    assert write.object["metadata"]["labels"] == {"mine": "1", "kubernetes.io/bootstrapping": "rbac-defaults"}


def test_a_binding_to_another_role_is_made_anew() -> None:
    want = BY_NAME["clusterrolebindings", "cluster-admin"]
    other = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"}

    assert step(want, stored(want, roleRef=other)) == Write(Verb.RECREATE, want.object)


def test_aggregated_rules_are_left_to_their_controller() -> None:
    want = BY_NAME["clusterroles", "view"]
    rules = [{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}]

    assert step(want, stored(want, rules=rules)) is None
    lost = step(want, stored(want, rules=rules, aggregationRule={}))
    assert lost is not None
    assert lost.object["rules"] == rules
    assert lost.object["aggregationRule"] == want.object["aggregationRule"]


@pytest.mark.parametrize(
    ("name", "annotation", "generation", "restored"),
    [
        ("workload-low", "true", 5, True),
        ("workload-low", "false", 1, False),
        ("workload-low", "", 1, True),
        ("workload-low", "", 2, False),
        ("catch-all", "false", 2, True),
    ],
)
def test_priority_levels_are_put_right_unless_somebody_took_them_over(
    name: str, annotation: str, generation: int, *, restored: bool
) -> None:
    want = BY_NAME["prioritylevelconfigurations", name]
    found = stored(want, spec={"type": "Limited", "limited": {"nominalConcurrencyShares": 1}})
    found["metadata"] |= {
        "annotations": {"apf.kubernetes.io/autoupdate-spec": annotation} if annotation else {},
        "generation": generation,
    }

    write = step(want, found)

    assert (write is not None and write.object["spec"] == want.object["spec"]) == restored


def test_the_shares_of_the_exempt_level_may_be_chosen() -> None:
    want = BY_NAME["prioritylevelconfigurations", "exempt"]
    chosen = {"type": "Exempt", "exempt": {"nominalConcurrencyShares": 10, "lendablePercent": 0}}
    found = stored(want, spec=chosen)
    found["metadata"]["annotations"] = {"apf.kubernetes.io/autoupdate-spec": "false"}

    assert step(want, found) is None
