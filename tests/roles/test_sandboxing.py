"""What systemd holds of our units' sandboxes: none becomes weaker unseen. docs/how-to/harden.md publishes the scores."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from jinja2 import ChainableUndefined, Environment, FileSystemLoader

TEMPLATES = Path(__file__).parents[2] / "templates"
HARDEN = TEMPLATES.parent / "docs" / "how-to" / "harden.md"
SCORE = re.compile(r"exposure level for \S+: ([0-9.]+)")
# systemd weighs a little differently from version to version.
SLACK = 0.5
OPEN = frozenset({
    "containerd", "kubelet", "kybern-cloud-volumes-node", "kybern-local-volumes",
    # They run once and end.
    "kybern-firewall", "kybern-ipv6", "kybern-machine", "kybern-node-dns-link",
})  # fmt: skip
"""Units that have to be root with all of root's rights, as their files say why."""


class Anything(ChainableUndefined):
    """Stands for all values: what matters here are the lines that are always there."""

    def __str__(self) -> str:
        return "x"

    def __call__(self, *_given: object) -> tuple[str, ...]:  # type: ignore[override]  # Undefined raises
        return ()

    def __mul__(self, _other: object) -> int:  # type: ignore[override]  # Undefined raises
        return 1


def score(template: Path, folder: Path) -> float:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), undefined=Anything, trim_blocks=True, lstrip_blocks=True
    )
    text = environment.get_template(str(template.relative_to(TEMPLATES))).render(
        user="nobody", data="/var/lib/x", folder="/var/lib/x"
    )
    unit = folder / template.name.removesuffix(".j2")
    unit.write_text(re.sub(r"^(Exec\w+=[-+]?)\S*", r"\1/bin/true", text, flags=re.MULTILINE))
    command = ["systemd-analyze", "security", "--offline=yes", "--no-pager", str(unit)]
    said = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    found = SCORE.search(said)
    assert found is not None, said
    return float(found[1])


def published() -> dict[str, float]:
    """The table of the how-to: unit and score."""
    return {
        name: float(number)
        for name, number in re.findall(
            r"^\| `([a-z0-9-]+)` \| ([0-9.]+) \|", HARDEN.read_text(), re.MULTILINE
        )
    }


UNITS = {path.name.removesuffix(".service.j2"): path for path in sorted(TEMPLATES.glob("*/*.service.j2"))}


def test_every_unit_s_score_is_published() -> None:
    assert set(published()) == set(UNITS)
    assert {name for name, number in published().items() if number > 4} == OPEN


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not on this computer")
@pytest.mark.parametrize("name", UNITS)
def test_no_unit_is_more_exposed_than_published(name: str, tmp_path: Path) -> None:
    assert score(UNITS[name], tmp_path) <= published()[name] + SLACK
