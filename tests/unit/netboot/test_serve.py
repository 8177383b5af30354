"""A machine's way through the server: asked as the machine asks, over HTTP."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp.test_utils import TestClient, TestServer

from kybern.netboot.disks import FINISHED
from kybern.netboot.seen import BOOTING, FAILED, INSTALLED, INSTALLING, REFUSED
from kybern.netboot.serve import Netboot, application
from kybern.netboot.wanted import Served, Wanted, written
from tests.unit.netboot.test_decide import BY_ORDER, FIRST, GPT, MACHINE, ORDER, OTHER, OWN, disk, ours, said

MAC = "52-54-00-00-00-11"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA a"
SERVED = Served("http://10.8.0.5:8069", "ab" * 32, "console=ttyS0", (MACHINE,))


class Machine:
    """One that boots: it has the ticket that it was started with."""

    def __init__(self, client: TestClient, folder: Path, netboot: Netboot) -> None:  # type: ignore[type-arg]
        self._client, self.folder, self.netboot = client, folder, netboot
        self.ticket = ""

    async def get(self, path: str) -> tuple[int, str]:
        answer = await self._client.get(path)
        return answer.status, await answer.text()

    async def boot(self) -> str:
        status, script = await self.get(f"/machines/{MAC}/boot")
        assert status == 200
        _, _, rest = script.partition("kybern.ticket=")
        self.ticket = rest.split()[0] if rest else ""
        return script

    async def tell(self, what: str, text: str, mac: str = MAC) -> tuple[int, str]:
        headers = {"Ticket": self.ticket}
        answer = await self._client.post(f"/machines/{mac}/{what}", data=text.encode(), headers=headers)
        return answer.status, await answer.text()

    async def install(self) -> None:
        await self.boot()
        assert (await self.tell("disks", said(disk("vda"))))[1].startswith("install /dev/vda ")
        assert await self.tell("done", KEY) == (200, "ok\n")

    def order(self, name: str) -> None:
        (self.folder / "orders" / OWN).write_text(f"{name}\n")

    @property
    def phase(self) -> str:
        return self.netboot.seen()[OWN].phase


@pytest.fixture
async def machine(tmp_path: Path) -> AsyncIterator[Machine]:
    for name in ("orders", "settings", "files", "state"):
        (tmp_path / name).mkdir()
    (tmp_path / "netboot.json").write_text(written(SERVED))
    (tmp_path / "settings" / "a.tar").write_bytes(b"settings")
    (tmp_path / "files" / "vmlinuz").write_bytes(b"kernel")
    netboot = Netboot(tmp_path, tmp_path / "state")
    async with TestClient(TestServer(application(netboot))) as client:
        yield Machine(client, tmp_path, netboot)


async def test_everybody_is_told_to_ask_by_his_own_address(machine: Machine) -> None:
    _, script = await machine.get("/boot.ipxe")

    assert script.startswith("#!ipxe\n")
    assert "chain http://10.8.0.5:8069/machines/${netX/mac:hexhyp}/boot" in script


async def test_a_machine_is_booted_into_the_installer_with_what_it_needs(machine: Machine) -> None:
    script = await machine.boot()

    assert "kernel http://10.8.0.5:8069/files/vmlinuz initrd=installer.img boot=kybern" in script
    assert f"kybern.server=http://10.8.0.5:8069/machines/{MAC} " in script
    assert "kybern.mac=52:54:00:00:00:11 kybern.address=10.8.0.11/24" in script
    assert " console=ttyS0 || exit 1\n" in script
    assert machine.phase == BOOTING


async def test_a_stranger_gets_nothing(machine: Machine) -> None:
    for path in ("boot", "settings.tar"):
        assert (await machine.get(f"/machines/52-54-00-00-00-99/{path}"))[0] == 404
    assert (await machine.tell("disks", said(disk("vda")), mac="52-54-00-00-00-99"))[0] == 404
    assert machine.netboot.seen() == {}


async def test_no_file_is_served_but_those_that_are_booted(machine: Machine) -> None:
    assert await machine.get("/files/vmlinuz") == (200, "kernel")
    for path in (
        "/files/netboot.json",
        "/files/..%2Fnetboot.json",
        "/netboot.json",
        "/files/../netboot.json",
    ):
        assert (await machine.get(path))[0] == 404


async def test_a_machine_that_was_installed_starts_from_its_disk(machine: Machine) -> None:
    await machine.install()

    script = await machine.boot()

    assert "kernel" not in script
    assert script.endswith("exit 1\n")
    assert machine.phase == INSTALLED
    assert machine.netboot.seen()[OWN].host_key == "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA"


async def test_what_is_said_on_the_way_is_kept_in_one_line(machine: Machine) -> None:
    await machine.boot()
    await machine.tell("step", "writes \x1b[31m the\nsystem" + "x" * 10_000)

    seen = machine.netboot.seen()[OWN]
    assert (seen.phase, seen.said[:23], len(seen.said)) == (INSTALLING, "writes [31m the systemx", 500)
    await machine.tell("failed", "no space")
    assert machine.phase == FAILED


async def test_a_refusal_is_told_to_the_machine_and_kept_for_the_operator(machine: Machine) -> None:
    await machine.boot()
    _, answer = await machine.tell("disks", said(disk("vda"), signatures="/dev/vda ext4\n"))

    assert answer.startswith("wait /dev/vda (20 GB, QEMU S-vda) of a is not empty")
    assert machine.phase == REFUSED


async def test_a_changed_topology_counts_at_once(machine: Machine) -> None:
    await machine.boot()
    full = said(disk("vda"), signatures="/dev/vda ext4\n")
    assert (await machine.tell("disks", full))[1].startswith("wait")
    changed = replace(SERVED, machines=(replace(MACHINE, wipe=True),))
    (machine.folder / "netboot.json").write_text(written(changed))

    assert (await machine.tell("disks", full))[1].startswith(
        f"install /dev/vda {FIRST} {OWN} http://10.8.0.5:8069/files/root"
    )


@pytest.mark.parametrize("ticket", ["", "0" * 32])
async def test_only_what_was_started_here_is_believed(machine: Machine, ticket: str) -> None:
    await machine.boot()
    machine.ticket = ticket

    assert (await machine.tell("done", KEY))[0] == 403
    assert machine.phase == BOOTING


async def test_a_ticket_is_used_up_with_the_installation(machine: Machine) -> None:
    await machine.install()

    assert (await machine.tell("done", "ssh-ed25519 BBBB other"))[0] == 403
    assert machine.netboot.seen()[OWN].host_key.endswith("AAAAIA")


async def test_somebody_who_asks_in_between_does_not_stop_an_installation(machine: Machine) -> None:
    await machine.boot()
    await machine.get(f"/machines/{MAC}/boot")

    assert (await machine.tell("done", KEY))[0] == 200


async def test_a_key_that_is_none_is_refused(machine: Machine) -> None:
    await machine.boot()
    for text in ("", "hello", "ssh-rsa AAAA", "ssh-ed25519 \xe9"):
        assert (await machine.tell("done", text))[0] == 400
    assert (await machine.tell("disks", "nonsense"))[0] == 400


async def test_an_order_installs_once_more_and_only_once(machine: Machine) -> None:
    await machine.install()
    machine.order("1-a")
    there = said(ours(FINISHED), signatures=GPT)

    assert "kernel" in await machine.boot()
    assert (await machine.tell("disks", there))[1].startswith("install /dev/vda ")
    await machine.tell("done", "ssh-ed25519 CCCC a")

    assert "kernel" not in await machine.boot()
    assert machine.netboot.seen()[OWN].order == "1-a"


async def test_a_server_that_forgot_asks_for_the_key_and_leaves_the_disk(machine: Machine) -> None:
    await machine.install()
    (machine.folder / "state" / "seen.json").write_text("{ broken")

    assert "kernel" in await machine.boot()
    assert await machine.tell("disks", said(ours(FINISHED), signatures=GPT)) == (200, "return /dev/vda3\n")
    await machine.tell("done", KEY)
    assert "kernel" not in await machine.boot()


async def test_a_server_that_forgot_does_not_carry_out_again_what_it_was_ordered(machine: Machine) -> None:
    await machine.install()
    machine.order(ORDER)
    await machine.boot()
    await machine.tell("disks", said(ours(FINISHED), signatures=GPT))
    await machine.tell("done", KEY)
    (machine.folder / "state" / "seen.json").unlink()

    assert "kernel" in await machine.boot()
    there = said(ours(FINISHED, table=BY_ORDER), signatures=GPT)
    assert await machine.tell("disks", there) == (200, "return /dev/vda3\n")
    await machine.tell("done", KEY)
    assert "kernel" not in await machine.boot()


async def test_a_machine_of_another_cluster_with_the_same_name_is_another(machine: Machine) -> None:
    """Neither is it installed because that was, nor does an order count for both."""
    await machine.install()
    machine.order(ORDER)
    other = replace(SERVED, machines=(replace(MACHINE, partition=OTHER),))
    (machine.folder / "netboot.json").write_text(written(other))

    assert "kernel" in await machine.boot()
    there = said(ours(FINISHED, OTHER), signatures=GPT)
    assert (await machine.tell("disks", there))[1] == "return /dev/vda3\n"


async def test_settings_are_the_machine_s_own(machine: Machine) -> None:
    assert await machine.get(f"/machines/{MAC}/settings.tar") == (200, "settings")


def test_a_configuration_that_is_none_is_told_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "netboot.json").write_text('{"machines": [{}]}')
    with pytest.raises(ValueError, match="not a configuration of kybern-netboot"):
        Netboot(tmp_path, tmp_path)


def test_an_address_is_known_however_it_is_written() -> None:
    wanted: Wanted | None = SERVED.machine("52-54-00-00-00-11")
    assert wanted == SERVED.machine("52:54:00:00:00:11") == MACHINE
