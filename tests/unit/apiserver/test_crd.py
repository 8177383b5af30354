"""Custom kinds: established, served, pruned, defaulted, checked, converted, and gone with their definition."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import pytest

from kybern.api.kinds import KINDS
from kybern.apiserver import body, discovery, verbs
from kybern.apiserver.crd import columns, conditions, jsonpath
from kybern.apiserver.crd.serving import GROUP, PLURAL, Definitions
from kybern.apiserver.engine import Call, Engine
from kybern.apiserver.generic import create, current, delete, update
from kybern.apiserver.generic.list import list_
from kybern.apiserver.local import Local
from kybern.apiserver.lookup import Informers
from kybern.apiserver.openapi import Documents
from kybern.apiserver.options import DeleteOptions, WriteOptions
from kybern.apiserver.render import plain
from kybern.apiserver.subresources import scale
from kybern.auth.user import User
from kybern.machinery.errors import BadRequest, Invalid, MethodNotAllowed, NotFound
from kybern.machinery.schema import Schema
from kybern.storage.value import decoded, encoded

ADMIN = User("admin", ("system:masters",))
Raw = dict[str, Any]
SPEC = {
    "type": "object",
    "properties": {
        "size": {"type": "integer", "default": 3, "maximum": 9},
        "name": {"type": "string", "nullable": True},
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        "tags": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"},
    },
}


def definition(*versions: Raw, **names: Any) -> Raw:
    first = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {
            "openAPIV3Schema": {"type": "object", "properties": {"spec": SPEC, "status": {"type": "object"}}}
        },
    }
    return {
        "apiVersion": f"{GROUP}/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "toys.play.example.com"},
        "spec": {
            "group": "play.example.com",
            "scope": "Namespaced",
            "names": {"plural": "toys", "kind": "Toy", **names},
            "versions": list(versions) or [first],
        },
    }


class Bed:
    """An engine with what serves definitions."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.local = Local(engine)
        self.documents = Documents(KINDS, Schema.load().definitions)
        self.definitions = Definitions(engine, self.local, self.documents.follow)

    async def define(self, raw: Raw) -> None:
        await self.local.create(GROUP, PLURAL, raw)
        await self.until(lambda: self.engine.table.kind(raw["spec"]["group"], raw["spec"]["names"]["plural"]))

    async def until(self, holds: Callable[[], Any]) -> None:
        async with asyncio.timeout(30):
            while not holds():
                await asyncio.sleep(0)

    def call(self, name: str = "", version: str = "v1", **query: str) -> Call:
        kind = self.engine.table.versions["play.example.com", version].kinds["toys"]
        return Call(self.engine, kind, ADMIN, "default", name, query=query)

    async def make(self, spec: Raw, name: str = "bear", version: str = "v1") -> tuple[Raw, Call]:
        asked = self.call(version=version)
        raw = {
            "apiVersion": asked.kind.api_version,
            "kind": "Toy",
            "metadata": {"name": name},
            "spec": spec,
        }
        one = await create.create(asked, body.decode(asked, encoded(raw), "application/json"))
        return decoded(one.body), asked


@pytest.fixture
async def bed(engine: Engine) -> AsyncIterator[Bed]:
    found = Bed(engine)
    informers = Informers(engine.caches, engine.table)
    found.definitions.follow(informers)
    await informers.follow()
    task = asyncio.create_task(found.definitions.run())
    yield found
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_definition_is_established_and_its_kind_discovered(bed: Bed) -> None:
    await bed.define(definition(shortNames=["ty"], categories=["all"]))
    crd = await bed.local.get(GROUP, PLURAL, "", "toys.play.example.com")
    assert crd is not None
    assert [(each["type"], each["status"]) for each in crd["status"]["conditions"]] == [
        ("NamesAccepted", "True"),
        ("Established", "True"),
    ]
    assert crd["status"]["acceptedNames"]["listKind"] == "ToyList"
    shown = discovery.resource_list(bed.engine.table.versions["play.example.com", "v1"])["resources"][0]
    assert (shown["name"], shown["singularName"], shown["shortNames"]) == ("toys", "toy", ["ty"])
    assert shown["verbs"] == [
        "delete",
        "deletecollection",
        "get",
        "list",
        "patch",
        "create",
        "update",
        "watch",
    ]


async def test_unknown_fields_go_with_a_warning_and_defaults_come(bed: Bed) -> None:
    await bed.define(definition())
    made, asked = await bed.make({"other": 1, "free": {"x": None}, "name": None})
    assert made["spec"] == {"size": 3, "free": {"x": None}, "name": None}
    assert asked.warnings == ['unknown field "spec.other"']


