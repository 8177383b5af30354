"""Label keys of a new pod become part of its selectors."""

import copy
from typing import Any

import pytest

from kybern.api.rules import labelkeys

REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
LABELS = {"hash": "1", "tenant": "t"}
SELECTOR = {"matchLabels": {"app": "a"}}


def requirement(key: str, operator: str, value: str) -> dict[str, Any]:
    return {"key": key, "operator": operator, "values": [value]}


def term(**keys: list[str]) -> dict[str, Any]:
    return {"labelSelector": copy.deepcopy(SELECTOR), "topologyKey": "zone", **keys}


@pytest.mark.parametrize("kind", ["podAffinity", "podAntiAffinity"])
def test_terms_get_requirements_for_what_the_pod_says(kind: str) -> None:
    wanted = term(matchLabelKeys=["hash", "nosuch"], mismatchLabelKeys=["tenant"])
    spec = {"affinity": {kind: {REQUIRED: [wanted], PREFERRED: [{"weight": 1, "podAffinityTerm": term()}]}}}

    labelkeys.merge(spec, LABELS)

    added = [requirement("hash", "In", "1"), requirement("tenant", "NotIn", "t")]
    assert wanted["labelSelector"] == {**SELECTOR, "matchExpressions": added}
    assert spec["affinity"][kind][PREFERRED][0]["podAffinityTerm"] == term()


def test_preferred_terms_and_spread_constraints_do_too() -> None:
    preferred, spread = term(matchLabelKeys=["hash"]), term(matchLabelKeys=["tenant"])
    spec = {
        "affinity": {"podAffinity": {PREFERRED: [{"weight": 1, "podAffinityTerm": preferred}]}},
        "topologySpreadConstraints": [spread],
    }

    labelkeys.merge(spec, LABELS)

    assert preferred["labelSelector"]["matchExpressions"] == [requirement("hash", "In", "1")]
    assert spread["labelSelector"]["matchExpressions"] == [requirement("tenant", "In", "t")]


def test_without_a_selector_nothing_is_selected() -> None:
    spec = {"topologySpreadConstraints": [{"topologyKey": "zone", "matchLabelKeys": ["hash"]}]}

    labelkeys.merge(spec, LABELS)

    assert spec == {"topologySpreadConstraints": [{"topologyKey": "zone", "matchLabelKeys": ["hash"]}]}


@pytest.mark.parametrize(
    ("selector", "fields"),
    [
        ({"matchLabels": {"app": "a"}, "matchExpressions": [requirement("hash", "In", "1")]}, []),
        ({"matchLabels": {"hash": "1"}, "matchExpressions": [requirement("hash", "In", "1")]}, ["at[0]"]),
        ({"matchExpressions": [requirement("hash", "In", "2"), requirement("hash", "In", "1")]}, ["at[0]"]),
        (None, []),
    ],
)
def test_a_key_that_the_selector_names_itself_is_told(selector: Any, fields: list[str]) -> None:
    assert [cause.field for cause in labelkeys.told_twice("at", ["hash"], selector)] == fields
