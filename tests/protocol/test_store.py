"""What holds of a store, on the one in memory and on etcd."""

import asyncio
import contextlib
import subprocess
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import uvloop

from kybern.auth.x509 import Authority
from kybern.storage.etcd import EtcdStore
from kybern.storage.member import Credentials
from kybern.storage.memory import MemoryStore
from kybern.storage.store import Compacted, Event, EventType, Progress, RevisionMismatch, Store, Unavailable
from tests.protocol.freezing import frozen


@pytest.fixture(params=["memory", pytest.param("etcd", marks=pytest.mark.etcd)])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[Store]:
    if request.param == "memory":
        yield MemoryStore()
        return
    member = request.getfixturevalue("etcd")
    found = EtcdStore([member.endpoint])
    yield found
    await found.close()


@pytest.fixture
def prefix() -> str:
    return f"/registry/{uuid.uuid4()}/"


async def following(store: Store, prefix: str, revision: int, count: int) -> list[Event | Progress]:
    found: list[Event | Progress] = []
    async with contextlib.aclosing(store.watch(prefix, revision)) as events:  # type: ignore[type-var]
        async with asyncio.timeout(30):
            async for event in events:
                found.append(event)
                if len(found) == count:
                    break
    return found


async def test_a_written_key_reads_back_with_its_revision(store: Store, prefix: str) -> None:
    stored = await store.put(prefix + "a", b"1", 0)
    found, revision = await store.get(prefix + "a")

    assert found is not None
    assert (found.value, found.revision, found.created) == (b"1", stored.revision, stored.revision)
    assert revision >= stored.revision


async def test_an_absent_key_reads_as_nothing(store: Store, prefix: str) -> None:
    found, _ = await store.get(prefix + "a")

    assert found is None


async def test_a_write_at_a_wrong_revision_shows_what_is_there(store: Store, prefix: str) -> None:
    first = await store.put(prefix + "a", b"1", 0)

    with pytest.raises(RevisionMismatch) as again:
        await store.put(prefix + "a", b"2", 0)
    with pytest.raises(RevisionMismatch) as absent:
        await store.put(prefix + "b", b"2", first.revision)

    assert again.value.current is not None
    assert again.value.current.value == b"1"
    assert absent.value.current is None


async def test_a_removal_is_conditional_too(store: Store, prefix: str) -> None:
    first = await store.put(prefix + "a", b"1", 0)
    second = await store.put(prefix + "a", b"2", first.revision)

    with pytest.raises(RevisionMismatch):
        await store.delete(prefix + "a", first.revision)
    gone = await store.delete(prefix + "a", second.revision)

    assert gone > second.revision
    assert (await store.get(prefix + "a"))[0] is None


async def test_a_range_comes_in_pages_at_one_revision(store: Store, prefix: str) -> None:
    for name in "dbac":
        await store.put(prefix + name, name.encode(), 0)
    page = await store.range(prefix, limit=3)
    await store.put(prefix + "e", b"e", 0)
    rest = await store.range(prefix, page.items[-1].key + "\0", 3, page.revision)

    assert [item.value for item in page.items] == [b"a", b"b", b"c"]
    assert (page.more, page.remaining) == (True, 1)
    assert [item.value for item in rest.items] == [b"d"]
    assert (rest.more, rest.remaining, rest.revision) == (False, 0, page.revision)


async def test_a_watch_tells_what_happened_since_a_revision(store: Store, prefix: str) -> None:
    first = await store.put(prefix + "a", b"1", 0)
    second = await store.put(prefix + "a", b"2", first.revision)
    await store.put("/registry/elsewhere/" + prefix, b"x", 0)
    gone = await store.delete(prefix + "a", second.revision)

    events = await following(store, prefix, first.revision, 2)

    assert [(event.type, event.revision) for event in events if isinstance(event, Event)] == [
        (EventType.PUT, second.revision),
        (EventType.DELETE, gone),
    ]


async def test_a_watch_reports_progress_when_asked(store: Store, prefix: str) -> None:
    stored = await store.put(prefix + "a", b"1", 0)
    elsewhere = await store.put("/registry/elsewhere" + prefix, b"x", 0)
    task = asyncio.ensure_future(following(store, prefix, stored.revision, 1))
    while not task.done():
        store.request_progress(prefix)
        await asyncio.sleep(0.02)

    (progress,) = await task
    assert isinstance(progress, Progress)
    assert progress.revision >= elsewhere.revision


async def test_all_watches_of_a_prefix_report_progress(store: Store, prefix: str) -> None:
    """Each version of a custom kind that others convert has a watch of its own, of the same keys."""
    start = (await store.put(prefix + "a", b"1", 0)).revision
    told = [asyncio.create_task(following(store, prefix, start - 1, 2)) for _ in range(2)]
    while not all(one.done() for one in told):
        await asyncio.sleep(0.05)
        store.request_progress(prefix)

    for one in told:
        assert [type(event) for event in await one] == [Event, Progress]


async def test_what_was_compacted_cannot_be_read_or_watched(store: Store, prefix: str) -> None:
    first = await store.put(prefix + "a", b"1", 0)
    second = await store.put(prefix + "a", b"2", first.revision)
    third = await store.put(prefix + "a", b"3", second.revision)
    await store.compact(third.revision)

    with pytest.raises(Compacted):
        await store.range(prefix, revision=first.revision)
    with pytest.raises(Compacted):
        await following(store, prefix, first.revision - 1, 1)


