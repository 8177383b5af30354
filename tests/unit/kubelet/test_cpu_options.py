"""cpuManagerPolicyOptions: which CPUs are chosen, who may not run, and which options go together."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import REGISTRY

from kybern.daemon.run import Fatal
from kybern.kubelet import machine, outset
from kybern.kubelet.cpus.assignment import PACKED, Unavailable, take
from kybern.kubelet.cpus.layout import Layout
from kybern.kubelet.cpus.ledger import Given, Hand, Misaligned, Shelf, parse, spelled
from kybern.kubelet.cpus.options import Options, check, options
from kybern.kubelet.cpus.pinning import Pinning, Rules
from kybern.kubelet.cri import Runtime
from kybern.kubelet.devices.allocation import Devices
from kybern.kubelet.memory.holding import Memory
from kybern.kubelet.node_status import Reserved
from kybern.kubelet.settings import Settings
from kybern.kubelet.topology.alignment import Alignment
from kybern.kubelet.topology.allot import allot
from kybern.kubelet.topology.hints import Hint, Numa
from kybern.kubelet.topology.merge import Policy
from tests.unit.kubelet.making import pod
from tests.unit.kubelet.test_cpus import sized


def layout(cpus: int, cores: int, socket: int, node: int = 0, cache: int = 0) -> Layout:
    """So many CPUs and cores; then how many cores are in a socket, in a NUMA node, and below a cache."""
    core = {cpu: cpu % cores for cpu in range(cpus)}
    of_cpu = {cpu: core[cpu] // (node or socket) for cpu in core}
    return Layout(
        {cpu: (one // socket, one) for cpu, one in core.items()},
        Numa(tuple(sorted(set(of_cpu.values()))), {}, of_cpu),
        {cpu: one // cache for cpu, one in core.items()} if cache else {},
    )


ONE = layout(8, 4, 4)
TWO = layout(12, 6, 3)
WIDE = layout(80, 40, 20, 10)
"""Two sockets of two NUMA nodes of ten cores of two threads."""
PLAIN = layout(16, 16, 16, cache=4)
TWICE = layout(16, 16, 8, cache=4)
NODES = layout(16, 16, 16, 8, cache=4)
THREADS = layout(16, 8, 8, cache=4)
CACHES = Options(by_caches=True)
SPREAD = Options(across_cores=True)
EVEN = Options(across_nodes=True)
EVEN_CORES = Options(across_nodes=True, whole_cores=True)


def chosen(where: Layout, free: str, count: int, options: Options = PACKED) -> str:
    return spelled(take(where, parse(free), count, options))


@pytest.mark.parametrize(
    ("where", "free", "count", "expected"),
    [
        (ONE, "0-7", 1, "0"),
        (ONE, "1,3,5-7", 1, "6"),
        (ONE, "0-7", 2, "0,4"),
        (ONE, "0-7", 8, "0-7"),
        (ONE, "0-3,6", 2, "2,6"),
        (TWO, "0-11", 6, "0-2,6-8"),
        (TWO, "1-5,7-11", 1, "1"),
        (TWO, "0-11", 8, "0-3,6-9"),
        (WIDE, "0-79", 40, "0-19,40-59"),
        (WIDE, "0-79", 20, "0-9,40-49"),
        (WIDE, "10-39,50-79", 20, "10-19,50-59"),
        (WIDE, "0-79", 60, "0-29,40-69"),
        (WIDE, "1-39,41-79", 60, "10-39,50-79"),
        (WIDE, "0-79", 64, "0-31,40-71"),
        (WIDE, "9,30-38,49", 1, "9"),
    ],
)
def test_packed_takes_wide_rooms_whole_and_fills_those_that_are_begun(
    where: Layout, free: str, count: int, expected: str
) -> None:
    assert chosen(where, free, count) == expected


@pytest.mark.parametrize(
    ("where", "free", "count", "expected"),
    [
        (PLAIN, "1-15", 10, "1-2,4-11"),
        (TWICE, "0-15", 4, "0-3"),
        (TWICE, "2-15", 6, "2-7"),
        (TWICE, "8-15", 4, "8-11"),
        (NODES, "3-8,12", 2, "4-5"),
        (THREADS, "2-7,10-15", 6, "4-6,12-14"),
        (THREADS, "1-7,9-15", 10, "1,4-7,9,12-15"),
        (THREADS, "0-7,8-15", 3, "0-1,8"),
        (THREADS, "0-1,8-9,4-5,12-13", 6, "0-1,4,8-9,12"),
    ],
)
def test_by_caches_a_container_has_whole_ones_and_the_rest_below_one(
    where: Layout, free: str, count: int, expected: str
) -> None:
    assert chosen(where, free, count, CACHES) == expected


@pytest.mark.parametrize(
    ("where", "free", "count", "expected"),
    [
        (ONE, "0-7", 3, "0-2"),
        (TWO, "0-11", 2, "0-1"),
        (TWO, "0-11", 6, "0-2,6-8"),
        (TWO, "0-11", 8, "0-4,6-8"),
        (WIDE, "0-79", 8, "0-7"),
    ],
)
def test_spread_takes_no_second_thread_of_a_core_before_it_must(
    where: Layout, free: str, count: int, expected: str
) -> None:
    assert chosen(where, free, count, SPREAD) == expected


@pytest.mark.parametrize(
    ("where", "free", "count", "how", "expected"),
    [
        (TWO, "0-11", 8, EVEN, "0-1,3-4,6-7,9-10"),
        (TWO, "1-5,7-11", 1, EVEN, "3"),
        (TWO, "1-5,7-11", 1, EVEN_CORES, "1"),
        (WIDE, "0-79", 64, EVEN, "0-7,10-17,20-27,30-37,40-47,50-57,60-67,70-77"),
        (WIDE, "0-79", 48, EVEN, "0-7,10-17,20-27,40-47,50-57,60-67"),
        (WIDE, "1-29,32-39,41-69,72-79", 48, EVEN, "1-8,10-17,20-27,41-48,50-57,60-67"),
        (WIDE, "2-29,31-39,42-69,71-79", 48, EVEN, "10-17,20-27,31-38,50-57,60-67,71-78"),
        (WIDE, "0-79", 26, EVEN, "0-6,10-16,40-45,50-55"),
        (WIDE, "0-79", 26, EVEN_CORES, "0-6,10-15,40-46,50-55"),
        (WIDE, "0-79", 62, EVEN, "0-7,10-17,20-27,30-37,40-47,50-57,60-66,70-76"),
        (WIDE, "0-79", 62, EVEN_CORES, "0-7,10-17,20-27,30-36,40-47,50-57,60-67,70-76"),
        (WIDE, "0-8,10-18,20-40,50-58,60-79,41-48", 62, EVEN, "0-7,10-17,20-27,30-37,40-46,50-56,60-67,70-77"),
        (
            WIDE, "0-8,10-18,20-39,40-48,50-58,60-79", 62, EVEN_CORES,
            "0-7,10-16,20-27,30-37,40-47,50-56,60-67,70-77",
        ),
        (
            WIDE, "0-3,10-13,20-23,30-36,40-43,50-53,60-63,70-76", 34, EVEN,
            "0-3,10-13,20-23,30-34,40-43,50-53,60-63,70-74",
        ),
        (WIDE, "0,10,20-24,60-64", 12, EVEN, "0,10,20-24,60-64"),
    ],
)  # fmt: skip
def test_distributed_takes_as_much_of_each_node(
    where: Layout, free: str, count: int, how: Options, expected: str
) -> None:
    assert chosen(where, free, count, how) == expected


@given(
    st.sampled_from([ONE, TWO, WIDE, PLAIN, TWICE, NODES, THREADS]),
    st.sampled_from([PACKED, CACHES, SPREAD, EVEN, EVEN_CORES, Options(whole_cores=True, by_caches=True)]),
    st.data(),
)
def test_whatever_is_free_as_many_are_taken_of_it(where: Layout, how: Options, data: st.DataObject) -> None:
    free = frozenset(data.draw(st.sets(st.sampled_from(sorted(where.all)))))
    count = data.draw(st.integers(0, len(free)))

    found = take(where, free, count, how)

    assert len(found) == count
    assert found <= free
    with pytest.raises(Unavailable, match="not enough cpus available to satisfy request: requested=99"):
        take(where, free, 99, how)


@given(st.sampled_from([ONE, TWO, WIDE, THREADS]), st.booleans(), st.booleans(), st.data())
def test_of_whole_cores_only_whole_ones_are_taken(
    where: Layout, even: bool, caches: bool, data: st.DataObject
) -> None:
    cores = data.draw(st.sets(st.sampled_from(sorted(set(where.places.values())))))
    free = frozenset(cpu for cpu in where.places if where.places[cpu] in cores)
    count = 2 * data.draw(st.integers(0, len(cores)))

    found = take(
        where, free, count, Options(whole_cores=True, across_nodes=even, by_caches=caches and not even)
    )

    assert where.siblings(found) == found


def handed(of: str, free: str, where: Layout, how: Options, reserved: str = "") -> str:
    """What containers get that ask for these numbers of CPUs, one after the other."""
    asking = pod(*(sized(f"c{number}", cpus) for number, cpus in enumerate(of.split())))
    hand = Hand(asking, Shelf(where, parse(free), parse(reserved), how))
    allot(asking, (hand,), Policy(), where.numa)
    return " ".join(spelled(one.cpus) for one in hand.given)


def test_whole_cores_or_nothing_in_upstreams_words() -> None:
    whole = Options(whole_cores=True)

    assert handed("2 4", "1-3,5-7", ONE, whole, "0,4") == "1,5 2-3,6-7"
    with pytest.raises(
        Misaligned, match=r"^SMT Alignment Error: requested 3 cpus not multiple cpus per core = 2$"
    ):
        handed("3", "0-7", ONE, whole)
    broken = (
        r"^SMT Alignment Error: not enough free physical CPUs: available physical CPUs = 6, "
        r"requested CPUs = 8, CPUs per core = 2$"
    )
    with pytest.raises(Misaligned, match=broken):
        handed("8", "1-7", ONE, whole, "0")
    assert handed("3", "1-7", layout(8, 8, 8), whole) == "1-3"


def test_near_is_the_socket_where_that_is_asked_for() -> None:
    free = parse("0-1,10-19,20-39")
    asking = pod(sized("c", "12"))
    node, socket = (
        Hand(asking, Shelf(WIDE, free, frozenset(), Options(by_socket=by_socket)))
        for by_socket in (False, True)
    )

    (by_node,), (by_socket,) = node.hints(asking.spec.containers[0]), socket.hints(asking.spec.containers[0])

    assert by_node is not None
    assert by_socket is not None
    assert Hint(0b0011, False) in by_node
    assert Hint(0b0011, True) in by_socket
    assert Hint(0b0101, False) in by_socket
    socket.take(asking.spec.containers[0], Hint(0b0001, True))
    assert spelled(socket.given[0].cpus) == "0-1,10-19"


ALPHA = {"CPUManagerPolicyAlphaOptions": True}


@pytest.mark.parametrize(
    ("given", "gates", "expected"),
    [
        ({}, {}, Options()),
        (
            {"full-pcpus-only": "true", "strict-cpu-reservation": "1"},
            {},
            Options(whole_cores=True, strict=True),
        ),
        ({"full-pcpus-only": "false"}, {}, Options()),
        ({"prefer-align-cpus-by-uncorecache": "true"}, {"CPUManagerPolicyBetaOptions": False}, CACHES),
        ({"distribute-cpus-across-numa": "true"}, {}, EVEN),
        ({"distribute-cpus-across-cores": "T"}, ALPHA, SPREAD),
        ({"align-by-socket": "true"}, ALPHA, Options(by_socket=True)),
    ],
)
def test_options_are_read(given: dict[str, str], gates: dict[str, bool], expected: Options) -> None:
    assert options(given, gates) == expected


@pytest.mark.parametrize(
    ("given", "gates", "told"),
    [
        ({"fast": "true"}, {}, 'unknown CPU Manager Policy option: "fast"'),
        ({"full-pcpus-only": "yes"}, {}, 'bad value for option "full-pcpus-only": '),
        (
            {"align-by-socket": "true"}, {},
            'CPU Manager Policy Alpha-level Options not enabled, but option "align-by-socket" provided',
        ),
        (
            {"distribute-cpus-across-numa": "true"}, {"CPUManagerPolicyBetaOptions": False},
            'CPU Manager Policy Beta-level Options not enabled, but option "distribute-cpus-across-numa" provided',
        ),
        (
            {"full-pcpus-only": "true", "distribute-cpus-across-cores": "true"}, ALPHA,
            "static policy options full-pcpus-only and distribute-cpus-across-cores can not be used at the same time",
        ),
        (
            {"prefer-align-cpus-by-uncorecache": "true", "distribute-cpus-across-numa": "true"}, {},
            "static policy options prefer-align-cpus-by-uncorecache and distribute-cpus-across-numa can not be",
        ),
    ],
)  # fmt: skip
def test_options_that_cannot_be_are_refused(given: dict[str, str], gates: dict[str, bool], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        options(given, gates)


def test_what_does_not_go_with_the_policies_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"none policy: received unsupported options=map\[full-pcpus-only:true\]"
    ):
        check("none", "none", {"full-pcpus-only": "true"}, {})
    with pytest.raises(
        ValueError, match="single-numa-node policy is incompatible with CPUManager align-by-socket"
    ):
        check("static", "single-numa-node", {"align-by-socket": "true"}, ALPHA)
    check("static", "restricted", {"align-by-socket": "true"}, ALPHA)


def test_sockets_of_no_numa_node_of_their_own_cannot_be_aligned_by(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(machine, "cpu_places", lambda: {0: (0, 0), 1: (1, 0)})
    monkeypatch.setattr(machine, "numa", Numa)
    told = Settings(cpu_policy="static", cpu_options={"align-by-socket": "true"}, gates=ALPHA)

    with pytest.raises(Fatal, match="number of sockets are more than number of NUMA"):
        outset.apportionment(told, tmp_path, Runtime("unix:///nosuch", 1.0), Reserved())


def test_nobody_runs_on_what_is_strictly_reserved(tmp_path: Path) -> None:
    runtime = Runtime("unix:///nosuch", 1.0)
    lax, strict = (
        Pinning(tmp_path / "cpus.json", Rules(ONE, parse("0,4"), Options(strict=strict)), runtime)
        for strict in (False, True)
    )
    for each in (lax, strict):
        each.take([Given("uid", "c", (1, 5))])

    assert (lax.of("other", "c"), strict.of("other", "c")) == ("0,2-4,6-7", "2-3,6-7")
    assert lax.available == strict.available == parse("2-3,6-7")
    assert lax.exclusive == strict.exclusive == 2


async def test_a_pod_that_cannot_have_whole_cores_fails_with_the_reason_of_upstream(tmp_path: Path) -> None:
    runtime = Runtime("unix:///nosuch", 1.0)
    pinning = Pinning(tmp_path / "cpus.json", Rules(ONE, parse("0,4"), Options(whole_cores=True)), runtime)
    alignment = Alignment(
        Devices(tmp_path, ONE.numa), pinning, Memory(tmp_path / "m", "None", {}, ONE.numa), Policy(), ONE.numa
    )

    before = counts("container", "physical_cpu")

    refused = await alignment.admit(pod(sized("c", "3")))

    assert refused is not None
    assert refused.reason == "SMTAlignmentError"
    assert refused.message == "SMT Alignment Error: requested 3 cpus not multiple cpus per core = 2"
    assert since(before, counts("container", "physical_cpu")) == (1, 1, 0, 1)


async def test_what_is_aligned_is_counted_and_what_is_left_from_the_start(tmp_path: Path) -> None:
    pinning = Pinning(
        tmp_path / "cpus.json",
        Rules(ONE, parse("0,4"), Options(whole_cores=True)),
        Runtime("unix:///nosuch", 1.0),
    )
    alignment = Alignment(
        Devices(tmp_path, ONE.numa), pinning, Memory(tmp_path / "m", "None", {}, ONE.numa),
        Policy("single-numa-node"), ONE.numa,
    )  # fmt: skip
    assert (sample("cpu_manager_shared_pool_size_millicores"), sample(OWN)) == (6000, 0)
    cores, caches = counts("container", "physical_cpu"), counts("container", "uncore_cache")
    nodes = counts("container", "numa_node")

    assert await alignment.admit(pod(sized("c", "2"))) is None

    assert since(cores, counts("container", "physical_cpu")) == (1, 0, 1, 0)
    assert since(caches, counts("container", "uncore_cache"))[2] == 1
    assert since(nodes, counts("container", "numa_node"))[2:] == (1, 0)
    assert (sample("cpu_manager_shared_pool_size_millicores"), sample(OWN)) == (4000, 2)
    assert sample("cpu_manager_allocation_per_numa", numa_node="0") == 2


OWN = "cpu_manager_exclusive_cpu_allocation_count"


def sample(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"kubelet_{name}", labels) or 0


def counts(scope: str, boundary: str) -> tuple[float, ...]:
    """Requests of CPUs, those that failed; what was aligned, and what was not."""
    where = {"scope": scope, "boundary": boundary}
    return (
        sample("cpu_manager_pinning_requests_total"), sample("cpu_manager_pinning_errors_total"),
        sample("container_aligned_compute_resources_count", **where),
        sample("container_aligned_compute_resources_failure_count", **where),
    )  # fmt: skip


def since(before: tuple[float, ...], now: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(new - old for old, new in zip(before, now, strict=True))


def test_the_kernel_tells_which_cpus_share_the_last_cache(tmp_path: Path) -> None:
    for cpu in range(4):
        for index, level, shared in ((0, 1, str(cpu)), (2, 2, str(cpu)), (3, 3, "0-1" if cpu < 2 else "2-3")):
            cache = tmp_path / f"cpu{cpu}" / "cache" / f"index{index}"
            cache.mkdir(parents=True)
            (cache / "level").write_text(f"{level}\n")
            (cache / "shared_cpu_list").write_text(f"{shared}\n")

    assert machine.last_caches(tmp_path) == {0: 0, 1: 0, 2: 2, 3: 2}
    assert machine.last_caches(tmp_path / "none") == {}
