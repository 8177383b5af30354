"""Who decides what is allowed, as a topology names it: the file, and what of its webhooks goes to masters."""

from pathlib import Path

import pytest
import yaml

from kybern.machines.errors import TopologyError
from kybern.machines.load import load
from kybern.machines.topology import Authorization

TOPOLOGIES = Path("inventories/topology")
FILE = "/etc/kubernetes/authorization/asked.kubeconfig"


def kubeconfig(**user: str) -> str:
    cluster = {"server": "https://asked.example", "certificate-authority-data": "YQ=="}
    return yaml.safe_dump(
        {
            "current-context": "c",
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
            "clusters": [{"name": "c", "cluster": cluster}],
            "users": [{"name": "u", "user": user}],
        }
    )


def rights(path: str = FILE) -> str:
    return yaml.safe_dump(
        {
            "authorizers": [
                {"type": "RBAC", "name": "rbac"},
                {"type": "Webhook", "webhook": {"connectionInfo": {"kubeConfigFile": path}}},
            ]
        }
    )


@pytest.fixture
def topology(tmp_path: Path) -> Path:
    path = tmp_path / "good.yaml"
    path.write_text((TOPOLOGIES / "lab.yaml").read_text() + "authorization: rights.yaml\n")
    (tmp_path / "rights.yaml").write_text(rights())
    (tmp_path / "asked.kubeconfig").write_text(kubeconfig(token="t"))
    return path


def test_kubeconfigs_that_masters_shall_have_lie_beside_the_topology(topology: Path) -> None:
    wanted = Authorization(rights(), (("asked.kubeconfig", kubeconfig(token="t")),))
    assert load(topology).authorization == wanted


@pytest.mark.parametrize(
    "path", ["/etc/asked.kubeconfig", "asked.kubeconfig", "/etc/kubernetes/authorization/a/b"]
)
def test_others_are_somebody_elses_matter(topology: Path, path: str) -> None:
    (topology.parent / "rights.yaml").write_text(rights(path))
    assert load(topology).authorization == Authorization(rights(path))


def test_it_is_optional(topology: Path) -> None:
    topology.write_text((TOPOLOGIES / "lab.yaml").read_text())
    assert load(topology).authorization is None


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("rights.yaml", None, r'"rights\.yaml" is not a file that can be read'),
        ("rights.yaml", "{", r'"rights\.yaml" is not YAML'),
        ("asked.kubeconfig", None, r'"asked\.kubeconfig" cannot be used: .*it lies beside the topology'),
        ("asked.kubeconfig", "x", r'"asked\.kubeconfig" cannot be used: '),
        ("asked.kubeconfig", kubeconfig(tokenFile="token"), r"refers to .*/token, which masters do not get"),
    ],
)
def test_what_cannot_be_shipped_is_told_with_its_line(
    topology: Path, file: str, text: str | None, said: str
) -> None:
    place = topology.parent / file
    place.unlink() if text is None else place.write_text(text)
    with pytest.raises(TopologyError, match=rf"good\.yaml:\d+: .*{said}"):
        load(topology)


def test_files_that_masters_have_anyhow_may_be_named(topology: Path) -> None:
    text = kubeconfig(tokenFile="/etc/kubernetes/asked.token")
    (topology.parent / "asked.kubeconfig").write_text(text)
    found = load(topology).authorization
    assert found is not None
    assert found.kubeconfigs == (("asked.kubeconfig", text),)
