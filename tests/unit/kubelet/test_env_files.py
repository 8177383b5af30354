"""Variables in files. What the parser takes must mean to it what it means to a shell."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kybern.api.core_v1 import EnvVar, EnvVarSource, FileKeySelector
from kybern.kubelet import env_files
from kybern.kubelet.env_files import read, value
from kybern.kubelet.environment import Missing, Sources, environment, files_of
from kybern.kubelet.volumes.plugin import CannotMount
from tests.unit.kubelet.making import container, pod


@pytest.mark.parametrize(
    ("text", "key", "found"),
    [
        ("A='1'\nB='2'\n", "B", "2"),
        ("   A='1'\n\t\tB='2'", "B", "2"),
        ("# first\n\n  # second\n \t\nA='1'\n", "A", "1"),
        ("A='1'\n", "B", None),
        ("", "A", None),
        ("A=''\n", "A", ""),
        ("A='  x  '\n", "A", "  x  "),
        ("A='x#y'\n", "A", "x#y"),
        ("A='x' # why\n", "A", "x"),
        ("A='x=y=z'\n", "A", "x=y=z"),
        ("A='$B ${C}'\n", "A", "$B ${C}"),
        ("A='one\n\n  # three\nfour'\nB='2'\n", "A", "one\n\n  # three\nfour"),
        ("A='one\ntwo'\nB='2'\n", "B", "2"),
        ("A='1'\nA='2'\n", "A", "1"),
        ("A='1'\nwrong\n", "A", "1"),
    ],
)
def test_a_variable_is_found(text: str, key: str, found: str | None) -> None:
    assert value(text, key) == found


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("wrong\n", "invalid environment variable format at line 1"),
        ("A='1'\nwrong\n", "invalid environment variable format at line 2"),
        ("A='1\n2'\n\nwrong\n", "invalid environment variable format at line 4"),
        ("='1'\n", "invalid environment variable format at line 1"),
        ("A ='1'\n", "whitespace before '=' is not allowed"),
        ("A= '1'\n", "value must be enclosed in single quotes"),
        ("A=1\n", "value must be enclosed in single quotes"),
        ('A="1"\n', "value must be enclosed in single quotes"),
        ("A='1''2'\n", "unexpected content after closing quote"),
        ("A='1'2\n", "unexpected content after closing quote"),
        ("A='1'# why\n", "unexpected content after closing quote"),
        ("A='1\nB='2'\n", "unexpected content after closing quote"),
        ("A='1\n", "unexpected end of file"),
    ],
)
def test_a_file_that_is_wrong_is_refused_with_the_line(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        value(text, "Z")


@pytest.mark.skipif(shutil.which("sh") is None, reason="there is no shell")
def test_a_shell_reads_the_same(tmp_path: Path) -> None:
    text = "# why\n  A='one\n  two # \"x\" \\n $B'  # says\n\nB='=='\n"
    file = tmp_path / "file.env"
    file.write_text(text)

    for key in ("A", "B"):
        asked = ["sh", "-c", f'. "$0"; printf %s "${key}"', str(file)]
        assert (
            value(text, key)
            == subprocess.run(asked, capture_output=True, text=True, check=True, timeout=10).stdout
        )


@given(st.lists(st.text(alphabet=st.characters(blacklist_characters="'\r\x00", codec="utf-8"))))
def test_any_value_without_a_quote_comes_back(values: list[str]) -> None:
    text = "".join(f"K{number}='{one}'\n" for number, one in enumerate(values))

    assert [value(text, f"K{number}") for number in range(len(values))] == values


def variable(*, optional: bool = False, key: str = "A") -> EnvVar:
    chosen = FileKeySelector(volume_name="v", path="dir/file.env", key=key, optional=optional)
    return EnvVar(name="X", value_from=EnvVarSource(file_key_ref=chosen))


def test_a_variable_of_a_container_comes_from_a_file() -> None:
    one = container(env=(variable(), EnvVar(name="Y", value="$(X)!")))

    found = environment(pod(one), one, Sources(files={("v", "dir/file.env"): "A='$(Y)'\n"}))

    assert found == {"X": "$(Y)", "Y": "$(Y)!"}
    assert files_of(one) == {("v", "dir/file.env")}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (None, 'environment variable file "dir/file.env" not found in volume "v"'),
        ("B='1'\n", 'environment variable key "A" not found in file "dir/file.env"'),
        (
            "A=1\n",
            "couldn't parse env file dir/file.env of volume v: invalid environment variable format at line 1",
        ),
    ],
)
def test_what_is_missing_is_told_or_left_out(text: str | None, problem: str) -> None:
    files = {("v", "dir/file.env"): text}
    with pytest.raises(Missing) as refused:
        environment(pod(one := container(env=(variable(),))), one, Sources(files=files))
    assert str(refused.value).startswith(problem)

    wanted = container(env=(variable(optional=True),))
    if text == "A=1\n":
        with pytest.raises(Missing):
            environment(pod(wanted), wanted, Sources(files=files))
    else:
        assert environment(pod(wanted), wanted, Sources(files=files)) == {}


def test_no_link_leads_out_and_nothing_but_a_file_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume = tmp_path / "volume"
    (volume / "dir").mkdir(parents=True)
    (volume / "dir/file").write_text("A='1'\n")
    (volume / "inside").symlink_to("dir/file")
    (tmp_path / "secret").write_text("A='2'\n")
    (volume / "outside").symlink_to(tmp_path / "secret")
    os.mkfifo(volume / "pipe")

    assert read(volume, "dir/file") == read(volume, "inside") == "A='1'\n"
    assert read(volume, "none/none") is None
    for below in ("outside", "../secret", "dir", "pipe"):
        with pytest.raises(CannotMount):
            read(volume, below)
    monkeypatch.setattr(env_files, "MOST", 3)
    with pytest.raises(CannotMount, match="longer than 3 bytes"):
        read(volume, "dir/file")
