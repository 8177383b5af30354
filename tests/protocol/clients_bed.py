"""Clients that others wrote, as programs: ``scripts/fetch-clients`` puts them into the cache."""

import os
from pathlib import Path

CLIENTS = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "kybern/clients"
KUBECTLS = ("1.32", "1.33", "1.34", "1.35", "1.36", "1.37")


def client(name: str) -> str:
    """The path of a program."""
    path = CLIENTS / name
    assert path.exists(), f"{path} is missing: run scripts/fetch-clients"
    return str(path)
