"""Plugins that come as packages: installed as pip installs them, and enabled by a profile."""

import re
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
import yaml

from kybern.daemon.run import Fatal
from kybern.scheduler.config import settings
from kybern.scheduler.facts import PodFacts
from kybern.scheduler.framework import BadArgs
from kybern.scheduler.outcomes import Placed, Refused
from kybern.scheduler.plugins import PLUGINS
from kybern.scheduler.profile import Profile
from kybern.scheduler.registry import installed
from tests.unit.scheduler.making import decide, node, pod, table_of

PAGE = Path(__file__).parents[3] / "docs/how-to/scheduler-plugins.md"


def example(language: str) -> str:
    """The first piece of code of the how-to page in a language."""
    found = re.search(rf"```{language}\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert found is not None
    return found[1]


class Site:
    """A directory of installed packages, as it lies on a machine."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def install(self, name: str, code: str, points: str) -> None:
        (self.directory / f"{name}.py").write_text(code)
        info = self.directory / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[kybern.scheduler.plugins]\n{points}\n")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    monkeypatch.syspath_prepend(str(tmp_path))
    return Site(tmp_path)


def profile(text: str) -> Profile:
    found: Profile = settings(yaml.safe_load(text), installed())["profiles"]["default-scheduler"]
    return found


def test_without_packages_there_are_the_plugins_of_this_one() -> None:
    assert list(installed()) == [one.name for one in PLUGINS]


def test_the_example_of_the_page_works(site: Site) -> None:
    point = re.search(r"^quiet = \"(.+)\"$", example("toml"), re.MULTILINE)
    assert point is not None
    site.install("quiet", example("python"), f"quiet = {point[1]}")
    table = table_of(node("loud"), node("quiet", labels={"example.com/quiet": ""}))
    asking = pod("p", labels={"example.com/quiet": ""})

    enabled = profile(example("yaml"))

    assert enabled.weights["Quiet"] == 2
    assert decide(asking, table, profile=enabled) == Placed("quiet")
    table.remove_node("quiet")
    found = decide(asking, table, profile=enabled)
    assert isinstance(found, Refused)
    assert found.reasons == "0/1 nodes are available: 1 node(s) weren't quiet."
    assert decide(pod("q"), table, profile=enabled) == Placed("loud")


def test_its_arguments_reach_it(site: Site) -> None:
    site.install("quiet", example("python"), "quiet = quiet:PLUGIN")
    table = table_of(node("a"), node("b"))
    for number in range(7):
        table.place(f"uid-{number}", "ab"[number > 4], PodFacts.of(pod(str(number))))
    only = "{score: {disabled: [{name: '*'}], enabled: [{name: Quiet}]}}"

    def goes(args: str) -> set[Placed | Refused]:
        text = example("yaml").split("profiles:", maxsplit=1)[0]
        chosen = profile(
            f"{text}\nprofiles: [{{plugins: {only}, pluginConfig: [{{name: Quiet, args: {args}}}]}}]"
        )
        return {decide(pod("p"), table, seed, chosen) for seed in range(20)}

    assert goes("{crowded: 10}") == {Placed("b")}
    assert goes("{crowded: 1}") == {Placed("a"), Placed("b")}
    with pytest.raises(BadArgs, match=r'unknown field "profiles\[0\]\.pluginConfig\[0\]\.args\.loud"'):
        goes("{loud: 1}")


def test_what_is_installed_changes_nothing_by_itself(site: Site) -> None:
    site.install("quiet", example("python"), "quiet = quiet:PLUGIN")
    content: dict[str, Any] = yaml.safe_load(example("yaml"))
    del content["profiles"]

    found = settings(content, installed())["profiles"]["default-scheduler"]

    assert found.at == Profile.of(PLUGINS).at


@pytest.mark.parametrize(
    ("code", "point", "told"),
    [
        ("PLUGIN = 1", "odd:PLUGIN", "it is a int, and must be a Plugin"),
        ("", "odd:PLUGIN", "cannot load entry point x = odd:PLUGIN"),
        ("import nothing_of_that_name", "odd:PLUGIN", "No module named 'nothing_of_that_name'"),
        (
            """
            from kybern.scheduler.framework import Plugin
            PLUGIN = Plugin("NodeName")
            """,
            "odd:PLUGIN",
            'cannot use the scheduler plugin "NodeName"',
        ),
    ],
)
def test_what_is_no_plugin_is_named(
    site: Site, monkeypatch: pytest.MonkeyPatch, code: str, point: str, told: str
) -> None:
    monkeypatch.delitem(sys.modules, "odd", raising=False)
    site.install("odd", textwrap.dedent(code), f"x = {point}")

    with pytest.raises(Fatal, match=re.escape(told)):
        installed()