@pytest.mark.etcd
async def test_values_larger_than_the_windows_and_many_calls_at_once_get_through(
    etcd: object, prefix: str
) -> None:
    store = EtcdStore([etcd.endpoint])  # type: ignore[attr-defined]
    values = {f"{prefix}{number}": b"%d" % number * 200_000 for number in range(6)}
    small = {f"{prefix}small{number:03}": b"%d" % number for number in range(300)}
    await asyncio.gather(*(store.put(key, value, 0) for key, value in (values | small).items()))

    page = await store.range(prefix)

    assert {item.key: item.value for item in page.items} == values | small
    await store.close()


@pytest.mark.etcd
def test_the_loop_of_the_daemons_serves_as_well(etcd: object, prefix: str) -> None:
    async def written() -> bytes:
        store = EtcdStore([etcd.endpoint])  # type: ignore[attr-defined]
        first = await store.put(prefix + "a", b"1", 0)
        await store.put(prefix + "a", b"2", first.revision)
        (event,) = await following(store, prefix, first.revision, 1)
        await store.close()
        assert isinstance(event, Event)
        assert event.now is not None
        return event.now.value

    assert uvloop.run(written()) == b"2"


@pytest.mark.etcd
async def test_keys_lie_below_the_root_that_was_asked_for(etcd: object, prefix: str) -> None:
    endpoint = etcd.endpoint  # type: ignore[attr-defined]
    other, plain = EtcdStore([endpoint], root="/other"), EtcdStore([endpoint])
    await other.put(prefix + "a", b"1", 0)

    assert (await other.range(prefix)).items[0].key == prefix + "a"
    assert (await plain.range(prefix)).items == ()
    await other.close()
    await plain.close()


@pytest.mark.etcd
async def test_a_member_that_is_away_is_left_for_another(etcd: object, prefix: str) -> None:
    store = EtcdStore(["http://127.0.0.1:1", etcd.endpoint])  # type: ignore[attr-defined]

    stored = await store.put(prefix + "a", b"1", 0, ttl=60)

    assert (await store.get(prefix + "a"))[0] is not None
    assert stored.revision
    await store.close()


@pytest.mark.etcd
async def test_a_member_is_reached_by_tls_with_a_client_certificate(
    tmp_path: Path, prefix: str, etcd: Any, free_ports: Callable[[], int]
) -> None:
    authority = Authority.create("etcd-ca", datetime.now(UTC))
    (tmp_path / "ca.crt").write_bytes(authority.cert_pem)
    for name, pair in {
        "server": authority.issue("etcd", ips=("127.0.0.1",), server=True),
        "client": authority.issue("kube-apiserver"),
    }.items():
        (tmp_path / f"{name}.crt").write_bytes(pair.cert_pem)
        (tmp_path / f"{name}.key").write_bytes(pair.key_pem)
    port, peer = free_ports(), free_ports()
    url = f"https://127.0.0.1:{port}"
    process = subprocess.Popen([
        etcd.binary, f"--data-dir={tmp_path}/data", "--log-level=error", f"--listen-client-urls={url}",
        f"--advertise-client-urls={url}", f"--listen-peer-urls=http://127.0.0.1:{peer}",
        f"--cert-file={tmp_path}/server.crt", f"--key-file={tmp_path}/server.key", "--client-cert-auth",
        f"--trusted-ca-file={tmp_path}/ca.crt",
    ])  # fmt: skip
    known = EtcdStore(
        [url], Credentials(f"{tmp_path}/ca.crt", f"{tmp_path}/client.crt", f"{tmp_path}/client.key")
    )
    unknown = EtcdStore([url], Credentials(f"{tmp_path}/ca.crt"))
    try:
        async with asyncio.timeout(20):
            while True:
                with contextlib.suppress(Unavailable):
                    await known.put(prefix + "a", b"1", 0)
                    break
        with pytest.raises(Unavailable):
            await unknown.get(prefix + "a")
        assert (await known.get(prefix + "a"))[0] is not None
    finally:
        await known.close()
        await unknown.close()
        process.kill()
        process.wait(10)


@pytest.mark.etcd
async def test_a_watch_leaves_a_member_that_no_longer_answers(
    tmp_path: Path, prefix: str, etcd: Any, free_ports: Callable[[], int]
) -> None:
    ports = [(free_ports(), free_ports()) for _ in range(3)]
    cluster = ",".join(f"m{at}=http://127.0.0.1:{peer}" for at, (_, peer) in enumerate(ports))
    members = [
        subprocess.Popen([
            etcd.binary, f"--name=m{at}", f"--data-dir={tmp_path}/{at}", "--log-level=error", "--unsafe-no-fsync",
            f"--listen-client-urls=http://127.0.0.1:{port}", f"--advertise-client-urls=http://127.0.0.1:{port}",
            f"--listen-peer-urls=http://127.0.0.1:{peer}", f"--initial-advertise-peer-urls=http://127.0.0.1:{peer}",
            f"--initial-cluster={cluster}",
        ])
        for at, (port, peer) in enumerate(ports)
    ]  # fmt: skip
    store = EtcdStore([f"http://127.0.0.1:{port}" for port, _ in ports])
    try:
        first = await eventually(lambda: store.put(prefix + "a", b"1", 0))
        following_on = asyncio.ensure_future(following(store, prefix, first.revision, 1))
        await asyncio.sleep(0.5)
        with frozen(members[store._current]):
            await eventually(lambda: store.put(prefix + "b", b"2", 0))
            with pytest.raises(Unavailable):
                await following_on

            assert len(await following(store, prefix, first.revision, 1)) == 1
    finally:
        await store.close()
        for member in members:
            member.kill()
            member.wait(10)


async def eventually[T](act: Callable[[], Awaitable[T]]) -> T:
    async with asyncio.timeout(30):
        while True:
            try:
                return await act()
            except Unavailable:
                await asyncio.sleep(0.05)
