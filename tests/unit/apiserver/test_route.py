"""Paths to kinds, verbs and names."""

import pytest

from kybern.api.kinds import KINDS
from kybern.apiserver.route import Table
from kybern.machinery.kind import Kind

TABLE = Table.of(KINDS)


@pytest.mark.parametrize(
    ("method", "path", "watching", "meant"),
    [
        ("GET", "/api/v1/pods", False, ("pods", "list", "", "", "")),
        ("GET", "/api/v1/pods", True, ("pods", "watch", "", "", "")),
        ("GET", "/api/v1/namespaces/a/pods/p", False, ("pods", "get", "a", "p", "")),
        ("GET", "/api/v1/namespaces/a/pods/p", True, ("pods", "get", "a", "p", "")),
        ("GET", "/api/v1/watch/namespaces/a/pods/p", False, ("pods", "watch", "a", "p", "")),
        ("PUT", "/api/v1/namespaces/a/pods/p/status", False, ("pods", "update", "a", "p", "status")),
        ("DELETE", "/api/v1/namespaces/a/pods", False, ("pods", "deletecollection", "a", "", "")),
        ("GET", "/api/v1/namespaces/a", False, ("namespaces", "get", "a", "a", "")),
        ("PUT", "/api/v1/namespaces/a/finalize", False, ("namespaces", "update", "a", "a", "finalize")),
        ("PATCH", "/apis/apps/v1/namespaces/a/deployments/d", False, ("deployments", "patch", "a", "d", "")),
        ("GET", "/apis/apps/v1/nosuch", False, ("nosuch", "list", "", "", "")),
    ],
)
def test_a_path_names_what_is_meant(
    method: str, path: str, watching: bool, meant: tuple[str, str, str, str, str]
) -> None:
    target = TABLE.target(method, path, watching=watching)

    assert target is not None
    assert (target.plural, target.verb, target.namespace, target.name, target.subresource) == meant


@pytest.mark.parametrize("path", ["/api/v1", "/apis", "/apis/apps", "/apis/apps/v1/", "/api/"])
def test_a_path_without_a_resource_names_none(path: str) -> None:
    assert TABLE.target("GET", path, watching=False) is None


def test_what_follows_a_subresource_is_kept() -> None:
    target = TABLE.target("GET", "/api/v1/namespaces/a/pods/p/proxy/x/y", watching=False)

    assert target is not None
    assert (target.subresource, target.tail) == ("proxy", "/x/y")


def test_a_kind_is_found_in_its_first_version_as_long_as_it_is_served() -> None:
    def widget(version: str) -> Kind:
        return Kind("example.org", version, "Widget", "widgets", namespaced=True, schema="")

    table = Table.of(())
    assert table.kind("example.org", "widgets") is None
    table.put((widget("v1"), widget("v2")))
    assert table.kind("example.org", "widgets") == widget("v1")
    table.drop((widget("v1"),))
    assert table.kind("example.org", "widgets") == widget("v2")
    table.drop((widget("v2"),))
    assert table.kind("example.org", "widgets") is None
