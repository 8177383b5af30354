"""What is counted of requests, as a scrape shows it."""

from kybern.apiserver.metrics import Labels, _Requests

LABELS: Labels = ("GET", "", "", "v1", "pods", "", "resource")
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
        found.observe(LABELS, code, seconds)
    total, duration = found.collect()

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
    values = {sample.name.rpartition("_")[2]: sample.value for sample in duration.samples}
    assert (values["count"], round(values["sum"], 3)) == (4, 100.306)
