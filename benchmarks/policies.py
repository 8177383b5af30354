"""What kybern-policies spends on 1,000 policies and 1,000 pods, 100 of them on this node: here, and with ``nft``.

By the clock, too: a change is to be in force within a second. The rules are those of a network namespace that is made for
it, in a process of its own.
"""

import asyncio
import multiprocessing
import os
import resource
import shutil
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from ipaddress import ip_network

from benchmarks.measure import Benchmark, Row, resident_mebibytes
from kybern.machinery.selectors import EVERYTHING, parse_labels
from kybern.policies.kernel import Kernel
from kybern.policies.model import Model
from kybern.policies.records import Allowed, Pod, Policy, Port, Selected

PODS, POLICIES, NAMESPACES, NODES, ROUNDS = 1000, 1000, 10, 10, 50


def pod(number: int, labels: dict[str, str] | None = None) -> Pod:
    """Each of ten applications of a namespace has ten pods, spread over the nodes."""
    return Pod(
        f"ns{number % NAMESPACES}",
        f"p{number}",
        labels or {"app": f"a{number // NAMESPACES % 10}", "pod": str(number)},
        f"n{number // 100}",
        (f"10.244.{number // 100}.{number % 100 + 2}",),
    )


def policy(number: int) -> Policy:
    """In each namespace a tenth of them: an application lets another one in, one of its own namespace or of all."""
    namespace, app = f"ns{number % NAMESPACES}", number // NAMESPACES % 10
    peer = parse_labels(f"app=a{number // 100}")
    callers = Selected(peer, namespace) if number % 2 else Selected(peer, namespaces=EVERYTHING)
    return Policy(
        namespace,
        f"allow{number}",
        parse_labels(f"app=a{app}"),
        ingress=(Allowed((callers,), (Port("tcp", 8000 + number % 50, 8000 + number % 50),)),),
    )


class Measured:
    """A model over a kernel of its own. ``rows`` are what was found."""

    def __init__(self) -> None:
        self.model, self.kernel, self.rows = (
            Model("n0", (ip_network("10.244.0.0/24"),)),
            Kernel(),
            list[Row](),
        )

    def fill(self, _number: int) -> None:
        for number in range(NAMESPACES):
            self.model.put_namespace(f"ns{number}", {"name": f"ns{number}"})
        for number in range(PODS):
            self.model.put_pod(pod(number).key, pod(number))
        for number in range(POLICIES):
            self.model.put_policy(policy(number).key, policy(number))

    def other_label(self, number: int) -> None:
        """A pod of another node becomes a peer, and then none."""
        changed = pod(150 + number, {"app": "a1" if number % 2 else "none"})
        self.model.put_pod(changed.key, changed)

    def other_pod(self, number: int) -> None:
        """A pod of this node has other labels, so other policies are about it."""
        changed = pod(number, {"app": f"a{(number // NAMESPACES + 5) % 10}"})
        self.model.put_pod(changed.key, changed)

    def other_policy(self, number: int) -> None:
        changed = policy(number)
        changed = Policy(
            changed.namespace, changed.name, changed.pods, ingress=(Allowed(ports=(Port("udp", 53, 53),)),)
        )
        self.model.put_policy(changed.key, changed)

    async def spent(self, operation: str, count: int, change: Callable[[int], None]) -> None:
        """Processor time of a change and of writing it, here and in ``nft``, and the median by the clock."""
        ours, theirs, clock = time.process_time(), children(), []
        for number in range(count):
            began = time.perf_counter()
            change(number)
            self.model.settle()
            if not await self.kernel.apply(self.model):
                raise ValueError("a change has to change the rules")
            clock.append((time.perf_counter() - began) * 1000)
        middle = sorted(clock)[len(clock) // 2]
        self.rows.append(
            Row(operation, (time.process_time() - ours) * 1000 / count, middle=middle, count=count)
        )
        self.rows.append(Row(f"{operation}, nft", (children() - theirs) * 1000 / count, count=count))

    async def all(self) -> None:
        await self.spent("all written", 1, self.fill)
        table = self.model.table
        elements = sum(len(held) for held in table.elements.values())
        self.rows.append(Row("elements of sets", elements, ""))
        self.rows.append(Row("chains", len(table.chains), ""))
        await self.spent("one label of a peer", ROUNDS, self.other_label)
        await self.spent("one policy", ROUNDS, self.other_policy)
        await self.spent("labels of a pod of this node", ROUNDS, self.other_pod)
        self.rows.append(Row("memory, of it all", resident_mebibytes(os.getpid()), "MiB"))


def children() -> float:
    """Processor time of the programs that ended so far, in seconds."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def measured() -> list[Row]:
    """In a process of its own, in a network namespace without any rule."""
    os.unshare(os.CLONE_NEWNET)
    found = Measured()
    asyncio.run(found.all())
    return found.rows


def rows() -> Iterable[Row]:
    if os.geteuid() == 0 and shutil.which("nft"):
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
            yield from process.submit(measured).result()


BENCHMARKS = (Benchmark("policies", rows),)
