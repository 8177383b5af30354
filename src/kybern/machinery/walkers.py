"""Makes the functions that walk values of one Go type each: check, prune, normalise, and answer what Go would answer.

A walker takes a JSON value that is not null and the walk, and returns the value to keep. It never changes its input:
structs and lists are built anew. Walkers for definitions are made at first use (``Compiler.struct``), because the
schema is large and a server meets a small part of it.
"""

from collections.abc import Callable, Mapping
from typing import Any

from kybern.machinery import gotypes, times, walkleaves
from kybern.machinery.gotypes import GoField
from kybern.machinery.walk import MapKey, Undecodable, Walk
from kybern.machinery.walkleaves import Walker

type Maker = Callable[[], Any]
# The class of values that need no walking (None: all do), whether an empty one is kept, and the walker for the others.
type Entry = tuple[type | None, bool, Walker]

REF = "#/components/schemas/"


def referred(schema: Mapping[str, Any]) -> str:
    """The definition that a property, its items or its values point to; empty when none."""
    found = schema.get("$ref")
    if found is None:
        inner = schema.get("items") or schema.get("additionalProperties")
        if isinstance(inner, Mapping):
            return referred(inner)
        every = schema.get("allOf")
        return referred(every[0]) if every else ""
    return str(found).removeprefix(REF)


