"""Watches and lists in pieces, as upstream's conformance tests use them."""

import json
import time
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from tests.protocol.apiserver_bed import Lab, Server
from tests.protocol.requests_bed import Api, Raw, names

pytestmark = pytest.mark.etcd

NAMESPACE = "/api/v1/namespaces/watched"
MAPS = f"{NAMESPACE}/configmaps"
TEMPLATES = f"{NAMESPACE}/podtemplates"


@pytest.fixture(scope="module")
def server(lab: Lab, free_ports: Any) -> Server:
    return lab.start(free_ports(), "--endpoint-reconciler-type=none")


@pytest.fixture(scope="module")
def api(server: Server) -> Api:
    found = Api(server)
    found.namespace("watched")
    return found


def config_map(name: str, label: str, **data: str) -> Raw:
    return {"metadata": {"name": name, "labels": {"watch-this": label}}, "data": data}


def changed(api: Api, name: str, **data: str) -> Raw:
    found = api.get(f"{MAPS}/{name}")
    updated: Raw = api.update(f"{MAPS}/{name}", {**found, "data": {**found.get("data", {}), **data}})
    return updated


def seen(events: Iterator[tuple[str, Raw]], count: int) -> list[tuple[str, str, Raw | None]]:
    found = [next(events) for _ in range(count)]
    return [(kind, item["metadata"]["name"], item.get("data")) for kind, item in found]


def test_each_watcher_sees_the_changes_of_what_it_selects_and_no_others(api: Api) -> None:
    with (
        api.watch(MAPS, labelSelector="watch-this=A") as a,
        api.watch(MAPS, labelSelector="watch-this=B") as b,
        api.watch(MAPS, labelSelector="watch-this in (A,B)") as both,
    ):
        api.create(MAPS, config_map("map-a", "A"))
        assert seen(a, 1) == seen(both, 1) == [("ADDED", "map-a", None)]
        changed(api, "map-a", mutation="1")
        changed(api, "map-a", mutation="2")
        expected = [("MODIFIED", "map-a", {"mutation": "1"}), ("MODIFIED", "map-a", {"mutation": "2"})]
        assert seen(a, 2) == seen(both, 2) == expected
        api.delete(f"{MAPS}/map-a")
        assert seen(a, 1) == seen(both, 1) == [("DELETED", "map-a", {"mutation": "2"})]
        # The first thing that B's watcher sees is B's: nothing of A came before it.
        api.create(MAPS, config_map("map-b", "B"))
        assert seen(b, 1) == seen(both, 1) == [("ADDED", "map-b", None)]
        api.delete(f"{MAPS}/map-b")
        assert seen(b, 1) == seen(both, 1) == [("DELETED", "map-b", None)]


def test_a_watch_starts_after_the_version_it_names(api: Api) -> None:
    api.create(MAPS, config_map("from", "from-version"))
    first = changed(api, "from", mutation="1")
    changed(api, "from", mutation="2")
    api.delete(f"{MAPS}/from")

    since = first["metadata"]["resourceVersion"]
    with api.watch(MAPS, labelSelector="watch-this=from-version", resourceVersion=since) as events:
        assert seen(events, 2) == [
            ("MODIFIED", "from", {"mutation": "2"}),
            ("DELETED", "from", {"mutation": "2"}),
        ]


def test_a_watch_that_ended_goes_on_from_the_last_version_it_saw(api: Api) -> None:
    with api.watch(MAPS, labelSelector="watch-this=restarted") as events:
        api.create(MAPS, config_map("again", "restarted"))
        changed(api, "again", mutation="1")
        assert seen(events, 1) == [("ADDED", "again", None)]
        last = next(events)[1]["metadata"]["resourceVersion"]
    changed(api, "again", mutation="2")
    api.delete(f"{MAPS}/again")

    with api.watch(MAPS, labelSelector="watch-this=restarted", resourceVersion=last) as events:
        assert seen(events, 2) == [
            ("MODIFIED", "again", {"mutation": "2"}),
            ("DELETED", "again", {"mutation": "2"}),
        ]


def test_what_is_no_longer_selected_is_deleted_to_the_watcher_and_comes_back_as_new(api: Api) -> None:
    with api.watch(MAPS, labelSelector="watch-this=selected") as events:
        api.create(MAPS, config_map("moving", "selected"))
        changed(api, "moving", mutation="1")
        label = {"metadata": {"labels": {"watch-this": "wrong"}}}
        api.patch(f"{MAPS}/moving", label)
        assert [kind for kind, *_ in seen(events, 3)] == ["ADDED", "MODIFIED", "DELETED"]
        changed(api, "moving", mutation="2")  # unseen: it is not selected
        api.patch(f"{MAPS}/moving", {"metadata": {"labels": {"watch-this": "selected"}}})
        changed(api, "moving", mutation="3")
        api.delete(f"{MAPS}/moving")
        assert seen(events, 3) == [
            ("ADDED", "moving", {"mutation": "2"}),
            ("MODIFIED", "moving", {"mutation": "3"}),
            ("DELETED", "moving", {"mutation": "3"}),
        ]


