"""The forms of log lines: klog's, and JSON with upstream's fields."""

import json
import logging
from collections.abc import Iterator

import pytest

from kybern.daemon import logs


@pytest.fixture
def streams(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[None]:
    """The root logger as it was, afterwards."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    try:
        yield
    finally:
        root.handlers[:], level = before
        root.setLevel(level)


def written(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().err.splitlines()


@pytest.mark.usefixtures("streams")
def test_lines_of_text_are_klogs(capsys: pytest.CaptureFixture[str]) -> None:
    logs.setup()
    logging.getLogger("kybern.kubelet.agent").warning("cannot %s", "do it")

    (line,) = written(capsys)

    assert line[0] == "W"
    assert line.endswith("] cannot do it")


@pytest.mark.usefixtures("streams")
def test_lines_of_json_have_upstreams_fields(capsys: pytest.CaptureFixture[str]) -> None:
    logs.setup(4, "json")
    log = logging.getLogger("kybern.kubelet.agent")
    log.info('it is "so"\nand so')
    log.debug("detail")
    log.error("cannot go on")
    logging.getLogger("aiohttp.server").warning("odd")

    info, detail, error, other = map(json.loads, written(capsys))

    assert list(info) == ["ts", "caller", "msg", "v"]
    assert (info["msg"], info["v"], detail["v"]) == ('it is "so"\nand so', 0, 4)
    assert info["ts"] > 1e12
    directory, _, line = info["caller"].partition(":")
    assert (directory, line.isdigit()) == ("daemon/test_logs.py", True)
    assert list(error) == ["ts", "caller", "msg"]
    assert list(other) == ["ts", "logger", "caller", "msg", "v"]
    assert other["logger"] == "aiohttp.server"


@pytest.mark.usefixtures("streams")
def test_an_exception_is_told_with_where_it_came_from(capsys: pytest.CaptureFixture[str]) -> None:
    logs.setup(0, "json")
    try:
        int("broken")
    except ValueError:
        logging.getLogger("kybern").exception("cannot go on")

    (line,) = written(capsys)

    assert json.loads(line)["err"] == "invalid literal for int() with base 10: 'broken'"
    assert "ValueError: invalid literal" in json.loads(line)["stacktrace"]


@pytest.mark.usefixtures("streams")
def test_the_verbosity_changes_and_the_form_stays(capsys: pytest.CaptureFixture[str]) -> None:
    logs.setup(0, "json")
    log = logging.getLogger("kybern")
    log.debug("unseen")
    logs.level(4)
    log.debug("seen")

    (line,) = written(capsys)

    assert json.loads(line)["msg"] == "seen"


def test_other_forms_are_refused() -> None:
    assert [logs.form(one) for one in ("text", "json")] == ["text", "json"]
    with pytest.raises(ValueError, match=r'format: Invalid value: "xml": Unsupported log format'):
        logs.form("xml")
