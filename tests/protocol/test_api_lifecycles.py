"""Every verb of a kind, as upstream's conformance tests go through them one kind after the other.

A kind is a row: where it is, what an object looks like, a patch that changes its spec, and what its status may say.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.protocol.apiserver_bed import Lab, Server
from tests.protocol.requests_bed import MERGE, Api, Raw

pytestmark = pytest.mark.etcd


@dataclass(frozen=True)
class Row:
    """``change`` is a merge patch, ``status`` another one, for the status subresource.

    ``noted``: whether a write of the status keeps the annotations that came with it.
    """

    group: str
    version: str
    plural: str
    body: Raw = field(default_factory=dict)
    namespaced: bool = False
    change: Raw = field(default_factory=dict)
    status: Raw | None = None
    noted: bool = True

    @property
    def root(self) -> str:
        return f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"

    def path(self, namespace: str) -> str:
        return f"{self.root}/namespaces/{namespace}/{self.plural}" if self.namespaced else self.everywhere

    @property
    def everywhere(self) -> str:
        return f"{self.root}/{self.plural}"


DATA = Path(__file__).parents[1] / "data/api/lives.yaml"
ROWS = tuple(Row(**found) for found in yaml.safe_load(DATA.read_text()))


@pytest.fixture(scope="module")
def api(lab: Lab, free_ports: Any) -> Api:
    server: Server = lab.start(free_ports(), "--endpoint-reconciler-type=none")
    found = Api(server)
    found.namespace("lives")
    return found


rows = pytest.mark.parametrize("row", ROWS, ids=lambda row: row.plural)


def make(api: Api, row: Row, name: str, label: str) -> Raw:
    made: Raw = api.create(
        row.path("lives"), {**row.body, "metadata": {"name": name, "labels": {"life": label}}}
    )
    if "finalizers" in made["metadata"]:  # no controller is here to take it off
        made = api.patch(f"{row.path('lives')}/{name}", {"metadata": {"finalizers": None}})
    return made


def contains(whole: Any, part: Any) -> bool:
    """Whether everything that a merge patch says is in an object."""
    if isinstance(part, dict):
        return isinstance(whole, dict) and all(contains(whole.get(key), value) for key, value in part.items())
    if isinstance(part, list) and isinstance(whole, list):
        if all(isinstance(one, dict) and "type" in one for one in part):
            # Conditions: a loop of the server may have added some of its own.
            return all(any(contains(found, one) for found in whole) for one in part)
        return len(whole) == len(part) and all(map(contains, whole, part))
    return bool(whole == part) or (part in ({}, []) and whole is None)


@rows
def test_discovery_names_the_kind(api: Api, row: Row) -> None:
    if row.group:
        group = next(found for found in api.get("/apis")["groups"] if found["name"] == row.group)
        assert row.version in [found["version"] for found in group["versions"]]
        assert api.get(f"/apis/{row.group}")["versions"] == group["versions"]
    resources = {found["name"] for found in api.get(row.root)["resources"]}
    assert row.plural in resources
    assert row.status is None or f"{row.plural}/status" in resources


@rows
def test_every_verb_works(api: Api, row: Row) -> None:
    path, label = row.path("lives"), f"verbs-{row.plural}"
    selected = {"labelSelector": f"life={label}"}
    made, *_ = [make(api, row, f"{row.plural}-{number}", label) for number in range(3)]
    one = f"{path}/{made['metadata']['name']}"

    assert api.get(one)["metadata"]["uid"] == made["metadata"]["uid"]
    assert len(api.get(path, **selected)["items"]) == len(api.get(row.everywhere, **selected)["items"]) == 3

    since = api.get(path, **selected)["metadata"]["resourceVersion"]
    with api.watch(path, resourceVersion=since, **selected) as events:
        patched = api.patch(one, {"metadata": {"annotations": {"patched": "true"}}, **row.change})
        assert patched["metadata"]["annotations"]["patched"] == "true"
        assert contains(patched, row.change)
        patched["metadata"]["annotations"]["updated"] = "true"
        updated = api.update(one, patched)
        assert updated["metadata"]["annotations"] == {"patched": "true", "updated": "true"}
        for expected in ({"patched": "true"}, {"patched": "true", "updated": "true"}):
            kind, seen = next(events)
            assert (kind, seen["metadata"]["annotations"]) == ("MODIFIED", expected)

        api.delete(one)
        assert next(events)[0] == "DELETED"
    assert api.code(one) == 404
    assert len(api.get(path, **selected)["items"]) == 2
    api.delete(path, **selected)
    assert api.get(path, **selected)["items"] == []


@pytest.mark.parametrize(
    "row", [row for row in ROWS if row.status is not None], ids=lambda found: found.plural
)
def test_status_is_read_patched_and_replaced_apart_from_the_rest(api: Api, row: Row) -> None:
    assert row.status is not None
    path = row.path("lives")
    made = make(api, row, f"{row.plural}-status", "status")
    one = f"{path}/{made['metadata']['name']}"

    assert api.get(f"{one}/status")["metadata"]["uid"] == made["metadata"]["uid"]
    patched = api.patch(
        f"{one}/status", {"metadata": {"annotations": {"patched": "true"}}, **row.status}, MERGE
    )
    assert contains(patched, row.status)
    assert patched["metadata"].get("annotations") == ({"patched": "true"} if row.noted else None)
    assert patched.get("spec") == made.get("spec")

    def updated(found: Raw) -> Raw:
        return {**found, **row.change, "metadata": {**found["metadata"], "annotations": {"updated": "true"}}}

    replaced = api.changed(f"{one}/status", updated)
    assert replaced["metadata"].get("annotations") == ({"updated": "true"} if row.noted else None)
    assert replaced.get("spec") == made.get("spec")
    # And the other way: the object itself takes no status.
    assert contains(api.changed(one, lambda found: {**found, "status": {}}), row.status)
    api.delete(one)