def test_watchers_from_different_versions_see_the_same_order(api: Api) -> None:
    since = api.get(MAPS)["metadata"]["resourceVersion"]
    for number in range(10):
        api.create(MAPS, config_map(f"order-{number}", "order"))
    with api.watch(MAPS, labelSelector="watch-this=order", resourceVersion=since) as events:
        versions = [next(events)[1]["metadata"]["resourceVersion"] for _ in range(10)]
    for at, version in enumerate(versions[:-1]):
        with api.watch(MAPS, labelSelector="watch-this=order", resourceVersion=version) as events:
            rest = [next(events)[1]["metadata"]["resourceVersion"] for _ in range(9 - at)]
        assert rest == versions[at + 1 :]


def template(name: str) -> Raw:
    spec = {"containers": [{"name": "test", "image": "registry.example.com/test:1"}]}
    return {"metadata": {"name": name}, "template": {"metadata": {"labels": {"a": "b"}}, "spec": spec}}


@pytest.fixture(scope="module")
def forty(api: Api) -> list[str]:
    made = [f"template-{number:04}" for number in range(40)]
    for name in made:
        api.create(TEMPLATES, template(name))
    return made


@pytest.mark.parametrize("limit", [1, 7, 17])
def test_a_list_comes_in_pieces_that_make_one_list(api: Api, forty: list[str], limit: int) -> None:
    found: list[str] = []
    page = api.get(TEMPLATES, limit=str(limit))
    version = page["metadata"]["resourceVersion"]
    while True:
        found += names(page)
        assert page["metadata"]["resourceVersion"] == version
        if not page["metadata"].get("continue"):
            break
        assert len(page["items"]) == limit
        assert page["metadata"]["remainingItemCount"] == len(forty) - len(found)
        page = api.get(TEMPLATES, limit=str(limit), **{"continue": page["metadata"]["continue"]})

    assert found == forty
    assert "remainingItemCount" not in page["metadata"]
    # In one piece it is the same list, with the limit larger than it or none at all.
    assert names(api.get(TEMPLATES, limit=str(len(forty) + 1))) == names(api.get(TEMPLATES)) == forty


def compact(endpoint: str, revision: str) -> None:
    """Have etcd forget what was before a revision: by its own JSON gateway."""
    body = json.dumps({"revision": revision, "physical": True}).encode()
    with urllib.request.urlopen(f"{endpoint}/v3/kv/compaction", body, timeout=10) as answer:
        assert answer.status == 200


def test_a_list_goes_on_from_its_last_key_after_its_version_is_compacted(
    api: Api, etcd: Any, forty: list[str]
) -> None:
    first = api.get(TEMPLATES, limit="17")
    token = first["metadata"]["continue"]
    made = api.create(TEMPLATES, template("template-0099"))
    compact(etcd.endpoint, made["metadata"]["resourceVersion"])

    deadline = time.monotonic() + 10
    while (late := api.send("GET", TEMPLATES, limit="17", **{"continue": token})).code != 410:
        assert time.monotonic() < deadline, late
        time.sleep(0.1)
    fresh = late.body["metadata"]["continue"]
    assert late.body["reason"] == "Expired"
    assert fresh
    page = api.get(TEMPLATES, limit="17", **{"continue": fresh})
    assert page["metadata"]["resourceVersion"] != first["metadata"]["resourceVersion"]
    assert len(page["items"]) == 17
    last = api.get(TEMPLATES, limit="17", **{"continue": page["metadata"]["continue"]})
    api.delete(f"{TEMPLATES}/template-0099")

    assert last["metadata"]["resourceVersion"] == page["metadata"]["resourceVersion"]
    assert names(first) + names(page) + names(last) == [*forty, "template-0099"]


def test_what_there_is_comes_as_tables_to_a_watcher_that_asks_for_both(api: Api) -> None:
    api.create(MAPS, config_map("shown", "table"))
    query = "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
    answer = api.send(
        "GET",
        f"{MAPS}?{query}&labelSelector=watch-this%3Dtable&timeoutSeconds=1",
        accept="application/json;as=Table;v=v1;g=meta.k8s.io",
    )

    first = json.loads(answer.body.splitlines()[0])
    assert (answer.code, first["type"], first["object"]["kind"]) == (200, "ADDED", "Table")
    assert first["object"]["rows"][0]["cells"][0] == "shown"
