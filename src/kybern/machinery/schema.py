"""The schemas of the API, and the engine that makes a body fit its type.

``Schema.load()`` reads the OpenAPI definitions once. ``Schema.of(name)`` gives a node: it decodes bodies the way Go
does (types checked, unknown fields gone and named, values normalised, empty fields where Go would answer them), and
tells strategic merge and OpenAPI what they need of the definition. Everything is compiled at first use.
"""

import gzip
import json
from collections.abc import Iterable, Mapping
from functools import cached_property, lru_cache
from importlib import resources
from typing import Any

from kybern.machinery.errors import BadRequest
from kybern.machinery.kind import Raw
from kybern.machinery.walk import Undecodable, Walk
from kybern.machinery.walkers import Compiler, referred

__all__ = ["Node", "Schema", "Undecodable", "unhandled"]


def unhandled(raw: Mapping[str, Any], into: str, says: str) -> BadRequest:
    """The error for a body that cannot be read as the kind it should be."""
    kind, version = raw.get("kind"), raw.get("apiVersion")
    if not kind or not version or not isinstance(kind, str) or not isinstance(version, str):
        return BadRequest(f"the object provided is unrecognized (must be of type {into}): {says}")
    return BadRequest(
        f'{kind} in version "{version.rpartition("/")[2]}" cannot be handled as a {into}: {says}'
    )


def strict_error(found: Iterable[str]) -> str:
    """Upstream's sentence for what strict field validation refuses."""
    return f"strict decoding error: {', '.join(found)}"


class Node:
    """One definition. ``raw`` is its OpenAPI schema."""

    def __init__(self, name: str, schema: "Schema") -> None:
        self.name = name
        self.schema = schema
        self.raw: Mapping[str, Any] = schema.definitions.get(name, {})
        self.kind = name.rpartition(".")[2]

    @cached_property
    def _walker(self) -> Any:
        return self.schema.compiler.struct(self.name)[0]

    def decode(self, raw: Raw, strict: bool = True) -> list[str]:
        """Make a body fit the type, in place. Returns the unknown fields (none asked for: not strict).

        Raises BadRequest in upstream's words when a value has the wrong type.
        """
        state = Walk()
        try:
            found = self._walker(raw, state)
        except Undecodable as error:
            raise unhandled(raw, self.kind, error.says) from error
        except RecursionError as error:
            raise unhandled(raw, self.kind, "exceeded max depth") from error
        if state.wrong is not None:
            raise unhandled(raw, self.kind, state.wrong)
        raw.clear()
        raw.update(found)
        return state.unknown if strict else []

    def property(self, name: str) -> Mapping[str, Any]:
        """The schema of one field, empty when there is none."""
        found: Mapping[str, Any] = self.raw.get("properties", {}).get(name, {})
        return found

    def child(self, name: str) -> "Node | None":
        """The definition that a field, its items or its values are of; None for scalars and free-form values."""
        target = referred(self.property(name))
        return self.schema.of(target) if target else None


class Schema:
    """All definitions by name."""

    def __init__(self, definitions: Mapping[str, Mapping[str, Any]]) -> None:
        self.definitions = dict(definitions)
        self.compiler = Compiler(self.definitions)
        self._nodes: dict[str, Node] = {}

    @staticmethod
    @lru_cache(maxsize=1)
    def load() -> "Schema":
        """The definitions of the served API."""
        packed = resources.files("kybern.api").joinpath("_generated/schema.json.gz").read_bytes()
        return Schema(json.loads(gzip.decompress(packed)))

    def put(self, node: Node) -> None:
        """Take in the definition of a kind that is made while the server runs."""
        self.definitions[node.name] = node.raw
        self._nodes[node.name] = node

    def drop(self, name: str) -> None:
        self.definitions.pop(name, None)
        self._nodes.pop(name, None)

    def of(self, name: str) -> Node:
        found = self._nodes.get(name)
        if found is None:
            found = self._nodes[name] = Node(name, self)
        return found
