"""``python -m benchmarks [NAME...]``: run all benchmarks, or those named, and print a table."""

import sys
from collections.abc import Sequence

from benchmarks import apiserver, binding, cel, dns, dnsperf, memory, pods, policies, proxy, scheduler, schema
from benchmarks.measure import Benchmark, Row
from benchmarks.server import CannotMeasure

BENCHMARKS: tuple[Benchmark, ...] = (
    *apiserver.BENCHMARKS,
    *memory.BENCHMARKS,
    *scheduler.BENCHMARKS,
    *binding.BENCHMARKS,
    *pods.BENCHMARKS,
    *proxy.BENCHMARKS,
    *policies.BENCHMARKS,
    *dns.BENCHMARKS,
    *dnsperf.BENCHMARKS,
    *schema.BENCHMARKS,
    *cel.BENCHMARKS,
)


def line(name: str, row: Row) -> str:
    middle = "" if row.middle is None else f"{row.middle:9.1f}"
    return f"{name:10} {row.operation:46} {row.value:9.3f} {row.unit:7} {middle:>9} {row.count or '':>7}"


def main(names: Sequence[str]) -> int:
    known = [benchmark.name for benchmark in BENCHMARKS]
    strange = [name for name in names if name not in known]
    if strange:
        print(
            f"there is no benchmark {', '.join(strange)}; there are: {', '.join(known)}",
            file=sys.stderr,
        )
        return 2
    print(f"{'subject':10} {'operation':46} {'each':>9} {'':7} {'p50 ms':>9} {'rounds':>7}")
    for benchmark in BENCHMARKS:
        if not names or benchmark.name in names:
            try:
                for row in benchmark.run():
                    print(line(benchmark.name, row), flush=True)
            except CannotMeasure as problem:
                print(f"{benchmark.name}: {problem}", file=sys.stderr)
                return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
