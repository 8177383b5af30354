"""Conversion webhooks: what is asked, which answers are taken, and what of them."""

import asyncio
from typing import Any

import msgspec
import pytest

from kybern.admission.webhooks.target import CallFailed, Target
from kybern.apiserver.crd.translating import Bad, WebhookTranslation, answer, checked
from kybern.apiserver.problems import Unexpected
from kybern.machinery.kind import Kind
from kybern.storage.caches import Caches
from kybern.storage.memory import MemoryStore
from kybern.storage.translated import to_store, translated
from kybern.storage.value import decoded, encoded

type Raw = dict[str, Any]
OLD: Raw = {
    "apiVersion": "g/v1",
    "kind": "Foo",
    "metadata": {"name": "a", "namespace": "n", "uid": "u", "generation": 3, "labels": {"a": "1"}},
}
CONVERSION = {
    "webhook": {"clientConfig": {"url": "https://h"}, "conversionReviewVersions": ["v2", "v1"]},
}


class Hook:
    """Raises the number of the version, unless told to fail."""

    def __init__(self) -> None:
        self.asked: list[Raw] = []
        self.fails = False

    async def post(self, target: Target, body: bytes, seconds: int, *, told: bool = True) -> bytes:
        if self.fails:
            raise CallFailed(f'Post "{target.url}": no')
        assert (seconds, told) == (30, False)
        request = msgspec.json.decode(body)["request"]
        self.asked.append(request)
        objects = [{**one, "apiVersion": request["desiredAPIVersion"]} for one in request["objects"]]
        said = {"uid": request["uid"], "convertedObjects": objects, "result": {"status": "Success"}}
        review = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "ConversionReview", "response": said}
        return msgspec.json.encode(review)


def translation(hook: Hook) -> WebhookTranslation:
    return WebhookTranslation(hook, CONVERSION, "g/v1", lambda: "id")


def kind_of(hook: Hook, version: str) -> Kind:
    return Kind(
        "g",
        version,
        "Foo",
        "foos",
        namespaced=True,
        schema="",
        storage="g/foos",
        translation=translation(hook),
    )


async def test_only_objects_of_other_versions_travel_and_all_at_once() -> None:
    hook = Hook()
    other = {**OLD, "apiVersion": "g/v2"}
    found = await translation(hook).convert([OLD, other, OLD], "g/v2")

    assert [one["apiVersion"] for one in found] == ["g/v2"] * 3
    assert [(request["uid"], len(request["objects"])) for request in hook.asked] == [("id", 2)]


async def test_nobody_is_asked_for_what_is_there_already() -> None:
    hook = Hook()
    assert await translation(hook).convert([OLD], "g/v1") == [OLD]
    assert hook.asked == []


async def test_a_failure_names_the_kind_that_was_to_be_converted() -> None:
    hook = Hook()
    hook.fails = True
    with pytest.raises(Unexpected) as problem:
        await translation(hook).convert([OLD], "g/v2")
    assert problem.value.message == 'conversion webhook for g/v1, Kind=Foo failed: Post "https://h": no'


def review(**said: Any) -> bytes:
    response = {"uid": "id", "result": {"status": "Success"}, **said}
    return msgspec.json.encode(
        {"apiVersion": "apiextensions.k8s.io/v1", "kind": "ConversionReview", "response": response}
    )


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"no", "json parse error"),
        (b"[]", "it is not an object"),
        (b'{"kind":"Else"}', "expected webhook response of apiextensions.k8s.io/v1, Kind=ConversionReview"),
        (review(uid="other"), 'expected response.uid="id", got "other"'),
        (review(result={}), "response.result.status was '', not 'Success'"),
        (review(result={"status": "Failure", "message": "why"}), "failed: why"),
    ],
)
def test_answers_that_are_none(data: bytes, says: str) -> None:
    with pytest.raises(Bad) as problem:
        answer(data, "v1", "id")
    assert says in str(problem.value)


def changed(**metadata: Any) -> Raw:
    return {**OLD, "apiVersion": "g/v2", "metadata": {**OLD["metadata"], **metadata}}


@pytest.mark.parametrize(
    ("new", "says"),
    [
        ("text", "it is not an object"),
        (OLD, "invalid groupVersion (expected g/v2, received g/v1)"),
        ({**changed(), "kind": "Bar"}, "invalid kind (expected Foo, received Bar)"),
        ({**changed(), "metadata": None}, "missing metadata in converted object"),
        (changed(name="b"), "must have the same name: a != b"),
        (changed(namespace="b"), "must have the same namespace: n != b"),
        (changed(uid="b"), "must have the same UID: u != b"),
        (changed(labels={"a": 1}), "metadata.labels must be strings"),
        (changed(labels={"a b": "1"}), "metadata.labels"),
    ],
)
def test_objects_that_are_not_taken(new: Any, says: str) -> None:
    with pytest.raises(Bad) as problem:
        checked(OLD, new, "g/v2", 0)
    assert says in str(problem.value)


@pytest.mark.parametrize(
    ("given", "labels"),
    [({"labels": {"b": "2"}}, {"b": "2"}), ({"labels": None}, None), ({"generation": 9}, {"a": "1"})],
)
def test_metadata_stays_but_for_labels_and_annotations(given: Raw, labels: Any) -> None:
    metadata = checked(OLD, changed(**given), "g/v2", 0)["metadata"]
    assert metadata.get("labels") == labels
    assert metadata["generation"] == 3


async def test_values_are_kept_in_one_version_and_read_in_any() -> None:
    hook, store = Hook(), MemoryStore()
    second = kind_of(hook, "v2")
    key = second.key("n", "a")
    await store.put(key, await to_store(second, encoded({**OLD, "apiVersion": "g/v2"})), 0)
    kept, _ = await store.get(key)
    assert kept is not None
    (read,) = await translated(second, [kept])

    assert decoded(kept.value)["apiVersion"] == "g/v1"
    assert decoded(read.value)["apiVersion"] == "g/v2"
    assert kept.value.startswith(b'{"apiVersion":"g/v1","kind":"Foo","metadata":{')


async def test_each_version_has_a_cache_that_waits_for_its_webhook() -> None:
    hook, store = Hook(), MemoryStore()
    first, second = kind_of(hook, "v1"), kind_of(hook, "v2")
    await store.put(first.key("n", "a"), encoded(OLD), 0)
    tasks = asyncio.TaskGroup()
    async with tasks:
        caches = Caches(store, tasks)
        hook.fails = True
        with pytest.raises(Unexpected, match="conversion webhook for g/v1, Kind=Foo failed"):
            await caches.of(second).reached(1, seconds=0.2)
        own = await caches.current(first)
        hook.fails = False
        await caches.of(second).filled.wait()
        other = await caches.current(second)

        assert own is not other
        (entry,) = other.entries(other.prefix)
        assert other.form.raw_item(entry.item)["apiVersion"] == "g/v2"
        for task in tuple(tasks._tasks):
            task.cancel()
