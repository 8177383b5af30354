"""Server-side apply and managedFields through the engine: names, options, creation, repeated writes, resets."""

from collections.abc import Callable
from typing import Any

import pytest

from kybern.apiserver import body
from kybern.apiserver.engine import Call
from kybern.apiserver.generic import patch, update
from kybern.apiserver.options import WriteOptions
from kybern.machinery.apply.merge import ApplyConflict
from kybern.machinery.errors import ApiError, BadRequest, NotFound
from kybern.storage.value import decoded, encoded

type Making = Callable[..., Call]
APPLY = "application/apply-patch+yaml"


def config(data: dict[str, str] | None = None, **metadata: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", **metadata}}
    return found if data is None else {**found, "data": data}


@pytest.fixture
def apply(call: Making) -> Callable[..., Any]:
    async def applied(
        raw: dict[str, Any], manager: str = "one", *, force: bool = False, dry: bool = False
    ) -> Any:
        asked = call("configmaps", "c")
        asked.options = WriteOptions(dry_run=dry, manager=manager, force=force)
        one = await patch.patch_(asked, encoded(raw), APPLY)
        return decoded(one.body)

    return applied


async def test_the_agent_of_a_client_is_its_manager(call: Making, make: Any) -> None:
    first = await make("configmaps", config({"a": "1"}))
    asked = call("configmaps", "c")
    asked.agent = "kubectl/v1.36 (linux)"

    one = await update.update(asked, {**first, "data": {"a": "2"}})

    assert [
        (entry["manager"], entry["fieldsV1"]) for entry in decoded(one.body)["metadata"]["managedFields"]
    ] == [
        ("kube-apiserver", {"f:data": {}}),
        ("kubectl", {"f:data": {"f:a": {}}}),
    ]


async def test_applying_makes_what_is_not_there(apply: Any) -> None:
    found = await apply(config({"a": "1"}))

    assert found["data"] == {"a": "1"}
    assert found["metadata"]["uid"]
    assert [entry["operation"] for entry in found["metadata"]["managedFields"]] == ["Apply"]


async def test_applying_the_same_again_changes_nothing(apply: Any) -> None:
    assert await apply(config({"a": "1"})) == await apply(config({"a": "1"}))


async def test_a_dry_run_of_an_apply_stores_nothing(apply: Any, call: Making) -> None:
    found = await apply(config({"a": "1"}), dry=True)

    assert found["data"] == {"a": "1"}
    with pytest.raises(NotFound):
        await update.change(call("configmaps", "c"), lambda _found: pytest.fail("there is something"))


async def test_what_was_there_before_the_first_apply_has_a_manager(apply: Any, make: Any) -> None:
    await make("configmaps", config({"a": "1"}, managedFields=[{}]))
    first = await apply(config({"b": "1"}))
    with pytest.raises(ApplyConflict):
        await apply(config({"a": "2"}), "two")

    forced = await apply(config({"a": "2"}), "two", force=True)

    assert {entry["manager"] for entry in first["metadata"]["managedFields"]} == {"kube-apiserver", "one"}
    assert forced["data"] == {"a": "2", "b": "1"}


async def test_managers_are_forgotten_when_a_client_asks_for_it(call: Making, make: Any) -> None:
    first = await make("configmaps", config({"a": "1"}))
    asked = call("configmaps", "c")
    metadata = {**first["metadata"], "managedFields": []}

    raw = body.decode(asked, encoded({**first, "metadata": metadata}), "application/json")
    found = decoded((await update.update(asked, raw)).body)

    assert "managedFields" in first["metadata"]
    assert "managedFields" not in found["metadata"]


@pytest.mark.parametrize(
    ("sent", "error", "says"),
    [
        (
            {"kind": "ConfigMap", "apiVersion": "v2", "metadata": {"name": "c"}},
            BadRequest,
            "invalid object type: /v2",
        ),
        (config(managedFields=[]), BadRequest, "metadata.managedFields must be nil"),
        (
            {**config(), "dat": {}},
            ApiError,
            r"typed patch object \(/c; /v1, Kind=ConfigMap\): .dat: field not declared",
        ),
        ([], BadRequest, "error decoding YAML"),
    ],
)
async def test_what_does_not_fit_is_not_applied(
    apply: Any, sent: Any, error: type[ApiError], says: str
) -> None:
    with pytest.raises(error, match=says):
        await apply(sent)
