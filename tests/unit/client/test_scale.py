"""The size of an object whose kind nobody knows beforehand."""

import json
from typing import Any

import pytest

from kybern.client.scale import scale
from kybern.machinery.errors import NotFound


class Server:
    """Answers by path."""

    def __init__(self, answers: dict[str, Any]) -> None:
        self.answers = answers

    async def request(self, _method: str, path: str, *_more: Any, **_options: Any) -> bytes:
        if path not in self.answers:
            raise NotFound(path)
        return json.dumps(self.answers[path]).encode()


RESOURCES = {
    "resources": [
        {"name": "fleets", "kind": "Fleet"},
        {"name": "fleets/scale", "kind": "Scale"},
        {"name": "ships", "kind": "Ship"},
    ]
}
SERVER = Server(
    {
        "/apis/x.test/v1": RESOURCES,
        "/apis/x.test/v1/namespaces/a/fleets/one/scale": {"metadata": {"uid": "u"}, "spec": {"replicas": 4}},
    }
)


@pytest.mark.parametrize(
    ("version", "kind", "expected"),
    [
        ("x.test/v1", "Fleet", 4),
        ("x.test/v1", "Ship", "ships.x.test does not implement the scale subresource"),
        ("x.test/v1", "Boat", 'no matches for kind "Boat" in version "x.test/v1"'),
        ("y.test/v1", "Fleet", 'no matches for kind "Fleet" in version "y.test/v1"'),
    ],
)
async def test_kinds(version: str, kind: str, expected: Any) -> None:
    found = await scale(SERVER, version, kind, "a", "one")  # type: ignore[arg-type]  # as much of it as is asked

    assert (found if found is None or isinstance(found, str) else found.spec.replicas) == expected


async def test_an_object_that_is_not_there_has_none() -> None:
    found = await scale(SERVER, "x.test/v1", "Fleet", "a", "two")  # type: ignore[arg-type]  # as much as is asked

    assert found is None