async def test_strict_validation_refuses_unknown_fields(bed: Bed) -> None:
    await bed.define(definition())
    asked = bed.call()
    asked.options = WriteOptions(validation="Strict")
    raw = {"apiVersion": asked.kind.api_version, "kind": "Toy", "metadata": {"name": "a", "no": 1}, "x": 1}
    with pytest.raises(BadRequest, match=r'unknown field "metadata.no", unknown field "x"'):
        body.decode(asked, encoded(raw), "application/json")


async def test_wrong_values_are_told_with_their_field(bed: Bed) -> None:
    await bed.define(definition())
    with pytest.raises(Invalid) as refused:
        await bed.make({"size": 10, "tags": ["a", "a"]})
    assert refused.value.details is not None
    assert [(cause.field, cause.message) for cause in refused.value.details.causes] == [
        ("spec.size", "Invalid value: 10: spec.size in body should be less than or equal to 9"),
        ("spec.tags[1]", 'Duplicate value: "a"'),
    ]


async def test_what_was_wrong_before_may_stay_when_it_is_not_touched(bed: Bed) -> None:
    await bed.define(definition())
    await bed.make({"size": 9})
    crd = await bed.local.get(GROUP, PLURAL, "", "toys.play.example.com")
    assert crd is not None
    kind = bed.engine.table.kind("play.example.com", "toys")
    crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"] = {
        **SPEC,
        "properties": {**SPEC["properties"], "size": {"type": "integer", "maximum": 5}},  # type: ignore[dict-item]
    }
    await bed.local.update(GROUP, PLURAL, crd)
    await bed.until(lambda: bed.engine.table.kind("play.example.com", "toys") is not kind)
    asked = bed.call("bear")
    raw = (await current.read(asked)).raw
    raw["spec"]["name"] = "Ted"
    changed = decoded((await update.update(asked, raw)).body)
    assert changed["spec"] == {"size": 9, "name": "Ted"}
    changed["spec"]["size"] = 8
    with pytest.raises(Invalid, match="less than or equal to 5"):
        await update.update(bed.call("bear"), changed)


async def test_versions_are_one_object_pruned_by_each_schema(bed: Bed) -> None:
    first = definition()["spec"]["versions"][0]
    small = {
        "type": "object",
        "properties": {"spec": {"type": "object", "properties": {"size": {"type": "integer"}}}},
    }
    second = {
        "name": "v2",
        "served": True,
        "storage": False,
        "deprecated": True,
        "schema": {"openAPIV3Schema": small},
    }
    third = {**first, "name": "v3", "served": False, "storage": False}
    await bed.define(definition(first, second, third))
    await bed.make({"name": "Ted"})
    found = plain(await list_(bed.call(version="v2")))
    assert decoded(found)["items"][0]["apiVersion"] == "play.example.com/v2"
    assert decoded(found)["items"][0]["spec"] == {"size": 3}
    assert bed.call(version="v2").kind.deprecated == "play.example.com/v2 Toy is deprecated"
    assert ("play.example.com", "v3") not in bed.engine.table.versions


async def test_an_unserved_version_may_be_the_stored_one(bed: Bed) -> None:
    first = definition()["spec"]["versions"][0]
    await bed.define(definition({**first, "served": False}, {**first, "name": "v2", "storage": False}))
    made, _ = await bed.make({}, version="v2")
    assert made["apiVersion"] == "play.example.com/v2"
    stored = (await bed.engine.store.range("/registry/play.example.com/toys/")).items
    assert decoded(stored[0].value)["apiVersion"] == "play.example.com/v1"


async def test_status_and_scale_are_written_through_their_own_paths(bed: Bed) -> None:
    first = definition()["spec"]["versions"][0]
    paths = {
        "specReplicasPath": ".spec.size",
        "statusReplicasPath": ".status.size",
        "labelSelectorPath": ".status.sel",
    }
    status = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    schema = {"openAPIV3Schema": {"type": "object", "properties": {"spec": SPEC, "status": status}}}
    await bed.define(definition({**first, "schema": schema, "subresources": {"status": {}, "scale": paths}}))
    made, _ = await bed.make({})
    assert made["metadata"]["generation"] == 1
    asked = replace(bed.call("bear"), subresource="status")
    made["status"] = {"size": 2, "sel": "a=b"}
    made["spec"]["size"] = 7
    after = decoded((await update.update(asked, made)).body)
    assert (after["spec"]["size"], after["status"], after["metadata"]["generation"]) == (3, made["status"], 1)
    sized = bed.call("bear")
    await scale.put(
        sized, encoded({"spec": {"replicas": 5}, "metadata": {"name": "bear"}}), "application/json"
    )
    found = (await scale.get(bed.call("bear"))).raw
    assert found["spec"] == {"replicas": 5}
    assert found["status"] == {"replicas": 2, "selector": "a=b"}


