"""When a connection to a hypervisor is made anew: it broke, and not when an answer is an error."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import libvirt
import pytest

from kybern.cloud.libvirt.hypervisor import Hypervisor
from kybern.cloud.provider import CloudError

UUID = "4dea22b3-1d52-d8f3-2516-782e98ab3fa0"


def error(code: int, domain: int) -> libvirt.libvirtError:
    found = libvirt.libvirtError("it says no")
    found.err = (code, domain, "it says no", 2, None, None, None, 0, 0)
    return found


@dataclass
class Connection:
    """The other end says ``says``."""

    says: libvirt.libvirtError
    alive: int | libvirt.libvirtError = 1
    closed: bool = False

    def lookupByUUIDString(self, _uuid: str) -> Any:  # noqa: N802  # libvirt's name
        raise self.says

    def isAlive(self) -> int:  # noqa: N802  # libvirt's name
        if isinstance(self.alive, libvirt.libvirtError):
            raise self.alive
        return self.alive

    def close(self) -> None:
        self.closed = True


NO_DOMAIN = error(libvirt.VIR_ERR_NO_DOMAIN, libvirt.VIR_FROM_QEMU)
DENIED = error(libvirt.VIR_ERR_OPERATION_DENIED, libvirt.VIR_FROM_QEMU)
CUT = error(libvirt.VIR_ERR_INTERNAL_ERROR, libvirt.VIR_FROM_RPC)

type Opened = Callable[[Connection], list[Connection]]


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Opened:
    """The connections that were made, all of them alike."""

    def given(like: Connection) -> list[Connection]:
        made: list[Connection] = []

        def connect(_uri: str) -> Connection:
            made.append(Connection(like.says, like.alive))
            return made[-1]

        monkeypatch.setattr(libvirt, "openReadOnly", connect)
        return made

    return given


@pytest.mark.parametrize(
    ("like", "connections"),
    [
        pytest.param(Connection(DENIED), 1, id="an answer"),
        pytest.param(Connection(CUT), 2, id="the way to it"),
        pytest.param(Connection(DENIED, alive=0), 2, id="libvirt knows that it broke"),
        pytest.param(Connection(DENIED, alive=CUT), 2, id="libvirt cannot tell"),
    ],
)
async def test_only_a_broken_connection_is_made_anew(
    opened: Opened, like: Connection, connections: int
) -> None:
    made = opened(like)
    hypervisor = Hypervisor("rack-1", "qemu:///system")
    for _time in range(2):
        with pytest.raises(CloudError, match="cannot ask rack-1: it says no"):
            await hypervisor.by_uuid(UUID)
    assert len(made) == connections
    await hypervisor.close()


async def test_that_a_machine_is_not_there_is_no_error(opened: Opened) -> None:
    made = opened(Connection(NO_DOMAIN))
    hypervisor = Hypervisor("rack-1", "qemu:///system")
    assert await hypervisor.by_uuid(UUID) is None
    assert await hypervisor.by_uuid(UUID) is None
    assert len(made) == 1
    await hypervisor.close()


async def test_one_that_could_not_be_made_is_made_the_next_time(monkeypatch: pytest.MonkeyPatch) -> None:
    refusals = [CUT]

    def connect(_uri: str) -> Connection:
        if refusals:
            raise refusals.pop()
        return Connection(NO_DOMAIN)

    monkeypatch.setattr(libvirt, "openReadOnly", connect)
    hypervisor = Hypervisor("rack-1", "qemu:///system")
    with pytest.raises(CloudError, match="it says no"):
        await hypervisor.by_uuid(UUID)
    assert await hypervisor.by_uuid(UUID) is None
    await hypervisor.close()
