"""What a schema in a definition must be like: structural, its defaults valid, its keywords among those that are served.

Paths and words are upstream's. The value checks stand apart from the structure there, so inside allOf, anyOf, oneOf and
not nothing may be said that shapes a value.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from kybern.machinery import regular
from kybern.machinery.causes import forbidden, invalid, not_supported, required
from kybern.machinery.errors import Cause
from kybern.machinery.structural import defaults
from kybern.machinery.structural.formats import known
from kybern.machinery.structural.node import (
    EMBEDDED,
    INT_OR_STRING,
    LIST_TYPE,
    MAP_KEYS,
    MAP_TYPE,
    PRESERVE,
)
from kybern.machinery.structural.parts import alternatives, parts
from kybern.machinery.structural.rules import texts
from kybern.machinery.structural.rules.check import check as check_rules
from kybern.machinery.structural.rules.compiled import Compile
from kybern.machinery.structural.rules.record import RULES

_TYPES = ("array", "boolean", "integer", "number", "object", "string")
_UNSUPPORTED = ("definitions", "dependencies", "patternProperties", "$ref")
_SHAPING = (
    "description",
    "default",
    "additionalProperties",
    "nullable",
    PRESERVE,
    EMBEDDED,
    LIST_TYPE,
    MAP_KEYS,
    MAP_TYPE,
    RULES,
)
_IMPLICIT = "must not specify anything other than name and generateName, but metadata is implicitly specified"
_KEY = "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property"
_EMPTY = (
    "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields"
)
_ROOT, _ITEM, _FIELD = "at the root", "for specified array items", "for specified object fields"
_INTEGER_OR_STRING = [{"type": "integer"}, {"type": "string"}]


def check(schema: Mapping[str, Any], path: str, compile_: Compile | None = None) -> list[Cause]:
    """Everything that is wrong with the schema of a version. Rules are compiled if there is what compiles them."""
    causes = list(_root(schema, path))
    keywords = list(_keywords(schema, path))
    causes += keywords
    if any(cause.field.rpartition(".")[2] in _UNSUPPORTED for cause in keywords):
        return causes  # what a structure would be is not to be told
    structural = list(_structural(schema, path, _ROOT))
    causes += structural
    if not structural:
        unfit = list(defaults.check(schema, path, compile_, root=True))
        causes += unfit
        if compile_ is not None and not unfit:
            wrong = tuple(cause.field for cause in keywords)
            causes += check_rules(schema, path, compile_, wrong)
    return list(dict.fromkeys(causes))


def warnings(schema: Mapping[str, Any]) -> Iterator[str]:
    """Formats that ask for nothing, because nobody knows them."""
    name = schema.get("format")
    if name and not known(name):
        yield f'unrecognized format "{name}"'
    for _, part in parts(schema, ""):
        yield from warnings(part)


def _root(schema: Mapping[str, Any], path: str) -> Iterator[Cause]:
    if schema.get("nullable"):
        yield forbidden(f"{path}.nullable", "nullable cannot be true at the root")
    kind = schema.get("type")
    if kind and kind != "object":
        yield invalid(f"{path}.type", kind, "must be object at the root")


def _keywords(schema: Mapping[str, Any], path: str) -> Iterator[Cause]:
    """What no schema may say, structural or not."""
    if schema.get("uniqueItems"):
        text = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic"
        yield forbidden(f"{path}.uniqueItems", text)
    if schema.get("additionalProperties") is False:
        yield forbidden(f"{path}.additionalProperties", "additionalProperties cannot be set to false")
    if schema.get("additionalProperties") is not None and schema.get("properties"):
        text = "additionalProperties and properties are mutual exclusive"
        yield forbidden(f"{path}.additionalProperties", text)
    for name in _UNSUPPORTED:
        if schema.get(name):
            yield forbidden(f"{path}.{name}", f"{name} is not supported")
    yield from _type(schema, path)
    yield from _pattern(schema.get("pattern") or "", path)
    if isinstance(schema.get("items"), list):
        yield forbidden(f"{path}.items", "items must be a schema object and not an array")
    for at, part in (*alternatives(schema, path), *parts(schema, path)):
        yield from _keywords(part, at)
    yield from texts.check(schema, path)


def _pattern(text: str, path: str) -> Iterator[Cause]:
    try:
        regular.compiled(text)
    except regular.PatternError as problem:
        wrong = f"must be a valid regular expression, but isn't: {problem}"
        yield invalid(f"{path}.pattern", text, wrong)


def _type(schema: Mapping[str, Any], path: str) -> Iterator[Cause]:
    kind = schema.get("type")
    if kind and kind not in _TYPES:
        yield not_supported(f"{path}.type", kind, _TYPES)
    if kind == "null":
        yield forbidden(f"{path}.type", "type cannot be set to null, use nullable as an alternative")


def _extensions(schema: Mapping[str, Any], path: str) -> Iterator[Cause]:
    if schema.get(PRESERVE) is False:
        yield invalid(f"{path}.{PRESERVE}", False, "must be true or undefined")
    lists = schema.get(LIST_TYPE)
    if schema.get(MAP_TYPE) is not None:
        yield from _map(schema, schema[MAP_TYPE], path)
    if lists is not None:
        yield from _list(schema, lists, path)
    if schema.get(MAP_KEYS):
        yield from _keys(schema, lists, path)
    elif lists == "map":
        yield required(f"{path}.{MAP_KEYS}", "must not be empty if x-kubernetes-list-type is map")


def _map(schema: Mapping[str, Any], maps: str, path: str) -> Iterator[Cause]:
    kind = schema.get("type") or ""
    if kind != "object":
        text = "must be object if x-kubernetes-map-type is specified"
        yield invalid(f"{path}.type", kind, text) if kind else required(f"{path}.type", text)
    if maps not in ("atomic", "granular"):
        yield not_supported(f"{path}.{MAP_TYPE}", maps, ("atomic", "granular"))


def _list(schema: Mapping[str, Any], lists: str, path: str) -> Iterator[Cause]:
    kind = schema.get("type") or ""
    if kind != "array":
        text = "must be array if x-kubernetes-list-type is specified"
        yield invalid(f"{path}.type", kind, text) if kind else required(f"{path}.type", text)
    if lists not in ("atomic", "set", "map"):
        yield not_supported(f"{path}.{LIST_TYPE}", lists, ("atomic", "set", "map"))
    items = schema.get("items")
    if lists not in ("set", "map") or not isinstance(items, Mapping):
        return
    if lists == "map" and items.get("type") != "object":
        at = f"{path}.items.type"
        yield invalid(
            at, items.get("type") or "", "must be object if parent array's x-kubernetes-list-type is map"
        )
    if lists == "set" and items.get("nullable"):
        at = f"{path}.items.nullable"
        yield forbidden(at, "cannot be nullable when x-kubernetes-list-type is set")
    if lists == "set":
        yield from _set(items, path)


def _set(items: Mapping[str, Any], path: str) -> Iterator[Cause]:
    """Items of a set are compared as a whole, so each must be one."""
    if items.get("type") == "object" and items.get(MAP_TYPE) != "atomic":
        text = "must be atomic as item of a list with x-kubernetes-list-type=set"
        yield invalid(f"{path}.items.{MAP_TYPE}", items.get(MAP_TYPE), text)
    if items.get("type") == "array" and items.get(LIST_TYPE) not in (None, "atomic"):
        text = "must be atomic as item of a list with x-kubernetes-list-type=set"
        yield invalid(f"{path}.items.{LIST_TYPE}", items.get(LIST_TYPE), text)


def _keys(schema: Mapping[str, Any], lists: str | None, path: str) -> Iterator[Cause]:
    if lists != "map":
        text = "must be map if x-kubernetes-list-map-keys is non-empty"
        at = f"{path}.{LIST_TYPE}"
        yield invalid(at, lists, text) if lists else required(at, text)
        return
    items = schema.get("items")
    if items is None:
        yield required(f"{path}.items", "must have a schema if x-kubernetes-list-type is map")
        return
    at, keys = f"{path}.{MAP_KEYS}", list(schema[MAP_KEYS])
    properties = items.get("properties") or {}
    for key in keys:
        if key in properties:
            yield from _keyed(properties[key], key, items, path)
        else:
            yield invalid(at, keys, "entries must all be names of item properties")
    if len(set(keys)) < len(keys):
        yield invalid(at, keys, "must not contain duplicate entries")


def _keyed(prop: Mapping[str, Any], key: str, items: Mapping[str, Any], path: str) -> Iterator[Cause]:
    """A property that tells items apart: one value, and always there."""
    at = f"{path}.items.properties[{key}]"
    if prop.get("type") in ("array", "object"):
        text = "items property must be a scalar type if parent array's x-kubernetes-list-type is map"
        yield invalid(f"{at}.type", prop["type"], text)
    if prop.get("nullable"):
        text = "this property is in x-kubernetes-list-map-keys, so it cannot be nullable"
        yield forbidden(f"{at}.nullable", text)
    if prop.get("default") is None and key not in (items.get("required") or ()):
        yield required(f"{at}.default", _KEY)


def _structural(schema: Mapping[str, Any], path: str, where: str) -> Iterator[Cause]:
    kind, inner = schema.get("type") or "", bool(schema.get(EMBEDDED))
    whole = inner or where is _ROOT
    if kind == "array" and not isinstance(schema.get("items"), Mapping):
        yield required(f"{path}.items", "must be specified")
    for at, below in sorted(parts(schema, path), key=lambda part: part[0] != f"{path}.items"):
        if not (whole and at == f"{path}.properties[metadata]"):
            yield from _structural(below, at, _ITEM if at == f"{path}.items" else _FIELD)
    loose = schema.get(INT_OR_STRING) or (schema.get(PRESERVE) and where is not _ROOT)
    if not kind and not loose:
        yield required(f"{path}.type", f"must not be empty {where}")
    yield from _extensions(schema, path)
    if inner:
        yield from _embedded(schema, kind, path)
    if whole:
        yield from _objects(schema, path)
    yield from _named(schema, schema, path, path)
    for at, each in alternatives(schema, path):
        yield from _bare(each, at, within=schema)


def _embedded(schema: Mapping[str, Any], kind: str, path: str) -> Iterator[Cause]:
    if kind != "object":
        yield invalid(f"{path}.type", kind, "must be object if x-kubernetes-embedded-resource is true")
    if not schema.get(PRESERVE) and not schema.get("properties"):
        yield required(f"{path}.properties", _EMPTY)


def _objects(schema: Mapping[str, Any], path: str) -> Iterator[Cause]:
    """What every object has is given: a schema may only narrow names."""
    properties = schema.get("properties") or {}
    for name in ("apiVersion", "kind"):
        kind = (properties.get(name) or {}).get("type")
        if name in properties and kind != "string":
            yield invalid(f"{path}.properties[{name}].type", kind or "", "must be string")
    metadata = properties.get("metadata")
    if metadata is None:
        return
    if metadata.get("type") != "object":
        yield invalid(f"{path}.properties[metadata].type", metadata.get("type") or "", "must be object")
    if (metadata.get("properties") or {}).keys() - {"name", "generateName"} or metadata.get(
        "additionalProperties"
    ):
        yield forbidden(f"{path}.properties[metadata]", _IMPLICIT)


def _named(whole: Mapping[str, Any], part: Mapping[str, Any], path: str, at: str) -> Iterator[Cause]:
    """What an alternative speaks of must be in the structure, too."""
    for place, each in alternatives(part, at):
        for name, below in (each.get("properties") or {}).items():
            if name not in (whole.get("properties") or {}) and whole.get("additionalProperties") is None:
                text = f"because it is defined in {place}.properties[{name}]"
                yield required(f"{path}.properties[{name}]", text)
            elif name in (whole.get("properties") or {}):
                inner = f"{path}.properties[{name}]"
                yield from _named(
                    whole["properties"][name], {"allOf": [below]}, inner, f"{place}.properties[{name}]"
                )
        yield from _named(whole, each, path, place)


def _bare(schema: Mapping[str, Any], path: str, within: Mapping[str, Any] | None = None) -> Iterator[Cause]:
    kind = schema.get("type")
    # The one exception: how schemas said int-or-string before there was a word for it.
    choice = (
        (within or {}).get(INT_OR_STRING) and schema.get("type") in ("integer", "string") and len(schema) == 1
    )
    if kind and not choice:
        yield forbidden(f"{path}.type", "must be empty to be structural")
    for name in _SHAPING:
        if schema.get(name):
            text = (
                "must be undefined to be structural"
                if name in ("default", "additionalProperties")
                else (
                    "must be false to be structural"
                    if name in ("nullable", PRESERVE, EMBEDDED)
                    else "must be empty to be structural"
                )
            )
            yield forbidden(f"{path}.{name}", text)
    for at, each in alternatives(schema, path):
        yield from _bare(each, at, within)
    for at, below in parts(schema, path):
        if not at.endswith(".additionalProperties"):
            yield from _bare(below, at)
