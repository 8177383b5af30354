"""The last words of containers, however they were left."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kybern._proto import cri_pb2 as pb
from kybern.api.core_v1 import ContainerStatus, PodStatus
from kybern.kubelet import labels
from kybern.kubelet.containers import Reasons, state_of, statuses
from kybern.kubelet.message import cut, share, termination_message
from tests.unit.kubelet.making import container, ended, facts, pod

NOTES = {labels.MESSAGE_PATH: "/dev/termination-log", labels.MESSAGE_POLICY: "FallbackToLogsOnError"}


def left(file: Path, log: Path | None = None, **more: Any) -> str:
    mount = pb.Mount(container_path="/dev/termination-log", host_path=str(file))
    status = pb.ContainerStatus(mounts=[mount], log_path=str(log or ""), exit_code=1, **more)
    return termination_message(status, NOTES)


def test_of_a_long_message_the_end_is_kept(tmp_path: Path) -> None:
    (tmp_path / "m").write_bytes(b"a" * 10_000_000 + b"the end")

    found = left(tmp_path / "m")

    assert len(found) == 4096
    assert found.endswith("aaathe end")


@pytest.mark.timeout(30)
def test_a_pipe_holds_nobody_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/etc/passwd")

    assert left(tmp_path / "pipe").endswith("it is no regular file")
    assert "root:" not in left(tmp_path / "link")
    assert "it is no regular file" in left(tmp_path)


def test_without_a_message_the_end_of_the_log_counts(tmp_path: Path) -> None:
    (tmp_path / "m").touch()
    lines = [f"2026-01-01T00:00:00.0Z stdout F line {number}\n" for number in range(500)]
    (tmp_path / "log").write_text("".join(lines))

    found = left(tmp_path / "m", tmp_path / "log")

    assert found.startswith("line 420\n")
    assert found.endswith("line 499\n")


def test_of_long_lines_the_last_bytes_count(tmp_path: Path) -> None:
    (tmp_path / "m").touch()
    part = b"2026-01-01T00:00:00.0Z stdout P " + b"x" * 16_000 + b"\n"
    (tmp_path / "log").write_bytes(part * 1000)

    assert left(tmp_path / "m", tmp_path / "log") == "x" * 2048


def test_all_containers_of_a_pod_share_what_there_is() -> None:
    many = [container(f"c{number}") for number in range(6)]
    runs = [ended(one, 1, message="m" * 4096) for one in many]

    _inits, others, _added = statuses(facts(pod(*many, restart="Never"), *runs), Reasons(), pod().status)

    assert {len(s.state.terminated.message) for s in others if s.state and s.state.terminated} == {2048}
    assert share(1) == 12288


def test_characters_are_not_cut_in_two() -> None:
    assert cut("aé", 2) == "a"
    assert cut("aé", 3) == "aé"


def test_what_the_runtime_says_comes_first(tmp_path: Path) -> None:
    (tmp_path / "m").write_text("bye")

    assert left(tmp_path / "m", message="failed to start") == "failed to start: bye"
    assert left(tmp_path / "gone", tmp_path / "m", message="failed to start") == "failed to start"


def test_last_words_outlive_their_file() -> None:
    one = container()
    first, second = ended(one, 1, message="first"), ended(one, 2, attempt=1, message="second")
    told = ContainerStatus(name="c", state=state_of(second), last_state=state_of(first))
    before = PodStatus(container_statuses=(told,))
    silent = [replace(run, message="") for run in (first, second)]

    _inits, (found,), _added = statuses(facts(pod(one, restart="Never"), *silent), Reasons(), before)
    _inits, (fresh,), _added = statuses(facts(pod(one, restart="Never"), *silent), Reasons(), PodStatus())

    assert (found.state, found.last_state) == (told.state, told.last_state)
    assert fresh.state == state_of(silent[1])
