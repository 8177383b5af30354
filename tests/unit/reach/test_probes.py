"""Scripts and their answers: run by this machine's own shell where that shows more than reading them."""

import os
import shutil
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from kybern.reach.objects import serving
from kybern.reach.probes import CUT, NO_NAME, PATIENCE, Place, Probe, Result, Way, results, script, wanted

ONE = Place("one", "192.0.2.1", "c1", "10.244.1.2", "s1", "10.244.1.3", "10.96.0.5", "to-one.ns.svc.c.local")
TWO = Place("two", "192.0.2.2", "c2", "10.244.2.2", "s2", "10.244.2.3", "10.96.0.6", "to-two.ns.svc.c.local")
PLACES = {("one", 4): ONE, ("two", 4): TWO}
POD = Probe(Way.POD, "one", "two", "10.244.2.3", 8080)
NODE = Probe(Way.NODE, "one", "two", "192.0.2.2", 10250)


def test_every_node_tries_every_node_itself_too_and_what_is_outside() -> None:
    found = wanted((ONE, TWO), [("192.0.2.254", 0), ("198.51.100.1", 443)])

    pairs = {(one.source, one.target, one.way) for one in found if one.way is not Way.OUTSIDE}
    assert len(pairs) == 2 * 2 * 4
    assert {(one.source, one.target) for one in found if one.way is Way.OUTSIDE} == {
        (name, at) for name, _ in PLACES for at in ("192.0.2.254", "198.51.100.1:443")
    }


def test_each_family_is_tried_by_itself() -> None:
    six = [
        replace(one, address=f"fd00::{at}", server_ip=f"fd01::{at}", service_ip=f"fd02::{at}", version=6)
        for at, one in enumerate((ONE, TWO), 1)
    ]
    outside = [("192.0.2.254", 0), ("2001:db8::1", 443)]

    found = wanted((ONE, TWO, *six), outside)

    assert len(found) == len(set(found)) == 2 * (2 * 2 * 4 + 2)
    addresses = [one for one in found if one.way is not Way.NAME]
    assert all((":" in one.at) == (one.version == 6) for one in addresses)
    assert {one.target for one in found if one.way is Way.OUTSIDE} == {"192.0.2.254", "[2001:db8::1]:443"}
    names = script(ONE, [one for one in found if one.way is Way.NAME and one.source == "one"])
    assert [names.count(f"-type={kind} ") for kind in ("a", "aaaa")] == [2, 2]


def test_what_is_outside_and_of_a_family_that_the_cluster_lacks_is_tried_all_the_same() -> None:
    found = wanted((ONE,), [("2001:db8::1", 0)])

    assert [(one.at, one.version) for one in found if one.way is Way.OUTSIDE] == [("2001:db8::1", 4)]


@pytest.mark.parametrize(
    ("said", "error"),
    [
        ("== 0 0 two", ""),
        ("noise\n== 0 0 two \n== 1 0", ""),
        ("== 0 0 one", 'somebody else answered: "one"'),
        ("== 0 143 ", "no answer within 4 s"),
        ("== 0 1 nc: 10.244.2.3 (10.244.2.3:8080): Connection timed out", "no answer within 4 s"),
        (
            "== 0 1 nc: can't connect to remote host (10.244.2.3): Connection refused",
            "can't connect to remote host",
        ),
        ("", "the probe did not run"),
    ],
)
def test_what_a_node_said_is_a_result(said: str, error: str) -> None:
    (found,) = results(PLACES, [POD], said)

    assert found.error.startswith(error)
    assert bool(found.error) == bool(error)


def test_a_connection_to_the_kubelet_says_nothing() -> None:
    assert results(PLACES, [NODE], "== 0 0 ") == (Result(NODE),)


def test_a_pod_that_does_not_run_is_why() -> None:
    waiting = Place("two", "192.0.2.2", trouble="the probe pod on two does not run: ErrImageNeverPull")

    ours = Probe(Way.POD, "one", "two", "", 8080)
    found = results({("one", 4): ONE, ("two", 4): waiting}, [ours, NODE], "== 1 0 ")

    assert [one.error for one in found] == ["the probe pod on two does not run: ErrImageNeverPull", ""]