async def test_a_definition_takes_its_objects_with_it(bed: Bed) -> None:
    await bed.define(definition())
    await bed.make({})
    kind = bed.engine.table.kind(GROUP, PLURAL)
    assert kind is not None
    gone = Call(bed.engine, kind, ADMIN, name="toys.play.example.com")
    marked = await delete.delete(gone, DeleteOptions())
    assert conditions.holds(decoded(plain(marked)), "Terminating")
    await bed.until(lambda: bed.engine.table.kind("play.example.com", "toys") is None)
    assert not (await bed.engine.store.range("/registry/play.example.com/")).items
    with pytest.raises(NotFound):
        await current.read(gone)


def ends(raw: Raw) -> Raw:
    return next(each for each in raw["status"]["conditions"] if each["type"] == "Terminating")


async def condemned(bed: Bed) -> Call:
    kind = bed.engine.table.kind(GROUP, PLURAL)
    assert kind is not None
    call = Call(bed.engine, kind, ADMIN, name="toys.play.example.com")
    await delete.delete(call, DeleteOptions())
    return call


async def reason(bed: Bed, wanted: str) -> Raw:
    """The definition, once its condition Terminating gives that reason."""
    async with asyncio.timeout(30):
        while True:
            found = await bed.local.get(GROUP, PLURAL, "", "toys.play.example.com")
            assert found is not None
            if ends(found)["reason"] == wanted:
                return found
            await asyncio.sleep(0)


async def test_a_definition_stays_while_an_object_does_and_takes_no_new_ones(bed: Bed) -> None:
    await bed.define(definition())
    made, asked = await bed.make({})
    raw = {**made, "metadata": {**made["metadata"], "finalizers": ["play.example.com/kept"]}}
    kept = await bed.local.update("play.example.com", "toys", raw)
    call = await condemned(bed)

    found = await reason(bed, "InstanceDeletionInProgress")

    assert conditions.CLEANUP in found["metadata"]["finalizers"]
    assert (await bed.local.get("play.example.com", "toys", "default", "bear") or {})["metadata"][
        "deletionTimestamp"
    ]
    await bed.until(lambda: "create" not in bed.call().kind.verbs)
    with pytest.raises(MethodNotAllowed, match="create not allowed while custom resource definition is term"):
        verbs.verb_of(bed.call(), "create")
    assert verbs.verb_of(bed.call("bear"), "update") is not None
    marked = await bed.local.get("play.example.com", "toys", "default", "bear")
    assert marked is not None
    free = {**marked, "metadata": {**marked["metadata"], "finalizers": []}}
    await bed.local.update("play.example.com", "toys", free)
    await bed.until(lambda: bed.engine.table.kind("play.example.com", "toys") is None)
    with pytest.raises(NotFound):
        await current.read(call)
    assert (kept["metadata"]["name"], asked.kind.plural) == ("bear", "toys")


async def test_a_finalizer_of_somebody_else_keeps_an_empty_definition(bed: Bed) -> None:
    raw = definition()
    raw["metadata"]["finalizers"] = ["play.example.com/kept"]
    await bed.define(raw)
    await bed.make({})
    await condemned(bed)

    await reason(bed, "InstanceDeletionCompleted")
    async with asyncio.timeout(30):
        while (found := await bed.local.get(GROUP, PLURAL, "", "toys.play.example.com")) is not None:
            if found["metadata"]["finalizers"] == ["play.example.com/kept"]:
                break
            await asyncio.sleep(0)

    assert found is not None
    assert ends(found)["status"] == "False"
    assert not (await bed.engine.store.range("/registry/play.example.com/")).items


async def test_a_definition_that_was_never_served_goes_at_once(bed: Bed) -> None:
    await bed.define(definition())
    late = definition(kind="Toy")
    late["metadata"] |= {"name": "dolls.play.example.com", "finalizers": ["play.example.com/kept"]}
    late["spec"]["names"]["plural"] = "dolls"
    await bed.local.create(GROUP, PLURAL, late)
    kind = bed.engine.table.kind(GROUP, PLURAL)
    assert kind is not None
    await delete.delete(Call(bed.engine, kind, ADMIN, name="dolls.play.example.com"), DeleteOptions())

    found: Raw = {}
    async with asyncio.timeout(30):
        while found.get("metadata", {}).get("finalizers") != ["play.example.com/kept"]:
            found = await bed.local.get(GROUP, PLURAL, "", "dolls.play.example.com") or {}
            await asyncio.sleep(0)

    assert ends(found)["reason"] == "NeverEstablished"


