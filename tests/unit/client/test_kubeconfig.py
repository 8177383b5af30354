"""Kubeconfig files."""

import base64
from pathlib import Path

import pytest
import yaml

from kybern.client.kubeconfig import BadConfig, Config, dump, in_cluster, load


def b64(text: bytes) -> str:
    return base64.b64encode(text).decode()


def write(path: Path, cluster: dict[str, object], user: dict[str, object]) -> Path:
    content = {
        "clusters": [{"name": "k", "cluster": cluster}],
        "users": [{"name": "u", "user": user}],
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u", "namespace": "n"}}],
        "current-context": "c",
    }
    path.write_text(yaml.safe_dump(content))
    return path


def test_data_inside_is_decoded(tmp_path: Path) -> None:
    file = write(
        tmp_path / "config",
        {"server": "https://a:1/", "certificate-authority-data": b64(b"CA")},
        {"client-certificate-data": b64(b"CERT"), "client-key-data": b64(b"KEY")},
    )

    found = load(file)

    assert found == Config(
        server="https://a:1", ca_data=b"CA", cert_data=b"CERT", key_data=b"KEY", namespace="n"
    )


def test_files_beside_it_are_relative_to_it(tmp_path: Path) -> None:
    file = write(
        tmp_path / "config",
        {"server": "https://a", "certificate-authority": "pki/ca.crt"},
        {"tokenFile": "/run/token"},
    )

    found = load(file)

    assert (found.ca_file, found.token_file) == (str(tmp_path / "pki/ca.crt"), "/run/token")


def test_data_wins_over_a_file_of_the_same(tmp_path: Path) -> None:
    file = write(
        tmp_path / "config",
        {"server": "https://a", "certificate-authority": "ca.crt", "certificate-authority-data": b64(b"CA")},
        {"token": "secret"},
    )

    assert (load(file).ca_file, load(file).ca_data) == ("", b"CA")


def test_secrets_do_not_show_when_it_is_printed(tmp_path: Path) -> None:
    file = write(tmp_path / "config", {"server": "https://a"}, {"token": "secret", "password": "secret"})

    assert "secret" not in repr(load(file))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("]", "not YAML"),
        ("", "holds no settings"),
        ("current-context: x", 'no context "x"'),
        ("{contexts: [{name: x, context: {cluster: y}}], current-context: x}", 'no cluster "y"'),
    ],
)
def test_what_cannot_be_used_is_named(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "config"
    file.write_text(text)

    with pytest.raises(BadConfig, match=says) as told:
        load(file)

    assert str(file) in str(told.value)


def test_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(BadConfig, match="No such file"):
        load(tmp_path / "nope")


def test_what_is_written_reads_the_same(tmp_path: Path) -> None:
    config = Config(server="https://a:1", ca_data=b"CA", cert_file="/c", key_file="/k")
    file = tmp_path / "config"
    file.write_text(dump(config))

    assert load(file) == config


def test_pod_without_an_environment_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)

    with pytest.raises(BadConfig, match="KUBERNETES_SERVICE_HOST"):
        in_cluster()
