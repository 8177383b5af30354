"""The topology's ``authorization``: a file beside it that says who decides what is allowed, and in which order.

authorization: rights.yaml

A kubeconfig of a webhook is a file beside it, too, when the configuration names it in ``FOLDER``, where masters get it. One
that is elsewhere has been put on masters by somebody else.
"""

from pathlib import Path
from typing import Any

import yaml

from kybern.client import kubeconfig
from kybern.machines.fields import Fields, Place
from kybern.machines.topology import Authorization

FOLDER = Path("/etc/kubernetes/authorization")


def authorization_of(top: Fields) -> Authorization | None:
    """What the file says is checked when it is shipped, as an API server does. Raises TopologyError with its line."""
    value = top.value("authorization")
    if value is None:
        return None
    path = value.at.file.parent / value.text
    try:
        text = path.read_text()
        names = sorted({found.name for found in map(Path, _kubeconfigs(text)) if found.parent == FOLDER})
    except (OSError, UnicodeDecodeError) as problem:
        raise value.at.error(f'"{value.text}" is not a file that can be read') from problem
    except yaml.YAMLError as problem:
        raise value.at.error(f'"{value.text}" is not YAML: {str(problem).splitlines()[0]}') from problem
    return Authorization(text, tuple((name, _kubeconfig(path.parent / name, value.at)) for name in names))


def _kubeconfigs(text: str) -> list[str]:
    """The paths that webhooks name, of whatever is there."""
    paths = [
        _at(_at(_at(one, "webhook"), "connectionInfo"), "kubeConfigFile")
        for one in _at(yaml.safe_load(text), "authorizers") or ()
    ]
    return [path for path in paths if isinstance(path, str)]


def _at(found: Any, key: str) -> Any:
    return found.get(key) if isinstance(found, dict) else None


def _kubeconfig(path: Path, at: Place) -> str:
    """Its text; everything that it needs must be in it, because nothing else of the directory goes to masters."""
    shown = f'"authorization": the kubeconfig "{path.name}"'
    try:
        found, text = kubeconfig.load(path), path.read_text()
    except OSError as problem:
        why = problem.strerror or str(problem)
        raise at.error(f"{shown} cannot be used: {why}; it lies beside the topology's file") from problem
    for file in (found.ca_file, found.cert_file, found.key_file, found.token_file):
        if file and Path(file).is_relative_to(path.parent):
            raise at.error(
                f"{shown} refers to {file}, which masters do not get: put its content in (...-data)"
            )
    return text