async def test_names_belong_to_the_definition_that_had_them_first(bed: Bed) -> None:
    await bed.define(definition())
    late = definition(kind="Toy")
    late["metadata"]["name"] = "dolls.play.example.com"
    late["spec"]["names"]["plural"] = "dolls"
    await bed.local.create(GROUP, PLURAL, late)
    crd: Raw = {}
    async with asyncio.timeout(30):
        while not (crd.get("status") or {}).get("conditions"):
            crd = await bed.local.get(GROUP, PLURAL, "", "dolls.play.example.com") or {}
            await asyncio.sleep(0)
    accepted, established = crd["status"]["conditions"]
    assert (accepted["status"], accepted["reason"]) == ("False", "ListKindConflict")
    assert (established["status"], established["reason"]) == ("False", "NotAccepted")
    assert bed.engine.table.kind("play.example.com", "dolls") is None


async def test_documents_follow_the_definitions(bed: Bed) -> None:
    before = bed.documents.index.body
    assert bed.documents.v3("apis/play.example.com/v1") is None
    await bed.define(definition())
    document = bed.documents.v3("apis/play.example.com/v1")
    assert document is not None
    schemas = decoded(document.body)["components"]["schemas"]
    toy = schemas["com.example.play.v1.Toy"]
    assert toy["properties"]["spec"]["properties"]["size"] == SPEC["properties"]["size"]  # type: ignore[index]
    assert toy["x-kubernetes-group-version-kind"] == [
        {"group": "play.example.com", "version": "v1", "kind": "Toy"}
    ]
    assert "com.example.play.v1.ToyList" in schemas
    apps = b'"apis/apps/v1":{"serverRelativeURL":"'
    after = bed.documents.index.body
    assert before != after
    assert before.partition(apps)[2][:200] == after.partition(apps)[2][:200]


def test_columns_show_what_their_paths_lead_to() -> None:
    table = columns.table(
        {
            "additionalPrinterColumns": [
                {
                    "name": "Ready",
                    "type": "string",
                    "jsonPath": '.status.conditions[?(@.type=="Ready")].status',
                },
                {"name": "Size", "type": "integer", "jsonPath": ".spec.size"},
                {"name": "Since", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
                {"name": "Map", "type": "string", "jsonPath": ".spec.map"},
                {"name": "No", "type": "string", "jsonPath": ".spec.no"},
            ]
        }
    )
    raw = {
        "metadata": {"name": "bear", "creationTimestamp": "1970-01-01T00:00:00Z"},
        "spec": {"size": 4, "map": {"a": 1}},
        "status": {"conditions": [{"type": "Other", "status": "False"}, {"type": "Ready", "status": "True"}]},
    }
    assert table.cells(raw, 90.0) == ["bear", "True", 4, "90s", '{"a":1}', None]


@pytest.mark.parametrize(
    ("path", "found"),
    [
        (".a.b", [1]),
        (".list[0].x", [1]),
        (".list[-1].x", [2]),
        (".list[*].x", [1, 2]),
        (".list[0:1].x", [1]),
        (".list[?(@.x>1)].x", [2]),
        (r".dotted\.key", ["d"]),
        ("['dotted.key']", ["d"]),
        (".absent.x", []),
    ],
)
def test_a_path_gives_all_that_it_leads_to(path: str, found: list[Any]) -> None:
    value = {"a": {"b": 1}, "list": [{"x": 1}, {"x": 2}], "dotted.key": "d"}
    assert jsonpath.find(jsonpath.path(path), value) == found


def test_text_that_is_no_path_is_refused() -> None:
    with pytest.raises(jsonpath.Malformed):
        jsonpath.path(".spec[")


def test_newer_and_stabler_versions_come_first() -> None:
    found = sorted(["v1beta1", "v2", "v10", "v1", "v2alpha1", "odd", "v1beta2"], key=discovery.age)
    assert found == ["v10", "v2", "v1", "v1beta2", "v1beta1", "v2alpha1", "odd"]


async def test_a_change_that_changes_nothing_for_its_kinds_disturbs_no_watcher(bed: Bed) -> None:
    await bed.define(definition())
    kind = bed.engine.table.kind("play.example.com", "toys")
    assert kind is not None
    cache = await bed.engine.caches.current(kind)
    crd = await bed.local.get(GROUP, PLURAL, "", "toys.play.example.com")
    assert crd is not None
    crd["metadata"]["labels"] = {"a": "b"}
    changed = await bed.local.update(GROUP, PLURAL, crd)
    definitions = bed.engine.table.kind(GROUP, PLURAL)
    assert definitions is not None
    await bed.engine.cache(definitions).reached(int(changed["metadata"]["resourceVersion"]))
    assert bed.engine.table.kind("play.example.com", "toys") is kind
    assert bed.engine.caches.of(kind) is cache


async def test_a_metadata_that_is_none_is_refused(bed: Bed) -> None:
    await bed.define(definition())
    asked = bed.call()
    raw = {"apiVersion": asked.kind.api_version, "kind": "Toy", "metadata": "x"}
    with pytest.raises(BadRequest, match="cannot unmarshal string into Go struct field"):
        body.decode(asked, encoded(raw), "application/json")
