"""A registry of the tests' own, with a password, and an image in it."""

import subprocess
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.protocol.containerd_bed import CACHE, Bed

CONFIG = """
version: 0.1
storage:
  filesystem: {{rootdirectory: {at}/registry}}
http:
  addr: 127.0.0.1:{port}
auth:
  htpasswd: {{realm: tests, path: {at}/htpasswd}}
"""
USER, PASSWORD = "bob", "hush"  # of a registry that lives as long as the tests


def program() -> Path:
    """The registry: installed, or fetched by scripts/fetch-registry; skips where there is none."""
    for root in (CACHE, Path("/")):
        if (root / "usr/bin/docker-registry").exists():
            return root / "usr/bin/docker-registry"
    pytest.skip("no docker-registry: run scripts/fetch-registry, or install docker-registry")


@dataclass
class Registry:
    """On loopback, where containerd speaks HTTP."""

    at: Path
    port: int
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        bcrypt = pytest.importorskip("bcrypt")
        hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
        (self.at / "htpasswd").write_text(f"{USER}:{hashed}\n")
        config = self.at / "registry.yml"
        config.write_text(CONFIG.format(at=self.at, port=self.port))
        with (self.at / "registry.log").open("wb") as log:
            self.process = subprocess.Popen([program(), "serve", config], stdout=log, stderr=log)
        deadline = time.monotonic() + 20
        while not self._answers():
            assert time.monotonic() < deadline, "the registry does not answer"
            time.sleep(0.1)

    def _answers(self) -> bool:
        try:
            urllib.request.urlopen(f"http://{self.host}/v2/", timeout=5)
        except urllib.error.HTTPError as problem:
            problem.close()
            return problem.code == 401
        except OSError:
            return False
        return True

    def put(self, bed: Bed, image: str, name: str) -> str:
        """Push an image that the bed has; containerd itself does not keep it under that name."""
        full = f"{self.host}/{name}"
        for arguments in (
            ("tag", f"docker.io/library/{image}", full),
            ("push", "--plain-http", "--user", f"{USER}:{PASSWORD}", full),
            ("rm", "--sync", full),
        ):
            self._ctr(bed, *arguments)
        return full

    def forget(self, bed: Bed, *names: str) -> None:
        """Take names away that the bed has: of images with several, containerd tells of one."""
        self._ctr(bed, "rm", "--sync", *names)

    def _ctr(self, bed: Bed, *arguments: str) -> None:
        ctr: list[Path | str] = [
            bed.programs / "usr/bin/ctr",
            "-a",
            bed.at / "ctd.sock",
            "-n",
            "k8s.io",
            "images",
        ]
        subprocess.run([*ctr, *arguments], check=True, capture_output=True, timeout=60)

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(20)
