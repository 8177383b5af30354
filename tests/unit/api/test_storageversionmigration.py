"""What is wrong with a StorageVersionMigration, and what its table shows."""

from typing import Any

import pytest

from kybern.api.storagemigration_v1beta1.storageversionmigration import KIND

TIME = "2026-01-01T00:00:00Z"
WRONG_LABEL = 'Invalid value: "Pods": a DNS-1035 label must consist of lower case alphanumeric characters or'


def made(resource: str = "pods", group: str = "") -> dict[str, Any]:
    return {"metadata": {"name": "m"}, "spec": {"resource": {"group": group, "resource": resource}}}


def told(version: str = "", *conditions: tuple[str, str], **more: Any) -> dict[str, Any]:
    found = [
        {"type": kind, "status": status, "reason": "Why", "message": "", "lastTransitionTime": TIME, **more}
        for kind, status in conditions
    ]
    return made() | {"status": {"resourceVersion": version, "conditions": found}}


@pytest.mark.parametrize(
    ("new", "field", "message"),
    [
        (made(""), "spec.resource.resource", "Required value: resource is required to be set"),
        (made("Pods"), "spec.resource.resource", WRONG_LABEL),
        (made("pods", "Apps"), "spec.resource.group", "a lowercase RFC 1123 subdomain must consist of"),
    ],
)
def test_what_is_wrong_with_a_wish(new: dict[str, Any], field: str, message: str) -> None:
    (cause,) = KIND.rules.validate(new, None)

    assert cause.field == field
    assert message in cause.message


def test_a_wish_is_right_and_never_changes() -> None:
    assert list(KIND.rules.validate(made("deployments", "apps"), None)) == []
    (cause,) = KIND.rules.validate(made("pods"), made("nodes"))
    assert cause.field == "spec"
    assert cause.message.endswith("field is immutable")


RUNS, DONE, FAILED = ("Running", "True"), ("Succeeded", "True"), ("Failed", "True")
BOTH = "Both success and failed conditions cannot be true at the same time"


@pytest.mark.parametrize(
    ("new", "old", "says"),
    [
        (told("123", RUNS), told("123"), []),
        (told("123", ("Running", "False"), DONE), told("123", RUNS), []),
        (told("", FAILED), told(""), []),
        (told("123", DONE), told("123", DONE), []),
        (told("456", RUNS), told("123", RUNS), ["field is immutable"]),
        (told("abc", RUNS), told(""), ["resource version is not well formed: abc"]),
        (told("012"), told(""), ["resource version is not well formed: 012"]),
        (told("123", DONE, FAILED), told("123", RUNS), [BOTH]),
        (
            told("123", DONE, RUNS),
            told("123"),
            ["Running condition cannot be true when success condition is"],
        ),
        (
            told("123", FAILED, RUNS),
            told("123"),
            ["Running condition cannot be true when failed condition is"],
        ),
        (
            told("123", ("Succeeded", "False")),
            told("123", DONE),
            ["Success condition cannot be set to false"],
        ),
        (told("123"), told("123", FAILED), ["Failed condition cannot be set to false once it is true"]),
        (told("1", RUNS, RUNS), told("1"), ["Duplicate value"]),
        (told("1", ("", "True")), told("1"), ["name part must be non-empty", "name part must consist of"]),
        (told("1", ("Running", "Perhaps")), told("1"), ['supported values: "False", "True", "Unknown"']),
        (told("1", RUNS, reason=""), told("1"), ["Required value: must be set"]),
        (told("1", RUNS, reason="two words"), told("1"), ["a condition reason must start with alphabetic"]),
        (told("1", RUNS, reason="a" * 1025), told("1"), ["may not be more than 1024 bytes"]),
        (told("1", RUNS, message="a" * 32769), told("1"), ["may not be more than 32768 bytes"]),
        (told("1", RUNS, lastTransitionTime=None), told("1"), ["Required value: must be set"]),
        (told("1", RUNS, observedGeneration=-1), told("1"), ["must be greater than or equal to zero"]),
    ],
)
def test_what_a_status_may_say(new: dict[str, Any], old: dict[str, Any], says: list[str]) -> None:
    found = [cause.message for cause in KIND.rules.validate_status(new, old)]

    assert len(found) == len(says)
    assert all(text in message for message, text in zip(found, says, strict=True))


@pytest.mark.parametrize(
    ("given", "shown"), [(made("deployments", "apps"), "deployments.apps"), (made("pods"), "pods")]
)
def test_its_table_names_the_resource(given: dict[str, Any], shown: str) -> None:
    assert KIND.table is not None
    assert KIND.table.cells(given, 0.0) == ["m", shown]
