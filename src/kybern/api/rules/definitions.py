"""Definitions of custom kinds: names, versions, columns and subresources.

Whether the schema of a version is structural is for the engine that serves custom kinds.
"""

from collections.abc import Iterator

from kybern.api.rules import within
from kybern.api.rules.causes import all_invalid, duplicate, invalid, one_of, required, unchanged
from kybern.api.rules.formats import dns1035, subdomain
from kybern.api.rules.hookchecks import webhook_service, webhook_url
from kybern.machinery.errors import Cause
from kybern.machinery.kind import Raw
from kybern.machinery.structural import definition
from kybern.machinery.structural.node import field_type
from kybern.machinery.structural.rules.engine import compile_rule

_COLUMN_TYPES = ("boolean", "date", "integer", "number", "string")
_COLUMN_FORMATS = ("byte", "date", "date-time", "double", "float", "int32", "int64", "password")
_SELECTABLE = ("boolean", "integer", "string")
_UNSELECTABLE = (
    "must point to a field of type string, boolean or integer. Enum string fields and strings with formats are allowed.",
    "is an invalid path: does not refer to a valid field",
)
_ONE_STORED = "must have exactly one version marked as storage version"
_MISSING = (
    "missing from spec.versions; {0} was previously a storage version, and must remain in spec.versions until a "
    "storage migration ensures no data remains persisted in {0} and removes {0} from status.storedVersions"
)


def validate(new: Raw, old: Raw | None) -> Iterator[Cause]:
    spec = new.get("spec") or {}
    names, group, versions = spec.get("names") or {}, spec.get("group", ""), spec.get("versions") or []
    name = (new.get("metadata") or {}).get("name", "")
    if old is None and name and name != f"{names.get('plural', '')}.{group}":
        yield invalid("metadata.name", name, 'must be spec.names.plural+"."+spec.group')
    yield from _group(group)
    if not spec.get("scope"):
        yield required("spec.scope")
    else:
        yield from one_of("spec.scope", spec["scope"], ("Cluster", "Namespaced"))
    yield from _versions(spec.get("versions"), versions)
    yield from _schemas(versions, _known(old))
    yield from _names("spec.names", names)
    yield from _conversion("spec.conversion", spec.get("conversion") or {})
    yield from _stored(new.get("status") or {}, versions)
    if old is not None:
        yield from _update(spec, old.get("spec") or {})


def _group(group: str) -> Iterator[Cause]:
    if not group:
        yield required("spec.group")
        return
    yield from all_invalid("spec.group", group, subdomain(group))
    if "." not in group:
        yield invalid("spec.group", group, "should be a domain with at least one dot")


def _shown(versions: list[Raw] | None) -> list[Raw] | None:
    """As in messages: what all versions have in common stands above them within."""
    found = [within.shown("CustomResourceDefinitionVersion", each) for each in versions or ()]
    for key in ("Schema", "Subresources", "AdditionalPrinterColumns", "SelectableFields"):
        if found and all(each[key] == found[0][key] for each in found):
            found = [{**each, key: None} for each in found]
    return None if versions is None else found


def _versions(given: list[Raw] | None, versions: list[Raw]) -> Iterator[Cause]:
    seen: set[str] = set()
    for i, version in enumerate(versions):
        at, name = f"spec.versions[{i}]", version.get("name", "")
        yield from all_invalid(f"{at}.name", name, dns1035(name))
        if name in seen:
            yield invalid("spec.versions", versions, "must contain unique version names")
        seen.add(name)
        yield from _version(at, version, only=len(versions) == 1)
    if sum(bool(version.get("storage")) for version in versions) != 1:
        yield invalid("spec.versions", _shown(given), _ONE_STORED)


def _known(old: Raw | None) -> dict[str, Raw]:
    """The schemas that were there before, by their versions: they were found good once."""
    versions = ((old or {}).get("spec") or {}).get("versions") or ()
    return {version.get("name", ""): _schema(version) or {} for version in versions}


def _schema(version: Raw) -> Raw | None:
    found: Raw | None = (version.get("schema") or {}).get("openAPIV3Schema")
    return found


def _schemas(versions: list[Raw], known: dict[str, Raw]) -> Iterator[Cause]:
    """A schema that all versions share is told of once, at the place where the older form had it."""
    found = [_schema(version) for version in versions]
    same = all(schema == found[0] for schema in found)
    for i, (schema, version) in enumerate(zip(found, versions, strict=True)):
        if schema is not None and (i == 0 or not same):
            at = "spec.validation" if same else f"spec.versions[{i}].schema"
            unchanged = known.get(version.get("name", "")) == schema
            compile_ = None if unchanged else compile_rule
            yield from definition.check(schema, f"{at}.openAPIV3Schema", compile_)
        place = "spec" if len(versions) == 1 else f"spec.versions[{i}]"
        yield from _selectable(
            f"{place}.selectableFields", version.get("selectableFields") or [], schema or {}
        )


