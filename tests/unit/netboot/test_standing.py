"""What the operator is told, and whose key is recorded."""

import pytest

from kybern.netboot.seen import INSTALLED, INSTALLING, REFUSED, Seen, read, written
from kybern.netboot.standing import OtherKey, known_hosts, missing, standing

KEY, OTHER = "ssh-ed25519 AAAA", "ssh-ed25519 BBBB"
ADDRESS = "10.8.0.11"


def test_a_machine_that_was_never_heard_of_is_not_done_and_the_operator_is_told_where_to_look() -> None:
    found = standing("a", ADDRESS, None, "", "")

    assert (found.done, found.told) == (False, "was not heard of yet")
    (told,) = missing([found], {}, 1000.0)
    assert told.startswith("a was never heard of: see that it is on, boots over the network first")
    assert "its mac" in told


def test_a_machine_that_stopped_on_the_way_is_told_with_its_last_words() -> None:
    seen = Seen(INSTALLING, "writes the system on /dev/vda3", heard=400.0, ticket="t")
    found = standing("a", ADDRESS, seen, "", "")

    assert not found.done
    assert missing([found], {"a": seen}, 1000.0) == [
        "a: last heard of 10 minutes ago: installing, writes the system on /dev/vda3"
    ]


def test_a_machine_that_is_installed_and_silent_points_to_its_firmware() -> None:
    seen = Seen(INSTALLED, "is installed", heard=940.0, host_key=KEY)
    found = standing("a", ADDRESS, seen, "", "")

    assert (found.done, found.key) == (True, KEY)
    (told,) = missing([found], {"a": seen}, 1000.0)
    assert "does not answer by SSH at 10.8.0.11 (last heard of 1 minutes ago" in told
    assert "firmware" in told


def test_an_installed_machine_that_is_refused_is_told_with_why() -> None:
    """It got another disk: its console and its firmware are not what is to be looked at."""
    seen = Seen(REFUSED, "/dev/vda of a is not empty", heard=940.0, host_key=KEY)

    (told,) = missing([standing("a", ADDRESS, seen, KEY, "")], {"a": seen}, 1000.0)
    assert told == "a: last heard of 1 minutes ago: refused, /dev/vda of a is not empty"


def test_a_machine_that_was_installed_long_ago_needs_no_word_of_the_server() -> None:
    assert standing("a", ADDRESS, None, KEY, "").done


def test_another_key_is_refused_unless_it_was_ordered() -> None:
    with pytest.raises(OtherKey, match="another host key than the one recorded"):
        standing("a", ADDRESS, Seen(INSTALLED, host_key=OTHER), KEY, "")

    found = standing("a", ADDRESS, Seen(INSTALLED, host_key=OTHER, order="1-a"), KEY, "1-a")
    assert (found.done, found.key) == (True, OTHER)


def test_an_order_that_is_not_carried_out_yet_is_waited_for() -> None:
    found = standing("a", ADDRESS, Seen(INSTALLED, host_key=KEY, order="1-a"), KEY, "2-b")

    assert (found.done, found.key) == (False, "")


def test_keys_take_the_place_of_those_of_the_same_address_and_no_others() -> None:
    lines = ["10.8.0.5 ssh-ed25519 SSSS", "10.8.0.11,a ssh-ed25519 OLD", "# mine", ""]
    found = standing("a", ADDRESS, Seen(INSTALLED, host_key=OTHER, order="1-a"), "", "")

    assert known_hosts(lines, [found]) == [
        "10.8.0.5 ssh-ed25519 SSSS",
        "# mine",
        "",
        "10.8.0.11,a ssh-ed25519 BBBB",
    ]


def test_what_was_seen_is_read_as_it_was_written() -> None:
    all_seen = {"a": Seen(INSTALLED, "is installed", 3.5, "", "1-a", KEY), "b": Seen()}

    assert read(written(all_seen)) == all_seen
    with pytest.raises(ValueError, match="not what kybern-netboot has seen"):
        read('{"a": {"colour": "red"}}')
