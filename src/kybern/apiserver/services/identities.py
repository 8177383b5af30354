"""As whom the server calls webhooks: users of a kubeconfig file that --admission-control-config-file names.

The name of a user is the host and port that it is for; upstream's order of looking is kept: as it stands, with a star for
the first labels, both without port 443, then ``*``, then the user of the current context, then nobody.
"""

import base64
import binascii
import ssl
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from kybern.daemon.run import Fatal
from kybern.machinery.kind import Raw


@dataclass(frozen=True, slots=True)
class Identity:
    """Nobody, when nothing is set."""

    cert: bytes = b""
    key: bytes = b""
    token: str = ""
    token_file: str = ""
    username: str = ""
    password: str = ""

    def headers(self) -> dict[str, str]:
        """What a request says of the caller. Token files are read again each time, since they are renewed."""
        token = Path(self.token_file).read_text().strip() if self.token_file else self.token
        if token:
            return {"Authorization": f"Bearer {token}"}
        if self.username or self.password:
            pair = base64.b64encode(f"{self.username}:{self.password}".encode()).decode()
            return {"Authorization": f"Basic {pair}"}
        return {}

    def load(self, context: ssl.SSLContext) -> None:
        """Give a context the client certificate. Raises ssl.SSLError."""
        if not self.cert:
            return
        with tempfile.NamedTemporaryFile(suffix=".pem") as file:  # the ssl module reads files only
            file.write(self.cert + b"\n" + self.key)
            file.flush()
            context.load_cert_chain(file.name)


NOBODY = Identity()


class Identities:
    def __init__(self, users: Mapping[str, Identity] | None = None, default: str = "") -> None:
        self._users = dict(users or {})
        self._default = default

    def of(self, target: str) -> Identity:
        """Whom to be for a host and port."""
        if not self._users:
            return NOBODY
        for name in _names(target):
            if name in self._users:
                return self._users[name]
        return self._users.get(self._default, NOBODY)


def _names(target: str) -> Iterator[str]:
    host, _, port = target.rpartition(":")
    for name in (target, *([host] if port == "443" else ())):
        yield name
        labels = name.split(".")
        yield from (f"*.{'.'.join(labels[at:])}" for at in range(1, len(labels)))
    yield "*"


_PLUGINS = ("MutatingAdmissionWebhook", "ValidatingAdmissionWebhook")


def of_admission(path: str) -> Identities:
    """Of the file that --admission-control-config-file names; nobody without one. Raises Fatal.

    Upstream has a file for each of the two plugins; here they call as one.
    """
    for plugin in _plugins(path):
        if plugin.get("name") in _PLUGINS:
            named = _settings(plugin, path).get("kubeConfigFile") or ""
            return read(_beside(named, path)) if named else Identities()
    return Identities()


def admission_settings(path: str, names: Collection[str]) -> Mapping[str, Raw]:
    """What that file says of plugins of these names; nothing without one. Raises Fatal."""
    return {
        plugin["name"]: dict(_settings(plugin, path))
        for plugin in _plugins(path)
        if plugin.get("name") in names
    }


def _plugins(path: str) -> Sequence[Mapping[str, Any]]:
    if not path:
        return ()
    content = document(path)
    if content.get("kind") != "AdmissionConfiguration":
        raise Fatal(f"kube-apiserver: cannot use {path}: it is not an AdmissionConfiguration")
    return content.get("plugins") or ()


def _settings(plugin: Mapping[str, Any], path: str) -> Mapping[str, Any]:
    """A plugin's own: in the file itself, or in one beside it that it names."""
    inside = plugin.get("configuration")
    if inside:
        return dict(inside)
    named = plugin.get("path") or ""
    return document(_beside(named, path)) if named else {}


def read(path: str) -> Identities:
    """Of a kubeconfig. Raises Fatal, naming the file."""
    content = document(path)
    users = {one["name"]: _identity(one.get("user") or {}, path) for one in content.get("users") or ()}
    contexts = {one["name"]: one.get("context") or {} for one in content.get("contexts") or ()}
    current = contexts.get(content.get("current-context") or "", {})
    return Identities(users, current.get("user") or "")


def document(path: str) -> Mapping[str, Any]:
    """A YAML file that holds settings. Raises Fatal."""
    try:
        found = yaml.safe_load(Path(path).read_text())
    except OSError as problem:
        raise Fatal(f"kube-apiserver: cannot read {path}: {problem.strerror}") from problem
    except yaml.YAMLError as problem:
        raise Fatal(f"kube-apiserver: cannot read {path}: it is not YAML") from problem
    if not isinstance(found, Mapping):
        raise Fatal(f"kube-apiserver: cannot read {path}: it holds no settings")
    return found


def _identity(user: Mapping[str, Any], path: str) -> Identity:
    return Identity(
        cert=_content(user, "client-certificate", path),
        key=_content(user, "client-key", path),
        token=user.get("token") or "",
        token_file="" if user.get("token") else _beside(user.get("tokenFile") or "", path),
        username=user.get("username") or "",
        password=user.get("password") or "",
    )


def _beside(name: str, path: str) -> str:
    return str(Path(path).parent / name) if name else ""


def _content(user: Mapping[str, Any], key: str, path: str) -> bytes:
    data, name = user.get(f"{key}-data"), user.get(key)
    try:
        if data:
            return base64.b64decode(data)
        return Path(_beside(name, path)).read_bytes() if name else b""
    except OSError as problem:
        raise Fatal(f"kube-apiserver: cannot read {name} of {path}: {problem.strerror}") from problem
    except binascii.Error as problem:
        raise Fatal(f"kube-apiserver: cannot read {key}-data of {path}: it is not base64") from problem