def warnings(new: Raw, _old: Raw | None) -> Iterator[str]:
    for version in (new.get("spec") or {}).get("versions") or ():
        yield from definition.warnings((version.get("schema") or {}).get("openAPIV3Schema") or {})


def _version(field: str, version: Raw, *, only: bool) -> Iterator[Cause]:
    """The path of what a single version says is that of the older form, which had one schema for all versions."""
    warning, at = version.get("deprecationWarning"), "spec" if only else field
    if warning is not None and not version.get("deprecated"):
        yield invalid(f"{field}.deprecationWarning", warning, "can only be set for deprecated versions")
    if (version.get("schema") or {}).get("openAPIV3Schema") is None:
        yield required(f"{field}.schema.openAPIV3Schema")
    for i, column in enumerate(version.get("additionalPrinterColumns") or ()):
        yield from _column(f"{at}.additionalPrinterColumns[{i}]", column)
    scale = (version.get("subresources") or {}).get("scale")
    if scale is not None:
        yield from _scale_path(f"{at}.subresources.scale.specReplicasPath", scale, ".spec")
        yield from _scale_path(f"{at}.subresources.scale.statusReplicasPath", scale, ".status")


def _selectable(field: str, found: list[Raw], schema: Raw) -> Iterator[Cause]:
    paths: set[str] = set()
    for i, selectable in enumerate(found):
        path = selectable.get("jsonPath", "")
        if not path:
            yield required(f"{field}[{i}].jsonPath")
        elif field_type(schema, path) not in _SELECTABLE:
            yield invalid(f"{field}[{i}].jsonPath", path, _UNSELECTABLE[field_type(schema, path) is None])
        elif path in paths:
            yield duplicate(f"{field}[{i}].jsonPath", path)
        paths.add(path)


def _scale_path(field: str, scale: Raw, below: str) -> Iterator[Cause]:
    path = scale.get(field.rpartition(".")[2], "")
    if not path:
        yield required(field)
    elif not path.startswith(f"{below}."):
        yield invalid(field, path, f"should be a json path under {below}")


def _column(field: str, raw: Raw) -> Iterator[Cause]:
    if not raw.get("name"):
        yield required(f"{field}.name")
    kind, form, path = raw.get("type", ""), raw.get("format", ""), raw.get("jsonPath", "")
    text = f"must be one of {','.join(_COLUMN_TYPES)}"
    if not kind:
        yield required(f"{field}.type", text)
    elif kind not in _COLUMN_TYPES:
        yield invalid(f"{field}.type", kind, text)
    if form and form not in _COLUMN_FORMATS:
        yield invalid(f"{field}.format", form, f"must be one of {','.join(_COLUMN_FORMATS)}")
    if not path:
        yield required(f"{field}.JSONPath")
    elif not path.startswith("."):
        yield invalid(f"{field}.JSONPath", path, "must be a simple json path starting with .")


def _names(field: str, names: Raw) -> Iterator[Cause]:
    for key in ("plural", "singular", "kind", "listKind"):
        value = names.get(key, "")
        if value:
            # kinds are written in upper case, and otherwise follow the same rule
            yield from all_invalid(f"{field}.{key}", value, dns1035(value.lower()))
        elif key != "singular" and not (key == "listKind" and not names.get("kind")):
            yield required(f"{field}.{key}")
    if names.get("kind") and names.get("kind") == names.get("listKind"):
        yield invalid(f"{field}.listKind", names["listKind"], "kind and listKind may not be the same")
    for key in ("shortNames", "categories"):
        for i, value in enumerate(names.get(key) or ()):
            yield from all_invalid(f"{field}.{key}[{i}]", value, dns1035(value))


def _conversion(field: str, raw: Raw) -> Iterator[Cause]:
    yield from one_of(f"{field}.strategy", raw.get("strategy"), ("None", "Webhook"))
    client = (raw.get("webhook") or {}).get("clientConfig")
    if raw.get("strategy") != "Webhook":
        return
    at = f"{field}.webhookClientConfig"
    if client is None:
        yield required(at, "required when strategy is set to Webhook")
    elif client.get("url") is not None:
        yield from webhook_url(f"{at}.url", client["url"])
    elif client.get("service") is not None:
        yield from webhook_service(f"{at}.service", client["service"])


def _stored(status: Raw, versions: list[Raw]) -> Iterator[Cause]:
    stored, known = status.get("storedVersions") or [], {version.get("name") for version in versions}
    if not stored:
        yield invalid("status.storedVersions", stored or None, "must have at least one stored version")
    for i, name in enumerate(stored):
        if name not in known:
            yield invalid(f"status.storedVersions[{i}]", name, _MISSING.format(name))


def _update(spec: Raw, old: Raw) -> Iterator[Cause]:
    yield from unchanged("spec.group", spec.get("group"), old.get("group"))
    yield from unchanged("spec.scope", spec.get("scope"), old.get("scope"))
    for key in ("kind", "plural"):
        new, was = (spec.get("names") or {}).get(key), (old.get("names") or {}).get(key)
        yield from unchanged(f"spec.names.{key}", new, was)
