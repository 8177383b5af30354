"""OpenAPI v3: one document a group and version, with the definitions that it reaches."""

from collections.abc import Iterable, Mapping
from typing import Any

from kybern.apiserver.openapi_operations import Operation, Parameter, Path

REF = "#/components/schemas/"
MEDIA = ("application/json", "application/vnd.kubernetes.protobuf", "application/yaml")
_ANNOTATED: Mapping[str, Mapping[str, Any]] = {
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": {
        "format": "int-or-string",
        "oneOf": [{"type": "integer"}, {"type": "string"}],
    },
    "io.k8s.apimachinery.pkg.api.resource.Quantity": {"oneOf": [{"type": "string"}, {"type": "number"}]},
}


def references(value: Any) -> Iterable[str]:
    """The definitions that a schema names."""
    if isinstance(value, dict):
        target = value.get("$ref")
        if isinstance(target, str):
            yield target.removeprefix(REF)
        for each in value.values():
            yield from references(each)
    elif isinstance(value, list):
        for each in value:
            yield from references(each)


def closure(names: Iterable[str], definitions: Mapping[str, Any]) -> dict[str, Any]:
    """The named definitions and all that they reach, sorted."""
    found: dict[str, Any] = {}
    left = list(names)
    while left:
        name = left.pop()
        if name not in found and name in definitions:
            found[name] = definitions[name]
            left.extend(references(definitions[name]))
    return dict(sorted(found.items()))


def _schema(value: Any) -> Any:
    """A schema in the form of v3: a reference stands alone, so what else is said of a field moves around it."""
    if isinstance(value, list):
        return [_schema(each) for each in value]
    if not isinstance(value, dict):
        return value
    found = {key: _schema(each) for key, each in value.items()}
    if isinstance(found.get("$ref"), str) and len(found) > 1:
        found["allOf"] = [{"$ref": found.pop("$ref")}]
    return found


def schemas(names: Iterable[str], definitions: Mapping[str, Any]) -> dict[str, Any]:
    """Definitions as they are published."""
    found = {name: _schema(schema) for name, schema in closure(names, definitions).items()}
    for name, extra in _ANNOTATED.items():
        if name in found:
            found[name] = {"description": found[name].get("description", ""), **extra}
    return found


def _parameter(parameter: Parameter) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "name": parameter.name,
        "in": parameter.place,
        "description": parameter.description,
        "schema": {"type": parameter.type, "uniqueItems": True},
    }
    if parameter.place == "path":
        shown["required"] = True
    return shown


def _content(name: str, media: Iterable[str]) -> dict[str, Any]:
    return {each: {"schema": {"$ref": REF + name}} for each in media}


def _operation(operation: Operation) -> dict[str, Any]:
    text = {"text/plain": {"schema": {"type": "string"}}}
    content = _content(operation.answer, MEDIA) if operation.answer else text
    shown: dict[str, Any] = {
        "tags": [operation.tag],
        "description": operation.description,
        "operationId": operation.id,
        "responses": {
            str(code): {"description": "OK" if code == 200 else "Done", "content": content}
            for code in operation.codes
        },
    }
    if operation.parameters:
        shown["parameters"] = [_parameter(each) for each in operation.parameters]
    if operation.body:
        shown["requestBody"] = {"content": _content(operation.body, operation.consumes or ("*/*",))}
    if operation.action:
        shown["x-kubernetes-action"] = operation.action
    if operation.gvk is not None:
        group, kind, version = operation.gvk
        shown["x-kubernetes-group-version-kind"] = {"group": group, "version": version, "kind": kind}
    return shown


def _path(path: Path) -> dict[str, Any]:
    shown: dict[str, Any] = {each.method: _operation(each) for each in path.operations}
    if path.parameters:
        shown["parameters"] = [_parameter(each) for each in path.parameters]
    return shown


def used(paths: Mapping[str, Path]) -> Iterable[str]:
    """The definitions that operations name."""
    for path in paths.values():
        for operation in path.operations:
            yield from filter(None, (operation.body, operation.answer))


def document(
    paths: Mapping[str, Path], definitions: Mapping[str, Any], names: Iterable[str]
) -> dict[str, Any]:
    """A whole document; ``names`` are definitions to publish beside those that the operations need."""
    return {
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": "unversioned"},
        "paths": {name: _path(path) for name, path in sorted(paths.items())},
        "components": {"schemas": schemas([*used(paths), *names], definitions)},
    }
