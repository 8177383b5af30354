"""The verbs, on a store in memory."""

import json
import uuid
from typing import Any

import pytest

from kybern.apiserver.answer import Answer, Many, One, Plain
from kybern.apiserver.generic import create, delete, deletecollection, get, patch, prepare, update
from kybern.apiserver.generic import list as listing
from kybern.apiserver.generic.patch import JSON_PATCH, MERGE_PATCH
from kybern.apiserver.options import DeleteOptions, WriteOptions
from kybern.machinery.errors import AlreadyExists, BadRequest, Conflict, Expired, Invalid, NotFound, Timeout
from kybern.storage import cache
from kybern.storage.memory import MemoryStore
from kybern.storage.value import decoded, encoded

CONFIG_MAP: dict[str, Any] = {"metadata": {"name": "a", "labels": {"l": "1"}}, "data": {"k": "v"}}


def config_map(name: str, **labels: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "labels": labels}}


def deployment(name: str = "d") -> dict[str, Any]:
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    return {
        "metadata": {"name": name},
        "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template},
    }


def names(found: Many) -> list[str]:
    return [decoded(item)["metadata"]["name"] for item in found.items]


def raw_of(answer: Answer) -> dict[str, Any]:
    assert isinstance(answer, One)
    return decoded(answer.body)


async def test_a_created_object_has_what_the_server_says_of_it(make: Any, call: Any) -> None:
    made = await make("configmaps", CONFIG_MAP)
    read = raw_of(await get.get(call("configmaps", "a")))

    assert made == read
    assert read["metadata"]["namespace"] == "default"
    assert read["metadata"]["creationTimestamp"] == "2023-11-14T22:13:20Z"
    assert len(read["metadata"]["uid"]) == 36


async def test_a_name_is_given_once(make: Any) -> None:
    await make("configmaps", CONFIG_MAP)

    with pytest.raises(AlreadyExists, match='configmaps "a" already exists'):
        await make("configmaps", CONFIG_MAP)


async def test_a_prefix_becomes_a_name(make: Any) -> None:
    made = await make("configmaps", {"metadata": {"generateName": "x-"}})

    assert made["metadata"]["name"].startswith("x-")
    assert len(made["metadata"]["name"]) == 7


async def test_a_dry_run_stores_nothing(call: Any) -> None:
    asked = call("configmaps")
    asked.options = WriteOptions(dry_run=True)
    await create.create(asked, {"metadata": {"name": "a"}})

    with pytest.raises(NotFound):
        await get.get(call("configmaps", "a"))


async def test_a_body_of_another_namespace_is_refused(make: Any) -> None:
    with pytest.raises(BadRequest, match="does not match the namespace sent on the request"):
        await make("configmaps", {"metadata": {"name": "a", "namespace": "other"}})


async def test_an_update_at_an_old_version_is_a_conflict(make: Any, call: Any) -> None:
    first = await make("configmaps", CONFIG_MAP)
    second = raw_of(await update.update(call("configmaps", "a"), {**first, "data": {"k": "2"}}))

    with pytest.raises(Conflict, match="the object has been modified"):
        await update.update(call("configmaps", "a"), {**first, "data": {"k": "3"}})

    assert int(second["metadata"]["resourceVersion"]) > int(first["metadata"]["resourceVersion"])


async def test_an_update_that_changes_nothing_keeps_the_version(make: Any, call: Any) -> None:
    first = await make("configmaps", CONFIG_MAP)
    again = raw_of(await update.update(call("configmaps", "a"), first))

    assert again == first


@pytest.mark.parametrize("cached", [False, True])
async def test_a_write_that_changes_nothing_brings_a_foreign_value_into_our_form(
    make: Any, call: Any, store: MemoryStore, *, cached: bool
) -> None:
    """What upstream's server wrote, or ours in another version of the kind."""
    made = await make("configmaps", CONFIG_MAP)
    key = call("configmaps", "a").key
    ours, _ = await store.get(key)
    assert ours is not None
    foreign = encoded({"kind": "ConfigMap", "apiVersion": "v1", **decoded(ours.value)})
    assert foreign != ours.value
    kept = await store.put(key, foreign, ours.revision)
    if cached:
        await listing.list_(call("configmaps"))
    nothing = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"uid": made["metadata"]["uid"]}}

    async def applied() -> dict[str, Any]:
        asked = call("configmaps", "a")
        asked.options = WriteOptions(manager="migrator")
        return raw_of(await patch.patch_(asked, encoded(nothing), "application/apply-patch+yaml"))

    once, again = await applied(), await applied()
    now, _ = await store.get(key)

    assert now is not None
    assert now.value.startswith(b'{"apiVersion":"v1","kind":"ConfigMap","metadata":{')
    assert int(once["metadata"]["resourceVersion"]) == now.revision > kept.revision
    assert again == once
    assert once["data"] == made["data"]


