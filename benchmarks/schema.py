"""What the schema costs a write: reading a pod of two containers and making it fit its type, in this process."""

from collections.abc import Iterable

from benchmarks.apiserver import pod
from benchmarks.measure import Benchmark, Row, timed
from kybern.api.kinds import of_kind
from kybern.machinery.codec import decode_json
from kybern.machinery.schema import Schema

ROUNDS = 3000


def rows() -> Iterable[Row]:
    kind = of_kind("", "v1", "Pod")
    if kind is None:
        raise LookupError("there is no kind Pod")
    node, default, body = Schema.load().of(kind.schema), kind.rules.default, pod(1)
    read = [decode_json(body)[0] for _ in range(2 * ROUNDS)]

    def filled(number: int) -> None:
        default(read[number])

    yield timed("read the JSON of a pod", ROUNDS, lambda _number: decode_json(body))
    yield timed("schema walk of a pod", ROUNDS, lambda number: node.decode(read[number]))
    yield timed("defaults of a pod", ROUNDS, filled)


BENCHMARKS = (Benchmark("schema", rows),)
