"""Objects that the API is to have, written from templates: what one master does for all.

An object bears the digest of its own file, so that a look tells whether it was written from these files. Each master
looks, one after the other: the first that answers writes, the others find it done.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from kybern.machines.topology import Cluster
from roles.apiserver import ask
from roles.templates import render
from roles.tree import File


@dataclass(frozen=True, slots=True)
class Object:
    """A file on the machine, where the API has what it says, and the digest by which one knows that."""

    file: File
    place: str
    digest: str


def objects(folder: str, places: Mapping[str, str], values: Mapping[str, Any]) -> tuple[Object, ...]:
    """Of the templates in ``folder``, by name, and where each belongs. In the order of writing."""
    return tuple(_object(folder, name, place, values) for name, place in places.items())


def _object(folder: str, name: str, place: str, values: Mapping[str, Any]) -> Object:
    template, path = f"{folder}/{name}.yaml", f"/etc/kybern/{folder.replace('_', '-')}/{name}.yaml"
    digest = sha256(render(template, digest="", **values)).hexdigest()[:16]
    return Object(File(path, render(template, digest=digest, **values)), place, digest)


def applied(cluster: Cluster, wanted: tuple[Object, ...]) -> str:
    """The probe."""
    return " && ".join(f"{ask(cluster, one.place)} | grep -q {one.digest}" for one in wanted)


def apply(cluster: Cluster, wanted: tuple[Object, ...]) -> str:
    """The command."""
    return " && ".join(
        ask(cluster, f"{one.place}?fieldManager=kybern&force=true", _patch(one)) for one in wanted
    )


def _patch(one: Object) -> str:
    retries = "--retry 20 --retry-delay 1 --retry-all-errors -o /dev/null"
    return (
        f"{retries} -X PATCH -H 'Content-Type: application/apply-patch+yaml' --data-binary @{one.file.path}"
    )