async def test_generation_counts_what_is_wished_and_status_is_kept_apart(make: Any, call: Any) -> None:
    made = await make("deployments", deployment(), group="apps")
    await listing.list_(call("deployments", group="apps"))
    scaled = await patch.patch_(
        call("deployments", "d", "apps"), b'{"spec":{"replicas":3},"status":{"replicas":9}}', MERGE_PATCH
    )
    as_status = call("deployments", "d", "apps")
    as_status.subresource = "status"
    told = await patch.patch_(as_status, b'{"spec":{"replicas":7},"status":{"replicas":2}}', MERGE_PATCH)

    assert made["metadata"]["generation"] == 1
    assert raw_of(scaled)["metadata"]["generation"] == 2
    assert "replicas" not in raw_of(scaled)["status"]
    assert (raw_of(told)["spec"]["replicas"], raw_of(told)["status"]["replicas"]) == (3, 2)
    assert raw_of(told)["metadata"]["generation"] == 2


async def test_a_patch_is_repeated_on_what_others_wrote(make: Any, call: Any, store: Any) -> None:
    await make("configmaps", CONFIG_MAP)
    await listing.list_(call("configmaps"))
    put = store.put
    writes: list[str] = []

    async def meddled(key: str, value: bytes, expected: int, ttl: int = 0) -> Any:
        if not writes:
            writes.append(key)
            stored, _ = await store.get(key)
            await put(key, stored.value.replace(b'"v"', b'"other"'), stored.revision)
        return await put(key, value, expected, ttl)

    store.put = meddled
    patched = raw_of(await patch.patch_(call("configmaps", "a"), b'{"data":{"new":"1"}}', MERGE_PATCH))

    assert patched["data"] == {"k": "other", "new": "1"}


async def test_what_a_late_cache_shows_does_not_count_as_what_is_there(make: Any, call: Any) -> None:
    await make("configmaps", CONFIG_MAP)
    await listing.list_(call("configmaps"))
    await patch.patch_(call("configmaps", "a"), b'{"data":{"k":"2"}}', MERGE_PATCH)
    back = raw_of(await patch.patch_(call("configmaps", "a"), b'{"data":{"k":"v"}}', MERGE_PATCH))

    assert back["data"] == {"k": "v"}
    assert raw_of(await get.get(call("configmaps", "a"))) == back


async def test_a_json_patch_that_makes_another_name_is_refused(make: Any, call: Any) -> None:
    await make("configmaps", CONFIG_MAP)
    operations = json.dumps([{"op": "replace", "path": "/metadata/name", "value": "b"}]).encode()

    with pytest.raises(BadRequest, match="does not match the name on the URL"):
        await patch.patch_(call("configmaps", "a"), operations, JSON_PATCH)


async def test_what_is_wrong_is_told_at_once(make: Any) -> None:
    with pytest.raises(Invalid) as refused:
        await make("configmaps", {"metadata": {"name": "B_", "labels": {"bad key": "x"}}})

    assert refused.value.details is not None
    assert [cause.field for cause in refused.value.details.causes] == ["metadata.name", "metadata.labels"]


async def test_a_deletion_answers_with_a_status(make: Any, call: Any) -> None:
    made = await make("configmaps", CONFIG_MAP)
    answer = await delete.delete(call("configmaps", "a"), DeleteOptions())

    assert isinstance(answer, Plain)
    assert answer.raw["details"] == {"name": "a", "kind": "configmaps", "uid": made["metadata"]["uid"]}
    with pytest.raises(NotFound):
        await get.get(call("configmaps", "a"))


async def test_a_deletion_of_another_uid_is_a_conflict(make: Any, call: Any) -> None:
    await make("configmaps", CONFIG_MAP)

    with pytest.raises(Conflict, match="does not match the UID in record"):
        await delete.delete(call("configmaps", "a"), DeleteOptions(uid="other"))


async def test_finalizers_hold_an_object_until_the_last_is_gone(make: Any, call: Any) -> None:
    await make("configmaps", {"metadata": {"name": "a", "finalizers": ["example.com/x"]}})
    marked = await delete.delete(call("configmaps", "a"), DeleteOptions(propagation="Foreground"))

    assert isinstance(marked, One)
    assert raw_of(marked)["metadata"]["finalizers"] == ["example.com/x", "foregroundDeletion"]
    assert raw_of(marked)["metadata"]["deletionTimestamp"]

    await patch.patch_(call("configmaps", "a"), b'{"metadata":{"finalizers":null}}', MERGE_PATCH)
    with pytest.raises(NotFound):
        await get.get(call("configmaps", "a"))


async def test_a_running_pod_gets_its_grace_and_later_calls_only_shorten_it(make: Any, call: Any) -> None:
    spec = {"nodeName": "n", "containers": [{"name": "c", "image": "i"}]}
    await make("pods", {"metadata": {"name": "p"}, "spec": spec})

    first = raw_of(await delete.delete(call("pods", "p"), DeleteOptions()))
    longer = raw_of(await delete.delete(call("pods", "p"), DeleteOptions(grace=60)))
    shorter = raw_of(await delete.delete(call("pods", "p"), DeleteOptions(grace=5)))
    await delete.delete(call("pods", "p"), DeleteOptions(grace=0))

    assert first["metadata"]["deletionTimestamp"] == "2023-11-14T22:13:50Z"
    assert longer["metadata"] == first["metadata"]
    assert shorter["metadata"]["deletionTimestamp"] == "2023-11-14T22:13:25Z"
    with pytest.raises(NotFound):
        await get.get(call("pods", "p"))


