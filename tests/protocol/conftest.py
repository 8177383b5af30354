"""What protocol tests run against: real programs on loopback, each in a directory of its own."""

import contextlib
import gc
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.protocol.apiserver_bed import Lab
from tests.protocol.containerd_bed import Bed, OneNode, clean, needed, one_node

CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "kybern"


def etcd_binary() -> str:
    """An etcd of at least 3.5, or nothing. ``scripts/fetch-etcd`` puts one into the cache directory."""
    candidates = (os.environ.get("KYBERN_ETCD", ""), str(CACHE / "usr/bin/etcd"), shutil.which("etcd") or "")
    for candidate in candidates:
        if candidate and Path(candidate).exists():
            shown = subprocess.run(
                [candidate, "--version"], capture_output=True, text=True, timeout=10, check=True
            )
            version = tuple(int(part) for part in shown.stdout.split()[2].split(".")[:2])
            if version >= (3, 5):
                return candidate
    return ""


def pytest_collection_finish() -> None:
    """What is there before the first test need not be looked at after each one."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def nothing_left_open() -> Iterator[None]:
    """Collects after each test, so that a socket left open is told by the test that left it, not by a later one."""
    yield
    gc.collect()


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """As pytest's own, but short: sockets are made below it, and the path of one has at most 107 characters."""
    with tempfile.TemporaryDirectory(prefix="k", ignore_cleanup_errors=True) as made:
        yield Path(made)


def free_port() -> int:
    """One below those that the kernel gives to connections, of which one would take it before its server does."""
    while True:
        port = 12000 + secrets.randbelow(17000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


@dataclass
class Etcd:
    """One member; ``stop`` and ``start`` to show what a server does without it."""

    binary: str
    directory: Path
    port: int
    peer: int
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        peer = f"http://127.0.0.1:{self.peer}"
        self.process = subprocess.Popen(
            [
                self.binary, "--name=test", f"--data-dir={self.directory}/data", "--log-level=error",
                f"--listen-client-urls={self.endpoint}", f"--advertise-client-urls={self.endpoint}",
                f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}",
                f"--initial-cluster=test={peer}", "--unsafe-no-fsync",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)
        raise RuntimeError("etcd does not listen")

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)
            self.process = None


@pytest.fixture(scope="session")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Etcd]:
    binary = etcd_binary()
    if not binary:
        pytest.skip("no etcd of at least 3.5: run scripts/fetch-etcd, or set KYBERN_ETCD")
    member = Etcd(binary, tmp_path_factory.mktemp("etcd"), free_port(), free_port())
    member.start()
    yield member
    member.stop()


@pytest.fixture(scope="session")
def free_ports() -> Callable[[], int]:
    """Gives a free port of loopback at each call."""
    return free_port


@pytest.fixture(scope="module")
def lab(etcd: Etcd, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Certificates of a cluster on that etcd; what a module starts there ends with the module."""
    found = Lab(tmp_path_factory.mktemp("apiserver"), etcd)
    yield found
    found.stop()


@pytest.fixture(scope="module")
def bed() -> Iterator[Bed]:
    """A containerd of the module's own."""
    found = Bed(Path(tempfile.mkdtemp(prefix="kb-")), needed())
    found.start()
    yield found
    found.stop()


@pytest.fixture
async def node(bed: Bed) -> AsyncIterator[OneNode]:
    """A kubelet on it that leaves nothing behind."""
    async with one_node(bed) as found:
        yield found
    await clean(bed)
