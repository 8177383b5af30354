"""Which disk is written, and which never."""

import json
from dataclasses import replace
from typing import Any

import pytest

from kybern.netboot.decide import Install, Return, Wait, decide, from_disk, line, table_of
from kybern.netboot.disks import FINISHED, UNFINISHED, parse
from kybern.netboot.wanted import Wanted

OWN, OTHER = "11111111-1111-5111-8111-111111111111", "22222222-2222-5222-8222-222222222222"
MACHINE = Wanted("a", "52:54:00:00:00:11", "10.8.0.11/24", OWN)
MAY_WIPE = replace(MACHINE, wipe=True)
GB = 10**9
ORDER = "1-a"
FIRST = table_of(MACHINE, "")
BY_ORDER = table_of(MACHINE, ORDER)


def disk(name: str, size: int = 20 * GB, **more: Any) -> dict[str, Any]:
    told = {"name": name, "path": f"/dev/{name}", "type": "disk", "size": size, "ro": False, "rm": False}
    return {**told, "model": "QEMU", "serial": f"S-{name}", "wwn": None, **more}


def part(path: str, label: str = "", uuid: str = "") -> dict[str, Any]:
    return {
        "name": path[5:],
        "path": path,
        "type": "part",
        "partlabel": label or None,
        "partuuid": uuid or None,
    }


def said(*disks: dict[str, Any], signatures: str = "") -> str:
    return json.dumps({"blockdevices": list(disks)}) + f"\nsignatures\n{signatures}"


def decided(machine: Wanted, *disks: dict[str, Any], signatures: str = "", anew: bool = False) -> Any:
    return decide(machine, parse(said(*disks, signatures=signatures)), order=ORDER if anew else "", done="")


def ours(label: str, uuid: str = OWN, table: str = FIRST) -> dict[str, Any]:
    return disk(
        "vda", ptuuid=table, children=[part("/dev/vda1", "kybern-bios"), part("/dev/vda3", label, uuid)]
    )


GPT = "/dev/vda gpt\n/dev/vda PMBR\n"


def test_a_blank_disk_is_written() -> None:
    assert decided(MACHINE, disk("vda")) == Install("/dev/vda", FIRST)


@pytest.mark.parametrize(
    ("there", "signatures", "shown"),
    [
        (disk("vda", children=[part("/dev/vda1", "EFI"), part("/dev/vda2")]), GPT, "gpt, PMBR, EFI, /dev/vda2"),
        (disk("vda"), "/dev/vda ext4\n", "ext4"),
        (disk("vda"), "/dev/vda LVM2_member\n", "LVM2_member"),
        (disk("vda", children=[part("/dev/vda1")]), "", "/dev/vda1"),
    ],
)  # fmt: skip
def test_a_disk_that_is_not_empty_is_refused_and_what_it_has_is_told(
    there: dict[str, Any], signatures: str, shown: str
) -> None:
    refused = decided(MACHINE, there, signatures=signatures)

    assert isinstance(refused, Wait)
    assert f"it has: {shown}; when all of it may go, say wipe: true" in refused.why
    assert refused.why.startswith("/dev/vda (20 GB, QEMU S-vda) of a is not empty")
    assert decided(MAY_WIPE, there, signatures=signatures) == Install("/dev/vda", FIRST)


def test_an_installation_that_was_cut_short_is_begun_again() -> None:
    assert decided(MACHINE, ours(UNFINISHED), signatures=GPT) == Install("/dev/vda", FIRST)


def test_another_machine_s_that_was_cut_short_is_not_ours() -> None:
    assert isinstance(decided(MACHINE, ours(UNFINISHED, OTHER), signatures=GPT), Wait)


@pytest.mark.parametrize("machine", [MACHINE, MAY_WIPE])
def test_an_installed_machine_is_never_written_by_itself(machine: Wanted) -> None:
    """Not by a server that forgot it, and not by wipe, which was said of what was there before."""
    assert decided(machine, ours(FINISHED), signatures=GPT) == Return("/dev/vda3")
    assert decided(machine, ours(FINISHED), disk("vdb"), signatures=GPT) == Return("/dev/vda3")


def test_an_installed_machine_is_written_by_order() -> None:
    assert decided(MACHINE, ours(FINISHED), signatures=GPT, anew=True) == Install("/dev/vda", BY_ORDER)