async def test_a_list_has_what_was_written_before_it(make: Any, call: Any) -> None:
    for name in ("b", "a", "c"):
        await make("configmaps", config_map(name, odd=str(name != "b")))
    await make("configmaps", config_map("a"), namespace="other")

    assert names(await listing.list_(call("configmaps"))) == ["a", "b", "c"]
    assert names(await listing.list_(call("configmaps", namespace=""))) == ["a", "b", "c", "a"]
    assert names(await listing.list_(call("configmaps", labelSelector="odd=True"))) == ["a", "c"]
    assert names(await listing.list_(call("configmaps", labelSelector="odd=True,odd!=True"))) == []
    assert names(await listing.list_(call("configmaps", fieldSelector="metadata.name!=b"))) == ["a", "c"]


async def test_pages_show_one_state(make: Any, call: Any) -> None:
    for name in "abcd":
        await make("configmaps", config_map(name))
    first = await listing.list_(call("configmaps", limit="3"))
    await make("configmaps", config_map("e"))
    rest = await listing.list_(call("configmaps", **{"limit": "3", "continue": first.continued}))

    assert (names(first), first.remaining) == (["a", "b", "c"], 1)
    assert (names(rest), rest.continued, rest.revision) == (["d"], "", first.revision)


async def test_pages_of_a_forgotten_revision_have_expired(make: Any, call: Any, store: Any) -> None:
    for name in "ab":
        await make("configmaps", config_map(name))
    first = await listing.list_(call("configmaps", limit="1"))
    await make("configmaps", config_map("c"))
    await store.compact(await store.revision())

    with pytest.raises(Expired, match="use the continue token in this response") as expired:
        await listing.list_(call("configmaps", **{"limit": "1", "continue": first.continued}))
    offered = expired.value.status()["metadata"]["continue"]
    rest = await listing.list_(call("configmaps", **{"limit": "1", "continue": offered}))
    last = await listing.list_(call("configmaps", **{"limit": "1", "continue": rest.continued}))

    assert (names(rest), names(last)) == (["b"], ["c"])
    assert rest.revision == last.revision > first.revision


async def test_an_exact_version_of_the_future_is_waited_for(call: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(cache, "PATIENCE", 0.05)

    with pytest.raises(Timeout, match="Too large resource version: 99999, current:"):
        await listing.list_(call("configmaps", resourceVersion="99999", resourceVersionMatch="Exact"))
    with pytest.raises(Timeout, match="Too large resource version"):
        await listing.list_(call("configmaps", resourceVersion="99999", limit="3"))


async def test_a_forgotten_revision_without_a_page_has_expired(make: Any, call: Any, store: Any) -> None:
    await make("configmaps", config_map("a"))
    first = await listing.list_(call("configmaps"))
    await make("configmaps", config_map("b"))
    await store.compact(await store.revision())

    with pytest.raises(Expired, match="The resourceVersion for the provided list is too old") as expired:
        await listing.list_(
            call("configmaps", resourceVersion=str(first.revision), resourceVersionMatch="Exact")
        )
    assert expired.value.status()["metadata"] == {}


async def test_an_autoscaler_is_one_object_in_both_versions(make: Any, engine: Any, call: Any) -> None:
    spec = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"},
        "maxReplicas": 3,
        "targetCPUUtilizationPercentage": 50,
    }
    old = call("horizontalpodautoscalers", "h", "autoscaling")
    old.kind = engine.table.versions["autoscaling", "v1"].kinds["horizontalpodautoscalers"]
    new = call("horizontalpodautoscalers", "h", "autoscaling")
    new.kind = engine.table.versions["autoscaling", "v2"].kinds["horizontalpodautoscalers"]
    raw = {"metadata": {"name": "h"}, "spec": spec}
    old.kind.rules.default(raw)
    await create.create(old, raw)

    read = raw_of(await get.get(new))
    listed = await listing.list_(old)

    assert read["apiVersion"] == "autoscaling/v2"
    assert read["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"] == 50
    assert decoded(listed.items[0])["spec"]["targetCPUUtilizationPercentage"] == 50


async def test_a_collection_goes_as_it_was_selected(make: Any, call: Any) -> None:
    for name in "abc":
        await make("configmaps", config_map(name, gone=str(name != "b")))
    gone = await deletecollection.deletecollection(
        call("configmaps", labelSelector="gone=True"), DeleteOptions()
    )

    assert names(gone) == ["a", "c"]
    assert names(await listing.list_(call("configmaps"))) == ["b"]


def test_a_uid_is_a_random_uuid() -> None:
    found = {uuid.UUID(prepare._uid()) for _ in range(200)}

    assert len(found) == 200
    assert {(one.version, one.variant) for one in found} == {(4, uuid.RFC_4122)}
    assert all(str(one) == str(one).lower() for one in found)
