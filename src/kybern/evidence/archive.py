"""A report as one archive. Only the operator may read it: what an operator calls a secret, no program knows."""

import io
import os
import tarfile
from collections.abc import Mapping
from pathlib import Path

from kybern.machines.secret_files import private_folder


def pack(path: Path, files: Mapping[str, str], when: float) -> None:
    """Write ``path``, a .tar.gz with mode 0600, whose files lie in a folder of its name. It is whole, or not there."""
    folder = path.name.removesuffix(".tar.gz")
    private_folder(path.parent)
    unfinished = path.with_name(f".{path.name}")
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as stream, tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for name, text in sorted(files.items()):
            content = text.encode()
            member = tarfile.TarInfo(f"{folder}/{name}")
            member.size, member.mode, member.mtime = len(content), 0o600, int(when)
            archive.addfile(member, io.BytesIO(content))
    unfinished.replace(path)
