"""Frames on the wire, byte by byte."""

from ipaddress import IPv4Address, IPv6Address

import pytest

from kybern.balancers.frames import Question, announcements, answer, group_of, question

ME, YOU = bytes.fromhex("020000000001"), bytes.fromhex("020000000002")
# As a Linux kernel sends them: who has 192.0.2.9, tell 192.0.2.1; and the same for fd00::9 from fd00::1.
ASKS = bytes.fromhex("ffffffffffff02000000000208060001080006040001020000000002c0000201000000000000c0000209")
SOLICITS = bytes.fromhex(
    "3333ff00000902000000000286dd6000000000203afffd000000000000000000000000000001ff0200000000000000000001ff000009"
    "87001234" "00000000" "fd000000000000000000000000000009" "0101020000000002"
)  # fmt: skip


def test_questions_are_read() -> None:
    assert question(ASKS) == Question(IPv4Address("192.0.2.9"), IPv4Address("192.0.2.1"), YOU)
    assert question(SOLICITS) == Question(IPv6Address("fd00::9"), IPv6Address("fd00::1"), YOU)


@pytest.mark.parametrize("whole", [ASKS, SOLICITS], ids=["arp", "neighbour discovery"])
def test_what_is_cut_short_asks_nothing(whole: bytes) -> None:
    needed = 42 if whole is ASKS else 78
    assert [length for length in range(len(whole)) if length < needed and question(whole[:length])] == []


def test_what_came_over_a_router_or_is_an_announcement_asks_nothing() -> None:
    routed = bytearray(SOLICITS)
    routed[21] = 254
    assert question(bytes(routed)) is None
    for frame in (*announcements(IPv4Address("192.0.2.9"), ME), *announcements(IPv6Address("fd00::9"), ME)):
        assert question(frame) is None


def test_an_answer_goes_to_who_asked() -> None:
    told = answer(Question(IPv4Address("192.0.2.9"), IPv4Address("192.0.2.1"), YOU), ME)

    assert told == YOU + ME + bytes.fromhex("08060001080006040002") + ME + bytes(
        [192, 0, 2, 9]
    ) + YOU + bytes([192, 0, 2, 1])


def test_an_advertisement_has_its_flags_and_a_right_checksum() -> None:
    told = answer(Question(IPv6Address("fd00::9"), IPv6Address("fd00::1"), YOU), ME)

    assert told[:12] == YOU + ME
    assert told[21] == 255
    assert told[58:62] == bytes.fromhex("60000000")  # solicited, override
    assert told[62:78] == IPv6Address("fd00::9").packed
    assert told[78:] == b"\x02\x01" + ME
    words = told[22:54] + (32).to_bytes(4, "big") + (58).to_bytes(4, "big") + told[54:]
    total = sum(int.from_bytes(words[at : at + 2], "big") for at in range(0, len(words), 2))
    assert (total & 0xFFFF) + (total >> 16) == 0xFFFF


def test_who_looks_whether_an_address_is_free_is_told_by_an_announcement_to_all() -> None:
    told = answer(Question(IPv6Address("fd00::9"), IPv6Address("::"), YOU), ME)

    assert told[:6] == bytes.fromhex("333300000001")
    assert told[58:62] == bytes.fromhex("20000000")


def test_the_group_that_is_asked_ends_as_the_address_does() -> None:
    assert group_of(IPv6Address("fd00::12:3456")) == IPv6Address("ff02::1:ff12:3456")