def test_an_order_that_a_disk_bears_is_not_carried_out_again_by_a_server_that_forgot() -> None:
    assert decided(MACHINE, ours(FINISHED, table=BY_ORDER.upper()), anew=True) == Return("/dev/vda3")
    assert decided(MACHINE, ours(UNFINISHED, table=BY_ORDER), anew=True) == Install("/dev/vda", BY_ORDER)
    newer = disk("vdb", ptuuid=BY_ORDER, children=[part("/dev/vdb3", FINISHED, OWN)])
    assert decided(MACHINE, ours(FINISHED), newer, anew=True) == Return("/dev/vdb3")


@pytest.mark.parametrize("machine", [MACHINE, MAY_WIPE])
def test_the_disk_of_another_machine_of_ours_is_written_by_order_alone(machine: Wanted) -> None:
    refused = decided(machine, ours(FINISHED, OTHER), signatures=GPT)

    assert isinstance(refused, Wait)
    assert "another name or cluster" in refused.why
    assert "kybern machines netboot --reinstall a" in refused.why
    assert decided(machine, ours(FINISHED, OTHER), signatures=GPT, anew=True) == Install("/dev/vda", BY_ORDER)


def test_an_order_is_no_leave_to_wipe_what_is_not_ours() -> None:
    assert isinstance(decided(MACHINE, disk("vda"), signatures="/dev/vda xfs\n", anew=True), Wait)


def test_of_several_disks_one_has_to_be_named() -> None:
    two = (disk("sda"), disk("sdb"))
    refused = decided(MACHINE, *two)

    assert isinstance(refused, Wait)
    assert "a has 2 disks: /dev/sda (20 GB, QEMU S-sda), /dev/sdb (20 GB, QEMU S-sdb)" in refused.why
    assert "install_on" in refused.why
    assert decided(replace(MACHINE, disk="/dev/sdb"), *two) == Install("/dev/sdb", FIRST)
    assert decided(replace(MACHINE, disk="S-sda"), *two) == Install("/dev/sda", FIRST)
    gone = decided(replace(MACHINE, disk="/dev/sdc"), *two)
    assert isinstance(gone, Wait)
    assert 'a has no disk "/dev/sdc"; it has: /dev/sda' in gone.why


@pytest.mark.parametrize(
    "unfit",
    [
        disk("vda", GB),
        disk("vda", ro=True),
        disk("sda", rm=True),
        disk("zram0"),
        {**disk("sr0"), "type": "rom"},
    ],
)
def test_what_is_too_small_or_cannot_stay_is_not_taken(unfit: dict[str, Any]) -> None:
    assert isinstance(decided(MACHINE, unfit), Wait)
    assert decided(MACHINE, unfit, disk("vdb")) == Install("/dev/vdb", FIRST)


def test_a_named_disk_that_is_too_small_is_refused() -> None:
    refused = decided(replace(MACHINE, disk="/dev/vda"), disk("vda", GB))

    assert isinstance(refused, Wait)
    assert "too small: 4 GB" in refused.why


@pytest.mark.parametrize(
    "text", ["", "{}", "{}\nsignatures\n", '{"blockdevices": [{}]}\nsignatures', "x\nsignatures", "[]\nsignatures"]
)  # fmt: skip
def test_what_no_machine_of_ours_says_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"disks|Expecting"):
        parse(text)


@pytest.mark.parametrize(
    ("installed", "done", "ordered", "expected"),
    [
        (False, "", "", False),
        (True, "", "", True),
        (True, "", "1-a", False),
        (True, "1-a", "1-a", True),
        (True, "1-a", "2-b", False),
        (False, "1-a", "1-a", False),
    ],
)
def test_an_order_is_carried_out_once(installed: bool, done: str, ordered: str, expected: bool) -> None:
    assert from_disk(installed=installed, done=done, ordered=ordered) is expected


def test_a_decision_is_a_line_of_words() -> None:
    assert (
        line(Install("/dev/vda", FIRST), OWN, "http://s/root", "ab")
        == f"install /dev/vda {FIRST} {OWN} http://s/root ab\n"
    )
    assert line(Return("/dev/vda3"), OWN, "", "") == "return /dev/vda3\n"
    assert line(Wait("not now"), OWN, "", "") == "wait not now\n"
