"""What is counted of requests, as a scrape shows it."""

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from kybern.api.kinds import KINDS
from kybern.apiserver import asking
from kybern.apiserver.connection import Whole
from kybern.apiserver.metrics import Labels, _Requests
from kybern.apiserver.route import Target

LABELS: Labels = ("GET", "", "", "v1", "pods", "", "resource")
PODS = next(kind for kind in KINDS if (kind.group, kind.plural) == ("", "pods"))
SHOWN = dict(
    zip(
        ("verb", "dry_run", "group", "version", "resource", "subresource", "scope", "component"),
        (*LABELS, "apiserver"),
        strict=True,
    )
)


def test_requests_are_counted_by_code_and_by_time() -> None:
    found = _Requests()
    for code, seconds in ((200, 0.001), (200, 0.005), (404, 0.3), (200, 100.0)):
        found.observe(LABELS, code, seconds, -1)
    total, duration, sizes = found.collect()

    assert {sample.labels["code"]: sample.value for sample in total.samples} == {"200": 3, "404": 1}
    assert all(sample.name == "apiserver_request_total" for sample in total.samples)
    assert all(sample.labels.items() >= SHOWN.items() for sample in (*total.samples, *duration.samples))
    buckets = {
        sample.labels["le"]: sample.value for sample in duration.samples if sample.name.endswith("bucket")
    }
    assert (buckets["0.005"], buckets["0.2"], buckets["0.4"], buckets["60.0"], buckets["+Inf"]) == (
        2,
        2,
        3,
        3,
        4,
    )
    assert not sizes.samples, "none of them was a read"
    values = {sample.name.rpartition("_")[2]: sample.value for sample in duration.samples}
    assert (values["count"], round(values["sum"], 3)) == (4, 100.306)


def test_reads_are_counted_by_size_whatever_was_dry() -> None:
    found = _Requests()
    for size in (1000, 1001, 5_000_000_000):
        found.observe(LABELS, 200, 0.001, size)
    found.observe((LABELS[0], "All", *LABELS[2:]), 200, 0.001, 4)
    _total, _duration, sizes = found.collect()

    assert {tuple(sample.labels) for sample in sizes.samples if sample.name.endswith("sum")} == {
        ("verb", "group", "version", "resource", "subresource", "scope", "component")
    }
    buckets = {sample.labels["le"]: sample.value for sample in sizes.samples if "le" in sample.labels}
    assert (buckets["1000.0"], buckets["10000.0"], buckets["1e+09"], buckets["+Inf"]) == (2, 3, 3, 4)
    assert sum(sample.value for sample in sizes.samples if sample.name.endswith("sum")) == 5_000_002_005


def _target(verb: str, name: str = "", subresource: str = "") -> Target:
    return Target("", "v1", "pods", PODS, verb, "ns", name, subresource)


def _asked(method: str, path: str, kind: str = "application/json") -> web.Request:
    return make_mocked_request(method, path, headers={"Content-Type": kind})


@pytest.mark.parametrize(
    ("method", "query", "kind", "target", "counted"),
    [
        ("GET", {}, "", _target("get", "p"), ("GET", "", "", "resource")),
        ("HEAD", {}, "", _target("get", "p"), ("GET", "", "", "resource")),
        ("GET", {}, "", _target("list"), ("LIST", "", "", "namespace")),
        ("GET", {}, "", _target("watch"), ("WATCH", "", "", "namespace")),
        ("GET", {}, "", _target("get", "p", "log"), ("CONNECT", "", "log", "resource")),
        ("POST", {}, "", _target("create", "p", "exec"), ("CONNECT", "", "exec", "resource")),
        ("POST", {"dryRun": "All"}, "", _target("create"), ("POST", "All", "", "resource")),
        ("POST", {"dryRun": "some"}, "", _target("create"), ("POST", "invalid", "", "resource")),
        ("PATCH", {}, "application/apply-patch+yaml", _target("patch", "p"), ("APPLY", "", "", "resource")),
        ("PATCH", {}, "application/json-patch+json", _target("patch", "p"), ("PATCH", "", "", "resource")),
        ("DELETE", {}, "", _target("deletecollection"), ("DELETE", "", "", "namespace")),
        ("BREW", {}, "", _target("brew", "p"), ("other", "", "", "resource")),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_labels_are_those_of_upstream(
    method: str, query: dict[str, str], kind: str, target: Target, counted: tuple[str, str, str, str]
) -> None:
    verb, dry_run, _group, _version, _resource, subresource, scope = asking.labels(
        _asked(method, "/api/v1/namespaces/ns/pods", kind), target, query
    )

    assert (verb, dry_run, subresource, scope) == counted


def test_only_reads_have_a_size() -> None:
    answer = Whole(200, (), b"four")
    get = _asked("GET", "/")

    assert asking.size(get, _target("get", "p"), answer) == 4
    assert asking.size(get, _target("list"), answer) == 4
    assert asking.size(get, _target("get", "p", "log"), answer) == 4
    assert asking.size(get, None, answer) == 4
    assert asking.size(get, _target("get", "p", "proxy"), answer) == -1
    assert asking.size(get, _target("watch"), answer) == -1
    assert asking.size(_asked("POST", "/"), _target("create"), answer) == -1
    assert asking.size(_asked("POST", "/"), None, answer) == -1
