"""The chain that says which iptables a node uses, in a network namespace of the test's own."""

import asyncio
import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator

import pytest

from kybern.kubelet import iptables_hint
from kybern.kubelet.iptables_hint import CHAIN, PROGRAMS, ensure, keep
from kybern.netfilter.programs import Missing
from tests.protocol.network_namespace import entered

pytestmark = [
    pytest.mark.netfilter,
    pytest.mark.skipif(
        os.geteuid() != 0 or not shutil.which("iptables"), reason="needs root, iproute2 and iptables"
    ),
]


def said(*words: str) -> str:
    return subprocess.run(words, check=True, capture_output=True, text=True, timeout=30).stdout


@pytest.fixture
def apart() -> Iterator[None]:
    """This thread, and what it starts, are in a fresh namespace."""
    name = f"kybern-hint-{uuid.uuid4().hex[:8]}"
    said("ip", "netns", "add", name)
    try:
        with entered(name):
            yield
    finally:
        said("ip", "netns", "del", name)


def chains(program: str) -> list[str]:
    return [line for line in said(program, "-t", "mangle", "-S").splitlines() if line == f"-N {CHAIN}"]


@pytest.mark.usefixtures("apart")
async def test_the_chain_is_made_once_and_comes_back() -> None:
    for program in PROGRAMS:
        assert chains(program) == []
        await ensure(program)
        await ensure(program)
        assert len(chains(program)) == 1
        said(program, "-t", "mangle", "-A", CHAIN, "-j", "RETURN")
        await ensure(program)
        assert "RETURN" in said(program, "-t", "mangle", "-S", CHAIN), "it is not flushed"
        said(program, "-t", "mangle", "-F")
        said(program, "-t", "mangle", "-X")
        await ensure(program)
        assert len(chains(program)) == 1


@pytest.mark.usefixtures("apart")
async def test_it_is_looked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(iptables_hint, "PERIOD", 0.05)

    async def there() -> None:
        while not all(map(chains, PROGRAMS)):  # the kernel tells nobody
            await asyncio.sleep(0.05)

    keeping = asyncio.create_task(keep())
    try:
        async with asyncio.timeout(60):
            await there()
            said("iptables", "-t", "mangle", "-X")
            await there()
    finally:
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)


async def test_without_programs_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    async def nothing(*_command: str) -> str:
        raise Missing("cannot run iptables: there is no such program; install it")

    monkeypatch.setattr(iptables_hint, "run", nothing)
    monkeypatch.setattr(iptables_hint, "PERIOD", 0.0)
    async with asyncio.timeout(30):
        await keep()
