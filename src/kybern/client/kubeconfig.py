"""Where an API server is and who we are to it: kubeconfig files, and the files that a pod finds.

Reads kubeconfig in YAML or JSON: clusters, contexts and users with data inside or in files beside it, static tokens,
token files and client certificates. Writes nothing. What it gives is frozen; tokens and certificates in files are read
again by the client when they change, so that rotation needs no restart.
"""

import base64
import binascii
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

_POD_DIRECTORY = Path("/var/run/secrets/kubernetes.io/serviceaccount")


class BadConfig(OSError):
    """A kubeconfig that cannot be used; the message names the file."""


@dataclass(frozen=True, slots=True)
class Config:
    """A server and an identity. Of ``*_data`` and ``*_file`` at most one is set; secrets do not show in ``repr``.

    ``source`` is the kubeconfig that it was read from, and which context of it: what is written inside may be renewed.
    """

    server: str
    ca_data: bytes = b""
    ca_file: str = ""
    cert_data: bytes = field(default=b"", repr=False)
    cert_file: str = ""
    key_data: bytes = field(default=b"", repr=False)
    key_file: str = ""
    token: str = field(default="", repr=False)
    token_file: str = ""
    username: str = ""
    password: str = field(default="", repr=False)
    insecure: bool = False
    server_name: str = ""
    namespace: str = ""
    user_agent: str = "kybern"
    source: tuple[str, str] = field(default=("", ""), compare=False, repr=False)


def load(path: str | os.PathLike[str], context: str = "") -> Config:
    """Read one kubeconfig; ``context`` empty means its current context."""
    file = Path(path)
    try:
        content = yaml.safe_load(file.read_text())
    except (OSError, yaml.YAMLError) as problem:
        reason = problem.strerror if isinstance(problem, OSError) else "not YAML"
        raise BadConfig(f"cannot read kubeconfig {file}: {reason}") from problem
    if not isinstance(content, Mapping):
        raise BadConfig(f"cannot read kubeconfig {file}: it holds no settings")
    return _Reader(file).config(content, context)


def in_cluster() -> Config:
    """What a pod finds: environment, CA and token of its service account."""
    host, port = os.environ.get("KUBERNETES_SERVICE_HOST", ""), os.environ.get("KUBERNETES_SERVICE_PORT", "")
    if not host or not port:
        raise BadConfig(
            "cannot find the API server: KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set"
        )
    shown = f"[{host}]" if ":" in host else host
    namespace = _POD_DIRECTORY / "namespace"
    return Config(
        server=f"https://{shown}:{port}",
        ca_file=str(_POD_DIRECTORY / "ca.crt"),
        token_file=str(_POD_DIRECTORY / "token"),
        namespace=namespace.read_text().strip() if namespace.exists() else "",
    )


def find(path: str = "", master: str = "") -> Config:
    """As upstream's daemons look for it: the flags, or the pod they run in."""
    if path:
        found = load(path)
        return found if not master else Config(**{**_fields(found), "server": master})
    if master:
        return Config(server=master)
    return in_cluster()


def _fields(config: Config) -> dict[str, Any]:
    return {name: getattr(config, name) for name in Config.__slots__}


class _Reader:
    """Reads one file; relative paths in it are relative to it."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def config(self, content: Mapping[str, Any], context: str) -> Config:
        name = context or content.get("current-context") or ""
        chosen = self._named(content, "contexts", "context", name)
        cluster = self._named(content, "clusters", "cluster", chosen.get("cluster") or "")
        user = self._named(content, "users", "user", chosen["user"]) if chosen.get("user") else {}
        if "exec" in user or "auth-provider" in user:
            raise BadConfig(
                f'cannot use kubeconfig {self._file}: user "{chosen["user"]}" needs a program to log in'
            )
        return Config(
            server=str(cluster.get("server") or "").rstrip("/"),
            ca_data=self._data(cluster, "certificate-authority-data"),
            ca_file=self._path(cluster, "certificate-authority"),
            cert_data=self._data(user, "client-certificate-data"),
            cert_file=self._path(user, "client-certificate"),
            key_data=self._data(user, "client-key-data"),
            key_file=self._path(user, "client-key"),
            token=str(user.get("token") or ""),
            token_file=self._path(user, "tokenFile"),
            username=str(user.get("username") or ""),
            password=str(user.get("password") or ""),
            insecure=bool(cluster.get("insecure-skip-tls-verify")),
            server_name=str(cluster.get("tls-server-name") or ""),
            namespace=str(chosen.get("namespace") or ""),
            source=(str(self._file), context),
        )

    def _named(self, content: Mapping[str, Any], many: str, one: str, name: str) -> Mapping[str, Any]:
        for entry in content.get(many) or ():
            if entry.get("name") == name:
                return entry.get(one) or {}
        raise BadConfig(f'cannot use kubeconfig {self._file}: it has no {one} "{name}"')

    def _data(self, entry: Mapping[str, Any], key: str) -> bytes:
        try:
            return base64.b64decode(entry.get(key) or "")
        except (binascii.Error, ValueError) as problem:
            raise BadConfig(f"cannot use kubeconfig {self._file}: {key} is not base64") from problem

    def _path(self, entry: Mapping[str, Any], key: str) -> str:
        # Data wins over a file of the same, as in client-go.
        if not entry.get(key) or entry.get(f"{key}-data"):
            return ""
        return str(self._file.parent / str(entry[key]))


def dump(config: Config, *, name: str = "default") -> str:
    """A kubeconfig in YAML for this identity, e.g. what a bootstrapping kubelet writes for itself."""
    cluster = {
        "server": config.server,
        "certificate-authority": config.ca_file,
        "certificate-authority-data": base64.b64encode(config.ca_data).decode(),
        "tls-server-name": config.server_name,
        "insecure-skip-tls-verify": config.insecure,
    }
    user = {
        "client-certificate": config.cert_file,
        "client-certificate-data": base64.b64encode(config.cert_data).decode(),
        "client-key": config.key_file,
        "client-key-data": base64.b64encode(config.key_data).decode(),
        "token": config.token,
        "tokenFile": config.token_file,
    }
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": {key: value for key, value in cluster.items() if value}}],
        "users": [{"name": name, "user": {key: value for key, value in user.items() if value}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "current-context": name,
    }
    return yaml.safe_dump(content, sort_keys=False)
