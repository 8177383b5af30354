"""Messages to the kernel, read by a library that others wrote, and answers that it writes."""

import struct
from typing import Any

import pytest
from pyroute2.netlink import nlmsg
from pyroute2.netlink.generic.ipvs import ipvsmsg

from kybern.proxy.ipvs import wire
from kybern.proxy.ipvs.servers import Change, Command, Held, Real, Server, Terms

FOUR, SIX = Server("10.96.0.10", "TCP", 80), Server("fd00:96::10", "UDP", 53)


def read(data: bytes) -> Any:
    found = ipvsmsg(data)
    found.decode()
    return found


@pytest.mark.parametrize(
    ("server", "af", "protocol", "mask"), [(FOUR, 2, 6, "255.255.255.255"), (SIX, 10, 17, "128.0.0.0")]
)
def test_a_server_is_written_with_all_that_makes_it(
    server: Server, af: int, protocol: int, mask: str
) -> None:
    found = read(wire.change(33, 7, Change(Command.NEW_SERVICE, server, Terms("rr", 60))))

    assert (found["header"]["type"], found["header"]["sequence_number"], found["cmd"]) == (33, 7, 1)
    held = found.get_attr("IPVS_CMD_ATTR_SERVICE")
    told = {name: held.get_attr(f"IPVS_SVC_ATTR_{name}") for name in ("AF", "PROTOCOL", "ADDR", "PORT")}
    assert told == {"AF": af, "PROTOCOL": protocol, "ADDR": server.ip, "PORT": server.port}
    assert held.get_attr("IPVS_SVC_ATTR_SCHED_NAME") == "rr"
    assert held.get_attr("IPVS_SVC_ATTR_TIMEOUT") == 60
    assert held.get_attr("IPVS_SVC_ATTR_NETMASK") == mask, "as the library reads 4 bytes of any version"
    flags = held.get_attr("IPVS_SVC_ATTR_FLAGS")
    assert (flags["flags"], flags["mask"]) == (1, 0xFFFFFFFF)


@pytest.mark.parametrize(
    ("server", "real"), [(FOUR, Real("10.244.1.2", 8080)), (SIX, Real("fd00:244::2", 5353))]
)
def test_a_real_server_is_written_with_its_weight(server: Server, real: Real) -> None:
    found = read(wire.change(33, 8, Change(Command.SET_DEST, server, real=real, weight=0)))

    assert found["cmd"] == 6
    assert found.get_attr("IPVS_CMD_ATTR_SERVICE").get_attr("IPVS_SVC_ATTR_SCHED_NAME") is None
    held = found.get_attr("IPVS_CMD_ATTR_DEST")
    assert held.get_attr("IPVS_DEST_ATTR_ADDR") == real.ip
    assert held.get_attr("IPVS_DEST_ATTR_PORT") == real.port
    assert [held.get_attr(f"IPVS_DEST_ATTR_{name}") for name in ("WEIGHT", "FWD_METHOD", "U_THRESH")] == [
        0,
        0,
        0,
    ]


def answer(command: int, attributes: list[Any]) -> bytes:
    message = ipvsmsg()
    message["cmd"], message["version"], message["attrs"] = command, 1, attributes
    message["header"]["type"], message["header"]["sequence_number"] = 33, 5
    message.encode()
    return bytes(message.data)


def service(**more: Any) -> bytes:
    attributes = {
        "AF": 2, "PROTOCOL": 6, "ADDR": "10.96.0.10", "PORT": 80, "SCHED_NAME": "wlc",
        "FLAGS": {"flags": 0x3, "mask": 0xFFFFFFFF}, "TIMEOUT": 90, "NETMASK": "255.255.255.255",
    }  # fmt: skip
    attrs = [(f"IPVS_SVC_ATTR_{name}", value) for name, value in (attributes | more).items()]
    return answer(4, [("IPVS_CMD_ATTR_SERVICE", {"attrs": attrs})])


def body(data: bytes) -> bytes:
    (found,) = wire.answers(data)
    assert (found.sequence, found.is_last, found.error) == (5, False, 0)
    return found.body


def test_a_server_is_read_as_it_would_be_wanted() -> None:
    found = wire.server_in(body(service()))

    assert found is not None
    server, held = found
    assert (server, held.terms, held.flags) == (FOUR, Terms("wlc", 90), 1)


def test_the_time_of_a_server_without_affinity_says_nothing() -> None:
    found = wire.server_in(body(service(FLAGS={"flags": 0x2, "mask": 0xFFFFFFFF})))

    assert found is not None
    assert found[1].terms == Terms("wlc")


@pytest.mark.parametrize("more", [{"FWMARK": 7}, {"PROTOCOL": 51}])
def test_servers_that_cannot_be_ours_are_not_read(more: dict[str, int]) -> None:
    assert wire.server_in(body(service(**more))) is None


def test_a_real_server_is_read_with_its_connections() -> None:
    attributes = {
        "ADDR_FAMILY": 10, "ADDR": "fd00:244::2", "PORT": 53, "WEIGHT": 0, "ACTIVE_CONNS": 2, "INACT_CONNS": 3,
    }  # fmt: skip
    attrs = [(f"IPVS_DEST_ATTR_{name}", value) for name, value in attributes.items()]

    found = wire.real_in(body(answer(8, [("IPVS_CMD_ATTR_DEST", {"attrs": attrs})])))

    assert found == (Real("fd00:244::2", 53), Held(0, 5))


def test_several_answers_stand_one_after_the_other_and_errors_are_told() -> None:
    header = struct.Struct("=IHHII")
    done = header.pack(20, 3, 2, 5, 1) + struct.pack("=i", 0)
    refused = header.pack(36, 2, 0, 6, 1) + struct.pack("=i", -17) + bytes(16)

    found = list(wire.answers(service() + done + refused))

    assert [(one.sequence, one.is_last, one.error) for one in found] == [
        (5, False, 0),
        (5, True, 0),
        (6, True, 17),
    ]


def test_time_outs_are_whole_seconds() -> None:
    found = read(wire.timeouts(33, 9, 900, 120, 0))

    assert found["cmd"] == 12
    told = [found.get_attr(f"IPVS_CMD_ATTR_TIMEOUT_{name}") for name in ("TCP", "TCP_FIN", "UDP")]
    assert [int.from_bytes(bytes.fromhex(one.replace(":", "")), "little") for one in told] == [900, 120, 0]


def test_the_family_is_asked_for_by_name() -> None:
    question = wire.family_question(3)
    header = nlmsg(question)
    header.decode()

    assert header["header"]["type"] == 16
    assert question.endswith(b"IPVS\0\0\0\0")
    attribute = struct.pack("=HHHxx", 6, 1, 33)
    assert wire.family_number(struct.pack("=BBH", 1, 2, 0) + attribute) == 33
