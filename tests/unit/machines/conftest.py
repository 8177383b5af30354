import signal
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network

import pytest

from kybern.machines.topology import CONTROL_PLANE, ETCD, WORKER, Cluster, Machine

MASTER = Machine("master-1", IPv4Address("10.9.0.11"), frozenset({ETCD, CONTROL_PLANE}), memory=2048, cpus=2)
NODE = Machine("worker-1", IPv4Address("10.9.0.21"), frozenset({WORKER}), memory=1024)


@pytest.fixture
def interruptible() -> Iterator[None]:
    """What a shell starts in the background ignores Ctrl-C from its first moment; a test that uses this is not such."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def cluster() -> Cluster:
    return Cluster(
        name="small",
        network=IPv4Network("10.9.0.0/24"),
        gateway=IPv4Address("10.9.0.1"),
        vip=None,
        machines=(MASTER, NODE),
    )
