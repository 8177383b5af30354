"""The YAML file that a daemon's --config names. What is wrong with it ends the daemon with one line."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from kybern.daemon.run import Fatal


def content(path: Path, api_version: str, kind: str) -> Mapping[str, Any]:
    """The file's settings, when it is of this kind and version. Raises Fatal, naming the file."""
    try:
        found = yaml.safe_load(path.read_text())
    except OSError as problem:
        raise Fatal(f"cannot read --config {path}: {problem.strerror}") from problem
    except yaml.YAMLError as problem:
        raise Fatal(
            f"cannot read --config {path}: it is not YAML: {str(problem).splitlines()[0]}"
        ) from problem
    if not isinstance(found, Mapping):
        raise Fatal(f"cannot read --config {path}: it holds no settings")
    if found.get("apiVersion") != api_version or found.get("kind") != kind:
        raise Fatal(f"cannot read --config {path}: it is not a {kind} of {api_version}")
    return found