class Compiler:
    """Walkers by definition, made once. ``schemas`` are the OpenAPI definitions by name."""

    def __init__(self, schemas: Mapping[str, Mapping[str, Any]]) -> None:
        self.schemas = schemas
        self.made: dict[str, tuple[Walker, Maker]] = {}

    def struct(self, definition: str) -> tuple[Walker, Maker]:
        """The walker of a definition, and the maker of its empty value."""
        found = self.made.get(definition)
        if found is None:
            found = self.made[definition] = self._struct(definition)
        return found

    def _struct(self, definition: str) -> tuple[Walker, Maker]:
        entries: dict[str, Entry] = {}
        always: list[tuple[str, Maker]] = []
        owner = definition.rpartition(".")[2]
        properties = self.schemas.get(definition, {}).get("properties", {})
        for name, field in gotypes.fields(definition).items():
            target = referred(properties.get(name, {}))
            plain = gotypes.SCALARS.get(field.underlying)
            walker = self.value(field.type, owner, target)
            entries[name] = (plain if plain in {str, bool} else None, field.keep, walker)
            if field.always:
                always.append((name, self.empty(field, target)))
        if not entries:
            return _open(owner), dict

        def make() -> dict[str, Any]:
            return {name: maker() for name, maker in always}

        return _struct_walker(entries, tuple(always)), make

    def empty(self, field: GoField, target: str) -> Maker:
        """Makes what is answered for a field that is always there and was not sent."""
        if field.by_value and field.type not in gotypes.OPAQUE:
            return lambda: self.struct(target)[1]()  # noqa: PLW0108  # compile at first use, not now
        value = None if field.pointer else gotypes.zero(field.underlying)
        return lambda: value

    def value(self, kind: str, owner: str, target: str) -> Walker:
        """The walker for one Go type as it stands in a field of ``owner``."""
        opaque = gotypes.OPAQUE.get(kind)
        if opaque is not None:
            return self.opaque(opaque, owner, target)
        below = gotypes.underlying(kind)
        if below in gotypes.SCALARS:
            return walkleaves.scalar(below, kind, owner)
        if below == "[]uint8":
            return walkleaves.binary(kind, owner)
        if below.startswith("[]"):
            return self.items(below[2:], kind, owner, target)
        if below.startswith("map["):
            return self.entries(below.partition("]")[2], kind, owner, target)
        return self.reference(kind, owner, target)

    def reference(self, kind: str, owner: str, target: str) -> Walker:
        """A struct in a field. Its walker is looked up at the first value, so that recursive types end."""
        made: list[Walker] = []

        def walk(value: Any, state: Walk) -> Any:
            if value.__class__ is not dict:
                return state.mismatch(value, owner, kind)
            if not made:
                made.append(self.struct(target)[0])
            return made[0](value, state)

        return walk

    def zero_of(self, kind: str, target: str) -> Maker:
        """What a null in a list or a map becomes."""
        if gotypes.underlying(kind) == "[]uint8":
            return str
        field = GoField(kind.removeprefix("*"), kind.startswith("*"), "")
        return self.empty(field, target)

    def items(self, item: str, kind: str, owner: str, target: str) -> Walker:
        """A list."""
        one = self.value(item.removeprefix("*"), owner, target)
        zero = self.zero_of(item, target)
        plain = gotypes.SCALARS.get(gotypes.underlying(item))

        def walk(value: Any, state: Walk) -> Any:
            if value.__class__ is not list:
                return state.mismatch(value, owner, kind)
            found = []
            path = state.path
            for at, each in enumerate(value):
                if each is None:
                    found.append(zero())
                elif plain is not None:
                    found.append(one(each, state))
                else:
                    path.append(at)
                    found.append(one(each, state))
                    path.pop()
            return found

        return walk

    def entries(self, item: str, kind: str, owner: str, target: str) -> Walker:
        """A map with strings as keys."""
        one = self.value(item.removeprefix("*"), owner, target)
        zero = self.zero_of(item, target)
        strings = gotypes.underlying(item) == "string"

        def walk(value: Any, state: Walk) -> Any:
            if value.__class__ is not dict:
                return state.mismatch(value, owner, kind)
            if strings and all(each.__class__ is str for each in value.values()):
                return value.copy()
            found = {}
            for key, each in value.items():
                if each is None:
                    found[key] = zero()
                else:
                    state.path.append(MapKey(key))
                    found[key] = one(each, state)
                    state.path.pop()
            return found

        return walk

    def opaque(self, what: str, owner: str, target: str) -> Walker:
        """A type that reads itself."""
        if what.startswith("props-or-"):
            return self.props_or(what, owner, target)
        return {
            "time": walkleaves.moment(owner, times.normal),
            "micro": walkleaves.moment(owner, times.normal_micro),
            "quantity": walkleaves.amount,
            "int-or-string": walkleaves.int_or_string(owner),
            "raw": walkleaves.anything,
            "any": walkleaves.anything,
        }[what]

    def props_or(self, what: str, owner: str, target: str) -> Walker:
        """The places of a JSON schema where a schema or something shorter may stand."""
        props = f"{target.rpartition('.')[0]}.JSONSchemaProps"
        schema = self.reference("v1.JSONSchemaProps", owner, props)
        schemas = self.items("v1.JSONSchemaProps", "[]v1.JSONSchemaProps", owner, props)

        def walk(value: Any, _state: Walk) -> Any:
            # These types decode by themselves, with a decoder that neither is strict nor knows where it is.
            inner = Walk()
            if value.__class__ is dict:
                found = schema(value, inner)
            elif value.__class__ is list:
                found = schemas(value, inner) if what == "props-or-array" else value
            elif what == "props-or-bool" and value.__class__ is not bool:
                raise Undecodable("boolean or JSON schema expected")
            else:
                found = value
            if inner.wrong is not None:
                raise Undecodable(inner.wrong)
            return found

        return walk


def _struct_walker(entries: Mapping[str, Entry], always: tuple[tuple[str, Maker], ...]) -> Walker:  # noqa: C901  # inlined for speed
    get = entries.get

    def walk(raw: Any, state: Walk) -> Any:
        found = {}
        path = state.path
        for key, value in raw.items():
            entry = get(key)
            if entry is None:
                state.stray(key)
                continue
            plain, keep, walker = entry
            if value.__class__ is not plain:
                if value is None:
                    continue
                path.append(key)
                value = walker(value, state)  # noqa: PLW2901  # the hot loop of every write
                path.pop()
            if value or keep:
                found[key] = value
        for key, make in always:
            if key not in found:
                found[key] = make()
        return found

    return walk


def _open(owner: str) -> Walker:
    """A type of which nothing is known: any object."""

    def walk(value: Any, state: Walk) -> Any:
        if value.__class__ is not dict:
            return state.mismatch(value, owner, f"v1.{owner}")
        return value

    return walk
