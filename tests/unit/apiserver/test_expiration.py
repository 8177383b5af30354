"""The metric of how long clients' certificates last."""

from kybern.apiserver.expiration import BUCKETS, Expirations


def counts(found: Expirations) -> dict[str, float]:
    (family,) = found.collect()
    return {sample.labels["le"]: sample.value for sample in family.samples if sample.name.endswith("_bucket")}


def test_each_request_counts_by_what_is_left_when_it_is_asked_for() -> None:
    now = [1000.0]
    found = Expirations(lambda: now[0])
    for _ in range(3):
        found.used(1000.0 + 1801)
    found.used(1000.0 + 1e9)

    first = counts(found)
    assert (first["1800.0"], first["3600.0"], first["+Inf"]) == (0, 3, 4)

    now[0] += 1000
    found.used(1000.0 + 1801)
    second = counts(found)
    assert (second["1800.0"], second["3600.0"], second["+Inf"]) == (1, 4, 5)
    assert len(second) == len(BUCKETS) + 1


def test_one_that_has_ended_counts_below_nought() -> None:
    found = Expirations(lambda: 1000.0)
    found.used(999.0)

    assert counts(found)["0.0"] == 1
