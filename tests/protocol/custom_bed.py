"""Definitions of custom kinds as conformance tests make them, each in a group of its own."""

import itertools
from typing import Any

from tests.protocol.requests_bed import APPLY, Api, Raw
from tests.protocol.webhook_place import until

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
NUMBERS = itertools.count()
ANY = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
CRON = r"^(\d+|\*)(/\d+)?(\s+(\d+|\*)(/\d+)?){4}$"
PORTS = {
    "type": "array",
    "x-kubernetes-list-type": "map",
    "x-kubernetes-list-map-keys": ["containerPort", "protocol"],
    "items": {
        "type": "object",
        "required": ["containerPort", "protocol"],
        "properties": {
            "name": {"type": "string"},
            "protocol": {"type": "string"},
            "containerPort": {"type": "integer", "format": "int32"},
        },
    },
}
FIELDS = {"foo": {"type": "string"}, "cronSpec": {"type": "string", "pattern": CRON}, "ports": PORTS}


def with_spec(**more: Any) -> Raw:
    return {"type": "object", "properties": {"spec": {"type": "object", "properties": FIELDS, **more}}}


class Kind:
    """A cluster-scoped kind of a group of its own, or of one that is named."""

    def __init__(self, api: Api, *schemas: Raw, group: str = "", kind: str = "Noxu") -> None:
        self.api = api
        self.group = group or f"g{next(NUMBERS)}.example.com"
        self.kind, self.plural = kind, f"{kind.lower()}s"
        versions = [
            {
                "name": f"v{number}",
                "served": True,
                "storage": number == 1,
                "schema": {"openAPIV3Schema": schema},
                "subresources": {"status": {}},
            }
            for number, schema in enumerate(schemas or (ANY,), 1)
        ]
        names_ = {"plural": self.plural, "kind": kind}
        self.body: Raw = {
            "metadata": {"name": f"{self.plural}.{self.group}", "labels": {"kind": kind.lower()}},
            "spec": {"group": self.group, "scope": "Cluster", "names": names_, "versions": versions},
        }

    @property
    def definition(self) -> str:
        return f"{CRDS}/{self.plural}.{self.group}"

    def path(self, version: str = "v1") -> str:
        return f"/apis/{self.group}/{version}/{self.plural}"

    def define(self) -> "Kind":
        self.api.create(CRDS, self.body)
        until(lambda: self.api.code(self.path()) == 200)
        return self

    def named(self, version: str = "v1") -> str:
        """Its name in OpenAPI v2."""
        return f"{'.'.join(reversed(self.group.split('.')))}.{version}.{self.kind}"

    def published(self, version: str = "v1") -> Raw | None:
        found: Raw | None = self.api.get("/openapi/v2")["definitions"].get(self.named(version))
        return found

    def apply(self, text: str, validation: str = "Strict") -> Any:
        metadata = "metadata:\n  name: mytest\n  finalizers:\n  - test-finalizer\n"
        whole = f"apiVersion: {self.group}/v1\nkind: {self.kind}\n{metadata}{text}"
        query = {"fieldManager": "field_validation_mgr", "fieldValidation": validation}
        return self.api.send("PATCH", f"{self.path()}/mytest", whole, APPLY, **query)


def published(kind: Kind, version: str = "v1") -> Raw:
    """What OpenAPI v2 says of a kind; it is there within a second, or soon on a busy machine."""
    until(lambda: kind.published(version) is not None)
    found = kind.published(version)
    assert found is not None
    return found
