"""OpenAPI v2: everything in one document, for older clients."""

from collections.abc import Iterable, Mapping
from typing import Any

from kybern.apiserver.openapi_operations import Operation, Parameter, Path
from kybern.apiserver.openapi_v3 import MEDIA, closure, used
from kybern.machinery.structural.node import PRESERVE

GVK = "x-kubernetes-group-version-kind"
REF = "#/definitions/"
V3_REF = "#/components/schemas/"


def _schema(value: Any) -> Any:
    if isinstance(value, list):
        return [_schema(each) for each in value]
    if not isinstance(value, dict):
        return value
    found = {key: _schema(each) for key, each in value.items()}
    if isinstance(found.get("$ref"), str):
        found["$ref"] = found["$ref"].replace(V3_REF, REF)
    return found


def _definition(value: Mapping[str, Any]) -> Any:
    """A kind; one that takes any field says no more than that, since older clients refuse what is not named."""
    if value.get(PRESERVE) and GVK in value:
        return {"type": "object", GVK: value[GVK]}
    return _schema(value)


def _parameter(parameter: Parameter) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "name": parameter.name,
        "in": parameter.place,
        "description": parameter.description,
        "type": parameter.type,
        "uniqueItems": True,
    }
    if parameter.place == "path":
        shown["required"] = True
    return shown


def _operation(operation: Operation) -> dict[str, Any]:
    answer = (
        {"schema": {"$ref": REF + operation.answer}} if operation.answer else {"schema": {"type": "string"}}
    )
    parameters = [_parameter(each) for each in operation.parameters]
    if operation.body:
        body = {"name": "body", "in": "body", "required": operation.method != "delete"}
        parameters.insert(0, {**body, "schema": {"$ref": REF + operation.body}})
    shown: dict[str, Any] = {
        "tags": [operation.tag],
        "description": operation.description,
        "operationId": operation.id,
        "consumes": list(operation.consumes or ("*/*",)),
        "produces": list(MEDIA) if operation.answer else ["text/plain"],
        "schemes": ["https"],
        "responses": {
            str(code): {"description": "OK" if code == 200 else "Done", **answer} for code in operation.codes
        },
    }
    if parameters:
        shown["parameters"] = parameters
    if operation.action:
        shown["x-kubernetes-action"] = operation.action
    if operation.gvk is not None:
        group, kind, version = operation.gvk
        shown[GVK] = {"group": group, "version": version, "kind": kind}
    return shown


def _path(path: Path) -> dict[str, Any]:
    shown: dict[str, Any] = {each.method: _operation(each) for each in path.operations}
    if path.parameters:
        shown["parameters"] = [_parameter(each) for each in path.parameters]
    return shown


def document(
    paths: Mapping[str, Path], definitions: Mapping[str, Any], names: Iterable[str]
) -> dict[str, Any]:
    """The whole document."""
    reached = closure([*used(paths), *names], definitions)
    return {
        "swagger": "2.0",
        "info": {"title": "Kubernetes", "version": "v1.36.0"},
        "paths": {name: _path(path) for name, path in sorted(paths.items())},
        "definitions": {name: _definition(schema) for name, schema in reached.items()},
    }
