"""Files that nobody but their owner reads at any moment, replaced atomically."""

from pathlib import Path

from kybern.auth.x509 import Pair
from kybern.daemon.files import replace_file


def write_secret(path: Path, content: bytes) -> None:
    """Replace a file atomically; nobody else may read it at any moment."""
    private_folder(path.parent)
    replace_file(path, content, durable=True)


def private_folder(path: Path) -> None:
    """Make a directory and its missing parents, all 0700: ``mkdir(parents=True)`` opens the parents to everybody."""
    if not path.is_dir():
        private_folder(path.parent)
        path.mkdir(mode=0o700, exist_ok=True)


def read_pair(folder: Path, name: str, suffix: str = ".crt") -> Pair | None:
    """The two files of a name; None when one of them is missing."""
    try:
        key = (folder / f"{name}.key").read_bytes()
        return Pair((folder / f"{name}{suffix}").read_bytes(), key)
    except FileNotFoundError:
        return None


def write_pair(folder: Path, name: str, pair: Pair, suffix: str = ".crt") -> None:
    """The key first: a certificate without one is made anew, whatever was interrupted."""
    for path, content in ((f"{name}.key", pair.key_pem), (f"{name}{suffix}", pair.cert_pem)):
        write_secret(folder / path, content)
