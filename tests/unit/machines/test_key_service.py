"""Where a key management service listens, as a topology says it."""

from pathlib import Path

import pytest

from kybern.machines.errors import TopologyError
from kybern.machines.key_service import LONGEST, folder
from kybern.machines.load import load

LAB = Path("inventories/topology/lab.yaml")


def written(folder: Path, more: str) -> Path:
    path = folder / "good.yaml"
    path.write_text(f"{LAB.read_text()}{more}\n")
    return path


@pytest.mark.parametrize("said", ["encryption: kms\n", "encryption: aescbc\n", ""])
def test_a_service_is_named_by_its_socket_also_on_the_way_there_and_back(tmp_path: Path, said: str) -> None:
    found = load(written(tmp_path, f"{said}kms: unix:///run/kms/plugin.sock"))

    assert found.kms == "unix:///run/kms/plugin.sock"
    assert folder(found) == "/run/kms"


def test_nobody_needs_one(tmp_path: Path) -> None:
    found = load(written(tmp_path, ""))

    assert (found.encryption, found.kms, folder(found)) == ("aesgcm", "", "")


@pytest.mark.parametrize(
    "endpoint",
    [
        "/run/kms/plugin.sock",
        "tcp://10.0.0.1:9000",
        "unix:///run/plugin.sock",  # all of /run would be the server's to see
        "unix:///tmp/kms/plugin.sock",  # another /tmp than the server's
        "unix:///run/kubernetes/plugin.sock",
        "unix:///run/user/0/plugin.sock",
        "unix:///run/kms/../plugin.sock",
        "unix:///run/kms/",
        "unix:///@kms",
        f"unix:///run/kms/{'a' * LONGEST}",
    ],
)
def test_a_socket_that_no_server_could_reach_is_refused_with_its_line(tmp_path: Path, endpoint: str) -> None:
    with pytest.raises(TopologyError, match=r"good\.yaml:\d+: .* is not a socket in a directory of its own"):
        load(written(tmp_path, f"encryption: kms\nkms: {endpoint}"))


def test_secrets_are_not_sealed_by_a_service_that_nobody_named(tmp_path: Path) -> None:
    with pytest.raises(
        TopologyError, match=r'good\.yaml:\d+: "encryption: kms" needs to know where .* add "kms: '
    ):
        load(written(tmp_path, "encryption: kms"))
