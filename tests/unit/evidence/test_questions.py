"""The script that a machine gets, run here for real, and the archive that is made of the answers."""

import subprocess
import tarfile
from pathlib import Path

from kybern.evidence.archive import pack
from kybern.evidence.questions import parts, script
from kybern.machines.load import load
from kybern.machines.parts import MARK, answers
from kybern.machines.standing import units

LAB = load(Path(__file__).parents[3] / "inventories/topology/lab.yaml")


def test_each_machine_is_asked_for_what_it_runs() -> None:
    master, worker = LAB.machines[0], LAB.machines[-1]

    assert {"etcd", "journal/kube-apiserver", "journal/kubelet", "nftables"} <= set(parts(LAB, master))
    assert "etcd" not in parts(LAB, worker)
    assert {f"journal/{unit.removesuffix('.service')}" for unit in units(LAB, worker)} <= set(
        parts(LAB, worker)
    )


def test_the_script_tells_every_part_whatever_the_machine_lacks() -> None:
    worker = LAB.machines[-1]
    said = subprocess.run(
        ["bash", "-s"],
        input=script(LAB, worker),
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    ).stdout
    told = dict(answers(said))

    assert list(told) == list(parts(LAB, worker))
    assert "Linux" in told["system"]


def test_answers_hold_their_lines_also_where_nothing_was_said() -> None:
    text = f"noise\n{MARK} a\none\ntwo\n\n{MARK} b/c\n\n{MARK} d\nend"

    assert list(answers(text)) == [("a", "one\ntwo\n"), ("b/c", ""), ("d", "end")]


def test_the_archive_is_the_operators_alone(tmp_path: Path) -> None:
    path = tmp_path / "new/lab-1.tar.gz"
    pack(path, {"a/b.txt": "ä\n", "c.txt": ""}, 1e9)

    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert [each.name for each in path.parent.iterdir()] == ["lab-1.tar.gz"]
    with tarfile.open(path) as archive:
        assert archive.getnames() == ["lab-1/a/b.txt", "lab-1/c.txt"]
        taken = archive.extractfile("lab-1/a/b.txt")
        assert taken is not None
        assert taken.read().decode() == "ä\n"
