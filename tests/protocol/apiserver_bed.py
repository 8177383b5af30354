"""API servers of the tests' own: processes alone on the real etcd, with certificates, and a kubeconfig for their clients.

Every test that talks to a real API server starts it here, so that all of them mean the same cluster by it.
"""

import json
import os
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from kybern.auth.x509 import Authority, Leaf, signing_key


@dataclass
class Lab:
    """Certificates of one cluster, and the servers that were started for it.

    etcd is shared, and each lab has a place of its own there, named as its directory: what one test leaves is not
    another one's.
    """

    directory: Path
    etcd: Any
    started: list["subprocess.Popen[bytes]"] = field(default_factory=list)

    def __post_init__(self) -> None:
        authority = Authority.create("test", datetime.now(UTC))
        self.write("ca.crt", authority.cert_pem)
        self.write("ca.key", authority.key_pem)
        for name, pair in {
            "server": authority.issue("kube-apiserver", ips=("127.0.0.1",), server=True, client=False),
            "admin": authority.issue("admin", ("system:masters",)),
            "nobody": authority.issue("nobody"),
            "scheduler": authority.issue("system:kube-scheduler"),
            "policies": authority.issue("system:kybern-policies"),
            "cloud": authority.issue("system:cloud-controller-manager"),
            **{
                name: authority.issue(f"system:kybern-{name}")
                for name in ("load-balancers", "speaker", "ingress")
            },
            "sa": signing_key(),
        }.items():
            self.write(f"{name}.crt", pair.cert_pem)
            self.write(f"{name}.key", pair.key_pem)

    def write(self, name: str, content: bytes) -> None:
        (self.directory / name).write_bytes(content)

    def add_node(self, name: str) -> None:
        """The identity "node": a kubelet's certificate for this node."""
        ca, key = ((self.directory / f"ca.{end}").read_bytes() for end in ("crt", "key"))
        pair = Authority.load(ca, key).issue_leaf(
            Leaf(f"system:node:{name}", ("system:nodes",)), now=datetime.now(UTC)
        )
        self.write("node.crt", pair.cert_pem)
        self.write("node.key", pair.key_pem)

    def flags(self, port: int, *more: str) -> list[str]:
        at = self.directory
        return [
            f"--etcd-servers={self.etcd.endpoint}", f"--etcd-prefix=/{at.name}",
            f"--secure-port={port}", "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1", f"--tls-cert-file={at}/server.crt",
            f"--tls-private-key-file={at}/server.key", f"--client-ca-file={at}/ca.crt",
            "--service-account-issuer=https://kubernetes.default.svc", f"--service-account-key-file={at}/sa.key",
            f"--service-account-signing-key-file={at}/sa.key", "--service-cluster-ip-range=10.96.0.0/16",
            "--authorization-mode=Node,RBAC", *more,
        ]  # fmt: skip

    def kubeconfig(self, server: "Server", identity: str = "admin") -> Path:
        """A file that names the server and an identity, as any client reads it."""
        at = self.directory
        user = {"client-certificate": f"{at}/{identity}.crt", "client-key": f"{at}/{identity}.key"}
        cluster = {"server": server.url, "certificate-authority": f"{at}/ca.crt"}
        path = at / f"{identity}-{server.port}.kubeconfig"
        path.write_text(
            yaml.safe_dump(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "current-context": "test",
                    "clusters": [{"name": "test", "cluster": cluster}],
                    "users": [{"name": identity, "user": user}],
                    "contexts": [
                        {
                            "name": "test",
                            "context": {"cluster": "test", "user": identity, "namespace": "default"},
                        }
                    ],
                }
            )
        )
        return path

    def stop(self) -> None:
        """End every process that was started here."""
        for process in self.started:
            process.terminate()
        for process in self.started:
            process.wait(30)  # seconds: a busy machine is slow to end them

    def start(self, port: int, *more: str) -> "Server":
        return self.start_with(port, *self.flags(port, *more), more=more)

    def start_with(self, port: int, *flags: str, more: tuple[str, ...] = ()) -> "Server":
        """With these flags and no others; ``more`` are those beside the usual ones."""
        server = self._launched(port, flags, more)
        server.wait()
        return server

    def launch(self, port: int, *more: str) -> "Server":
        """The same without waiting until it is ready."""
        return self._launched(port, self.flags(port, *more), more)

    def _launched(self, port: int, flags: Sequence[str], more: tuple[str, ...]) -> "Server":
        program = [sys.executable, "-c", "from kybern.cli.apiserver import main; main()"]
        with (self.directory / f"{port}.log").open("wb") as log:
            process = subprocess.Popen([*program, *flags], stdout=log, stderr=log)
        self.started.append(process)
        return Server(self.directory, port, process, more)

    def refused(self, port: int, *more: str) -> str:
        """What a server says that does not start."""
        program = [sys.executable, "-c", "from kybern.cli.apiserver import main; main()"]
        done = subprocess.run(
            [*program, *self.flags(port, *more)], capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode != 0, "it started"
        return done.stdout + done.stderr

    @contextmanager
    def without(self, server: "Server") -> Iterator[None]:
        """While the block runs, that server is away, and nobody else gets its port; the same one is back afterwards."""
        self.started.remove(server.process)
        server.process.terminate()
        server.process.wait(30)
        with socket.socket() as held:
            # Bound, but nobody listens: connections are refused as by a port that is free.
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            held.bind(("127.0.0.1", server.port))
            yield
        server.process = self.start(server.port, *server.more).process


@dataclass
class Server:
    directory: Path
    port: int
    process: "subprocess.Popen[bytes]"
    more: tuple[str, ...] = ()

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def context(self, identity: str = "admin") -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.directory / "ca.crt"))
        context.load_cert_chain(self.directory / f"{identity}.crt", self.directory / f"{identity}.key")
        return context

    def log(self) -> str:
        """What it has said so far."""
        return (self.directory / f"{self.port}.log").read_text()

    def ask_as(self, method: str, path: str, user: str, identity: str = "admin") -> tuple[int, Any]:
        """As somebody who acts for a user."""
        return self._ask(method, path, None, identity, {"Impersonate-User": user})

    def ask(
        self, method: str, path: str, body: Any = None, identity: str = "admin", form: str = "json"
    ) -> tuple[int, Any]:
        """``form`` is that of a patch: ``merge-patch+json``, ``strategic-merge-patch+json``."""
        return self._ask(method, path, body, identity, {"Content-Type": f"application/{form}"})

    def _ask(
        self, method: str, path: str, body: Any, identity: str, headers: dict[str, str]
    ) -> tuple[int, Any]:
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=10, context=self.context(identity)) as answer:
                return answer.status, _value(answer.read())
        except urllib.error.HTTPError as refused:
            with refused:
                return refused.code, _value(refused.read())

    def wait(self, path: str = "/readyz", wanted: int = 200, seconds: float = 150) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                break
            try:
                if self.ask("GET", path)[0] == wanted:
                    return
            except OSError:
                pass
            time.sleep(0.1)
        raise AssertionError(self.log())


def _value(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return body.decode()


@dataclass(frozen=True)
class Program:
    """A client that is a program, for one server: what it prints, and what it exits with."""

    command: tuple[str, ...]
    kubeconfig: Path
    home: Path

    def __call__(self, *arguments: str, stdin: str = "", code: int | None = 0) -> str:
        environment = {**os.environ, "HOME": str(self.home), "KUBECONFIG": str(self.kubeconfig)}
        done = subprocess.run(
            [*self.command, *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            env=environment,
            check=False,
        )
        said = done.stdout + done.stderr
        assert code is None or done.returncode == code, f"{arguments} exits {done.returncode}: {said}"
        return said
