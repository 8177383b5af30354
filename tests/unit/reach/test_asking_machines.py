"""Scripts on machines, with a program in place of ssh: what is known of a machine that gives no answer."""

from dataclasses import replace
from pathlib import Path

import pytest

from kybern.machines.load import load
from kybern.reach.machines import Machines

LAB = replace(load(Path("inventories/topology/lab.yaml")), name="nosuch")
NODE = LAB.machines[0].name


@pytest.mark.parametrize(
    ("script", "said", "silence"),
    [
        ("cat", "echo there", None),
        ("echo half; exit 1", "half\n", None),
        ("echo first >&2; echo 'ssh: connect to host: No route to host' >&2; exit 255", "",
         "ssh: connect to host: No route to host"),
        ("exit 255", "", "exit status 255 and not a word"),
        ("exec sleep 60", "", "no answer within 1 s"),
    ],
)  # fmt: skip
async def test_why_a_machine_gives_no_answer_is_known(
    script: str, said: str, silence: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ssh").write_text(f"#!/bin/sh\n{script}\n")
    (tmp_path / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    there = Machines(LAB)

    assert await there.run(NODE, "echo there", 1.0 if "sleep" in script else 60.0) == said

    assert there.silences.get(NODE) == silence


async def test_a_machine_that_answers_again_has_nothing_against_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ssh").write_text("#!/bin/sh\ncat\n")
    (tmp_path / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    there = Machines(LAB)
    there.silences[NODE] = "before"

    await there.run(NODE, "hello", 60.0)

    assert there.silences == {}
