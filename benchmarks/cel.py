"""What expressions cost: compiling a rule once, and evaluating it for an object, in this process."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial

from benchmarks.measure import Benchmark, Row, timed
from kybern.machinery.cel import Environment, Program
from kybern.machinery.cel.types import DYN, INT, STRING, list_of, map_of, object_of

ROUNDS = 20_000
SPEC = object_of(
    "Spec",
    {
        "replicas": INT,
        "maxReplicas": INT,
        "host": STRING,
        "names": list_of(STRING),
        "labels": map_of(STRING, STRING),
    },
)
SELF = {
    "replicas": 3,
    "maxReplicas": 5,
    "host": "www.example.com",
    "names": [f"name-{number}" for number in range(10)],
    "labels": {f"key-{number}": "value" for number in range(10)},
}
VARIABLES = {"self": SELF, "object": SELF}
RULES = {
    "two fields compared": "self.replicas <= self.maxReplicas",
    "a field that may be missing": "!has(self.host) || self.host.endsWith('.example.com')",
    "ten names by a pattern": "self.names.all(n, n.matches('^[a-z][a-z0-9-]*$'))",
    "ten keys, mapped and joined": "self.labels.map(k, k + '=' + self.labels[k]).join(',') != ''",
    "an object without a type": "object.replicas > 1 && object.labels['key-1'] == 'value'",
}


def rows() -> Iterable[Row]:
    environment = Environment({"self": SPEC, "object": DYN})
    for name, rule in RULES.items():
        program = environment.compile(rule)
        yield timed(f"compile: {name}", ROUNDS // 100, partial(_compile, environment, rule))
        yield _micro(f"evaluate: {name}", partial(_evaluate, program))


def _compile(environment: Environment, rule: str, _number: int) -> Program:
    return environment.compile(rule)


def _evaluate(program: Program, _number: int) -> object:
    return program.evaluate(VARIABLES)


def _micro(operation: str, work: Callable[[int], object]) -> Row:
    row = timed(operation, ROUNDS, work)
    return replace(row, value=row.value * 1000, unit="us CPU")


BENCHMARKS = (Benchmark("cel", rows),)