@pytest.mark.parametrize(
    "text", ["** server can't find to-two.ns.svc.c.local: NXDOMAIN", "connection timed out; no servers", ""]
)
def test_a_name_that_nobody_answers_is_told_apart_from_a_way_that_fails(text: str) -> None:
    name = Probe(Way.NAME, "one", "two", TWO.name, 80)

    (found,) = results(PLACES, [name], f"== 0 1 {NO_NAME} {text}")

    assert found.error.startswith(NO_NAME)
    assert found.error.endswith(text or "no name server answers")


def test_scripts_run_in_a_shell_and_probes_end_in_time() -> None:
    """The node's part for real; the container's with a stand-in for ``ctr`` that runs the words behind the container."""
    closed = Probe(Way.NODE, "one", "two", "127.0.0.1", 1)
    probes = [
        closed,
        Probe(Way.POD, "one", "two", "127.0.0.1", 1),
        Probe(Way.OUTSIDE, "one", "x:1", "127.0.0.1", 1),
    ]
    stand_in = 'ctr() { while [ "$1" != c1 ]; do shift; done; shift; "$@"; }; export -f ctr\n'
    stand_in += 'timeout() { shift; "$@"; }; nc() { echo refused; return 1; }; export -f timeout nc\n'

    done = subprocess.run(
        ["bash", "-s"],
        input=stand_in + script(ONE, probes),
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )

    found = results(PLACES, probes, done.stdout)
    assert all(one.error for one in found)
    assert not any("did not run" in one.error for one in found), done


@pytest.fixture
def busybox(tmp_path: Path) -> dict[str, str]:
    """An environment whose programs are those of the image."""
    program = shutil.which("busybox")
    if not program:
        pytest.skip("needs busybox: run scripts/setup develop")
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("nc", "timeout", "tail", "httpd", "tr", "printf", "sed"):
        (programs / name).symlink_to(program)
    return {"PATH": f"{programs}:{os.environ['PATH']}"}


def asked(port: int, busybox: dict[str, str]) -> str:
    """What comes of one probe of a pod, run without the container."""
    probe = Probe(Way.POD, "one", "two", "127.0.0.1", port)
    stand_in = 'ctr() { while [ "$1" != c1 ]; do shift; done; shift; "$@"; }; export -f ctr\n'
    # The outer limit is a program's, which knows no function.
    words = script(ONE, [probe]).replace(f"timeout {PATIENCE * 3} ctr", "ctr")
    done = subprocess.run(
        ["bash", "-s"],
        input=stand_in + words,
        env=busybox,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    (found,) = results(PLACES, [probe], done.stdout)
    return found.error


def test_an_answer_is_of_full_packets_and_ends_with_the_nodes_name(
    tmp_path: Path, busybox: dict[str, str], unused_tcp_port: int
) -> None:
    command = serving("two", str(tmp_path / "w"), unused_tcp_port)
    with subprocess.Popen(["sh", "-c", command], env=busybox) as server:
        try:
            _until_it_listens(unused_tcp_port)
            assert asked(unused_tcp_port, busybox) == ""
        finally:
            server.terminate()
    assert (tmp_path / "w" / "index.html").stat().st_size > 16 * 1024


def test_an_answer_that_begins_and_does_not_end_is_one_of_large_packets(busybox: dict[str, str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening, ThreadPoolExecutor(1) as threads:
        listening.settimeout(60)

        def begin() -> socket.socket:
            connection, _ = listening.accept()
            connection.sendall(b"HTTP/1.0 200 OK\r\n\r\n")
            return connection

        begun = threads.submit(begin)
        error = asked(listening.getsockname()[1], busybox)
        begun.result(30).close()

    assert error == CUT


def _until_it_listens(port: int) -> None:
    for _ in range(600):
        with socket.socket() as asking:
            if not asking.connect_ex(("127.0.0.1", port)):
                return
        time.sleep(0.05)
    raise AssertionError("httpd does not listen")
