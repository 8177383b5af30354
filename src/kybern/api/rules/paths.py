"""Paths below a volume or on a host."""

from collections.abc import Iterator

from kybern.api.rules.causes import invalid
from kybern.machinery.errors import Cause


def no_way_up(field: str, path: str) -> Iterator[Cause]:
    if ".." in path.split("/"):
        yield invalid(field, path, "must not contain '..'")


def below(field: str, path: str) -> Iterator[Cause]:
    """A relative path that stays where it is mounted."""
    if path.startswith("/"):
        yield invalid(field, path, "must be a relative path")
    yield from no_way_up(field, path)


def below_and_free(field: str, path: str) -> Iterator[Cause]:
    """A path of a file that Kubernetes writes: names that start with two dots are its own."""
    yield from below(field, path)
    if path.startswith("..") and not path.startswith("../"):
        yield invalid(field, path, "must not start with '..'")
